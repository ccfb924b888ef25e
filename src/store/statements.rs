//! Every statement besides reading and writing values.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor, Postgres, Row};
use uuid::Uuid;

use super::{Context, Fault, Protocol, Statement, decode, sql};
use crate::name::SecretName;
use crate::secret::{Due, Lease, Listed};

/// Lists what may be shown of each secret of a business, in the order of the catalogue.
#[derive(Debug)]
pub(crate) struct List(pub(crate) Uuid);

impl Statement for List {
    type Answer = Vec<Listed>;
    const WRITES: bool = false;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Vec<Listed>, Fault> {
        let query = sqlx::query(sql::LIST).bind(self.0);
        let literal = || sql::literal(sql::LIST, &format!("'{}'::uuid", self.0.hyphenated()));
        let rows = outside_transaction(connection, context, query, literal).await;
        decode::listed(&rows.map_err(|error| Fault::of(error, self.0))?)
    }
}

/// Puts back the value before the current one. Answers with the new version.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) business: Uuid,
    pub(crate) name: SecretName,
    pub(crate) expected: Option<i64>,
}

impl Statement for Undo {
    type Answer = i64;
    const WRITES: bool = true;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<i64, Fault> {
        let query = sqlx::query(sql::UNDO)
            .bind(self.business)
            .bind(self.name.as_str())
            .bind(self.expected)
            .bind(context.actor)
            .bind(context.lock_timeout());
        Ok(in_transaction(connection, context, query, self.business).await?.try_get(0)?)
    }
}

/// Asks for the right to be the only one that renews a secret.
#[derive(Debug)]
pub(crate) struct TakeLease {
    pub(crate) business: Uuid,
    pub(crate) name: SecretName,
    pub(crate) ttl: Duration,
}

impl Statement for TakeLease {
    type Answer = Lease;
    const WRITES: bool = true;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Lease, Fault> {
        let query = sqlx::query(sql::LEASE)
            .bind(self.business)
            .bind(self.name.as_str())
            .bind(self.ttl.as_secs_f64())
            .bind(context.actor)
            .bind(context.lock_timeout());
        decode::lease(&in_transaction(connection, context, query, self.business).await?)
    }
}

/// Gives a lease back. Answers whether it was still held.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) business: Uuid,
    pub(crate) name: SecretName,
    pub(crate) token: Uuid,
}

impl Statement for Release {
    type Answer = bool;
    const WRITES: bool = true;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<bool, Fault> {
        let query = sqlx::query(sql::RELEASE)
            .bind(self.business)
            .bind(self.name.as_str())
            .bind(self.token)
            .bind(context.actor)
            .bind(context.lock_timeout());
        Ok(in_transaction(connection, context, query, self.business).await?.try_get(0)?)
    }
}

/// Records what came of trying a secret at its provider. Answers false where the version has changed since.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) business: Uuid,
    pub(crate) name: SecretName,
    pub(crate) version: i64,
    pub(crate) result: String,
}

impl Statement for Check {
    type Answer = bool;
    const WRITES: bool = true;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<bool, Fault> {
        let query = sqlx::query(sql::CHECK)
            .bind(self.business)
            .bind(self.name.as_str())
            .bind(self.version)
            .bind(self.result.as_str())
            .bind(context.actor)
            .bind(context.lock_timeout());
        Ok(in_transaction(connection, context, query, self.business).await?.try_get(0)?)
    }
}

/// The secrets that expire or are to be rotated within that time, of those that the login may read.
#[derive(Debug)]
pub(crate) struct DueWithin(pub(crate) Duration);

impl Statement for DueWithin {
    type Answer = Vec<Due>;
    const WRITES: bool = false;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Vec<Due>, Fault> {
        let seconds = self.0.as_secs_f64();
        let query = sqlx::query(sql::DUE).bind(seconds);
        let literal = || sql::literal(sql::DUE, &format!("{seconds}::float8"));
        decode::due(&outside_transaction(connection, context, query, literal).await?)
    }
}

/// The names that the database knows, in the order of the catalogue.
#[derive(Debug)]
pub(crate) struct KnownNames;

impl Statement for KnownNames {
    type Answer = Vec<String>;
    const WRITES: bool = false;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Vec<String>, Fault> {
        let query = sqlx::query(sql::NAMES);
        let rows = outside_transaction(connection, context, query, || sql::NAMES.to_owned()).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}

/// Asks the server for a sign of life.
#[derive(Debug)]
pub(crate) struct Ping;

impl Statement for Ping {
    type Answer = ();
    const WRITES: bool = false;

    async fn send(&self, connection: &mut PgConnection, _: Context<'_>) -> Result<(), Fault> {
        super::ping(connection).await
    }
}

type Prepared<'q> = Query<'q, Postgres, PgArguments>;

/// Sends a statement that needs no transaction of its own, in one round trip.
///
/// Behind a transaction pooler a statement with parameters takes two messages, which only a transaction keeps on one server:
/// there `literal` is sent instead, the same statement without parameters.
async fn outside_transaction(
    connection: &mut PgConnection,
    context: Context<'_>,
    query: Prepared<'_>,
    literal: impl FnOnce() -> String,
) -> Result<Vec<PgRow>, sqlx::Error> {
    match context.protocol {
        Protocol::Prepared => connection.fetch_all(query).await,
        // Made of our own text and of an id or a number.
        Protocol::Transactional => connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(literal()))).await,
    }
}

/// Sends a statement that writes, and knows of each failure whether it had an effect.
pub(super) async fn in_transaction(
    connection: &mut PgConnection,
    context: Context<'_>,
    query: Prepared<'_>,
    business: Uuid,
) -> Result<PgRow, Fault> {
    match context.protocol {
        Protocol::Prepared => connection.fetch_one(query).await.map_err(|error| Fault::of(error, business)),
        Protocol::Transactional => {
            // Values travel as parameters here too: the server logs the text of a statement that fails.
            connection.execute(sql::BEGIN).await.map_err(Fault::before_write)?;
            let row = connection.fetch_one(query.persistent(false)).await;
            let row = row.map_err(|error| Fault::of_uncommitted(error, business))?;
            connection.execute(sql::COMMIT).await.map_err(|error| Fault::of(error, business))?;
            Ok(row)
        }
    }
}
