//! The backfill of 003 and its undoing, batch by batch.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::{Answer, session};

const FILL: &str = "select businesses, secrets, waiting, finished from app_secrets.backfill_batch($1)";
const RESTORE: &str = "select businesses, secrets, waiting, finished from app_secrets.restore_batch($1)";

const FIRST_PASS: &str = "
    select p.last_id, coalesce(p.finished, false),
        session_user = (
            select pg_catalog.pg_get_userbyid(n.nspowner) from pg_catalog.pg_namespace n where n.nspname = 'app_secrets')
    from (select 1) one
    left join app_secrets.backfill_progress p on p.phase = 'businesses'";
const FIRST_IDS: &str = "select array(select b.id from public.businesses b order by b.id limit $1)";
const NEXT_IDS: &str =
    "select array(select b.id from public.businesses b where b.id > $2 order by b.id limit $1)";
const BUSINESSES: &str = "select businesses, secrets from app_secrets.backfill_businesses($1)";
const CHECKPOINT: &str = "
    insert into app_secrets.backfill_progress as p (phase, last_id, rows_done, finished)
    values ('businesses', $1, $2, $3)
    on conflict (phase) do update set last_id = greatest(p.last_id, excluded.last_id),
        rows_done = p.rows_done + excluded.rows_done, finished = excluded.finished,
        updated_at = pg_catalog.clock_timestamp()";

const TOTALS: &str = "
    select t.total,
        coalesce((
            select case when p.finished then t.total
                else (select pg_catalog.count(*) from public.businesses b where b.id <= p.last_id) end
            from app_secrets.backfill_progress p
            where p.phase = $1), 0)
    from (select pg_catalog.count(*) as total from public.businesses) t";

// Waits for a business that the batches had to leave out, so that whoever holds it can be seen.
const WAIT_TO_FILL: &str = "
    select from public.businesses b
    where b.id = any (array(select f.id from app_secrets.businesses_to_fill(1) as f(id)))
    for key share";
const WAIT_TO_RESTORE: &str = "
    select from public.businesses b
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
    select b.id, c.name
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
    select pg_catalog.count(*), coalesce(pg_catalog.sum(c.filled), 0)::bigint
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

/// Where the first pass over the businesses stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstPass {
    pub(crate) last: Option<Uuid>,
    pub(crate) is_finished: bool,
    /// Sessions side by side are for the owner of our schema only.
    pub(crate) is_owner: bool,
}

pub(crate) async fn first_pass(connection: &mut PgConnection) -> Answer<FirstPass> {
    let row = connection.fetch_one(FIRST_PASS).await?;
    Ok(FirstPass { last: row.try_get(0)?, is_finished: row.try_get(1)?, is_owner: row.try_get(2)? })
}

/// The next businesses after that one, at most so many, in order.
pub(crate) async fn next_ids(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    limit: i32,
) -> Answer<Vec<Uuid>> {
    let row = match after {
        None => connection.fetch_one(sqlx::query(FIRST_IDS).bind(limit)).await?,
        Some(after) => connection.fetch_one(sqlx::query(NEXT_IDS).bind(limit).bind(after)).await?,
    };
    Ok(row.try_get(0)?)
}

/// Fills these, as a transaction of its own, beside other sessions that fill others. Gives how many businesses it could
/// lock, and how many secrets it wrote.
pub(crate) async fn fill(connection: &mut PgConnection, ids: &[Uuid]) -> Answer<(i32, i32)> {
    let row = connection.fetch_one(sqlx::query(BUSINESSES).bind(ids)).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Records that everything up to that business has been looked at, and how many more that were.
pub(crate) async fn checkpoint(
    connection: &mut PgConnection,
    last: Option<Uuid>,
    businesses: i64,
    is_finished: bool,
) -> Answer<()> {
    connection.execute(sqlx::query(CHECKPOINT).bind(last).bind(businesses).bind(is_finished)).await?;
    Ok(())
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
