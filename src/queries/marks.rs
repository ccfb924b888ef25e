//! Who read what, as the access marks have it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Answer;
use crate::timestamp::Timestamp;

const ACCESS: &str = "
    select a.login::text, a.name, a.day::text, (extract(epoch from a.last_read_at) * 1000)::bigint, a.minutes
    from app_secrets.access_of($1, $2, pg_catalog.to_timestamp($3::double precision / 1000)) a";
const UNUSUAL: &str = "
    select u.login::text, u.minutes_today::bigint, u.usual_minutes from app_secrets.unusual_access() u";
const BUSINESS: &str = "select app_secrets.owner_exists($1)";

/// One login's reads of one secret on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The login, or the role that `PostgREST` acted as.
    pub login: String,
    /// Which secret.
    pub name: String,
    /// The day, in UTC: `2026-01-31`.
    pub day: String,
    /// The last minute of that day in which it was read.
    pub last_read_at: Timestamp,
    /// In how many minutes of that day it was read.
    pub minutes: i32,
}

/// A login that reads much more than it usually does.
#[derive(Debug, Clone, PartialEq)]
pub struct Unusual {
    /// The login.
    pub login: String,
    /// Minutes with a read today, added up over businesses and secrets.
    pub minutes: i64,
    /// The median of its days of the last 30.
    pub usual: f64,
}

pub(crate) async fn business_exists(connection: &mut PgConnection, business: Uuid) -> Answer<bool> {
    Ok(connection.fetch_one(sqlx::query(BUSINESS).bind(business)).await?.try_get(0)?)
}

/// Of one business, the latest first.
pub(crate) async fn of_business(
    connection: &mut PgConnection,
    business: Uuid,
    name: Option<&str>,
    since: Option<Timestamp>,
) -> Answer<Vec<Access>> {
    let query = sqlx::query(ACCESS).bind(business).bind(name).bind(since.map(|since| since.0));
    connection.fetch_all(query).await?.iter().map(access).collect()
}

fn access(row: &PgRow) -> Answer<Access> {
    Ok(Access {
        login: row.try_get(0)?,
        name: row.try_get(1)?,
        day: row.try_get(2)?,
        last_read_at: Timestamp(row.try_get(3)?),
        minutes: row.try_get(4)?,
    })
}

pub(crate) async fn unusual(connection: &mut PgConnection) -> Answer<Vec<Unusual>> {
    let rows = connection.fetch_all(UNUSUAL).await?;
    let one = |row: &PgRow| {
        Ok(Unusual { login: row.try_get(0)?, minutes: row.try_get(1)?, usual: row.try_get(2)? })
    };
    rows.iter().map(one).collect()
}
