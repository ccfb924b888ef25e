//! What the tables are like from outside: how many rows, which files, how large.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::Answer;

/// Up to here rows are counted, which takes some milliseconds; beyond, the planner's estimate is near enough.
const COUNTED: i64 = 100_000;

const ESTIMATE: &str = "
    select /* app-secrets */ c.reltuples::bigint from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1)";

const REWRITTEN: &str = "
    select /* app-secrets */
        coalesce(pg_catalog.bool_and(m.plaintext_filenode is distinct from
            pg_catalog.pg_relation_filenode(pg_catalog.to_regclass(s.owner_table))) filter (where m.version = 5), true),
        coalesce(pg_catalog.bool_and(m.plaintext_filenode is distinct from
            pg_catalog.pg_relation_filenode('public.business_secrets')) filter (where m.version = 3), true)
            or not exists (select from app_secrets.catalogue c where c.in_place = 'sealed' and c.sealed)
    from app_secrets.settings s
    left join app_secrets.migrations m on true
    group by s.owner_table";

/// Whether the tables were rewritten since they held plaintext, or never held any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) owner: bool,
    pub(crate) business_secrets: bool,
}

impl Rewritten {
    pub(crate) const fn is_clean(self) -> bool {
        self.owner && self.business_secrets
    }
}

/// How many rows a table has: exactly up to a bound, estimated beyond it. `table` is as the database prints it.
pub(crate) async fn rows(connection: &mut PgConnection, table: &str) -> Answer<i64> {
    let sql = format!(
        "select /* app-secrets */ pg_catalog.count(*) from (select from {table} limit {}) t",
        COUNTED + 1
    );
    let counted: i64 = connection.fetch_one(sqlx::query(AssertSqlSafe(sql))).await?.try_get(0)?;
    if counted <= COUNTED {
        return Ok(counted);
    }
    let row = connection.fetch_optional(sqlx::query(ESTIMATE).bind(table)).await?;
    let estimate: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    Ok(estimate.max(counted))
}

pub(crate) async fn rewritten(connection: &mut PgConnection) -> Answer<Rewritten> {
    match connection.fetch_optional(REWRITTEN).await? {
        Some(row) => Ok(Rewritten { owner: row.try_get(0)?, business_secrets: row.try_get(1)? }),
        None => Ok(Rewritten { owner: true, business_secrets: true }),
    }
}
