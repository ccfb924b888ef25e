// What stands around the tables: the login, its roles, Vault.

const b = 'public.businesses'
const s = 'public.business_secrets'

export const platformKinds = [
  {
    kind: 'privileges of the login',
    root: true,
    refused: [
      {
        what: 'another owner of the owner table',
        sql: `alter table ${b} owner to supabase_admin`,
        code: 'table_owner',
        object: b,
      },
      {
        what: 'another owner of business_secrets',
        sql: `alter table ${s} owner to supabase_admin`,
        code: 'table_owner',
        object: s,
      },
      {
        what: 'no rights on its own table',
        sql: `revoke references on ${b} from postgres, service_role`,
        code: 'table_privilege',
        object: b,
        found: /REFERENCES/,
      },
      {
        what: 'no objects in public',
        sql: 'alter schema public owner to supabase_admin; revoke all on schema public from public, postgres, pg_database_owner',
        code: 'schema_public',
        object: 'schema public',
      },
      {
        what: 'no schemas in the database',
        sql: `do $x$ begin execute format('alter database %I owner to supabase_admin', current_database()); execute format('revoke create on database %I from postgres, public', current_database()); end $x$`,
        code: 'create_schema',
      },
      {
        what: 'no roles, and no group role',
        sql: 'alter role postgres nocreaterole',
        after: 'alter role postgres createrole; drop role if exists app_secrets_service',
        code: 'createrole',
        object: 'role postgres',
      },
      {
        what: 'sessions that skip triggers',
        sql: `do $x$ begin execute format('alter role postgres in database %I set session_replication_role = replica', current_database()); end $x$`,
        after: `do $x$ begin execute format('alter role postgres in database %I reset session_replication_role', current_database()); end $x$`,
        code: 'read_only',
        object: 'role postgres',
      },
    ],
    works: [
      {
        what: 'timeouts',
        sql: "alter role postgres set statement_timeout = '30s'; alter role postgres set idle_session_timeout = '1min'",
        after: 'alter role postgres reset statement_timeout; alter role postgres reset idle_session_timeout',
        says: { severity: 'note', code: 'role_setting', object: 'role postgres' },
      },
      {
        what: 'a database of another owner, with the right to make schemas',
        sql: `do $x$ begin execute format('alter database %I owner to supabase_admin', current_database()); execute format('grant create on database %I to postgres', current_database()); end $x$`,
      },
      {
        what: 'a login without CREATEDB',
        sql: 'alter role postgres nocreatedb',
        after: 'alter role postgres createdb',
      },
    ],
  },
  {
    kind: 'row level security as the login meets it',
    root: true,
    refused: [
      {
        what: 'FORCE on the owner table, no policy for the owner',
        sql: `alter role postgres nobypassrls; alter table ${b} force row level security`,
        after: 'alter role postgres bypassrls',
        code: 'force_rls',
        object: b,
      },
      {
        what: 'FORCE, and a policy that hides soft-deleted businesses',
        sql: `alter role postgres nobypassrls; alter table ${b} add deleted_at timestamptz, force row level security; create policy living on ${b} using (deleted_at is null)`,
        after: 'alter role postgres bypassrls',
        code: 'force_rls',
        object: b,
      },
      {
        what: 'FORCE on business_secrets',
        sql: `alter role postgres nobypassrls; alter table ${s} enable row level security, force row level security`,
        after: 'alter role postgres bypassrls',
        code: 'force_rls',
        object: s,
      },
    ],
    works: [
      {
        what: 'FORCE, and a login with BYPASSRLS',
        sql: `alter table ${b} force row level security; alter table ${s} enable row level security, force row level security`,
      },
      {
        what: 'enabled, and a login that owns the tables without BYPASSRLS',
        sql: `alter role postgres nobypassrls; alter table ${s} enable row level security`,
        after: 'alter role postgres bypassrls',
      },
      { what: 'disabled', sql: `alter table ${b} disable row level security` },
    ],
  },
  {
    kind: 'the group role',
    root: true,
    refused: [
      ...['login', 'superuser', 'bypassrls', 'createrole'].map((attribute) => ({
        what: attribute,
        sql: `create role app_secrets_service ${attribute}`,
        after: 'drop role app_secrets_service',
        code: 'group_role',
        object: 'role app_secrets_service',
        found: new RegExp(attribute.toUpperCase()),
      })),
      {
        what: 'a member of another',
        sql: 'create role app_secrets_service in role service_role',
        after: 'drop role app_secrets_service',
        code: 'group_role_member',
        object: 'role app_secrets_service',
      },
    ],
    works: [
      {
        what: 'there already',
        sql: 'drop role if exists app_secrets_service; create role app_secrets_service; grant app_secrets_service to postgres with admin option',
      },
      {
        what: 'there already, with members',
        sql: 'drop role if exists app_secrets_service; create role app_secrets_service; grant app_secrets_service to postgres with admin option; create role of_a_service in role app_secrets_service',
        after: 'drop role of_a_service',
      },
      { what: 'not there', sql: 'drop role if exists app_secrets_service' },
    ],
  },
  {
    kind: 'Vault',
    root: true,
    refused: [
      {
        what: 'missing',
        sql: 'drop schema vault cascade',
        code: 'vault_missing',
        object: 'vault.secrets',
        fixes: false,
      },
      {
        what: 'of another interface',
        sql: 'drop function vault.update_secret; create function vault.update_secret(uuid, text) returns void language sql as $x$ select $x$',
        code: 'vault_function',
        object: 'vault.update_secret(uuid, text, text, text, uuid)',
        fixes: false,
      },
      {
        what: 'that this login may not write',
        sql: 'revoke execute on function vault.create_secret from postgres, service_role',
        code: 'vault_function',
        object: 'vault.create_secret(text, text, text, uuid)',
      },
      {
        what: 'that this login may not delete from',
        sql: 'revoke delete on vault.secrets from postgres, service_role',
        code: 'vault_privilege',
        object: 'vault.secrets',
      },
      {
        what: 'that this login may not use',
        sql: 'revoke usage on schema vault from postgres, service_role; revoke pg_read_all_data from postgres',
        after: 'grant pg_read_all_data to postgres',
        code: 'vault_privilege',
        object: 'schema vault',
      },
      {
        what: 'older than 0.3.1',
        sql: `set allow_system_table_mods = on; insert into pg_catalog.pg_extension
          (oid, extname, extowner, extnamespace, extrelocatable, extversion)
          values (99999, 'supabase_vault', 10, 'vault'::regnamespace, true, '0.2.8')`,
        code: 'vault_version',
        object: 'extension supabase_vault',
        found: /^version 0\.2\.8$/,
        fixes: false,
      },
      {
        what: 'with rows under names of ours',
        sql: "select vault.create_secret('x', 'business_secrets/10000000-0000-4000-8000-000000000001/gemini_api_key'), vault.create_secret('x', 'app_secrets/canary')",
        code: 'vault_names',
        object: 'vault.secrets',
        found: /^2 rows .*app_secrets\/canary/,
      },
    ],
    works: [
      {
        what: "with rows of the app's",
        sql: "select vault.create_secret('x', 'stripe'), vault.create_secret('x', 'business_secrets_of_mine'), vault.create_secret('x', null)",
      },
      {
        what: 'with a damaged row',
        sql: "select vault.create_secret('x', 'old'); update vault.secrets set secret = 'AAAA'",
      },
      { what: 'empty', sql: 'delete from vault.secrets' },
    ],
  },
]
