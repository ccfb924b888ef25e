//! What has been applied to the database.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::Answer;
use crate::timestamp::Timestamp;

/// By its columns: somebody else may have a table of that name, which the pre-flight then says.
const HAS_LEDGER: &str = "
    select pg_catalog.count(*) = 5
    from pg_catalog.pg_attribute a
    where a.attrelid = pg_catalog.to_regclass('app_secrets.migrations') and not a.attisdropped
        and a.attname in ('version', 'name', 'checksum', 'applied_at', 'applied_by')";
const LEDGER: &str = "
    select m.version, m.name, m.checksum, (extract(epoch from m.applied_at) * 1000)::bigint, m.applied_by
    from app_secrets.migrations m
    order by m.version";
const DATABASE: &str = "select pg_catalog.current_database()::text";

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

/// The database's name, which a confirmation has to repeat.
pub(crate) async fn database(connection: &mut PgConnection) -> Answer<String> {
    Ok(connection.fetch_one(DATABASE).await?.try_get(0)?)
}
