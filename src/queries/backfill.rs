//! The backfill of 003 and its undoing, batch by batch.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::{Answer, session};

const FILL: &str =
    "select /* app-secrets */ businesses, secrets, waiting, finished from app_secrets.backfill_batch($1)";
const RESTORE: &str =
    "select /* app-secrets */ businesses, secrets, waiting, finished from app_secrets.restore_batch($1)";

const TOTALS: &str = "
    select /* app-secrets */ t.total,
        coalesce((
            select case when p.finished then t.total
                else (select pg_catalog.count(*) from public.businesses b where b.id <= p.last_id) end
            from app_secrets.backfill_progress p
            where p.phase = $1), 0)
    from (select pg_catalog.count(*) as total from public.businesses) t";

// Waits for a business that the batches had to leave out, so that whoever holds it can be seen.
const WAIT_TO_FILL: &str = "
    select /* app-secrets */ from public.businesses b
    where b.id = any (array(select f.id from app_secrets.businesses_to_fill(1) as f(id)))
    for key share";
const WAIT_TO_RESTORE: &str = "
    select /* app-secrets */ from public.businesses b
    where b.id = any (array(
        select c.id from public.businesses c where app_secrets.legacy_cells_to_restore(c.id) is not null limit 1))
    for no key update";

const BEGIN_RESTORE: &str = "
    begin;
    set local search_path = '';
    select app_secrets.begin_restore();
    commit";
const IS_RESTORING: &str = "
    select exists (select from app_secrets.backfill_progress p where p.phase = 'restore')";

const TOO_LONG: &str = "
    select /* app-secrets */ b.id, c.name
    from public.businesses b
    cross join lateral (values
        ('gemini_api_key', b.gemini_api_key::text), ('grok_api_key', b.grok_api_key::text),
        ('claude_api_key', b.claude_api_key::text), ('youtube_api_key', b.youtube_api_key::text),
        ('kling_access_key', b.kling_access_key::text), ('kling_secret_key', b.kling_secret_key::text),
        ('global_sms_api_key', b.global_sms_api_key::text), ('whatsapp_api_key', b.whatsapp_api_key::text)
    ) as c(name, value)
    where pg_catalog.octet_length(pg_catalog.btrim(c.value)) > 65536
    order by b.id
    limit 10";
const PLAINTEXT: &str = "
    select /* app-secrets */ pg_catalog.count(*), coalesce(pg_catalog.sum(c.filled), 0)::bigint
    from (
        select pg_catalog.num_nonnulls(
            nullif(pg_catalog.btrim(b.gemini_api_key::text), ''), nullif(pg_catalog.btrim(b.grok_api_key::text), ''),
            nullif(pg_catalog.btrim(b.claude_api_key::text), ''), nullif(pg_catalog.btrim(b.youtube_api_key::text), ''),
            nullif(pg_catalog.btrim(b.kling_access_key::text), ''),
            nullif(pg_catalog.btrim(b.kling_secret_key::text), ''),
            nullif(pg_catalog.btrim(b.global_sms_api_key::text), ''),
            nullif(pg_catalog.btrim(b.whatsapp_api_key::text), '')) as filled
        from public.businesses b
    ) c";

/// Which way the values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Into Vault.
    Fill,
    /// Back into the plaintext columns.
    Restore,
}

/// What one batch did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) businesses: i32,
    pub(crate) secrets: i32,
    /// What is left is locked by others.
    pub(crate) waiting: bool,
    pub(crate) finished: bool,
}

/// How far it is, in businesses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) total: i64,
    pub(crate) done: i64,
}

/// Runs one batch, as a transaction of its own.
pub(crate) async fn batch(connection: &mut PgConnection, direction: Direction, limit: i32) -> Answer<Batch> {
    let sql = match direction {
        Direction::Fill => FILL,
        Direction::Restore => RESTORE,
    };
    let row = connection.fetch_one(sqlx::query(sql).bind(limit)).await?;
    Ok(Batch {
        businesses: row.try_get(0)?,
        secrets: row.try_get(1)?,
        waiting: row.try_get(2)?,
        finished: row.try_get(3)?,
    })
}

pub(crate) async fn totals(connection: &mut PgConnection, direction: Direction) -> Answer<Totals> {
    let phase = match direction {
        Direction::Fill => "businesses",
        Direction::Restore => "restore",
    };
    let row = connection.fetch_one(sqlx::query(TOTALS).bind(phase)).await?;
    Ok(Totals { total: row.try_get(0)?, done: row.try_get(1)? })
}

pub(crate) async fn wait_for_locked(connection: &mut PgConnection, direction: Direction) -> Answer<()> {
    let sql = match direction {
        Direction::Fill => WAIT_TO_FILL,
        Direction::Restore => WAIT_TO_RESTORE,
    };
    connection.execute(sql).await?;
    Ok(())
}

/// Puts the plaintext columns back, empty, with the sync, and takes 005 off the ledger.
pub(crate) async fn begin_restore(connection: &mut PgConnection) -> Answer<()> {
    session::send(connection, BEGIN_RESTORE).await
}

/// Whether a restore was begun and is not finished.
pub(crate) async fn is_restoring(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(IS_RESTORING).await?.try_get(0)?)
}

/// Values that are longer than a sealed one may be: business and name, at most ten.
pub(crate) async fn too_long(connection: &mut PgConnection) -> Answer<Vec<(Uuid, String)>> {
    let rows = connection.fetch_all(TOO_LONG).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// How many businesses and plaintext values there are, before anything is applied.
pub(crate) async fn plaintext(connection: &mut PgConnection) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(PLAINTEXT).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
