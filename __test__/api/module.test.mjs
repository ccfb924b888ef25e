// The functions of the module: the same as the methods, on one shared client that is made from the environment.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { addon, exported, openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

/** Sets variables of this process until the test is over. */
function setEnvironment(t, variables) {
  const before = ['APP_SECRETS_URL', 'DATABASE_URL'].map((name) => [name, process.env[name]])
  const set = (entries) => {
    for (const [name, value] of entries) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
  set([['APP_SECRETS_URL'], ['DATABASE_URL'], ...Object.entries(variables)])
  t.after(async () => {
    set(before)
    await addon.close()
  })
}

after(() => addon.close())

const methods = Object.getOwnPropertyNames(addon.Secrets.prototype).filter((name) => name !== 'constructor')
const administration = ['doctor', 'migrate', 'status', 'verify']
const functions = exported.filter((name) => !/^[A-Z]/.test(name) && !administration.includes(name))

test('every method of a client stands at module level too, delete under a name that can be imported as well', () => {
  assert.ok(methods.length >= 21)
  assert.deepEqual([...methods, 'deleteSecret', 'connect'].sort(), functions.sort())
  assert.equal(addon.delete, addon.deleteSecret)
})

test('a service needs no more than its environment', async (t) => {
  const db = await freshDatabase(t, 17)
  setEnvironment(t, { APP_SECRETS_URL: db.service, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' })
  const id = await addBusiness(db)

  assert.equal(await addon.ping(), undefined)
  const version = await addon.set(id, 'grok_api_key', 'one')
  assert.equal(await addon.get(id, 'grok_api_key'), 'one')
  assert.ok((await addon.setMany(id, { claude_api_key: 'two' })).claude_api_key > version)
  assert.deepEqual(await addon.getMany(id, ['grok_api_key', 'claude_api_key']), {
    grok_api_key: 'one',
    claude_api_key: 'two',
  })
  assert.ok((await addon.deleteSecret(id, 'grok_api_key', { expectedVersion: version })) > version)
  assert.ok((await addon.delete(id, 'claude_api_key')) > version)
  assert.ok((await addon.undo(id, 'grok_api_key')) > version)
  await addon.delete(id, 'grok_api_key')
  assert.equal(await addon.check(id, 'grok_api_key', version, 'works'), false)
  assert.equal(await addon.get(id, 'claude_api_key'), null)
  assert.equal((await addon.list(id)).length, 12)
  await addon.setProviderKey(id, 'gemini', 'g')
  assert.equal(await addon.getProviderKey(id, 'gemini'), 'g')
  assert.deepEqual(await addon.getBusinessApiKeys(id), { gemini: 'g', grok: null })
  await addon.setKlingCredentials(id, { accessKey: 'a', secretKey: 's' })
  assert.deepEqual(await addon.getKlingCredentials(id), { accessKey: 'a', secretKey: 's' })
  for (const what of ['YouTube', 'Sms', 'WhatsApp']) {
    await addon[`set${what}ApiKey`](id, what)
    assert.equal(await addon[`get${what}ApiKey`](id), what)
  }
  await addon.setGoogleTokens(id, { refreshToken: 'r' })
  assert.equal((await addon.getGoogleTokens(id)).refreshToken, 'r')
  assert.equal((await addon.getIntegrationStatus(id)).kling.configured, true)
})

test('DATABASE_URL serves where APP_SECRETS_URL is missing or blank', async (t) => {
  const db = await freshDatabase(t, 17)
  setEnvironment(t, { DATABASE_URL: db.service, APP_SECRETS_URL: ' ' })
  await addon.ping()
  const client = await addon.connect()
  t.after(() => client.close())
  await client.ping()
  const bare = await addon.connect(null)
  t.after(() => bare.close())
  await bare.ping()
})

test('all functions share one client', async (t) => {
  const db = await freshDatabase(t, 17)
  setEnvironment(t, { APP_SECRETS_URL: `${db.service}?application_name=shared-client` })
  const id = await addBusiness(db)
  for (let i = 0; i < 5; i++) {
    await addon.get(id, 'grok_api_key')
    await addon.list(id)
    await addon.getBusinessApiKeys(id)
  }
  const sessions = 'select from pg_catalog.pg_stat_activity where application_name = $1'
  assert.equal((await db.query(sessions, ['shared-client'], 'supabase_admin')).length, 1)
  await addon.close()
  await until(
    async () => !(await db.query(sessions, ['shared-client'], 'supabase_admin')).length,
    'the shared client is gone',
  )
})

test('without a connection string every function says which variable to set, and the next call tries again', async (t) => {
  setEnvironment(t, {})
  for (const name of functions.filter((name) => !/^(close|watch|stats)$/.test(name))) {
    await refuses(() => addon[name](), 'CONFIG', { says: /APP_SECRETS_URL/ })
  }
  await addon.close()
  const db = await freshDatabase(t, 17)
  process.env.APP_SECRETS_URL = db.service
  await addon.ping()
})

test('a closed shared client makes room for a new one', async (t) => {
  const [first, second] = [await freshDatabase(t, 17), await freshDatabase(t, 17)]
  setEnvironment(t, { APP_SECRETS_URL: first.service })
  const id = await addBusiness(first, { grok_api_key: 'in the first' })
  await second.query('insert into public.businesses (id, grok_api_key) values ($1, $2)', [
    id,
    'in the second',
  ])
  assert.equal(await addon.get(id, 'grok_api_key'), 'in the first')
  process.env.APP_SECRETS_URL = second.service
  assert.equal(await addon.get(id, 'grok_api_key'), 'in the first')
  await addon.close()
  await addon.close()
  assert.equal(await addon.get(id, 'grok_api_key'), 'in the second')
})

test('a closed client refuses every method, and closing again is no failure', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const client = await openClient(t, db)
  await client.ping()
  assert.equal(await client.close(), undefined)
  assert.equal(await client.close(), undefined)
  const known = { getMany: [['grok_api_key']], setMany: [{ grok_api_key: 'x' }], getProviderKey: ['grok'] }
  known.setProviderKey = ['grok', 'x']
  known.setKlingCredentials = [null]
  known.setGoogleTokens = [{ refreshToken: 'x' }]
  known.check = ['grok_api_key', 1, 'works']
  known.withGoogleAccessToken = [() => assert.fail('refreshed')]
  for (const name of methods.filter((name) => !/^(close|watch|stats)$/.test(name))) {
    const rest = known[name] ?? (/^(get|delete|undo)$/.test(name) ? ['grok_api_key'] : ['grok_api_key', 'x'])
    const args = /^set.*ApiKey$/.test(name) ? ['x'] : rest
    await refuses(() => client[name](id, ...args), 'CLOSED', { says: /connect\(\)/ })
  }
})

test('closing lets what is under way end and fails what still waits', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const client = await openClient(t, db, { maxConnections: 1 })
  await client.ping()
  const write = client.set(id, 'grok_api_key', 'under way')
  const waiting = Array.from({ length: 5 }, () =>
    client.ping().then(
      () => 'served',
      ({ code }) => code,
    ),
  )
  await client.close()
  assert.ok((await write) > 0)
  for (const outcome of await Promise.all(waiting)) assert.ok(['served', 'CLOSED'].includes(outcome), outcome)
})
