//! Compares what is stored in two places, inside the database. Counts and ids come back, never a value.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Answer;
use crate::timestamp::Timestamp;

const COLUMNS: &str = "
    select /* app-secrets */ name, legacy_values, sealed_values, mismatched, sample_business_ids
    from app_secrets.verify_legacy()";

/// Every sealed cell, once: `name` says whose Vault row it must be.
const CELLS: &str = "
    with /* app-secrets */ cells as (
        select s.business_id, c.name, c.reference,
            'business_secrets/' || s.business_id || '/' || c.name as vault_name
        from public.business_secrets s
        cross join lateral (values
            ('gemini_api_key', s.gemini_api_key), ('grok_api_key', s.grok_api_key),
            ('claude_api_key', s.claude_api_key), ('youtube_api_key', s.youtube_api_key),
            ('kling_access_key', s.kling_access_key), ('kling_secret_key', s.kling_secret_key),
            ('global_sms_api_key', s.global_sms_api_key), ('whatsapp_api_key', s.whatsapp_api_key),
            ('google_access_token', s.google_access_token), ('google_refresh_token', s.google_refresh_token)
        ) as c(name, reference)
        where c.reference is not null
    )";
const FAULTS: &str = "
    , judged as (
        select c.business_id, c.name,
            case
                when c.reference !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then 'unsealed'
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
const ORPHANS: &str = "
    select pg_catalog.count(*), coalesce((pg_catalog.array_agg(v.id::text order by v.id))[1:10], '{}')
    from vault.secrets v
    where v.name like 'business\\_secrets/%' and not exists (
        select from cells c where c.vault_name = v.name and c.reference = v.id::text)";

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnProof {
    /// The column.
    pub name: String,
    /// Businesses that have a value in plaintext.
    pub legacy_values: i64,
    /// Businesses that have one in Vault.
    pub sealed_values: i64,
    /// Businesses where the two differ.
    pub mismatched: i64,
    /// At most ten of those.
    pub business_ids: Vec<Uuid>,
}

/// Something that is wrong, how often, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// How many.
    pub count: i64,
    /// At most ten of them: `name of business`, or the id of a Vault row.
    pub samples: Vec<String>,
}

/// What is wrong with sealed cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellFaults {
    pub(crate) dangling: Finding,
    pub(crate) undecryptable: Finding,
    pub(crate) unsealed: Finding,
}

/// Who still wrote the plaintext columns after they were backfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyWrites {
    /// How many values.
    pub count: i64,
    /// The last time.
    pub last_at: Option<Timestamp>,
    /// Login and application name, at most five.
    pub writers: Vec<String>,
}

pub(crate) async fn columns(connection: &mut PgConnection) -> Answer<Vec<ColumnProof>> {
    let rows = connection.fetch_all(COLUMNS).await?;
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

pub(crate) async fn cell_faults(connection: &mut PgConnection) -> Answer<CellFaults> {
    let mut faults = CellFaults::default();
    let sql = sqlx::AssertSqlSafe(format!("{CELLS}{FAULTS}"));
    for row in connection.fetch_all(sqlx::query(sql)).await? {
        let finding = Finding { count: row.try_get(1)?, samples: row.try_get(2)? };
        match row.try_get(0)? {
            "dangling" => faults.dangling = finding,
            "undecryptable" => faults.undecryptable = finding,
            _ => faults.unsealed = finding,
        }
    }
    Ok(faults)
}

/// Vault rows of cells that do not refer to them.
pub(crate) async fn orphans(connection: &mut PgConnection) -> Answer<Finding> {
    let sql = sqlx::AssertSqlSafe(format!("{CELLS}{ORPHANS}"));
    let row = connection.fetch_one(sqlx::query(sql)).await?;
    Ok(Finding { count: row.try_get(0)?, samples: row.try_get(1)? })
}

/// Which of these triggers, given as relation and name, are missing (`false`) or disabled (`true`).
pub(crate) async fn idle_triggers(
    connection: &mut PgConnection,
    triggers: &[(&str, &str)],
) -> Answer<Vec<(String, bool)>> {
    let (relations, names): (Vec<&str>, Vec<&str>) = triggers.iter().copied().unzip();
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
