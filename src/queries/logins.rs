//! Logins of services: the role, its membership in the group, its scope, and what it read.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::{Answer, session};
use crate::timestamp::Timestamp;

const EXISTS: &str = "select exists (select from pg_catalog.pg_roles r where r.rolname = $1)";

/// Quoted by the server. The password is a verifier: what is logged of this statement opens nothing.
const CREATE: &str = "
    select pg_catalog.format('create role %I login password %L in role app_secrets_service', $1::text, $2::text)";
const GRANT: &str = "select app_secrets.grant_scope($1::name, $2::text[], $3, $4)";
const ENDPOINT: &str = "
    select pg_catalog.current_database()::text, session_user::text";

const LOGINS: &str = "
    with members as (
        select r.oid, r.rolname as login, r.rolcanlogin
        from pg_catalog.pg_roles r
        where r.rolname <> 'app_secrets_service' and not r.rolsuper
            and exists (
                select from pg_catalog.pg_auth_members m
                join pg_catalog.pg_roles g on g.oid = m.roleid and g.rolname = 'app_secrets_service'
                where m.member = r.oid)
            and r.oid <> (select n.nspowner from pg_catalog.pg_namespace n where n.nspname = 'app_secrets')
    ), known as (
        select m.login from members m
        union
        select s.login from app_secrets.scopes s
    ), read as (
        select a.login, pg_catalog.max(a.minute) * 60000 as at
        from app_secrets.access_marks a
        group by a.login
    )
    select k.login::text, r.rolname is not null,
        coalesce((select pg_catalog.array_agg(s.name order by c.position nulls first, s.name)
            from app_secrets.scopes s left join app_secrets.catalogue c on c.name = s.name
            where s.login = k.login and s.may_read), '{}'),
        coalesce((select pg_catalog.array_agg(s.name order by c.position nulls first, s.name)
            from app_secrets.scopes s left join app_secrets.catalogue c on c.name = s.name
            where s.login = k.login and s.may_write), '{}'),
        d.at,
        (select pg_catalog.count(*) from pg_catalog.pg_stat_activity a where a.usesysid = r.oid)
    from known k
    left join pg_catalog.pg_roles r on r.rolname = k.login
    left join read d on d.login = k.login
    order by k.login";

/// A login that may be removed: a member of the group that can do nothing else of note.
const REMOVABLE: &str = "
    select r.rolname is not null,
        exists (
            select from pg_catalog.pg_auth_members m
            join pg_catalog.pg_roles g on g.oid = m.roleid and g.rolname = 'app_secrets_service'
            where m.member = r.oid),
        exists (select from app_secrets.scopes s where s.login = $1),
        coalesce(r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls, false),
        (select pg_catalog.count(*) from pg_catalog.pg_shdepend d
            where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.refobjid = r.oid and d.deptype in ('o', 'a', 'r'))
    from (select $1::name as login) l
    left join pg_catalog.pg_roles r on r.rolname = l.login";

const NO_LOGIN: &str = "select pg_catalog.format('alter role %I nologin', $1::text)";
/// Ends them and waits: a session outlives its role.
const END_SESSIONS: &str = "
    select pg_catalog.count(*) filter (where pg_catalog.pg_terminate_backend(a.pid, 5000)), pg_catalog.count(*)
    from pg_catalog.pg_stat_activity a
    where a.usename = $1";
const REVOKE: &str = "select app_secrets.revoke_scope($1::name)";
const DROP: &str = "select pg_catalog.format('drop role %I', $1::text)";

/// A login that may use secrets, or has a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub login: String,
    /// There is a role of that name. A scope alone opens nothing.
    pub exists: bool,
    /// The names that it may read; `*` stands for all.
    pub reads: Vec<String>,
    /// The names that it may write; `*` stands for all.
    pub writes: Vec<String>,
    /// When it last read, to the minute, as far as marks are kept.
    pub last_read_at: Option<Timestamp>,
    /// Its open sessions, on this server.
    pub sessions: i64,
}

/// What stands in the way of removing a login.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub(crate) struct Removable {
    pub(crate) exists: bool,
    pub(crate) is_member: bool,
    pub(crate) has_scope: bool,
    pub(crate) is_powerful: bool,
    pub(crate) dependents: i64,
}

pub(crate) async fn exists(connection: &mut PgConnection, login: &str) -> Answer<bool> {
    Ok(connection.fetch_one(sqlx::query(EXISTS).bind(login)).await?.try_get(0)?)
}

/// Makes the role with its membership. `verifier` is what the server stores of the password.
pub(crate) async fn create(connection: &mut PgConnection, login: &str, verifier: &str) -> Answer<()> {
    let statement: String =
        connection.fetch_one(sqlx::query(CREATE).bind(login).bind(verifier)).await?.try_get(0)?;
    session::send_text(connection, statement).await
}

pub(crate) async fn grant(
    connection: &mut PgConnection,
    login: &str,
    names: &[String],
    may_read: bool,
    may_write: bool,
) -> Answer<()> {
    let query = sqlx::query(GRANT).bind(login).bind(names).bind(may_read).bind(may_write);
    connection.execute(query).await?;
    Ok(())
}

/// The database's name, and the name that the session's own login has on the server, which a pooler's may differ from.
pub(crate) async fn endpoint(connection: &mut PgConnection) -> Answer<(String, String)> {
    let row = connection.fetch_one(ENDPOINT).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

pub(crate) async fn all(connection: &mut PgConnection) -> Answer<Vec<Login>> {
    connection.fetch_all(LOGINS).await?.iter().map(login).collect()
}

fn login(row: &PgRow) -> Answer<Login> {
    Ok(Login {
        login: row.try_get(0)?,
        exists: row.try_get(1)?,
        reads: row.try_get(2)?,
        writes: row.try_get(3)?,
        last_read_at: row.try_get::<Option<i64>, _>(4)?.map(Timestamp),
        sessions: row.try_get(5)?,
    })
}

pub(crate) async fn removable(connection: &mut PgConnection, login: &str) -> Answer<Removable> {
    let row = connection.fetch_one(sqlx::query(REMOVABLE).bind(login)).await?;
    Ok(Removable {
        exists: row.try_get(0)?,
        is_member: row.try_get(1)?,
        has_scope: row.try_get(2)?,
        is_powerful: row.try_get(3)?,
        dependents: row.try_get(4)?,
    })
}

/// Keeps it from logging in again.
pub(crate) async fn lock_out(connection: &mut PgConnection, login: &str) -> Answer<()> {
    let statement: String = connection.fetch_one(sqlx::query(NO_LOGIN).bind(login)).await?.try_get(0)?;
    session::send_text(connection, statement).await
}

/// Ends its sessions. Gives how many ended, and how many there were.
pub(crate) async fn end_sessions(connection: &mut PgConnection, login: &str) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(sqlx::query(END_SESSIONS).bind(login)).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Takes its scope away.
pub(crate) async fn revoke(connection: &mut PgConnection, login: &str) -> Answer<()> {
    connection.execute(sqlx::query(REVOKE).bind(login)).await?;
    Ok(())
}

/// Drops the role, which takes its membership along.
pub(crate) async fn drop_role(connection: &mut PgConnection, login: &str) -> Answer<()> {
    let statement: String = connection.fetch_one(sqlx::query(DROP).bind(login)).await?.try_get(0)?;
    session::send_text(connection, statement).await
}

/// Begins, commits or rolls back what belongs together.
pub(crate) async fn transaction(connection: &mut PgConnection, word: &'static str) -> Answer<()> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(word))).await?;
    Ok(())
}
