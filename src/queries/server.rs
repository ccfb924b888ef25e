//! The server around the tables: its wire, clock, log, Vault and publications.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::catalogue::Catalogue;
use super::{AdminFault, Answer};
use crate::error::Error;

const TLS: &str =
    "select s.ssl, s.version from pg_catalog.pg_stat_ssl s where s.pid = pg_catalog.pg_backend_pid()";
const CLOCK: &str = "select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint";

/// What goes for a login without settings of its own. Where our own login was given one, what goes for the others
/// cannot be seen from here, and the server's default is assumed.
const LOG_SETTINGS: &str = "
    select s.name, coalesce(
        case when p.source in ('user', 'database user') then p.boot_val end,
        pg_catalog.current_setting(s.name, true), '')
    from pg_catalog.unnest(array['log_statement', 'log_min_duration_statement', 'log_min_duration_sample',
        'log_statement_sample_rate', 'log_transaction_sample_rate', 'log_parameter_max_length',
        'log_parameter_max_length_on_error', 'debug_print_plan', 'pgaudit.log', 'pgaudit.log_parameter',
        'auto_explain.log_min_duration', 'auto_explain.log_parameter_max_length', 'auto_explain.log_verbose',
        'auto_explain.log_nested_statements', 'auto_explain.sample_rate']) as s(name)
    left join pg_catalog.pg_settings p on p.name = s.name";

const LOG_SERVER: &str = "
    select pg_catalog.current_setting('server_version_num')::int / 10000,
        pg_catalog.quote_ident(pg_catalog.current_database())";

/// The logins that can write a secret, in plaintext or sealed, with what each was given in place of the server's and
/// the database's settings; what goes for this database comes last, and wins. Superusers are the platform's own.
const LOGINS: &str = "
    with writers as materialized (
        select r.oid
        from pg_catalog.pg_roles r
        where exists (
                select from pg_catalog.unnest(array[$1, 'public.business_secrets']) as t(name)
                where pg_catalog.has_any_column_privilege(
                    r.oid, pg_catalog.to_regclass(t.name), 'insert, update'))
            or exists (
                select from pg_catalog.pg_proc p
                where p.pronamespace = 'public'::pg_catalog.regnamespace and p.proname = 'set_business_secrets'
                    and pg_catalog.has_function_privilege(r.oid, p.oid, 'execute'))
    )
    select r.rolname::text, pg_catalog.quote_ident(r.rolname), array(
        select c.setting
        from pg_catalog.pg_db_role_setting s
        cross join pg_catalog.unnest(s.setconfig) as c(setting)
        left join pg_catalog.pg_database d on d.oid = s.setdatabase
        where s.setrole = r.oid and (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
        order by s.setdatabase)
    from pg_catalog.pg_roles r
    where r.rolcanlogin and (
        r.rolname = session_user
        or (not r.rolsuper and exists (
            select from writers w where pg_catalog.pg_has_role(r.oid, w.oid, 'member'))))
    order by r.rolname";

const VAULT: &str = "
    select (select e.extversion from pg_catalog.pg_extension e where e.extname = 'supabase_vault'),
        pg_catalog.to_regclass('vault.secrets') is not null";

const CANARY: &str = "
    select s.id::text, (select d.decrypted_secret = 'app-secrets canary' from vault.decrypted_secrets d where d.id = s.id)
    from vault.secrets s
    join app_secrets.vault_rows r on r.vault_id = s.id and r.role = 'canary'";
const HAS_CANARY: &str = "
    select exists (
        select from vault.secrets s join app_secrets.vault_rows r on r.vault_id = s.id and r.role = 'canary')";
const MAKE: &str = "
    select vault.create_secret('', 'app_secrets/doctor/' || pg_catalog.gen_random_uuid(), 'Undone at once')";
const FILL: &str = "select vault.update_secret($1, 'app-secrets doctor')";
const READ: &str = "
    select d.decrypted_secret = 'app-secrets doctor' from vault.decrypted_secrets d where d.id = $1";

const PUBLISHED: &str = "
    select t.pubname::text, pg_catalog.format('%I.%I', t.schemaname, t.tablename)
    from pg_catalog.pg_publication_tables t
    where t.schemaname = 'app_secrets' or (t.schemaname, t.tablename) in (
            ('public', 'business_secrets'), ('vault', 'secrets'))
        or (pg_catalog.format('%I.%I', t.schemaname, t.tablename) = $1 and (t.attnames is null or t.attnames && $2::name[]))
    order by 1, 2";
const HAS_REALTIME: &str =
    "select exists (select from pg_catalog.pg_publication p where p.pubname = 'supabase_realtime')";

/// Sealed columns without a validated constraint, and how many of the planner's samples of them are no references.
const CELL_GUARDS: &str = "
    select
        array(
            select c.name from pg_catalog.unnest($1::text[]) as c(name)
            where not exists (
                select from pg_catalog.pg_constraint k
                where k.conrelid = pg_catalog.to_regclass('public.business_secrets')
                    and k.conname = c.name || '_is_reference' and k.convalidated)
            order by 1),
        (
            select pg_catalog.count(*)
            from pg_catalog.pg_stats s
            cross join lateral pg_catalog.unnest(
                coalesce(s.most_common_vals::text::text[], '{}') || coalesce(s.histogram_bounds::text::text[], '{}')
            ) as v(value)
            where s.schemaname = 'public' and s.tablename = 'business_secrets' and s.attname = any ($1)
                and v.value !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')";

const COLUMNS_BACK: &str = "
    select /* app-secrets */ $1 || '.' || a.attname
    from pg_catalog.pg_attribute a
    where a.attrelid = pg_catalog.to_regclass($1) and a.attname = any ($2::name[]) and a.attnum > 0 and not a.attisdropped
    order by a.attnum";

/// What Vault is.
#[derive(Debug)]
pub(crate) struct Vault {
    /// The extension's version; `None` where the schema was made by something else.
    pub(crate) version: Option<String>,
    pub(crate) exists: bool,
}

/// What became of the secret that 002 sealed to tell a wrong root key from a broken row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canary {
    Alive,
    /// It does not open, under this root key.
    Dead,
    Missing,
}

/// The protocol version of an encrypted connection.
pub(crate) async fn tls(connection: &mut PgConnection) -> Answer<Option<String>> {
    let row = connection.fetch_optional(TLS).await?;
    match row {
        Some(row) if row.try_get(0)? => Ok(row.try_get(1)?),
        _ => Ok(None),
    }
}

/// Milliseconds since 1970 by the server's clock.
pub(crate) async fn clock(connection: &mut PgConnection) -> Answer<i64> {
    Ok(connection.fetch_one(CLOCK).await?.try_get(0)?)
}

/// The settings that decide what the server logs.
#[derive(Debug)]
pub(crate) struct LogSettings {
    /// The server's major version.
    pub(crate) major: i32,
    /// The database's name, quoted for SQL.
    pub(crate) database: String,
    /// By name; empty where the server does not know one.
    pub(crate) values: Vec<(String, String)>,
}

/// A login that can write secrets.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) name: String,
    /// Quoted for SQL.
    pub(crate) quoted: String,
    /// Its own settings; the last of a name wins.
    pub(crate) settings: Vec<(String, String)>,
}

pub(crate) async fn log_settings(connection: &mut PgConnection) -> Answer<LogSettings> {
    let row = connection.fetch_one(LOG_SERVER).await?;
    let values = pairs(&connection.fetch_all(LOG_SETTINGS).await?)?;
    Ok(LogSettings { major: row.try_get(0)?, database: row.try_get(1)?, values })
}

pub(crate) async fn logins(connection: &mut PgConnection, owner_table: &str) -> Answer<Vec<Login>> {
    let rows = connection.fetch_all(sqlx::query(LOGINS).bind(owner_table)).await?;
    let login = |row: &PgRow| {
        let settings: Vec<String> = row.try_get(2)?;
        let pair = |setting: &String| {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(Login {
            name: row.try_get(0)?,
            quoted: row.try_get(1)?,
            settings: settings.iter().map(pair).collect(),
        })
    };
    rows.iter().map(login).collect()
}

pub(crate) async fn vault(connection: &mut PgConnection) -> Answer<Vault> {
    let row = connection.fetch_one(VAULT).await?;
    Ok(Vault { version: row.try_get(0)?, exists: row.try_get(1)? })
}

pub(crate) async fn canary(connection: &mut PgConnection) -> Answer<Canary> {
    if !connection.fetch_one(HAS_CANARY).await?.try_get::<bool, _>(0)? {
        return Ok(Canary::Missing);
    }
    match connection.fetch_one(CANARY).await {
        Ok(row) if row.try_get::<Option<bool>, _>(1)? == Some(true) => Ok(Canary::Alive),
        Ok(_) => Ok(Canary::Dead),
        Err(error) => match AdminFault::from(error) {
            // What does not open is an error to Vault.
            AdminFault::Other(Error::Server { sqlstate }) if sqlstate.starts_with("22") => Ok(Canary::Dead),
            fault => Err(fault),
        },
    }
}

/// Whether Vault gives back what it is given, now. Undone at once, and no secret.
pub(crate) async fn round_trip(connection: &mut PgConnection) -> Answer<bool> {
    connection.execute("begin").await?;
    let outcome = make_and_read(connection).await;
    connection.execute("rollback").await?;
    outcome
}

async fn make_and_read(connection: &mut PgConnection) -> Answer<bool> {
    let id: Uuid = connection.fetch_one(MAKE).await?.try_get(0)?;
    connection.execute(sqlx::query(FILL).bind(id)).await?;
    Ok(connection.fetch_one(sqlx::query(READ).bind(id)).await?.try_get(0)?)
}

/// Publication and table, of tables that should not, or should, be published.
/// `columns` are those of the owner table that hold plaintext.
pub(crate) async fn published(
    connection: &mut PgConnection,
    owner_table: &str,
    columns: &[String],
) -> Answer<Vec<(String, String)>> {
    pairs(&connection.fetch_all(sqlx::query(PUBLISHED).bind(owner_table).bind(columns)).await?)
}

pub(crate) async fn has_realtime(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(HAS_REALTIME).await?.try_get(0)?)
}

/// Sealed columns without their constraint, and plaintext in the planner's samples.
pub(crate) async fn cell_guards(
    connection: &mut PgConnection,
    columns: &[&str],
) -> Answer<(Vec<String>, i64)> {
    let row = connection.fetch_one(sqlx::query(CELL_GUARDS).bind(columns)).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Plaintext columns that 005 dropped and that are there again, as `table.column`.
pub(crate) async fn columns_back(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
) -> Answer<Vec<String>> {
    let dropped = catalogue.names.iter().filter(|name| name.legacy_state == "dropped");
    let columns: Vec<&str> = dropped.filter_map(|name| name.legacy_column.as_deref()).collect();
    let rows =
        connection.fetch_all(sqlx::query(COLUMNS_BACK).bind(&catalogue.owner_table).bind(columns)).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn pairs(rows: &[PgRow]) -> Answer<Vec<(String, String)>> {
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
