//! What the tables are like from outside: how many rows, which files, how large.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::Answer;

const BUSINESSES: &str = "select /* app-secrets */ pg_catalog.count(*) from public.businesses";
const REWRITTEN: &str = "
    select
        coalesce(pg_catalog.bool_and(m.plaintext_filenode is distinct from
            pg_catalog.pg_relation_filenode('public.businesses')) filter (where m.version = 5), false),
        coalesce(pg_catalog.bool_and(m.plaintext_filenode is distinct from
            pg_catalog.pg_relation_filenode('public.business_secrets')) filter (where m.version = 3), false)
    from app_secrets.migrations m";

/// Whether the tables were rewritten since they held plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    pub(crate) businesses: bool,
    pub(crate) business_secrets: bool,
}

impl Rewritten {
    pub(crate) const fn is_clean(self) -> bool {
        self.businesses && self.business_secrets
    }
}

pub(crate) async fn businesses(connection: &mut PgConnection) -> Answer<i64> {
    Ok(connection.fetch_one(BUSINESSES).await?.try_get(0)?)
}

pub(crate) async fn rewritten(connection: &mut PgConnection) -> Answer<Rewritten> {
    let row = connection.fetch_one(REWRITTEN).await?;
    Ok(Rewritten { businesses: row.try_get(0)?, business_secrets: row.try_get(1)? })
}
