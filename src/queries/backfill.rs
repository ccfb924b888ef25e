//! The backfill of 003 and its undoing, batch by batch.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;

use super::catalogue::{Catalogue, identifier, literal};
use super::{Answer, session};
use crate::value;

const FILL: &str =
    "select /* app-secrets */ businesses, secrets, waiting, finished from app_secrets.backfill_batch($1)";
const CLAIM: &str = "select /* app-secrets */ app_secrets.claim_businesses($1)";
const FILL_CLAIMED: &str = "select /* app-secrets */ businesses, secrets from app_secrets.fill_claimed($1)";
const RESTORE: &str =
    "select /* app-secrets */ businesses, secrets, waiting, finished from app_secrets.restore_batch($1)";

const PROGRESS: &str = "
    select /* app-secrets */ p.finished, p.last_id, p.rows_done
    from app_secrets.backfill_progress p
    where p.phase = $1";

const CAN_RESTORE: &str = "select pg_catalog.to_regprocedure('app_secrets.begin_restore()') is not null";
const BEGIN_RESTORE: &str = "select app_secrets.begin_restore()";
const FINISH_RESTORE: &str =
    "select /* app-secrets */ kind, object, restored, problem from app_secrets.finish_restore()";
const IS_RESTORING: &str = "
    select exists (select from app_secrets.backfill_progress p where p.phase = 'restore')";
const HAS_LEFT: &str = "
    select exists (
        select from app_secrets.dropped_objects d
        join app_secrets.catalogue c on c.legacy_column = d.legacy_column and c.legacy_state in ('synced', 'filled')
        where d.kind <> 'column')";

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
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) total: i64,
    pub(crate) done: i64,
}

/// Something that 005 took with a column, and whether it is back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PutBack {
    /// `index`, `constraint`, `grant` and so on.
    pub kind: String,
    /// Its name.
    pub object: String,
    /// Whether it is there again.
    pub restored: bool,
    /// Why not. It is kept, and `rollback` tries it again.
    pub problem: Option<String>,
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

/// Takes the next businesses after the checkpoint for this session; none at the end.
pub(crate) async fn claim(connection: &mut PgConnection, limit: i32) -> Answer<Vec<Uuid>> {
    Ok(connection.fetch_one(sqlx::query(CLAIM).bind(limit)).await?.try_get(0)?)
}

/// Fills claimed businesses, as a transaction of its own. Gives how many were free, and how many secrets were written.
pub(crate) async fn fill_claimed(connection: &mut PgConnection, businesses: &[Uuid]) -> Answer<(i32, i32)> {
    let row = connection.fetch_one(sqlx::query(FILL_CLAIMED).bind(businesses)).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Counts all businesses, exactly: for runs that look at each of them anyway.
pub(crate) async fn totals(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    direction: Direction,
) -> Answer<Totals> {
    let phase = match direction {
        Direction::Fill => "fill",
        Direction::Restore => "restore",
    };
    let progress = connection.fetch_optional(sqlx::query(PROGRESS).bind(phase)).await?;
    let (finished, last): (bool, Option<Uuid>) = match &progress {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (false, None),
    };
    let sql = format!(
        "select /* app-secrets */ pg_catalog.count(*), pg_catalog.count(*) filter (where b.{} <= $1) from {} b",
        catalogue.key(),
        catalogue.owner_table
    );
    let row = connection.fetch_one(sqlx::query(AssertSqlSafe(sql)).bind(last)).await?;
    let total = row.try_get(0)?;
    Ok(Totals { total, done: if finished { total } else { row.try_get(1)? } })
}

/// Businesses that the backfill has looked at, and whether it is through. Costs one row.
pub(crate) async fn progress(connection: &mut PgConnection) -> Answer<(i64, bool)> {
    match connection.fetch_optional(sqlx::query(PROGRESS).bind("fill")).await? {
        Some(row) => Ok((row.try_get(2)?, row.try_get(0)?)),
        None => Ok((0, false)),
    }
}

/// Waits for a business that the batches had to leave out, so that whoever holds it can be seen.
pub(crate) async fn wait_for_locked(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    direction: Direction,
) -> Answer<()> {
    let (function, strength) = match direction {
        Direction::Fill => ("businesses_to_fill", "key share"),
        Direction::Restore => ("businesses_to_restore", "no key update"),
    };
    let sql = format!(
        "select /* app-secrets */ from {} b where b.{} = any (array(select f.id from app_secrets.{function}(1) as f(id))) \
         for {strength}",
        catalogue.owner_table,
        catalogue.key()
    );
    connection.execute(sqlx::query(AssertSqlSafe(sql))).await?;
    Ok(())
}

/// Whether 005 has ever run here: it brings what restores.
pub(crate) async fn can_restore(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(CAN_RESTORE).await?.try_get(0)?)
}

/// Puts the plaintext columns back, empty, with the sync, and takes 005 off the ledger. Refuses under another root key.
pub(crate) async fn begin_restore(connection: &mut PgConnection) -> Answer<()> {
    session::send(connection, BEGIN_RESTORE).await
}

/// Puts back what hung on the columns.
pub(crate) async fn finish_restore(connection: &mut PgConnection) -> Answer<Vec<PutBack>> {
    let rows = connection.fetch_all(FINISH_RESTORE).await?;
    let object = |row: &PgRow| {
        Ok(PutBack {
            kind: row.try_get(0)?,
            object: row.try_get(1)?,
            restored: row.try_get(2)?,
            problem: row.try_get(3)?,
        })
    };
    rows.iter().map(object).collect()
}

/// Whether a restore was begun and is not finished.
pub(crate) async fn is_restoring(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(IS_RESTORING).await?.try_get(0)?)
}

/// Whether something that hung on the columns is not back yet, though they are.
pub(crate) async fn has_left(connection: &mut PgConnection) -> Answer<bool> {
    Ok(connection.fetch_one(HAS_LEFT).await?.try_get(0)?)
}

/// Values that are longer than a sealed one may be: business and name, at most ten.
pub(crate) async fn too_long(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
) -> Answer<Vec<(Uuid, String)>> {
    let values: Vec<String> = catalogue
        .synced()
        .filter_map(|name| {
            let column = identifier(name.legacy_column.as_deref()?);
            Some(format!("({}, app_secrets.normalize(b.{column}::text))", literal(&name.name)))
        })
        .collect();
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select /* app-secrets */ b.{key}, c.name from {owner} b cross join lateral (values {values}) as c(name, value) \
         where pg_catalog.octet_length(c.value) > 65536 order by b.{key} limit 10",
        key = catalogue.key(),
        owner = catalogue.owner_table,
        values = values.join(", ")
    );
    let rows = connection.fetch_all(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Values that stand in the plaintext columns of the owner table. Reads all of it.
pub(crate) async fn plaintext_values(connection: &mut PgConnection, catalogue: &Catalogue) -> Answer<i64> {
    let columns = catalogue.synced().filter_map(|name| name.legacy_column.as_deref());
    count_values(connection, columns.map(trimmed).collect(), &catalogue.owner_table).await
}

/// Values that stand in cells of `business_secrets`, where 003 seals them in place. Reads all of it.
pub(crate) async fn values_in_place(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    is_migrated: bool,
) -> Answer<i64> {
    let cells = catalogue.sealed().filter(|name| matches!(name.in_place.as_str(), "pending" | "sealing"));
    let values = cells.map(|name| {
        let (value, column) = (trimmed(&name.name), identifier(&name.name));
        if !is_migrated {
            return value;
        }
        format!(
            "case when not (app_secrets.is_reference(t.{column}::text) \
             and app_secrets.is_known(t.business_id, {name}, t.{column}::text)) then {value} end",
            name = literal(&name.name)
        )
    });
    count_values(connection, values.collect(), "public.business_secrets").await
}

/// A column of `t`; null where it is blank. Before 002 there is no `app_secrets.normalize`.
fn trimmed(column: &str) -> String {
    format!(
        "nullif(pg_catalog.btrim(t.{}::text, {}), '')",
        identifier(column),
        literal(&value::white_space())
    )
}

async fn count_values(connection: &mut PgConnection, values: Vec<String>, table: &str) -> Answer<i64> {
    if values.is_empty() {
        return Ok(0);
    }
    let values = values.join(", ");
    let sql = format!(
        "select /* app-secrets */ coalesce(pg_catalog.sum(pg_catalog.num_nonnulls({values})), 0)::bigint from {table} t"
    );
    Ok(connection.fetch_one(sqlx::query(AssertSqlSafe(sql))).await?.try_get(0)?)
}
