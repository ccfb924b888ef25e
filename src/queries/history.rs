//! Who changed what, when. The audit knows no values.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Answer;
use crate::timestamp::Timestamp;

const HISTORY: &str = "
    select a.id, (extract(epoch from a.at) * 1000)::bigint, a.business_id, a.name, a.action, a.version, a.login,
        a.jwt_sub, a.application_name, a.actor, a.origin,
        (extract(epoch from v.previous_until) * 1000)::bigint
    from app_secrets.audit_log a
    left join app_secrets.secret_versions v
        on v.business_id = a.business_id and v.name = a.name and v.version = a.version and v.previous_until > pg_catalog.now()
    where ($1::uuid is null or a.business_id = $1) and ($2::text is null or a.name = $2)
    order by a.id desc
    limit $3";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Grows with time.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Whose secret.
    pub business: Uuid,
    /// Which one.
    pub name: String,
    /// `set` or `clear`.
    pub action: String,
    /// The version that it made.
    pub version: i64,
    /// The login, which cannot be forged; the rest is what the session said of itself.
    pub login: String,
    /// The user of the token.
    pub jwt_sub: Option<String>,
    /// What the session called itself.
    pub application: Option<String>,
    /// Whom a service named.
    pub actor: Option<String>,
    /// `sealed`, `legacy` or `backfill`.
    pub origin: String,
    /// Until when it can be undone.
    pub undo_until: Option<Timestamp>,
}

/// The newest first.
pub(crate) async fn changes(
    connection: &mut PgConnection,
    business: Option<Uuid>,
    name: Option<&str>,
    limit: i64,
) -> Answer<Vec<Change>> {
    let rows = connection.fetch_all(sqlx::query(HISTORY).bind(business).bind(name).bind(limit)).await?;
    rows.iter().map(change).collect()
}

fn change(row: &PgRow) -> Answer<Change> {
    Ok(Change {
        id: row.try_get(0)?,
        at: Timestamp(row.try_get(1)?),
        business: row.try_get(2)?,
        name: row.try_get(3)?,
        action: row.try_get(4)?,
        version: row.try_get(5)?,
        login: row.try_get(6)?,
        jwt_sub: row.try_get(7)?,
        application: row.try_get(8)?,
        actor: row.try_get(9)?,
        origin: row.try_get(10)?,
        undo_until: row.try_get::<Option<i64>, _>(11)?.map(Timestamp),
    })
}
