// Each check is broken here by what it guards against, and found.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { addon, breakCipher } from '../support/addon.mjs'
import { cluster, freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { addBusiness, set } from '../support/secrets.mjs'
import { startCluster, TestCluster } from '../support/servers.mjs'
import { transactionPooler } from '../support/transaction-pooler.mjs'

const superuser = 'supabase_admin'

/** `{ 'vault.key': { level, found, why, fix }, … }` */
async function examine(db, options = {}) {
  const report = await addon.doctor({ url: db.admin, serviceUrl: db.service, ...options })
  for (const check of report.checks) {
    assert.ok(check.why.length > 20, check.id)
    assert.equal(check.fix === null, check.level === 'ok', check.id)
  }
  assert.equal(report.healthy, !report.checks.some(({ level }) => level === 'fail'))
  return Object.fromEntries(report.checks.map((check) => [check.id, check]))
}

async function finds(db, id, level, found, options) {
  const check = (await examine(db, options))[id]
  assert.ok(check, `no check ${id}`)
  assert.equal(check.level, level, `${id}: ${check.found}`)
  assert.match(check.found, found)
  return check
}

/** One claim: after `break_`, the check finds it. Before it, all was well. */
function breaks(id, level, found, break_, { migratedTo = 4, title = break_.name || level } = {}) {
  test(`${id}: ${title}`, async (t) => {
    const db = await freshDatabase(t, 17, { migratedTo, legacyData: true })
    const options = await break_(db, t)
    await finds(db, id, level, found, options)
  })
}

onEachMajor('a database as it is shipped is healthy', async (t, major) => {
  const db = await freshDatabase(t, major, { legacyData: true })
  const checks = await examine(db)
  const notOk = Object.values(checks).filter(({ level }) => level !== 'ok')
  assert.deepEqual(
    notOk.map(({ id, level }) => [id, level]),
    [
      // The embedded server has no supabase_vault, and 005 is still to come.
      ['vault.provider', 'warn'],
      ['plaintext.columns', 'warn'],
    ],
  )
})

onEachMajor('it says what it can before anything is migrated, and after everything is', async (t, major) => {
  const before = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
  const checks = await examine(before)
  assert.equal(checks.ledger.level, 'warn')
  assert.match(checks.ledger.found, /not applied: 002_.*003_.*004_/)
  assert.match(checks['plaintext.columns'].found, /values in clear: \d+, not migrated/)
  for (const migratedTo of [2, 3, 5]) {
    const db = await freshDatabase(t, major, { migratedTo, legacyData: true })
    const failing = Object.values(await examine(db)).filter(({ level }) => level === 'fail')
    assert.deepEqual(failing, [])
  }
})

// Connection ---------------------------------------------------------------------------------------------------------

test('connection.tls: another machine without encryption', async (t) => {
  const db = await freshDatabase(t, 17)
  // Resolves to this machine, and is not known for it.
  const admin = db.admin.replace('127.0.0.1', '127.1')
  await finds({ admin, service: db.service }, 'connection.tls', 'fail', /to another machine/, {
    allowInsecure: true,
  })
})

test('connection.pooler: a transaction pooler, told or found out', async (t) => {
  const db = await freshDatabase(t, 17)
  const pooled = { admin: await transactionPooler(t, db.admin), service: db.service }
  const checks = await examine(pooled)
  assert.equal(checks['connection.pooler'].level, 'fail')
  assert.deepEqual(Object.keys(checks), ['connection.tls', 'connection.pooler'])
  await finds(
    { ...db, admin: `${db.admin}?pgbouncer=true`, service: db.service },
    'connection.pooler',
    'fail',
    /transaction mode/,
  )
})

breaks('connection.clock', 'warn', /3600 s ahead of/, async function anHourApart(db) {
  const client = await db.connect(superuser)
  await client.query('set allow_system_table_mods = on')
  await client.query(
    `create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql volatile
     return pg_catalog.now() + interval '1 hour'`,
  )
})

test('login.admin: a superuser, and a login that may not look', async (t) => {
  const db = await freshDatabase(t, 17)
  await finds(
    { admin: db.superuser, service: db.service },
    'login.admin',
    'warn',
    /supabase_admin is a superuser/,
  )
  const checks = await examine({ admin: db.service, service: db.service })
  assert.equal(checks['login.admin'].level, 'fail')
  assert.match(checks['login.admin'].found, /no other check was made/)
})

test('login.service: too mighty, too weak, in other roles, not given, or deaf', async (t) => {
  const db = await freshDatabase(t, 17)
  const login = async (attributes) => {
    const name = `doctor_${randomBytes(4).toString('hex')}`
    await db.query(`create role ${name} login password 'pw' ${attributes}`, [], superuser)
    t.after(() => cluster(17).then((server) => dropRole(server, name)))
    const url = new URL(db.service)
    url.username = name
    url.password = 'pw'
    return { admin: db.admin, service: url.href }
  }
  await finds(
    { admin: db.admin, service: db.superuser },
    'login.service',
    'fail',
    /supabase_admin is a superuser, bypasses/,
  )
  await finds(
    await login('bypassrls in role app_secrets_service'),
    'login.service',
    'fail',
    /bypasses Row Level Security/,
  )
  await finds(
    await login('createrole createdb in role app_secrets_service'),
    'login.service',
    'fail',
    /may make roles, may make databases/,
  )
  await finds(await login(''), 'login.service', 'fail', /is not in app_secrets_service/)
  await finds(
    await login('in role app_secrets_service, pg_read_all_data'),
    'login.service',
    'warn',
    /other roles too: pg_read_all_data/,
  )
  await finds(
    { admin: db.admin, service: `${db.service}?pgbouncer=true` },
    'login.service',
    'warn',
    /nobody can LISTEN/,
  )
  await finds({ admin: db.admin, service: undefined }, 'login.service', 'warn', /APP_SECRETS_URL is not set/)
  const remote = db.service.replace('127.0.0.1', '127.1')
  await finds({ admin: db.admin, service: remote }, 'login.service', 'fail', /without encryption/, {
    allowInsecure: true,
  })
})

async function dropRole(server, name) {
  const { withClient } = await import('../../dev/postgres.mjs')
  await withClient(server.urlFor(superuser, 'postgres'), (client) => client.query(`drop role ${name}`))
}

// Ledger -------------------------------------------------------------------------------------------------------------

breaks('ledger', 'fail', /another text was applied of 003_/, async function anEditedFile(db) {
  await db.query("update app_secrets.migrations set checksum = repeat('0', 64) where version = 3")
})
breaks('ledger', 'fail', /a newer package: 009 later/, async function aNewerPackage(db) {
  await db.query("insert into app_secrets.migrations (version, name) values (9, 'later')")
})
breaks('ledger', 'warn', /not applied: 004_/, async function aFileIsMissing() {}, { migratedTo: 3 })

// Vault --------------------------------------------------------------------------------------------------------------

breaks(
  'vault.provider',
  'fail',
  /there is none/,
  async function noVault(db) {
    await db.query('drop schema vault cascade', [], superuser)
  },
  { migratedTo: 0 },
)
breaks('vault.key', 'fail', /does not give back/, async function vaultRefuses(db) {
  await db.query('revoke execute on function vault.create_secret from postgres, service_role', [], superuser)
})
breaks('vault.key', 'fail', /the probe that 002 sealed is gone/, async function theCanaryIsGone(db) {
  await db.query("delete from vault.secrets where name = 'app_secrets/canary'")
})

test('a wrong root key is told from a broken row', async (t) => {
  const own = await startCluster(17)
  const db = await new TestCluster(own.description).freshDatabase(t)
  t.after(() => own.stop())
  const [one, other] = [await addBusiness(db), await addBusiness(db)]
  await set(db, one, { grok_api_key: 'one' })
  await set(db, other, { grok_api_key: 'other', claude_api_key: 'another' })

  await breakCipher(db, one, 'grok_api_key')
  const broken = await examine(db)
  assert.equal(broken['vault.key'].level, 'ok')
  assert.equal(broken['cells.decrypt'].level, 'fail')
  assert.match(
    broken['cells.decrypt'].found,
    new RegExp(`values that do not decrypt: 1 \\(grok_api_key of ${one}\\)`),
  )

  writeFileSync(own.server.vaultKeyFile, randomBytes(32))
  const wrong = await examine(db)
  assert.equal(wrong['vault.key'].level, 'fail')
  assert.match(wrong['vault.key'].found, /not with the root key that the secrets were sealed under/)
  assert.match(wrong['cells.decrypt'].found, /values that do not decrypt: 3/)
})

// Access -------------------------------------------------------------------------------------------------------------

breaks('access.rls', 'fail', /off on public\.business_secrets/, async function switchedOff(db) {
  await db.query('alter table public.business_secrets disable row level security')
})
breaks('access.rls', 'fail', /off on app_secrets\.audit_log/, async function switchedOffOnAPrivateTable(db) {
  await db.query('alter table app_secrets.audit_log disable row level security')
})
test('access.rls: somebody who owns the table through a role', async (t) => {
  const db = await freshDatabase(t, 17)
  const name = `doctor_${randomBytes(4).toString('hex')}`
  await db.query(`create role ${name} login`, [], superuser)
  t.after(() => cluster(17).then((server) => dropRole(server, name)))
  await db.query(`create role ${name}_owner; grant create on schema public to ${name}_owner`, [], superuser)
  t.after(() => cluster(17).then((server) => dropRole(server, `${name}_owner`)))
  await db.query(`alter table public.business_secrets owner to ${name}_owner`, [], superuser)
  await db.query(`grant ${name}_owner to ${name}`, [], superuser)
  await finds(db, 'access.rls', 'fail', new RegExp(`${name} owns the table through its roles`))
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
breaks('access.functions', 'fail', /get_business_secrets has another owner/, async function anotherOwner(db) {
  await db.query(`alter function ${get} owner to supabase_admin`, [], superuser)
})
breaks('access.functions', 'fail', /get_business_secrets has a search_path/, async function aSearchPath(db) {
  await db.query(`alter function ${get} set search_path = public`)
})
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

// Storage ------------------------------------------------------------------------------------------------------------

breaks(
  'triggers',
  'fail',
  /business_secrets\.zz_app_secrets_seal is disabled/,
  async function aDisabledTrigger(db) {
    await db.query('alter table public.business_secrets disable trigger zz_app_secrets_seal')
  },
)
breaks('triggers', 'fail', /businesses\.zz_app_secrets_sync is missing/, async function aMissingTrigger(db) {
  await db.query('drop trigger zz_app_secrets_sync on public.businesses')
})
breaks(
  'triggers',
  'fail',
  /secret_versions\.app_secrets_notify_update is disabled/,
  async function aSilentTable(db) {
    await db.query('alter table app_secrets.secret_versions disable trigger app_secrets_notify_update')
  },
)

breaks(
  'plaintext.columns',
  'fail',
  /back since 005, with values in them: 1 \(grok_api_key\)/,
  async function aColumnIsBack(db) {
    await db.query('alter table public.businesses add column grok_api_key text')
    await db.query("update public.businesses set grok_api_key = 'sk-1' where name = 'Business 1'")
  },
  { migratedTo: 5 },
)
breaks(
  'plaintext.columns',
  'warn',
  /back since 005, empty: grok_api_key/,
  async function anEmptyColumnIsBack(db) {
    await db.query('alter table public.businesses add column grok_api_key text')
  },
  { migratedTo: 5 },
)

test('plaintext.pages: not rewritten, rewritten, and looked at where that is allowed', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  const privileged = { admin: db.superuser, service: db.service }
  await db.query('checkpoint', [], superuser)
  await finds(db, 'plaintext.pages', 'warn', /not rewritten since/)
  await finds(privileged, 'plaintext.pages', 'fail', /\d+ of \d+ sealed values stand in the tables' pages/)
  await db.query('vacuum full public.businesses')
  await db.query('vacuum full public.business_secrets')
  await finds(db, 'plaintext.pages', 'ok', /both tables were rewritten/)
  await finds(privileged, 'plaintext.pages', 'ok', /none of \d+ sealed values/)
})

const replica = async (db, ...statements) => {
  const client = await db.connect(superuser)
  await client.query('set session_replication_role = replica')
  for (const statement of statements) await client.query(statement)
}
breaks(
  'cells.sealed',
  'fail',
  /cells that hold text instead of a reference: 1 \(grok_api_key of/,
  async function textInACell(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
    await replica(
      db,
      `update public.business_secrets set grok_api_key = 'sk-plain' where business_id = (
    select business_id from public.business_secrets limit 1)`,
    )
  },
)
breaks(
  'cells.sealed',
  'fail',
  /no validated constraint grok_api_key_is_reference/,
  async function noConstraint(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
  },
)
breaks(
  'cells.sealed',
  'warn',
  /samples \(pg_stats\) hold \d+ plaintext values/,
  async function staleSamples(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
    await replica(
      db,
      'create table public.kept as select business_id, grok_api_key from public.business_secrets',
      "update public.business_secrets set grok_api_key = 'sk-plain-' || business_id",
      'analyze public.business_secrets',
      'update public.business_secrets s set grok_api_key = k.grok_api_key from public.kept k where k.business_id = s.business_id',
      'drop table public.kept',
    )
    await db.query(
      `alter table public.business_secrets add constraint grok_api_key_is_reference check (grok_api_key ~ '^[0-9a-f-]{36}$')`,
    )
  },
)
breaks(
  'cells.references',
  'fail',
  /cells that refer to nothing: 1 \(gemini_api_key of/,
  async function aLostVaultRow(db) {
    await db.query(`delete from vault.secrets where name like 'business\\_secrets/%001/gemini\\_api\\_key'`)
  },
)
breaks('cells.orphans', 'warn', /nothing refers to: 1 \([0-9a-f-]{36}\)/, async function anOrphan(db) {
  await db.query(
    "select vault.create_secret('', 'business_secrets/' || gen_random_uuid() || '/grok_api_key', '')",
  )
})

breaks('publication', 'warn', /reports has public\.businesses/, async function plaintextIsPublished(db) {
  await db.query('create publication reports for table public.businesses')
})
breaks(
  'publication',
  'warn',
  /reports has app_secrets\.audit_log/,
  async function privateTablesArePublished(db) {
    await db.query('create publication reports for table app_secrets.audit_log')
  },
)
breaks('publication', 'warn', /supabase_realtime lacks business_secrets/, async function realtimeIsDeaf(db) {
  await db.query('alter publication supabase_realtime drop table public.business_secrets')
})

for (const [setting, value, level] of [
  ['log_statement', 'all', 'fail'],
  ['log_min_duration_statement', '0', 'fail'],
  ['log_min_duration_statement', '10s', 'warn'],
  ['log_parameter_max_length_on_error', '-1', 'fail'],
]) {
  breaks(
    'logs',
    level,
    new RegExp(`${setting} = ${value}`),
    async (db) => {
      await db.query(`alter database ${db.name} set ${setting} = '${value}'`, [], superuser)
    },
    { title: `${setting} = ${value}` },
  )
}
