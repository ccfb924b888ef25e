//! Sessions of the migration role: their settings, who is in their way, and whether they are sessions at all.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::catalogue::literal;
use super::{AdminFault, Answer};
use crate::config::Config;
use crate::error::Error;
use crate::store::{self, ConnectFault, connect_options};

/// What the role or the database may have set and a migration cannot live with. A statement and a transaction may take
/// as long as they have to, and the session that watches is idle most of the time; a lock may not be waited for long,
/// since others queue behind who waits for one; our functions, which let go and try again, are to come back after a
/// second too, so that it can be told who holds them up. The files are written for standard strings and standard
/// comparisons with null. With `row_security` off, a statement that a policy would hide rows from
/// fails instead of seeing fewer of them.
const SETTINGS: &str = "
    select /* app-secrets */ pg_catalog.set_config('statement_timeout', '0', false),
        pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false),
        pg_catalog.set_config('idle_session_timeout', '0', false),
        pg_catalog.set_config('lock_timeout', '900ms', false),
        pg_catalog.set_config('app_secrets.lock_attempts', '4', false),
        pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
        pg_catalog.set_config('default_transaction_read_only', 'off', false),
        pg_catalog.set_config('default_transaction_deferrable', 'off', false),
        pg_catalog.set_config('standard_conforming_strings', 'on', false),
        pg_catalog.set_config('transform_null_equals', 'off', false),
        pg_catalog.set_config('row_security', 'off', false)";

/// Those that older servers do not have. A statement of its own: the timeout of a statement has to be off before it.
const NEWER_SETTINGS: &str = "
    select /* app-secrets */ pg_catalog.set_config('transaction_timeout', '0', false)
    where pg_catalog.current_setting('transaction_timeout', true) is not null";

/// Where the server can: a backend whose client was killed ends soon, and with it the migrator's lock.
const NOTICE_LOST_CLIENT: &str = "set client_connection_check_interval = '2s'";

/// So that the server prints expressions with whole names.
const QUALIFY: &str = "select pg_catalog.set_config('search_path', '', false)";

const PID: &str = "select pg_catalog.pg_backend_pid()";

const MARK: &str =
    "select pg_catalog.pg_backend_pid(), pg_catalog.set_config('app_secrets.probe', 'here', false)";
const OTHER: &str = "begin; select pg_catalog.pg_backend_pid()";
const MARKED: &str = "
    select pg_catalog.pg_backend_pid(), coalesce(pg_catalog.current_setting('app_secrets.probe', true), '')";

const TRY_LOCK: &str = "
    select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('app_secrets.migrate', 0))";
const HOLDERS: &str = "
    select a.pid, a.usename::text, a.application_name, a.state, pg_catalog.to_char(a.query_start at time zone 'UTC',
        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
    from pg_catalog.pg_locks l
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and (l.classid::bigint << 32) | l.objid::bigint = pg_catalog.hashtextextended('app_secrets.migrate', 0)";
const BLOCKERS: &str = "
    select b.pid, a.usename::text, a.application_name, a.state, pg_catalog.to_char(a.query_start at time zone 'UTC',
        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
    from pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) as b(pid)
    left join pg_catalog.pg_stat_activity a on a.pid = b.pid";
const CANCEL: &str = "select pg_catalog.pg_cancel_backend($1)";

const BEGIN_SNAPSHOT: &str = "begin transaction isolation level repeatable read, read only";
const EXPORT_SNAPSHOT: &str = "select /* app-secrets */ pg_catalog.pg_export_snapshot()";

const SET_CHECKSUM: &str = "select pg_catalog.set_config('app_secrets.migration_checksum', $1, false)";

/// A session that is in the way. Never its query, which may hold values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The server process; 0 is a prepared transaction.
    pub pid: i32,
    /// Its login, where we may see it.
    pub user: Option<String>,
    /// What it calls itself.
    pub application: Option<String>,
    /// `active`, `idle in transaction` and so on.
    pub state: Option<String>,
    /// When its last statement began, in UTC.
    pub since: Option<String>,
}

pub(crate) async fn open(config: &Config, application: &str) -> Result<PgConnection, Error> {
    let options: PgConnectOptions = connect_options(config).application_name(application);
    let place = config.endpoint.place();
    let attempt = tokio::time::timeout(config.timeout, store::open(&options, config.tls.loopback_only)).await;
    let mut connection = match attempt {
        Ok(connection) => connection.map_err(|error| ConnectFault::new(&error, &place).error)?,
        Err(_) => {
            return Err(Error::unavailable(format!(
                "{place}: no answer within {} ms; is the host right, and does a firewall let it through?",
                config.timeout.as_millis()
            )));
        }
    };
    settle(&mut connection).await?;
    Ok(connection)
}

async fn settle(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(sqlx::raw_sql(SETTINGS)).await?;
    connection.execute(sqlx::raw_sql(NEWER_SETTINGS)).await?;
    // Only Linux servers can; elsewhere the lock goes when the connection's end is noticed.
    let _ = connection.execute(sqlx::raw_sql(NOTICE_LOST_CLIENT)).await;
    Ok(())
}

pub(crate) async fn qualify_names(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(QUALIFY).await?;
    Ok(())
}

pub(crate) async fn pid(connection: &mut PgConnection) -> Answer<i32> {
    Ok(connection.fetch_one(sqlx::raw_sql(PID)).await?.try_get(0)?)
}

/// Whether the two connections are less than two sessions: a transaction pooler hands the server that the first one
/// has just let go to the second, or the first one another.
pub(crate) async fn is_pooled(first: &mut PgConnection, second: &mut PgConnection) -> Answer<bool> {
    let before: i32 = first.fetch_one(sqlx::raw_sql(MARK)).await?.try_get(0)?;
    let other: i32 = second.fetch_one(sqlx::raw_sql(OTHER)).await?.try_get(0)?;
    let row = first.fetch_one(sqlx::raw_sql(MARKED)).await?;
    let (after, mark): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    second.execute(sqlx::raw_sql("rollback")).await?;
    Ok(before == other || before != after || mark != "here")
}

/// Takes the migrators' lock, which the session holds to its end, if nobody has it.
pub(crate) async fn try_lock(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(TRY_LOCK).await?.try_get(0)?)
}

/// Who has it.
pub(crate) async fn lock_holders(connection: &mut PgConnection) -> Answer<Vec<Blocker>> {
    blockers(&connection.fetch_all(HOLDERS).await?)
}

/// Who is in the way of the session with that process.
pub(crate) async fn blockers_of(connection: &mut PgConnection, pid: i32) -> Answer<Vec<Blocker>> {
    blockers(&connection.fetch_all(sqlx::query(BLOCKERS).bind(pid)).await?)
}

fn blockers(rows: &[PgRow]) -> Answer<Vec<Blocker>> {
    let blocker = |row: &PgRow| {
        Ok(Blocker {
            pid: row.try_get(0)?,
            user: row.try_get(1)?,
            application: row.try_get(2)?,
            state: row.try_get(3)?,
            since: row.try_get(4)?,
        })
    };
    rows.iter().map(blocker).collect()
}

/// Ends the statement that the session is running. Our own login may.
pub(crate) async fn cancel(connection: &mut PgConnection, pid: i32) -> Answer<()> {
    connection.execute(sqlx::query(CANCEL).bind(pid)).await?;
    Ok(())
}

/// Begins a transaction that sees one snapshot to its end and changes nothing.
pub(crate) async fn begin_snapshot(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(sqlx::raw_sql(BEGIN_SNAPSHOT)).await?;
    Ok(())
}

/// The name by which other sessions see the same, for as long as this one's transaction lasts.
pub(crate) async fn export_snapshot(connection: &mut PgConnection) -> Answer<String> {
    Ok(connection.fetch_one(EXPORT_SNAPSHOT).await?.try_get(0)?)
}

/// As [`begin_snapshot`], with the snapshot that another session has exported.
pub(crate) async fn begin_same_snapshot(connection: &mut PgConnection, snapshot: &str) -> Answer<()> {
    begin_snapshot(connection).await?;
    let sql = format!("set transaction snapshot {}", literal(snapshot));
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(())
}

/// Ends either.
pub(crate) async fn end_snapshot(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(sqlx::raw_sql("rollback")).await?;
    Ok(())
}

/// What the next file's ledger row is to hold.
pub(crate) async fn set_checksum(connection: &mut PgConnection, checksum: &str) -> Answer<()> {
    connection.execute(sqlx::query(SET_CHECKSUM).bind(checksum)).await?;
    Ok(())
}

/// Sends statements as they are, by the simple protocol. Ends the transaction that a failed one leaves open.
pub(crate) async fn send(connection: &mut PgConnection, sql: &'static str) -> Answer<()> {
    finish(connection, sqlx::raw_sql(sql)).await
}

/// As [`send`], for text that was put together here.
pub(crate) async fn send_text(connection: &mut PgConnection, sql: String) -> Answer<()> {
    finish(connection, sqlx::raw_sql(AssertSqlSafe(sql))).await
}

async fn finish(connection: &mut PgConnection, sql: sqlx::RawSql) -> Answer<()> {
    let outcome = connection.execute(sql).await;
    if let Err(error) = outcome {
        let _ = connection.execute(sqlx::raw_sql("rollback")).await;
        return Err(AdminFault::from(error));
    }
    Ok(())
}
