//! Who may do what, as the catalogue has it.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::{AdminFault, Answer};
use crate::error::Error;

const LOGIN: &str = "
    select /* app-secrets */ r.rolname::text, r.rolsuper,
        coalesce(pg_catalog.pg_has_role(r.oid, (
            select c.relowner from pg_catalog.pg_class c
            where c.oid = pg_catalog.to_regclass($1)), 'member'), false)
        and pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create'),
        pg_catalog.to_regclass($1) is not null
    from pg_catalog.pg_roles r
    where r.rolname = current_user";

const SERVICE: &str = "
    select r.rolname::text,
        pg_catalog.array_remove(array[
            case when r.rolsuper then 'is a superuser' end,
            case when r.rolbypassrls then 'bypasses Row Level Security' end,
            case when r.rolcreaterole then 'may make roles' end,
            case when r.rolcreatedb then 'may make databases' end,
            case when r.rolreplication then 'may replicate' end], null),
        coalesce(pg_catalog.pg_has_role(r.oid, (
            select g.oid from pg_catalog.pg_roles g where g.rolname = 'app_secrets_service'), 'usage'), false),
        array(
            select g.rolname::text from pg_catalog.pg_roles g
            where g.oid <> r.oid and g.rolname <> 'app_secrets_service' and pg_catalog.pg_has_role(r.oid, g.oid, 'member')
                and not r.rolsuper
            order by 1 limit 5)
    from pg_catalog.pg_roles r
    where r.rolname = current_user";

const ROW_SECURITY: &str = "
    select n.nspname || '.' || c.relname, c.relrowsecurity
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
        and (n.nspname = 'app_secrets' or (n.nspname, c.relname) = ('public', 'business_secrets'))
    order by 1";

/// Roles that own the table through membership: Row Level Security does not hold for them unless it is forced.
const CO_OWNERS: &str = "
    select g.rolname::text
    from pg_catalog.pg_class c
    cross join pg_catalog.pg_roles g
    where c.oid = pg_catalog.to_regclass('public.business_secrets') and not c.relforcerowsecurity
        and g.oid <> c.relowner and not g.rolsuper and not g.rolbypassrls
        and pg_catalog.pg_has_role(g.oid, c.relowner, 'usage')
    order by 1";

const POLICIES: &str = "
    select p.polname::text, p.polcmd::text, p.polpermissive,
        coalesce((select pg_catalog.string_agg(coalesce(r.rolname::text, 'public'), ',' order by r.rolname)
            from pg_catalog.unnest(p.polroles) as m(oid) left join pg_catalog.pg_roles r on r.oid = m.oid), ''),
        pg_catalog.regexp_replace(coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), ''), '\\s', '', 'g'),
        pg_catalog.regexp_replace(coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), ''), '\\s', '', 'g')
    from pg_catalog.pg_policy p
    where p.polrelid = pg_catalog.to_regclass('public.business_secrets')
    order by 1";

const FUNCTIONS: &str = "
    select n.nspname || '.' || p.proname, p.prosrc, p.prosecdef,
        (select pg_catalog.substr(c.setting, 13) from pg_catalog.unnest(p.proconfig) as c(setting)
            where c.setting like 'search\\_path=%'),
        p.proowner = s.nspowner,
        array(
            select coalesce(r.rolname::text, 'PUBLIC')
            from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
            left join pg_catalog.pg_roles r on r.oid = a.grantee
            where a.grantee <> p.proowner
            order by 1)
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_namespace s on s.nspname = 'app_secrets'
    where n.nspname = 'app_secrets'
        or (n.nspname = 'public' and pg_catalog.obj_description(p.oid, 'pg_proc') like 'app-secrets contract %')
    order by 1";

/// What is made from the catalogue, and stands otherwise than it would be made now.
const STALE: &str = "select /* app-secrets */ object, problem from app_secrets.stale_objects()";

/// What a signed-in user's read executes, as a user whom nobody knows.
const AS_NOBODY: &str = "
    begin read only;
    select pg_catalog.set_config('request.jwt.claims', pg_catalog.json_build_object(
        'sub', pg_catalog.gen_random_uuid(), 'role', 'authenticated')::text, true)";
const ACCESSIBLE: &str = "
    select /* app-secrets */ pg_catalog.count(*) from app_secrets.accessible_business_ids() as a(id)";
const READ_AS_NOBODY: &str = "
    set local row_security = on;
    set local role authenticated;
    select s.business_id from public.decrypted_business_secrets s limit 1";

/// Functions in our schema that signed-in users' statements call.
const CALLED_BY_USERS: [&str; 6] = [
    "app_secrets.reveal",
    "app_secrets.reveal_in_place",
    "app_secrets.cell_status",
    "app_secrets.businesses_without_secrets",
    "app_secrets.current_business_ids",
    "app_secrets.shown_names",
];

/// Privileges on relations besides their owner's, as `relation: role privilege`, once 004 is applied.
pub(crate) const SHIPPED_GRANTS: [&str; 17] = [
    "public.business_secret_names: app_secrets_service SELECT",
    "public.business_secret_names: authenticated SELECT",
    "public.business_secret_names: service_role SELECT",
    "public.business_secret_status: authenticated SELECT",
    "public.business_secret_status: authenticated UPDATE",
    "public.business_secret_status: service_role SELECT",
    "public.business_secret_status: service_role UPDATE",
    "public.business_secrets: authenticated DELETE",
    "public.business_secrets: authenticated INSERT",
    "public.business_secrets: authenticated SELECT",
    "public.business_secrets: authenticated UPDATE",
    "public.business_secrets: service_role DELETE",
    "public.business_secrets: service_role INSERT",
    "public.business_secrets: service_role SELECT",
    "public.business_secrets: service_role UPDATE",
    "public.decrypted_business_secrets: authenticated SELECT",
    "public.decrypted_business_secrets: service_role SELECT",
];

const GRANTS: &str = "
    select n.nspname || '.' || c.relname || ': ' || coalesce(r.rolname, 'PUBLIC') || ' ' || a.privilege_type
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join lateral pg_catalog.aclexplode(c.relacl) a
    left join pg_catalog.pg_roles r on r.oid = a.grantee
    where a.grantee <> c.relowner
        and (n.nspname = 'app_secrets' or (n.nspname = 'public' and c.relname in (
            'business_secrets', 'decrypted_business_secrets', 'business_secret_names', 'business_secret_status')))
    union
    select n.nspname || '.' || c.relname || '.' || t.attname || ': ' || coalesce(r.rolname, 'PUBLIC') || ' '
        || a.privilege_type
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute t on t.attrelid = c.oid and t.attacl is not null
    cross join lateral pg_catalog.aclexplode(t.attacl) a
    left join pg_catalog.pg_roles r on r.oid = a.grantee
    where a.grantee <> c.relowner
        and (n.nspname = 'app_secrets' or (n.nspname = 'public' and c.relname in (
            'business_secrets', 'decrypted_business_secrets', 'business_secret_names', 'business_secret_status')))
    union
    select 'schema app_secrets: ' || coalesce(r.rolname, 'PUBLIC') || ' ' || a.privilege_type
    from pg_catalog.pg_namespace n
    cross join lateral pg_catalog.aclexplode(n.nspacl) a
    left join pg_catalog.pg_roles r on r.oid = a.grantee
    where n.nspname = 'app_secrets' and a.grantee <> n.nspowner
    order by 1";

/// What whoever makes an object in our schema would give away with it.
const DEFAULTS: &str = "
    select d.defaclrole::pg_catalog.regrole::text || ' gives ' || coalesce(r.rolname, 'PUBLIC') || ' '
        || a.privilege_type || case d.defaclobjtype when 'f' then ' on functions' when 'r' then ' on tables'
            when 'S' then ' on sequences' else '' end
    from pg_catalog.pg_default_acl d
    join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
    cross join lateral pg_catalog.aclexplode(d.defaclacl) a
    left join pg_catalog.pg_roles r on r.oid = a.grantee
    where n.nspname = 'app_secrets' and a.grantee <> d.defaclrole
    order by 1";

/// Whether new tables in `public` are open to `anon`, and which schemas `PostgREST` serves.
const DATA_API: &str = "
    select
        exists (
            select from pg_catalog.pg_default_acl d
            join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace
            cross join lateral pg_catalog.aclexplode(d.defaclacl) a
            join pg_catalog.pg_roles r on r.oid = a.grantee
            where n.nspname = 'public' and d.defaclobjtype = 'r' and r.rolname = 'anon' and a.privilege_type = 'SELECT'
                and d.defaclrole = (
                    select c.relowner from pg_catalog.pg_class c
                    where c.oid = pg_catalog.to_regclass('public.business_secrets'))),
        (
            select pg_catalog.substr(c.setting, pg_catalog.length('pgrst.db_schemas=') + 1)
            from pg_catalog.pg_db_role_setting s
            join pg_catalog.pg_roles r on r.oid = s.setrole and r.rolname = 'authenticator'
            cross join lateral pg_catalog.unnest(s.setconfig) as c(setting)
            where c.setting like 'pgrst.db\\_schemas=%'
                and s.setdatabase in (0, (
                    select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
            order by s.setdatabase desc
            limit 1)";

/// The login of the migration role.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) is_superuser: bool,
    /// It owns the owner table, and may make schemas.
    pub(crate) may_migrate: bool,
    /// The owner table is there.
    pub(crate) has_owner_table: bool,
}

/// The login of a service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Attributes that it should not have, in words.
    pub(crate) powers: Vec<String>,
    pub(crate) is_member: bool,
    /// Other roles that it is in.
    pub(crate) others: Vec<String>,
}

/// A policy of the table, expressions without white space.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) is_permissive: bool,
    pub(crate) roles: String,
    pub(crate) using: String,
    pub(crate) check: String,
}

/// A function of ours, or in our schema.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) body: String,
    pub(crate) is_definer: bool,
    /// Its own `search_path`, where it has one.
    pub(crate) search_path: Option<String>,
    pub(crate) is_owners: bool,
    pub(crate) grantees: Vec<String>,
}

/// How `PostgREST` is set up.
#[derive(Debug)]
pub(crate) struct DataApi {
    /// New tables are open to `anon`, as they were by default before 2026.
    pub(crate) opens_new_tables: bool,
    /// The schemas that it serves, where the database says so.
    pub(crate) schemas: Option<String>,
}

pub(crate) async fn login(connection: &mut PgConnection, owner_table: &str) -> Answer<Login> {
    let row = connection.fetch_one(sqlx::query(LOGIN).bind(owner_table)).await?;
    Ok(Login {
        name: row.try_get(0)?,
        is_superuser: row.try_get(1)?,
        may_migrate: row.try_get(2)?,
        has_owner_table: row.try_get(3)?,
    })
}

pub(crate) async fn service(connection: &mut PgConnection) -> Answer<Service> {
    let row = connection.fetch_one(SERVICE).await?;
    Ok(Service {
        name: row.try_get(0)?,
        powers: row.try_get(1)?,
        is_member: row.try_get(2)?,
        others: row.try_get(3)?,
    })
}

/// Our tables, and whether Row Level Security is on.
pub(crate) async fn row_security(connection: &mut PgConnection) -> Answer<Vec<(String, bool)>> {
    let rows = connection.fetch_all(ROW_SECURITY).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub(crate) async fn co_owners(connection: &mut PgConnection) -> Answer<Vec<String>> {
    texts(&connection.fetch_all(CO_OWNERS).await?)
}

pub(crate) async fn policies(connection: &mut PgConnection) -> Answer<Vec<Policy>> {
    let rows = connection.fetch_all(POLICIES).await?;
    let policy = |row: &PgRow| {
        Ok(Policy {
            name: row.try_get(0)?,
            command: row.try_get(1)?,
            is_permissive: row.try_get(2)?,
            roles: row.try_get(3)?,
            using: row.try_get(4)?,
            check: row.try_get(5)?,
        })
    };
    rows.iter().map(policy).collect()
}

pub(crate) async fn functions(connection: &mut PgConnection) -> Answer<Vec<Function>> {
    let rows = connection.fetch_all(FUNCTIONS).await?;
    let function = |row: &PgRow| {
        Ok(Function {
            name: row.try_get(0)?,
            body: row.try_get(1)?,
            is_definer: row.try_get(2)?,
            search_path: row.try_get(3)?,
            is_owners: row.try_get(4)?,
            grantees: row.try_get(5)?,
        })
    };
    rows.iter().map(function).collect()
}

/// Object and what is wrong with it. Fails with [`super::AdminFault::Busy`] while a migration is at work.
pub(crate) async fn stale(connection: &mut PgConnection) -> Answer<Vec<(String, String)>> {
    let rows = connection.fetch_all(STALE).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Executes what decides who may access a business, as a signed-in user whom nobody knows would, and gives how many
/// businesses that user would see.
pub(crate) async fn accessible_to_nobody(connection: &mut PgConnection) -> Answer<i64> {
    connection.execute(sqlx::raw_sql(AS_NOBODY)).await?;
    let outcome = call_as_nobody(connection).await;
    connection.execute(sqlx::raw_sql("rollback")).await?;
    outcome
}

async fn call_as_nobody(connection: &mut PgConnection) -> Answer<i64> {
    let count = connection.fetch_one(ACCESSIBLE).await?.try_get(0)?;
    match connection.execute(sqlx::raw_sql(READ_AS_NOBODY)).await.map_err(AdminFault::from) {
        // This login may not act for users; then the call above has to do.
        Ok(_) | Err(AdminFault::Other(Error::PermissionDenied { .. })) => Ok(count),
        Err(fault) => Err(fault),
    }
}

/// Rights that open something to `anon`, `authenticated` or everybody, beyond those that we give.
pub(crate) async fn exposed(connection: &mut PgConnection) -> Answer<Vec<String>> {
    let is_stranger = |role: &str| matches!(role, "PUBLIC" | "anon" | "authenticated");
    let mut exposed: Vec<String> = grants(connection)
        .await?
        .into_iter()
        .filter(|grant| !SHIPPED_GRANTS.contains(&grant.as_str()))
        .filter(|grant| {
            let role = grant.rsplit(": ").next().and_then(|right| right.split(' ').next());
            role.is_some_and(is_stranger)
        })
        .collect();
    for function in functions(connection).await? {
        let is_meant =
            |role: &str| role == "authenticated" && CALLED_BY_USERS.contains(&function.name.as_str());
        let strangers = function.grantees.iter().filter(|role| is_stranger(role) && !is_meant(role));
        exposed.extend(strangers.map(|role| format!("{}: {role} EXECUTE", function.name)));
    }
    Ok(exposed)
}

/// Privileges on our relations and schema besides their owner's.
pub(crate) async fn grants(connection: &mut PgConnection) -> Answer<Vec<String>> {
    texts(&connection.fetch_all(GRANTS).await?)
}

pub(crate) async fn default_privileges(connection: &mut PgConnection) -> Answer<Vec<String>> {
    texts(&connection.fetch_all(DEFAULTS).await?)
}

pub(crate) async fn data_api(connection: &mut PgConnection) -> Answer<DataApi> {
    let row = connection.fetch_one(DATA_API).await?;
    Ok(DataApi { opens_new_tables: row.try_get(0)?, schemas: row.try_get(1)? })
}

fn texts(rows: &[PgRow]) -> Answer<Vec<String>> {
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
