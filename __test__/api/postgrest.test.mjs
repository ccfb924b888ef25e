// connect({ supabaseUrl, … }): tokens that expire, other tenants, answers that fail. What it shares with the other
// transports the contract suite holds.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { startDataApi } from '../../dev/data-api.mjs'
import { addon, refuses, shown } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'
import { key, scripted, token } from '../support/scripted-api.mjs'
import { addBusiness } from '../support/secrets.mjs'

const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'

async function dataApi(t) {
  const db = await freshDatabase(t, 17)
  const api = await startDataApi({ url: db.urlFor('authenticator') })
  t.after(() => api.close())
  const [owner, stranger] = [randomUUID(), randomUUID()]
  await db.query('insert into auth.users (id) values ($1), ($2)', [owner, stranger], 'supabase_admin')
  const open = async (accessToken, more) => {
    const options = {
      supabaseUrl: api.url,
      supabaseKey: api.keys.publishable,
      accessToken,
      timeoutMs: 20_000,
    }
    const client = await addon.connect({ ...options, ...more })
    t.after(() => client.close())
    return client
  }
  return { db, api, owner, stranger, open }
}

test('an expired token is asked for again once, however many calls find it expired', async (t) => {
  const { db, api, owner, open } = await dataApi(t)
  const business = await addBusiness(db, { owner_id: owner })
  const expired = api.sign({ sub: owner, exp: Math.floor(Date.now() / 1000) - 3600 })
  let current = expired
  let refreshes = 0
  const client = await open(async (why) => {
    if (why.expired) {
      refreshes++
      // All of the others are here by then.
      await new Promise((resolve) => setImmediate(resolve))
      current = api.sign({ sub: owner })
    }
    return current
  })
  const names = ['grok_api_key', 'claude_api_key', 'gemini_api_key']
  await Promise.all(names.map((name) => client.getMany(business, [name])))
  assert.equal(refreshes, 1)
  await client.set(business, 'grok_api_key', 'after it')
  assert.equal(await client.get(business, 'grok_api_key'), 'after it')
  assert.equal(refreshes, 1)
})

test('a token that stays expired, or is none, is PERMISSION_DENIED with what to do', async (t) => {
  const { api, owner, open } = await dataApi(t)
  const expired = api.sign({ sub: owner, exp: Math.floor(Date.now() / 1000) - 3600 })
  for (const [accessToken, says] of [
    [expired, /pass accessToken as a function/],
    [() => expired, /sign in again/],
    [() => null, /nobody is signed in/],
    [() => Promise.reject(new Error('signed out')), /sign in again/],
    ['not.a.token', /PGRST301/],
  ]) {
    const client = await open(accessToken)
    await refuses(() => client.get(id, 'grok_api_key'), 'PERMISSION_DENIED', { says, hides: [expired] })
  }
})

test('another owner finds nothing of a business, and changes nothing of it', async (t) => {
  const { db, api, owner, stranger, open } = await dataApi(t)
  const business = await addBusiness(db, { owner_id: owner })
  const mine = await open(() => api.sign({ sub: owner }))
  await mine.set(business, 'grok_api_key', 'mine alone')
  for (const other of [await open(api.sign({ sub: stranger })), await open(undefined)]) {
    for (const call of [
      () => other.get(business, 'grok_api_key'),
      () => other.set(business, 'grok_api_key', 'stolen'),
      () => other.setMany(business, { grok_api_key: 'stolen', claude_api_key: 'stolen' }),
      () => other.undo(business, 'grok_api_key'),
      () => other.list(business),
    ]) {
      const error = await call().then(assert.fail, (error) => error)
      assert.ok(['BUSINESS_NOT_FOUND', 'PERMISSION_DENIED'].includes(error.code), error.code)
      assert.ok(!shown(error).includes('mine alone'))
    }
  }
  assert.equal(await mine.get(business, 'grok_api_key'), 'mine alone')
})

test('the gets of one turn of a business are one request', async (t) => {
  const row = { grok_api_key: 'g', claude_api_key: 'c', gemini_api_key: 'm' }
  const { client, seen } = await scripted(t, [[200, [row]]])
  const names = [...Object.keys(row), 'grok_api_key']
  assert.deepEqual(await Promise.all(names.map((name) => client.get(id, name))), ['g', 'c', 'm', 'g'])
  assert.equal(seen.length, 1)
  const [{ url, headers }] = seen
  const path = '/rest/v1/decrypted_business_secrets'
  assert.equal(url, `${path}?select=grok_api_key,claude_api_key,gemini_api_key&business_id=eq.${id}`)
  assert.equal(headers.apikey, key)
  assert.equal(headers.authorization, `Bearer ${token}`)
})

test('a conflict of two transactions is tried again, and given up at the deadline', async (t) => {
  const conflict = [409, { code: 'PT409', message: 'the owner row is locked' }]
  const written = [200, [{ version: 7 }]]
  const { client, seen } = await scripted(t, [conflict, conflict, written])
  assert.equal(await client.set(id, 'grok_api_key', 'x', { expectedVersion: 3 }), 7)
  assert.equal(seen.length, 3)
  assert.equal(seen[2].method, 'PATCH')
  assert.match(seen[2].url, /version=eq\.3/)
  assert.equal(seen[2].body, '{"value":"x"}')

  const lasting = await scripted(t, [conflict])
  await refuses(() => lasting.client.set(id, 'grok_api_key', 'x'), 'UNAVAILABLE', { says: /met another/ })
  assert.ok(lasting.seen.length > 3)
})

test('each failure has its code, and nothing of what the server or the caller said but our own words', async (t) => {
  const secret = 'sk_live_marker_4711'
  for (const [answer, read, write, says] of [
    [
      [400, { code: 'AS002', message: 'grok_api_key is too long' }],
      'INVALID_VALUE',
      'INVALID_VALUE',
      /too long/,
    ],
    [[400, { code: 'AS008', message: 'there is no earlier value' }], 'REFUSED', 'REFUSED', /no earlier/],
    [[400, { code: 'AS009', message: 'being changed' }], 'UNAVAILABLE', 'UNAVAILABLE', /being changed/],
    [[403, { code: '42501', message: secret }], 'PERMISSION_DENIED', 'PERMISSION_DENIED', /42501/],
    [[401, { message: secret }], 'PERMISSION_DENIED', 'PERMISSION_DENIED', /supabaseKey/],
    [[404, { code: 'PGRST205', message: secret }], 'NOT_MIGRATED', 'NOT_MIGRATED', /app-secrets migrate/],
    [[500, { code: '57014', message: secret }], 'TIMEOUT', 'TIMEOUT', /statement_timeout/],
    [[400, { code: '22P02', message: secret }], 'INVALID_VALUE', 'INVALID_VALUE', /22P02/],
    [[400, { code: '23514', message: secret, details: secret }], 'REFUSED', 'REFUSED', /23514/],
    [[503, { code: 'PGRST000', message: secret }], 'UNAVAILABLE', 'UNAVAILABLE', /503/],
    [[504, null], 'UNAVAILABLE', 'UNKNOWN_OUTCOME', /504/],
    [[429, null], 'UNAVAILABLE', 'UNAVAILABLE', /429/],
    [
      (_, response) => response.destroy(),
      'UNAVAILABLE',
      'UNKNOWN_OUTCOME',
      /UND_ERR_SOCKET|ECONNRESET|failed/,
    ],
    [() => {}, 'TIMEOUT', 'UNKNOWN_OUTCOME', /2000 ms/],
  ]) {
    const { client } = await scripted(t, [answer])
    const hides = [secret, key, token]
    await refuses(() => client.get(id, 'grok_api_key'), read, { says, hides })
    await refuses(() => client.set(id, 'grok_api_key', secret), write, { says, hides })
  }
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const supabaseUrl = `http://127.0.0.1:${closed.address().port}`
  await new Promise((resolve) => closed.close(resolve))
  const options = { supabaseUrl, supabaseKey: key, accessToken: token }
  const nowhere = await addon.connect(options)
  await refuses(() => nowhere.set(id, 'grok_api_key', 'x'), 'UNAVAILABLE', { says: /ECONNREFUSED/ })
})

test('a client shows neither its key nor its token', async (t) => {
  const { client } = await scripted(t, [[200, []]])
  for (const secret of [key, token]) assert.ok(!shown(client).includes(secret))
})

test('options that cannot work are refused, and said by name', async () => {
  const good = { supabaseUrl: 'https://ref.supabase.co', supabaseKey: key }
  for (const [options, code, says] of [
    [{ supabaseUrl: 'https://ref.supabase.co' }, 'CONFIG', /supabaseKey/],
    [{ supabaseKey: key }, 'CONFIG', /supabaseUrl/],
    [{ accessToken: token }, 'CONFIG', /supabaseUrl/],
    [{ ...good, supabaseUrl: 'ref.supabase.co' }, 'CONFIG', /https:\/\/<ref>/],
    [{ ...good, supabaseUrl: 'http://ref.supabase.co' }, 'UNSAFE_CONNECTION', /https/],
    [{ ...good, supabaseUrl: 'http://localhost.example.com:54321' }, 'UNSAFE_CONNECTION', /https/],
    [{ ...good, supabaseUrl: 'http://[::ffff:192.0.2.1]:54321' }, 'UNSAFE_CONNECTION', /https/],
    [{ ...good, supabaseUrl: 'ftp://localhost:54321' }, 'UNSAFE_CONNECTION', /https/],
    [{ ...good, url: 'postgres://a:b@localhost/c' }, 'CONFIG', /url has no meaning with supabaseUrl/],
    [{ ...good, cache: true }, 'CONFIG', /cache has no meaning/],
    [
      { url: 'postgres://a:b@127.0.0.1:1/c', pollMs: 1000, supabaseUrl: null },
      'CONFIG',
      /url has no meaning/,
    ],
    [{ ...good, accessToken: 7 }, 'INVALID_ARGUMENT', /accessToken must be/],
    [{ ...good, pollMs: 0 }, 'CONFIG', /pollMs must be from 1/],
  ]) {
    await refuses(() => addon.connect(options), code, { says, hides: [key, token] })
  }
  const insecure = await addon.connect({
    ...good,
    supabaseUrl: 'http://ref.supabase.co',
    allowInsecure: true,
  })
  await insecure.close()
})

test('a watcher goes on after an outage, and misses nothing', async (t) => {
  const row = (version) => ({ business_id: id, name: 'grok_api_key', version })
  const answers = [[200, [row(1)]], [503, null], (_, response) => response.destroy(), [200, [row(2)]]]
  const { client, supabaseUrl } = await scripted(t, answers)
  await client.close()
  const options = { supabaseUrl, supabaseKey: key, accessToken: token, pollMs: 1 }
  const watching = await addon.connect(options)
  t.after(() => watching.close())
  const events = []
  await new Promise((resolve) => {
    watching.watch({ businessId: id }, (event) => {
      events.push(event)
      if (event.kind === 'changed') resolve()
    })
  })
  assert.deepEqual(events, [
    { kind: 'resync' },
    { kind: 'changed', businessId: id, names: ['grok_api_key'], versions: { grok_api_key: 2 } },
  ])
  assert.equal(watching.stats().listener.reconnects, 1)
})

test('polling does not keep the process alive', async (t) => {
  const { supabaseUrl } = await scripted(t, [[200, []]])
  const options = { supabaseUrl, supabaseKey: key, accessToken: token }
  const result = await runScript(
    `addon.connect(${JSON.stringify(options)}).then((client) => client.watch(null, () => console.log('told')))`,
  )
  assert.equal(result.code, 0, result.stderr)
  assert.equal(result.stdout, 'told\n')
})

test('in Electron a connection string is refused unless that is allowed, and PostgREST is not', async (t) => {
  const result = await runScript(
    `Object.defineProperty(process.versions, 'electron', { value: '40.0.0', enumerable: true })
     for (const file of Object.keys(require.cache)) delete require.cache[file]
     const { connect } = require(${JSON.stringify(createRequire(import.meta.url).resolve('../../index.js'))})
     const url = 'postgres://someone:p4ss@127.0.0.1:1/nothing'
     process.env.APP_SECRETS_URL = url
     const tell = (promise) => promise.then((client) => client.close().then(() => 'made'), ({ code, message }) => code + ' ' + message)
     const loaded = () => Object.keys(require.cache).some((file) => file.endsWith('.node'))
     ;(async () => {
       console.log(await tell(connect({ url })))
       console.log(await tell(connect()))
       console.log(await tell(connect({ supabaseUrl: 'https://ref.supabase.co', supabaseKey: 'k', accessToken: 't' })), loaded())
       console.log(await tell(connect({ allowDatabaseLoginInElectron: true })), loaded())
     })()`,
  )
  assert.equal(result.code, 0, result.stderr)
  const lines = result.stdout.trim().split('\n')
  for (const line of lines.slice(0, 2))
    assert.match(line, /^CONFIG .*supabaseUrl.*allowDatabaseLoginInElectron/)
  assert.deepEqual(lines.slice(2), ['made false', 'made true'])
  assert.ok(!result.stdout.includes('p4ss'))
  t.diagnostic('process.versions.electron was set by hand: Electron itself is in no registry')
})
