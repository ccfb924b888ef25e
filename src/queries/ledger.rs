//! What has been applied to the database, and which of the legacy columns it still has.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::Answer;
use crate::catalogue::SecretName;
use crate::timestamp::Timestamp;

const HAS_LEDGER: &str = "select pg_catalog.to_regclass('app_secrets.migrations') is not null";
const LEDGER: &str = "
    select m.version, m.name, m.checksum, (extract(epoch from m.applied_at) * 1000)::bigint, m.applied_by
    from app_secrets.migrations m
    order by m.version";
const COLUMNS: &str = "
    select a.attname::text
    from pg_catalog.pg_attribute a
    where a.attrelid = pg_catalog.to_regclass('public.businesses') and a.attnum > 0 and not a.attisdropped";
const DATABASE: &str = "select pg_catalog.current_database()::text";
const FOREIGN_POLICIES: &str = "
    select p.polname::text
    from pg_catalog.pg_policy p
    where p.polrelid = pg_catalog.to_regclass('public.business_secrets')
        and p.polname not in ('business_secrets_select', 'business_secrets_insert', 'business_secrets_update',
            'business_secrets_delete', 'business_secrets_service')
    order by p.polname";

/// One row of the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) version: i32,
    pub(crate) name: String,
    /// Missing where something other than our runner sent the file.
    pub(crate) checksum: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) by: String,
}

/// The ledger, in order; empty where there is none yet.
pub(crate) async fn applied(connection: &mut PgConnection) -> Answer<Vec<Applied>> {
    if !connection.fetch_one(HAS_LEDGER).await?.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let rows = connection.fetch_all(LEDGER).await?;
    rows.iter()
        .map(|row| {
            Ok(Applied {
                version: row.try_get(0)?,
                name: row.try_get(1)?,
                checksum: row.try_get(2)?,
                at: Timestamp(row.try_get(3)?),
                by: row.try_get(4)?,
            })
        })
        .collect()
}

/// The plaintext columns that `businesses` has, in the order of the catalogue; `None` without such a table.
pub(crate) async fn legacy_columns(connection: &mut PgConnection) -> Answer<Option<Vec<SecretName>>> {
    let rows = connection.fetch_all(COLUMNS).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<SecretName> = Vec::new();
    for row in &rows {
        if let Ok(name) = row.try_get::<&str, _>(0)?.parse::<SecretName>()
            && name.entry().legacy
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

/// The database's name, which a confirmation has to repeat.
pub(crate) async fn database(connection: &mut PgConnection) -> Answer<String> {
    Ok(connection.fetch_one(DATABASE).await?.try_get(0)?)
}

/// Policies on the table that 004 will drop.
pub(crate) async fn foreign_policies(connection: &mut PgConnection) -> Answer<Vec<String>> {
    let rows = connection.fetch_all(FOREIGN_POLICIES).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
