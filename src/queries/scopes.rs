//! What logins may read and write, what they did, and what is due: for the doctor, as counts and names.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::Answer;

const SCOPES: &str = "
    select /* app-secrets */
        array(select distinct s.login::text from app_secrets.scopes s where s.name = '*' and s.may_read order by 1),
        array(
            select r.rolname::text from pg_catalog.pg_roles r
            where r.rolcanlogin and not r.rolsuper and r.rolname <> current_user
                and pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'connect')
                and exists (
                    select from pg_catalog.pg_auth_members m
                    join pg_catalog.pg_roles g on g.oid = m.roleid and g.rolname = 'app_secrets_service'
                    where m.member = r.oid)
                and not exists (select from app_secrets.scopes s where s.login = r.rolname)
            order by 1),
        array(
            select distinct s.login::text from app_secrets.scopes s
            where not exists (select from pg_catalog.pg_roles r where r.rolname = s.login) order by 1),
        array(
            select distinct s.login || ': ' || s.name from app_secrets.scopes s
            where s.name <> '*' and not exists (
                select from app_secrets.catalogue c where c.name = s.name and c.retired_at is null) order by 1),
        array(
            select s.login::text from app_secrets.scopes s
            where s.may_read and s.login <> 'service_role'
            group by s.login
            having pg_catalog.max(s.granted_at) < pg_catalog.now() - interval '30 days' and not exists (
                select from app_secrets.access_marks a
                where a.login = s.login and a.day >= (pg_catalog.now() - interval '30 days')::date)
            order by 1)";

const UNUSUAL: &str = "
    select /* app-secrets */ pg_catalog.format('%s reads in %s minutes today, usually in %s', u.login, u.minutes_today,
        pg_catalog.round(u.usual_minutes))
    from app_secrets.unusual_access() u";

const DATES: &str = "
    select /* app-secrets */
        pg_catalog.count(*) filter (where v.is_set and (v.expires_at <= pg_catalog.now() or v.updated_at + v.rotate_every <= pg_catalog.now())),
        pg_catalog.count(*) filter (where v.previous_until < pg_catalog.now())
    from app_secrets.secret_versions v
    where v.expires_at is not null or v.rotate_every is not null or v.previous_until is not null";

/// Logins, by what is to be said of them.
#[derive(Debug)]
pub(crate) struct Scopes {
    /// They may read every secret.
    pub(crate) read_all: Vec<String>,
    /// In the group, which the databases of a cluster share, allowed to connect to this one, and without a scope: they read
    /// nothing.
    pub(crate) without: Vec<String>,
    /// There is no such login any more.
    pub(crate) gone: Vec<String>,
    /// `login: name`, of names that do not exist.
    pub(crate) of_nothing: Vec<String>,
    /// They may read for more than 30 days, and have not.
    pub(crate) idle: Vec<String>,
}

pub(crate) async fn scopes(connection: &mut PgConnection) -> Answer<Scopes> {
    let row = connection.fetch_one(SCOPES).await?;
    Ok(Scopes {
        read_all: row.try_get(0)?,
        without: row.try_get(1)?,
        gone: row.try_get(2)?,
        of_nothing: row.try_get(3)?,
        idle: row.try_get(4)?,
    })
}

/// Logins that read much more today than they use to, in words.
pub(crate) async fn unusual(connection: &mut PgConnection) -> Answer<Vec<String>> {
    let rows = connection.fetch_all(UNUSUAL).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Secrets that have expired or are to be rotated, and earlier values that are kept past their time.
pub(crate) async fn dates(connection: &mut PgConnection) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(DATES).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
