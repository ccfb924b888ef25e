//! Compares what is stored in two places, inside the database. Counts and ids come back, never a value.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};
use uuid::Uuid;

use super::Answer;
use super::catalogue::Catalogue;
use crate::timestamp::{self, Timestamp};

const COLUMNS: &str = "
    select /* app-secrets */ name, legacy_values, sealed_values, mismatched, sample_business_ids
    from app_secrets.verify_legacy(p_from => $1, p_to => $2)";

const FAULTS: &str = "
    , judged as (
        select c.business_id, c.name,
            case
                when not app_secrets.is_reference(c.reference) then 'unsealed'
                when v.id is null then 'dangling'
                when app_secrets.reveal(c.business_id, c.name, c.reference) is null then 'undecryptable'
            end as fault
        from cells c
        left join vault.secrets v on v.name = c.vault_name and v.id::text = c.reference
    )
    select j.fault, pg_catalog.count(*),
        (pg_catalog.array_agg(j.name || ' of ' || j.business_id order by j.business_id, j.name))[1:10]
    from judged j
    where j.fault is not null
    group by j.fault";

/// Registered as ours, and referred to by nothing.
const ORPHANS: &str = "
    select /* app-secrets */ pg_catalog.count(*),
        coalesce((pg_catalog.array_agg(o.vault_id::text order by o.vault_id))[1:10], '{}')
    from app_secrets.orphans() o";
const ORPHANED: &str = "
    select /* app-secrets */ distinct o.business_id from app_secrets.orphans() o
    where $2::uuid is null or o.business_id > $2
    order by o.business_id
    limit $1";
const FIX_ORPHANS: &str =
    "select /* app-secrets */ f.put_back, f.removed from app_secrets.fix_orphans($1, $2) f";

/// Cells whose row in Vault is not in our register, and those that have no version.
const UNREGISTERED: &str = "
    select j.fault, pg_catalog.count(*),
        (pg_catalog.array_agg(j.name || ' of ' || j.business_id order by j.business_id, j.name))[1:10]
    from (
        select c.business_id, c.name, 'register' as fault
        from cells c
        join vault.secrets v on v.name = c.vault_name and v.id::text = c.reference
        where not exists (
            select from app_secrets.vault_rows r
            where r.vault_id = v.id and r.business_id = c.business_id and r.name = c.name and r.role = 'current')
        union all
        select c.business_id, c.name, 'version'
        from cells c
        where not exists (
            select from app_secrets.secret_versions v where v.business_id = c.business_id and v.name = c.name)) j
    group by j.fault";

/// Under the beginning of our names, and not registered as ours.
const STRANGERS: &str = "
    select /* app-secrets */ pg_catalog.count(*),
        coalesce((pg_catalog.array_agg(v.id::text order by v.id))[1:10], '{}')
    from vault.secrets v
    where (v.name like 'business\\_secrets/%' or v.name like 'app\\_secrets/%')
        and not exists (select from app_secrets.vault_rows r where r.vault_id = v.id)";

const HAS_VERIFICATIONS: &str = "select pg_catalog.to_regclass('app_secrets.verifications') is not null";
const RECORD: &str = "
    insert /* app-secrets */ into app_secrets.verifications (mismatched, dangling, undecryptable, unsealed, orphans, proven)
    values ($1, $2, $3, $4, $5, $6)";
const LAST: &str = "
    select /* app-secrets */ (extract(epoch from v.at) * 1000)::bigint, v.mismatched, v.dangling, v.undecryptable, v.unsealed,
        v.orphans, v.proven
    from app_secrets.verifications v
    order by v.id desc
    limit 1";

const TRIGGERS: &str = "
    select w.relation || '.' || w.name, t.tgname is not null
    from unnest($1::text[], $2::text[]) as w(relation, name)
    left join pg_catalog.pg_trigger t
        on t.tgrelid = pg_catalog.to_regclass(w.relation) and t.tgname = w.name
    where t.tgname is null or t.tgenabled not in ('O', 'A')";

const LEGACY_WRITES: &str = "
    select pg_catalog.count(*), (extract(epoch from pg_catalog.max(a.at)) * 1000)::bigint,
        coalesce((pg_catalog.array_agg(distinct
            pg_catalog.concat_ws('/', a.login, nullif(a.application_name, ''))))[1:5], '{}')
    from app_secrets.audit_log a
    where a.origin = 'legacy' and a.at > (select m.applied_at from app_secrets.migrations m where m.version = 3)";

/// How one plaintext column compares with its sealed one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnProof {
    /// The column.
    pub name: String,
    /// Businesses that have a value in plaintext.
    #[serde(rename = "plaintext")]
    pub legacy_values: i64,
    /// Businesses that have one in Vault.
    #[serde(rename = "sealed")]
    pub sealed_values: i64,
    /// Businesses where the two differ.
    pub mismatched: i64,
    /// At most ten of those.
    pub business_ids: Vec<Uuid>,
}

/// Something that is wrong, how often, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How many.
    pub count: i64,
    /// At most ten of them: `name of business`, or the id of a Vault row.
    pub samples: Vec<String>,
}

/// What a verification found, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// When; ISO 8601 in JSON.
    #[serde(serialize_with = "timestamp::as_text")]
    pub at: Timestamp,
    /// Values that differed from their plaintext.
    pub mismatched: i64,
    /// References without a Vault row of their own.
    pub dangling: i64,
    /// Values that Vault could not open.
    pub undecryptable: i64,
    /// Cells that held something other than a reference.
    pub unsealed: i64,
    /// Vault rows of ours that no cell referred to.
    pub orphans: i64,
    /// Every value was in Vault and opened, and every trigger was in place.
    #[serde(rename = "proven")]
    pub is_proof: bool,
}

/// Businesses from one key on, up to another one that is not among them; without a bound, all on that side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Option<Uuid>,
    pub(crate) to: Option<Uuid>,
}

/// Which cells are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cells {
    /// Those of all businesses in a range.
    Of(Range),
    /// Those of so many rows, from a random key on.
    Sample(u32),
}

/// What is wrong with sealed cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellFaults {
    pub(crate) dangling: Finding,
    pub(crate) undecryptable: Finding,
    pub(crate) unsealed: Finding,
}

/// Who still wrote the plaintext columns after they were backfilled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyWrites {
    /// How many values.
    pub count: i64,
    /// The last time.
    #[serde(serialize_with = "timestamp::as_text")]
    pub last_at: Option<Timestamp>,
    /// Login and application name, at most five.
    pub writers: Vec<String>,
}

/// The plaintext columns against Vault, of the businesses in a range of the key.
pub(crate) async fn columns(connection: &mut PgConnection, range: Range) -> Answer<Vec<ColumnProof>> {
    let rows = connection.fetch_all(sqlx::query(COLUMNS).bind(range.from).bind(range.to)).await?;
    let proof = |row: &PgRow| {
        Ok(ColumnProof {
            name: row.try_get(0)?,
            legacy_values: row.try_get(1)?,
            sealed_values: row.try_get(2)?,
            mismatched: row.try_get(3)?,
            business_ids: row.try_get(4)?,
        })
    };
    rows.iter().map(proof).collect()
}

/// Of each of these cells whether it refers to its own Vault row, and whether that opens. Gives how many cells there
/// were, too.
pub(crate) async fn cell_faults(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    which: Cells,
) -> Answer<(CellFaults, i64)> {
    let mut faults = CellFaults::default();
    let Some(cells) = catalogue.cells() else {
        return Ok((faults, 0));
    };
    let rows = rows_of(which);
    let cells = cells_of(&rows, &cells);
    let counted = format!("{cells} select pg_catalog.count(*) from cells");
    let sql = format!("{cells}{FAULTS}");
    for row in connection.fetch_all(sqlx::query(AssertSqlSafe(sql))).await? {
        let finding = Finding { count: row.try_get(1)?, samples: row.try_get(2)? };
        match row.try_get(0)? {
            "dangling" => faults.dangling = finding,
            "undecryptable" => faults.undecryptable = finding,
            _ => faults.unsealed = finding,
        }
    }
    let number = connection.fetch_one(sqlx::query(AssertSqlSafe(counted))).await?.try_get(0)?;
    Ok((faults, number))
}

/// The keys that part all businesses into ranges of `size`, in order, and how many businesses there are.
pub(crate) async fn bounds(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    size: i64,
) -> Answer<(Vec<Uuid>, i64)> {
    let sql = format!(
        "select /* app-secrets */ coalesce(pg_catalog.array_agg(k.id order by k.id) filter (where k.n % $1 = 0), '{{}}'), \
            pg_catalog.count(*) \
         from (select b.{key} as id, pg_catalog.row_number() over (order by b.{key}) as n from {owner} b) k",
        key = catalogue.key(),
        owner = catalogue.owner_table
    );
    let row = connection.fetch_one(sqlx::query(AssertSqlSafe(sql)).bind(size)).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Every sealed cell, or those of a sample of rows, that our own tables do not know: those whose row in Vault is not
/// registered, and those without a version.
pub(crate) async fn unknown_cells(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    which: Cells,
) -> Answer<(Finding, Finding)> {
    let (mut register, mut versions) = (Finding::default(), Finding::default());
    let Some(cells) = catalogue.cells() else {
        return Ok((register, versions));
    };
    let sql = cells_of(&rows_of(which), &cells) + UNREGISTERED;
    for row in connection.fetch_all(sqlx::query(AssertSqlSafe(sql))).await? {
        let finding = Finding { count: row.try_get(1)?, samples: row.try_get(2)? };
        match row.try_get(0)? {
            "register" => register = finding,
            _ => versions = finding,
        }
    }
    Ok((register, versions))
}

/// The rows of `business_secrets` that are meant. A sample begins at a random key and goes round: no scan of the table, and
/// another one every time.
fn rows_of(which: Cells) -> String {
    match which {
        Cells::Of(range) => {
            let bound = |operator, key: Option<Uuid>| {
                key.map(|key| format!(" and t.business_id {operator} '{key}'")).unwrap_or_default()
            };
            let bounds = bound(">=", range.from) + &bound("<", range.to);
            format!("(select t.* from public.business_secrets t where true{bounds})")
        }
        Cells::Sample(rows) => format!(
            "(with start as materialized (select pg_catalog.gen_random_uuid() as id), \
             upper as (select s.* from public.business_secrets s, start where s.business_id >= start.id \
                order by s.business_id limit {rows}), \
             lower as (select s.* from public.business_secrets s, start where s.business_id < start.id \
                order by s.business_id limit {rows}) \
             select t.* from (select u.* from upper u union all select l.* from lower l) t limit {rows})"
        ),
    }
}

fn cells_of(rows: &str, cells: &str) -> String {
    format!(
        "with /* app-secrets */ cells as materialized (
            select s.business_id, c.name, c.reference, 'business_secrets/' || s.business_id || '/' || c.name as vault_name
            from {rows} s
            cross join lateral (values {cells}) as c(name, reference)
            where c.reference is not null)"
    )
}

/// Rows of Vault that are ours, and that nothing refers to.
pub(crate) async fn orphans(connection: &mut PgConnection) -> Answer<Finding> {
    finding(connection, ORPHANS).await
}

/// Rows of Vault under names like ours that somebody else made, or that a restore separated from our register.
pub(crate) async fn strangers(connection: &mut PgConnection) -> Answer<Finding> {
    finding(connection, STRANGERS).await
}

async fn finding(connection: &mut PgConnection, sql: &'static str) -> Answer<Finding> {
    let row = connection.fetch_one(sql).await?;
    Ok(Finding { count: row.try_get(0)?, samples: row.try_get(1)? })
}

/// What became of orphans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FixedOrphans {
    /// Cells that refer to their row again.
    pub put_back: i64,
    /// Rows that nothing wanted, and that are gone.
    pub removed: i64,
}

/// Businesses that have orphans, of those after this one.
pub(crate) async fn orphaned(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> Answer<Vec<Uuid>> {
    let rows = connection.fetch_all(sqlx::query(ORPHANED).bind(limit).bind(after)).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Removes what nothing wants of one business, and puts back what its cells have lost where told, under its lock.
pub(crate) async fn fix_orphans(
    connection: &mut PgConnection,
    business: Uuid,
    put_back: bool,
) -> Answer<FixedOrphans> {
    let row = connection.fetch_one(sqlx::query(FIX_ORPHANS).bind(business).bind(put_back)).await?;
    Ok(FixedOrphans { put_back: row.try_get(0)?, removed: row.try_get(1)? })
}

/// Keeps what a verification found, for `status`.
pub(crate) async fn record(connection: &mut PgConnection, found: &Recorded) -> Answer<()> {
    let query = sqlx::query(RECORD)
        .bind(found.mismatched)
        .bind(found.dangling)
        .bind(found.undecryptable)
        .bind(found.unsealed)
        .bind(found.orphans)
        .bind(found.is_proof);
    connection.execute(query).await?;
    Ok(())
}

/// What the last verification found.
pub(crate) async fn last(connection: &mut PgConnection) -> Answer<Option<Recorded>> {
    if !connection.fetch_one(HAS_VERIFICATIONS).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let Some(row) = connection.fetch_optional(LAST).await? else {
        return Ok(None);
    };
    Ok(Some(Recorded {
        at: Timestamp(row.try_get(0)?),
        mismatched: row.try_get(1)?,
        dangling: row.try_get(2)?,
        undecryptable: row.try_get(3)?,
        unsealed: row.try_get(4)?,
        orphans: row.try_get(5)?,
        is_proof: row.try_get(6)?,
    }))
}

/// Which of these triggers, given as relation and name, are missing (`false`) or disabled (`true`).
pub(crate) async fn idle_triggers(
    connection: &mut PgConnection,
    triggers: &[(String, &str)],
) -> Answer<Vec<(String, bool)>> {
    let (relations, names): (Vec<&str>, Vec<&str>) =
        triggers.iter().map(|(relation, name)| (relation.as_str(), *name)).unzip();
    let rows = connection.fetch_all(sqlx::query(TRIGGERS).bind(relations).bind(names)).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub(crate) async fn legacy_writes(connection: &mut PgConnection) -> Answer<LegacyWrites> {
    let row = connection.fetch_one(LEGACY_WRITES).await?;
    Ok(LegacyWrites {
        count: row.try_get(0)?,
        last_at: row.try_get::<Option<i64>, _>(1)?.map(Timestamp),
        writers: row.try_get(2)?,
    })
}
