//! What a database looks like before anything of ours is in it: tables that may own secrets, their columns, and the
//! functions that may say who may access what.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::Answer;

/// Ordinary tables with a uuid of their own that is never missing and never comes twice.
const TABLES: &str = "
    select n.nspname::text, c.relname::text, pg_catalog.format('%I.%I', n.nspname, c.relname), k.attname::text
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join lateral (
        select a.attname
        from pg_catalog.pg_index i
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indnkeyatts = 1
            and i.indpred is null and i.indexprs is null and a.atttypid = 'uuid'::pg_catalog.regtype
            and (a.attnotnull or i.indisprimary)
        order by i.indisprimary desc, a.attnum
        limit 1
    ) k on true
    where c.relkind = 'r' and c.relpersistence = 'p' and not c.relispartition
        and n.nspname !~ '^pg_' and n.nspname not in (
            'information_schema', 'app_secrets', 'vault', 'auth', 'storage', 'realtime', 'extensions', 'graphql', 'net', 'cron',
            'pgsodium', 'supabase_functions', 'supabase_migrations')
        and c.oid is distinct from pg_catalog.to_regclass('public.business_secrets')
    order by n.nspname <> 'public', n.nspname, c.relname";

/// Columns of a table, domains as what they are made of.
const COLUMNS: &str = "
    with recursive layers (attnum, type) as (
        select a.attnum, a.atttypid from pg_catalog.pg_attribute a
        where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
        union all
        select l.attnum, t.typbasetype
        from layers l join pg_catalog.pg_type t on t.oid = l.type and t.typtype = 'd'
    )
    select a.attname::text, t.typname::text, exists (
            select from pg_catalog.pg_constraint k
            where k.conrelid = a.attrelid and k.contype = 'f' and k.conkey = array[a.attnum]
                and k.confrelid = pg_catalog.to_regclass('auth.users'))
    from pg_catalog.pg_attribute a
    join layers l on l.attnum = a.attnum
    join pg_catalog.pg_type t on t.oid = l.type and t.typtype <> 'd'
    where a.attrelid = pg_catalog.to_regclass($1)
    order by a.attnum";

/// Functions of the app's that give ids of what the signed-in user may access, as the pre-flight takes them.
const FUNCTIONS: &str = "
    select pg_catalog.format('%I.%I()', n.nspname, p.proname)
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.prokind = 'f' and p.prosecdef and p.proretset and p.prorettype = 'uuid'::pg_catalog.regtype and p.pronargs = 0
        and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'app_secrets', 'extensions', 'auth', 'storage')
        and p.proname ~* 'ids?$|_for_user$|^(my|current|accessible|visible)_'
    order by n.nspname <> 'public', n.nspname, p.proname";

/// What an installation of ours has recorded, as `app-secrets.json` has it. Columns that were dropped too: a database that is made
/// anew from the app's own migrations has them.
const RECORDED: &str = "
    select pg_catalog.jsonb_build_object(
        'owner_table', s.owner_table, 'owner_key', s.owner_key,
        'access', case
            when s.access_function is not null then pg_catalog.jsonb_build_object('function', s.access_function)
            when s.access_column is not null then pg_catalog.jsonb_build_object('column', s.access_column) end,
        'secrets', (
            select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'name', c.name, 'label', c.label, 'sealed', c.sealed, 'type', c.type,
                'legacy_column', c.legacy_column) order by c.position), '[]')
            from app_secrets.catalogue c where c.retired_at is null))::text
    from app_secrets.settings s";

/// A table that may own secrets.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) schema: String,
    pub(crate) relation: String,
    /// Quoted where it has to be.
    pub(crate) name: String,
    pub(crate) key: String,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The type that it is made of, without modifiers.
    pub(crate) kind: String,
    /// It refers to `auth.users`.
    pub(crate) is_user: bool,
}

pub(crate) async fn tables(connection: &mut PgConnection) -> Answer<Vec<Table>> {
    let rows = connection.fetch_all(TABLES).await?;
    let table = |row: &PgRow| {
        Ok(Table {
            schema: row.try_get(0)?,
            relation: row.try_get(1)?,
            name: row.try_get(2)?,
            key: row.try_get(3)?,
        })
    };
    rows.iter().map(table).collect()
}

/// Of a table by its quoted name; none where there is no such table.
pub(crate) async fn columns(connection: &mut PgConnection, table: &str) -> Answer<Vec<Column>> {
    let rows = connection.fetch_all(sqlx::query(COLUMNS).bind(table)).await?;
    let column =
        |row: &PgRow| Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)?, is_user: row.try_get(2)? });
    rows.iter().map(column).collect()
}

pub(crate) async fn access_functions(connection: &mut PgConnection) -> Answer<Vec<String>> {
    connection.fetch_all(FUNCTIONS).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The catalogue that the database has, as JSON.
pub(crate) async fn recorded(connection: &mut PgConnection) -> Answer<Option<String>> {
    let row = connection.fetch_optional(RECORDED).await?;
    row.map(|row| Ok(row.try_get(0)?)).transpose()
}
