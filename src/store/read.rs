//! Reading secrets in batches.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use super::decode::{self, Element};
use super::{Context, Fault, Protocol, Statement, sql};
use crate::name::SecretName;

/// Reads name i of business i, all in one snapshot. The answers come in the order of the request.
#[derive(Debug, Default)]
pub(crate) struct Read {
    businesses: Vec<Uuid>,
    names: Vec<&'static str>,
    with_versions: bool,
}

impl Read {
    /// Versions cost the server a lookup for each element, and only a cache needs them.
    pub(crate) fn new(with_versions: bool) -> Self {
        Self { with_versions, ..Self::default() }
    }

    pub(crate) fn push(&mut self, business: Uuid, name: SecretName) {
        self.businesses.push(business);
        self.names.push(name.as_str());
    }

    /// How many secrets it asks for.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Statement for Read {
    type Answer = Vec<Element>;
    const WRITES: bool = false;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Vec<Element>, Fault> {
        match context.protocol {
            Protocol::Prepared => {
                let query = sqlx::query(sql::READ_COLUMNS)
                    .bind(&self.businesses)
                    .bind(&self.names)
                    .bind(self.with_versions);
                decode::columns(&connection.fetch_one(query).await?, self.len())
            }
            // The simple protocol gives arrays as text, which would have to be taken apart: rows come whole.
            Protocol::Transactional => {
                let sql = sql::read_literal(&self.businesses, &self.names);
                let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
                decode::rows(&rows, self.len())
            }
        }
    }
}
