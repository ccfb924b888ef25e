// A database that is there, and not as it should be: every state has its code and its remedy.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { openClient, refuses } from '../support/addon.mjs'
import { freshDatabase, onEachMajor, startCluster, withClient } from '../support/cluster.mjs'
import { migration } from '../support/migrations.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

const somebody = randomUUID()

/** Every kind of statement that a client sends. */
const calls = (client, id = somebody) => ({
  get: () => client.get(id, 'grok_api_key'),
  getMany: () => client.getMany(id, ['grok_api_key', 'claude_api_key']),
  set: () => client.set(id, 'grok_api_key', 'lost value'),
  list: () => client.list(id),
})

async function everyCall(client, code, says, id) {
  for (const call of Object.values(calls(client, id)))
    await refuses(call, code, { says, hides: ['lost value'] })
}

/** The migration role stands in: before 004 there is no group for a service's login to be in. */
onEachMajor('a database that is not migrated', async (t, major) => {
  for (const [what, migratedTo] of [
    ['not at all', 0],
    ['to 002', 2],
    ['to 003', 3],
  ]) {
    await t.test(`${what} is NOT_MIGRATED to every call, and alive to ping`, async (t) => {
      const db = await freshDatabase(t, major, { migratedTo })
      const id = await addBusiness(db, { grok_api_key: 'in plaintext' })
      const client = await openClient(t, db.admin)
      await client.ping()
      await everyCall(client, 'NOT_MIGRATED', /app-secrets migrate/, id)
    })
  }

  await t.test('serves the same client as soon as it is migrated', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 3 })
    const id = await addBusiness(db, { grok_api_key: 'carried over' })
    const client = await openClient(t, db.service)
    await refuses(() => client.get(id, 'grok_api_key'), 'NOT_MIGRATED')
    await db.query(migration(4))
    assert.equal(await client.get(id, 'grok_api_key'), 'carried over')
    await client.set(id, 'grok_api_key', 'and written')
  })

  await t.test('is served on after its plaintext columns are dropped', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 4, legacyData: true })
    const [{ id }] = await db.query('select id from public.businesses where grok_api_key is not null limit 1')
    const client = await openClient(t, db.service)
    const before = await client.list(id)
    await db.query(migration(5))
    assert.deepEqual(await client.list(id), before)
    const version = await client.set(id, 'claude_api_key', 'after 005')
    assert.equal(await client.get(id, 'claude_api_key'), 'after 005')
    assert.ok(version > 0)
  })
})

test('a contract of another version', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'there' })
  const grant = 'grant execute on all functions in schema public to app_secrets_service'
  const read = 'public.get_business_secrets_columns(uuid[], text[], boolean)'

  /** Puts another function in the place of the one that reads until the claim is over. */
  const claim = (name, definition, call = (client) => client.get(id, 'grok_api_key')) =>
    t.test(name, async (t) => {
      await db.query(`alter function ${read} rename to kept; ${definition}; ${grant}`)
      t.after(() =>
        db.query(
          `drop function if exists ${read};
           alter function public.kept(uuid[], text[], boolean) rename to get_business_secrets_columns`,
        ),
      )
      const client = await openClient(t, db)
      await refuses(() => call(client), 'NOT_MIGRATED', { says: /app-secrets migrate/, hides: ['odd value'] })
    })
  const returning = (row, columns = '"values" text[], versions bigint[], statuses smallint[]') =>
    `create function public.get_business_secrets_columns(p_business_ids uuid[], p_names text[], p_with_versions boolean)
     returns table(${columns}) language sql security definer set search_path = '' as $$ select ${row} $$`
  const both = (client) => client.getMany(id, ['grok_api_key', 'claude_api_key'])

  await claim('without the function is NOT_MIGRATED', 'select')
  await claim('with other columns is NOT_MIGRATED', returning("array['odd value']", '"values" text[]'))
  await claim(
    'with columns of other types is NOT_MIGRATED',
    returning(
      "array['odd value'], null::bigint[], array[0]",
      '"values" text[], versions bigint[], statuses integer[]',
    ),
  )
  await claim(
    'with a new status is NOT_MIGRATED',
    returning('array[null::text], null::bigint[], array[9::smallint]'),
  )
  await claim(
    'with a value beside a failure is NOT_MIGRATED',
    returning("array['odd value'], null::bigint[], array[1::smallint]"),
  )
  await claim(
    'with answers missing is NOT_MIGRATED',
    returning("array['odd value'], null::bigint[], array[0::smallint]"),
    both,
  )
  await claim('with no arrays is NOT_MIGRATED', returning('null::text[], null::bigint[], null::smallint[]'))
  await claim(
    'with arrays of arrays is NOT_MIGRATED',
    returning("array[array['odd value', 'odd value']], null::bigint[], array[0, 0]::smallint[]"),
    both,
  )

  await t.test('whose write answers something else than versions is UNKNOWN_OUTCOME', async (t) => {
    const { definition } = await db.one(
      "select pg_get_functiondef('public.set_business_secrets(uuid, jsonb, jsonb, jsonb)'::regprocedure) as definition",
    )
    t.after(() => db.query(definition))
    for (const answer of ['[]', '{"grok_api_key": "odd value"}', '{"a_newer_api_key": 1}', '{}']) {
      await db.query(`create or replace function
        public.set_business_secrets(
          p_business_id uuid, p_values jsonb, p_expected jsonb default null, p_options jsonb default null) returns jsonb
        language sql security definer set search_path = '' as $$ select '${answer}'::jsonb $$`)
      const client = await openClient(t, db)
      await refuses(() => client.set(id, 'grok_api_key', 'x'), 'UNKNOWN_OUTCOME', {
        says: /version/,
        hides: ['odd value', 'newer'],
      })
    }
  })
})

test('a login that may not', async (t) => {
  const db = await freshDatabase(t, 17)
  const password = 'p4ss-w0rd-marker'
  const role = `outsider_${process.pid}`
  const asSuperuser = (statement) => db.query(statement, [], 'supabase_admin')
  await asSuperuser(`create role ${role} login password '${password}'`)
  // After the database, which holds what was granted.
  t.after(() =>
    withClient(db.cluster.urlFor('supabase_admin'), (client) => client.query(`drop role ${role}`)),
  )
  const url = new URL(db.service)
  Object.assign(url, { username: role, password })
  const says = (pattern) => ({ says: pattern, hides: [password, url.href] })

  await t.test('call the functions is PERMISSION_DENIED, with the group to join', async (t) => {
    const client = await openClient(t, url.href)
    await client.ping()
    await everyCall(client, 'PERMISSION_DENIED', /app_secrets_service/)
    await asSuperuser(`grant app_secrets_service to ${role}`)
    // In the group, but without a scope.
    const { get, getMany, set } = calls(client)
    for (const call of [get, getMany, set])
      await refuses(call, 'PERMISSION_DENIED', { says: /grant_scope/, hides: ['lost value'] })
    await db.query("select app_secrets.grant_scope($1, array['grok_api_key'])", [role])
    t.after(() => db.query('select app_secrets.revoke_scope($1)', [role]))
    await refuses(() => client.get(somebody, 'grok_api_key'), 'BUSINESS_NOT_FOUND')
    await asSuperuser(`revoke app_secrets_service from ${role}`)
    await everyCall(client, 'PERMISSION_DENIED', /app_secrets_service/)
  })

  for (const [what, change, code, pattern] of [
    ['with another password', (u) => (u.password = `not-${password}`), 'PERMISSION_DENIED', /password/],
    ['without a password', (u) => (u.password = ''), 'PERMISSION_DENIED', /password/],
    ['as somebody whom nobody knows', (u) => (u.username = 'nobody_at_all'), 'PERMISSION_DENIED', /user/],
    [
      'in a database that there is not',
      (u) => (u.pathname = '/no_such_database'),
      'CONFIG',
      /connection string/,
    ],
  ]) {
    await t.test(`connect ${what} is ${code}, at once`, async (t) => {
      const other = new URL(url)
      change(other)
      // Trying again and again until the deadline would outlast the test.
      const client = await openClient(t, other.href, { timeoutMs: 3_600_000 })
      await refuses(() => client.ping(), code, says(pattern))
      await everyCall(client, code, pattern)
    })
  }

  await t.test("connect without a password never takes another's from the environment", async (t) => {
    process.env.PGPASSWORD = password
    t.after(() => delete process.env.PGPASSWORD)
    const other = new URL(url)
    other.password = ''
    const client = await openClient(t, other.href)
    await refuses(() => client.ping(), 'PERMISSION_DENIED')
  })

  await t.test('connect to a database that is closed to it is refused with a code', async (t) => {
    await asSuperuser(`revoke connect on database ${db.name} from public`)
    t.after(() => asSuperuser(`grant connect on database ${db.name} to public`))
    const client = await openClient(t, url.href)
    await refuses(() => client.ping(), 'PERMISSION_DENIED', says(/./))
  })
})

test('a database that takes no writes', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'still readable' })
  await db.query(`alter database ${db.name} set default_transaction_read_only = on`)
  const client = await openClient(t, db)
  assert.equal(await client.get(id, 'grok_api_key'), 'still readable')
  await refuses(() => client.set(id, 'grok_api_key', 'lost value'), 'UNAVAILABLE', {
    says: /read-only/,
    hides: ['lost value'],
  })
  assert.equal(await client.get(id, 'grok_api_key'), 'still readable')

  await db.query(`alter database ${db.name} reset default_transaction_read_only`)
  // The connection that failed was given up: a fresh one sees that the server may be written to again.
  assert.ok((await client.set(id, 'grok_api_key', 'written')) > 0)
})

test('a server without room', async (t) => {
  const own = await startCluster(17, {
    settings: { max_connections: 8, superuser_reserved_connections: 1, max_wal_senders: 0 },
  })
  t.after(() => own.stop())
  const url = await own.server.createLogin('crowd')
  // On a busy machine a client that may begins a second attempt beside one that is slow. The one that is asked about may.
  const most = (i) => (i === 1 ? {} : { maxConnections: 1 })
  const clients = await Promise.all(Array.from({ length: 7 }, (_, i) => openClient(t, url, most(i))))
  // Sessions that made the login may still be ending.
  const hasPlace = (client) =>
    client.ping().then(
      () => true,
      () => false,
    )
  await Promise.all(clients.map((client) => until(() => hasPlace(client), 'a place')))

  await t.test('is waited for, then UNAVAILABLE, and served as soon as there is room', async (t) => {
    const late = await openClient(t, url, { timeoutMs: 8000 })
    await refuses(() => late.ping(), 'UNAVAILABLE', { says: /53300/, hides: [new URL(url).password] })
    const answer = late.ping()
    await clients[0].close()
    // The session that ends may still have its place when the client asks.
    await answer.catch(() => until(() => hasPlace(late), 'a place'))
  })

  await t.test('is not asked for a second connection that a client does not need', async () => {
    const [first] = clients.slice(1)
    await Promise.all(Array.from({ length: 300 }, () => first.ping()))
    // A session that is refused takes the superuser's place for a moment.
    const count = () => own.server.sql("select from pg_catalog.pg_stat_activity where usename = 'crowd'")
    const { rows } = await until(() => count().catch(() => undefined), 'room for the superuser')
    assert.ok(rows.length <= 7)
  })
})
