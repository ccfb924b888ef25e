// Doctor finds every way in that was not shipped: policies, functions, grants, defaults, the Data API.

import { test } from 'node:test'
import { addon } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addRole, breaks, finds, superuser } from '../support/doctor.mjs'

breaks('access.rls', 'fail', /off on public\.business_secrets/, async function switchedOff(db) {
  await db.query('alter table public.business_secrets disable row level security')
})
breaks('access.rls', 'fail', /off on app_secrets\.audit_log/, async function switchedOffOnAPrivateTable(db) {
  await db.query('alter table app_secrets.audit_log disable row level security')
})
test('access.rls: somebody who owns the table through a role', async (t) => {
  const db = await freshDatabase(t, 17)
  const name = await addRole(t)
  const owner = await addRole(t, 'nologin')
  await db.query(`grant create on schema public to ${owner}`, [], superuser)
  await db.query(`alter table public.business_secrets owner to ${owner}`, [], superuser)
  await db.query(`grant ${owner} to ${name}`, [], superuser)
  await finds(db, 'access.rls', 'fail', new RegExp(`these own the table through a role, .*: ${name}$`))
})

breaks('access.policies', 'fail', /^everybody is not ours$/, async function anotherPolicy(db) {
  await db.query('create policy everybody on public.business_secrets using (true)')
})
breaks('access.policies', 'fail', /business_secrets_select is altered/, async function anAlteredPolicy(db) {
  await db.query('alter policy business_secrets_select on public.business_secrets using (true)')
})
breaks('access.policies', 'fail', /business_secrets_insert is missing/, async function aMissingPolicy(db) {
  await db.query('drop policy business_secrets_insert on public.business_secrets')
})
breaks('access.policies', 'fail', /business_secrets_service is altered/, async function anotherRole(db) {
  await db.query('alter policy business_secrets_service on public.business_secrets to service_role, anon')
})

const get = 'public.get_business_secrets(uuid, text[])'
breaks('access.functions', 'fail', /app_secrets\.seal is altered/, async function anotherText(db) {
  const [{ source }] = await db.query("select pg_get_functiondef('app_secrets.seal'::regproc) as source")
  await db.query(source.replace('declare', 'declare -- mine'))
})
breaks(
  'access.generated',
  'fail',
  /app_secrets\.write_cells/,
  async function aGeneratedTextThatIsAnothers(db) {
    const [{ source }] = await db.query(
      "select pg_get_functiondef('app_secrets.write_cells'::regproc) as source",
    )
    await db.query(source.replace('begin', 'begin -- mine'))
  },
)
breaks('access.functions', 'fail', /get_business_secrets has another owner/, async function anotherOwner(db) {
  await db.query(`alter function ${get} owner to supabase_admin`, [], superuser)
})
breaks(
  'access.functions',
  'fail',
  /get_business_secrets has another search_path/,
  async function anotherSearchPath(db) {
    await db.query(`alter function ${get} set search_path = public`)
  },
)
breaks(
  'access.functions',
  'fail',
  /get_business_secrets is not security definer/,
  async function notDefiner(db) {
    await db.query(`alter function ${get} security invoker`)
  },
)
breaks('access.functions', 'fail', /normalize is security definer/, async function definer(db) {
  await db.query('alter function app_secrets.normalize(text) security definer')
})
breaks(
  'access.functions',
  'fail',
  /get_business_secrets may be executed by others/,
  async function executableByAnon(db) {
    await db.query(`grant execute on function ${get} to anon`)
  },
)
breaks('access.functions', 'fail', /may not be executed by whom it is for/, async function notExecutable(db) {
  await db.query(`revoke execute on function ${get} from app_secrets_service`)
})
breaks('access.functions', 'fail', /list_business_secrets is missing/, async function aMissingFunction(db) {
  await db.query('drop function public.list_business_secrets(uuid)')
})
breaks('access.functions', 'fail', /app_secrets\.peek is not ours/, async function aForeignFunction(db) {
  await db.query(
    "create function app_secrets.peek() returns text language sql set search_path = '' return 'x'",
  )
})
breaks(
  'access.functions',
  'ok',
  /accessible_business_ids\(\) is the app's own/,
  async function theAppsOwnRule(db) {
    await db.query(
      `create or replace function app_secrets.accessible_business_ids() returns setof uuid
     language plpgsql stable security definer set search_path = ''
     as $$ begin return query select b.id from public.businesses b; end $$`,
    )
  },
)
breaks(
  'access.functions',
  'ok',
  /as they were shipped/,
  async function afterARollback(db) {
    await addon.verify({ url: db.admin })
    await db.query('select app_secrets.begin_restore()')
  },
  { migratedTo: 5 },
)

breaks('access.grants', 'fail', /public\.business_secrets: anon SELECT/, async function aTableGrant(db) {
  await db.query('grant select on public.business_secrets to anon')
})
breaks(
  'access.grants',
  'fail',
  /decrypted_business_secrets: app_secrets_service SELECT/,
  async function aViewGrant(db) {
    await db.query('grant select on public.decrypted_business_secrets to app_secrets_service')
  },
)
breaks(
  'access.grants',
  'fail',
  /business_secrets\.grok_api_key: anon SELECT/,
  async function aColumnGrant(db) {
    await db.query('grant select (grok_api_key) on public.business_secrets to anon')
  },
)
breaks('access.grants', 'fail', /schema app_secrets: PUBLIC USAGE/, async function aSchemaGrant(db) {
  await db.query('grant usage on schema app_secrets to public')
})
breaks(
  'access.grants',
  'warn',
  /taken away: public\.business_secrets: authenticated DELETE/,
  async function aMissingGrant(db) {
    await db.query('revoke delete on public.business_secrets from authenticated')
  },
)
breaks('access.defaults', 'fail', /postgres gives anon SELECT on tables/, async function openByDefault(db) {
  await db.query('alter default privileges in schema app_secrets grant select on tables to anon')
})
breaks('access.data-api', 'fail', /it serves app_secrets/, async function exposed(db) {
  await db.query(
    `alter role authenticator in database ${db.name} set pgrst.db_schemas = 'public, app_secrets'`,
    [],
    superuser,
  )
})
breaks('access.data-api', 'ok', /open to anon by default, as before 2026/, async function theOldDefault(db) {
  await db.query('alter default privileges in schema public grant select on tables to anon')
})
