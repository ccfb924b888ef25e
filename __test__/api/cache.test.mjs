// What is cached: a hit needs nothing and nobody, and nothing is served that was changed or taken away.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { addon, addonPath, assertHides, breakCipher, openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, updateLegacy, updateSecrets } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'

const batch = 'public.get_business_secrets_columns(uuid[], text[], boolean)'

/** A client that caches and hears. */
async function openCached(t, database, cache = true) {
  const client = await openClient(t, database, { cache })
  await until(() => client.stats().listener.state === 'listening', 'a listener')
  return client
}

async function holds(t, values = { grok_api_key: 'first' }) {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, values)
  return { db, id }
}

test('a hit is there in the turn that asks for it, and sends nothing', async (t) => {
  const { db, id } = await holds(t, { grok_api_key: 'first', gemini_api_key: 'second' })
  const proxy = await wireProxy(t, db.service)
  const client = await openCached(t, proxy.url)
  const calls = [
    () => client.get(id, 'grok_api_key'),
    () => client.get(id, 'claude_api_key'),
    () => client.getMany(id, ['grok_api_key', 'gemini_api_key']),
    () => client.getProviderKey(id, 'grok'),
    () => client.getBusinessApiKeys(id),
    () => client.getKlingCredentials(id),
    () => client.getGoogleTokens(id),
    () => client.getYouTubeApiKey(id),
  ]
  const expected = []
  // Twice: what was read by itself meanwhile is read again together, of one snapshot.
  for (let round = 0; round < 2; round++) for (const [i, call] of calls.entries()) expected[i] = await call()
  proxy.reset()
  proxy.hold()
  for (const [i, call] of calls.slice(2).entries()) {
    let value
    call().then((resolved) => {
      value = resolved
    })
    await new Promise(process.nextTick)
    assert.deepEqual(value, expected[i + 2])
  }
  assert.equal(proxy.sent.length, 0)
  proxy.release()
})

test('without the option nothing is cached and nobody listens', async (t) => {
  const { db, id } = await holds(t)
  for (const options of [{}, { cache: false }, { cache: undefined }, { cache: null }]) {
    const client = await openClient(t, db, options)
    await client.get(id, 'grok_api_key')
    await client.get(id, 'grok_api_key')
    const { hits, misses, entries, batches, listener } = client.stats()
    assert.deepEqual({ hits, misses, entries, batches }, { hits: 0, misses: 0, entries: 0, batches: 2 })
    assert.deepEqual(listener, { state: 'off', reconnects: 0 })
  }
})

test('wrong options of the cache are refused by their names', async () => {
  const url = 'postgres://a:b@127.0.0.1:1/nothing'
  for (const cache of ['yes', 1, [], () => {}, { ttlMs: '60' }, { ttlMs: 1.5 }, { maxEntries: NaN }]) {
    await refuses(() => addon.connect({ url, cache }), 'INVALID_ARGUMENT', {
      says: /cache must|ttlMs must|maxEntries must/,
    })
  }
  await refuses(() => addon.connect({ url, cache: { ttl: 1 } }), 'CONFIG', { says: /known are ttlMs/ })
  for (const [name, value] of [
    ['ttlMs', 0],
    ['ttlMs', 86_400_001],
    ['negativeTtlMs', 86_400_001],
    ['maxEntries', 0],
    ['maxEntries', 1_000_001],
    ['maxStaleMs', 86_400_001],
  ]) {
    const says = new RegExp(`cache\\.${name}`)
    await refuses(() => addon.connect({ url, cache: { [name]: value } }), 'CONFIG', { says })
  }
  const listenUrl = 'postgres://a:hunter2@127.0.0.1:6543/nothing'
  await refuses(() => addon.connect({ url, listenUrl }), 'CONFIG', { says: /listenUrl/, hides: ['hunter2'] })
})

test('a read sees the own write before it, with any number of readers about', async (t) => {
  const { db, id } = await holds(t)
  const client = await openCached(t, db)
  let reading = true
  const readers = Array.from({ length: 8 }, async () => {
    while (reading) {
      await client.get(id, 'grok_api_key')
      await new Promise(setImmediate)
    }
  })
  for (let round = 0; round < 100; round++) {
    await client.set(id, 'grok_api_key', `round ${round}`)
    assert.equal(await client.get(id, 'grok_api_key'), `round ${round}`)
  }
  await client.delete(id, 'grok_api_key')
  assert.equal(await client.get(id, 'grok_api_key'), null)
  reading = false
  await Promise.all(readers)
})

test('a change made by another process or in plain SQL, on either side, is seen within moments', async (t) => {
  const { db, id } = await holds(t)
  const here = await openCached(t, db)
  const there = await anotherProcess(t, db, id)
  const bothSee = async (expected) => {
    await until(async () => (await here.get(id, 'grok_api_key')) === expected, `${expected} here`)
    await until(async () => (await there('get')) === expected, `${expected} there`)
  }
  await bothSee('first')
  await here.set(id, 'grok_api_key', 'from here')
  await bothSee('from here')
  await there('set', 'from there')
  await bothSee('from there')
  await updateSecrets(db, id, { grok_api_key: 'from the sealed table' })
  await bothSee('from the sealed table')
  await updateLegacy(db, id, { grok_api_key: 'from the plaintext column' })
  await bothSee('from the plaintext column')
  await db.query('truncate public.business_secrets')
  await bothSee(null)
})

test('what was taken away is not served, not even in an outage after it', async (t) => {
  const cases = {
    'a permission': {
      code: 'PERMISSION_DENIED',
      take: (db) => db.query(`revoke execute on function ${batch} from app_secrets_service, public`),
    },
    'the function': {
      code: 'NOT_MIGRATED',
      take: (db) => db.query(`alter function ${batch} rename to gone`),
    },
    'the business': {
      code: 'BUSINESS_NOT_FOUND',
      take: (db, id) => db.query('delete from public.businesses where id = $1', [id]),
    },
    "Vault's key": { code: 'DECRYPT_FAILED', take: (db, id) => breakCipher(db, id, 'grok_api_key') },
  }
  for (const [what, { code, take }] of Object.entries(cases)) {
    await t.test(what, async (t) => {
      const { db, id } = await holds(t)
      const proxy = await wireProxy(t, db.service)
      const client = await openCached(t, proxy.url, { ttlMs: 1, maxStaleMs: 3_600_000 })
      assert.equal(await client.get(id, 'grok_api_key'), 'first')
      await take(db, id)
      // It is fresh for a millisecond.
      await delay(5)
      await refuses(() => client.get(id, 'grok_api_key'), code)
      await proxy.close()
      await refuses(() => client.get(id, 'grok_api_key'), 'UNAVAILABLE')
      assert.equal(client.stats().staleServed, 0)
    })
  }
})

test('in an outage an older value is served where that is allowed, counted, and only then', async (t) => {
  const { db, id } = await holds(t)
  for (const [maxStaleMs, served] of [
    [3_600_000, true],
    [0, false],
  ]) {
    const proxy = await wireProxy(t, db.service)
    const client = await openCached(t, proxy.url, { maxStaleMs })
    assert.equal(await client.get(id, 'grok_api_key'), 'first')
    await proxy.close()
    await until(() => client.stats().listener.state === 'connecting', 'the loss')
    if (served) assert.equal(await client.get(id, 'grok_api_key'), 'first')
    else await refuses(() => client.get(id, 'grok_api_key'), 'UNAVAILABLE')
    assert.equal(client.stats().staleServed, served ? 1 : 0)
    await refuses(() => client.get(id, 'claude_api_key'), 'UNAVAILABLE')
  }
})

test('a client and its statistics show no value and no password', async (t) => {
  const { db, id } = await holds(t, { grok_api_key: 'xai-marker-4711' })
  const client = await openCached(t, db)
  await client.get(id, 'grok_api_key')
  for (const thing of [client, client.stats()]) {
    assertHides(thing, 'xai-marker')
    assertHides(thing, new URL(db.service).password)
  }
})

/** A client in a process of its own: `(command, value?)` resolves with what it answers. */
async function anotherProcess(t, db, id) {
  const script = `
    const { createInterface } = require('node:readline')
    const { connect } = require(${JSON.stringify(addonPath)})
    connect({ cache: true }).then(async (client) => {
      while (client.stats().listener.state !== 'listening') await new Promise(setImmediate)
      console.log('"ready"')
      for await (const line of createInterface({ input: process.stdin })) {
        const [command, value] = JSON.parse(line)
        const answer = command === 'get'
          ? await client.get('${id}', 'grok_api_key')
          : await client.set('${id}', 'grok_api_key', value)
        console.log(JSON.stringify(answer))
      }
    })`
  const env = { ...process.env, APP_SECRETS_URL: db.service }
  const child = spawn(process.execPath, ['-e', script], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(async () => {
    child.stdin.end()
    if (child.exitCode === null) await once(child, 'exit')
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => JSON.parse((await lines.next()).value)
  await answer()
  return (...command) => {
    child.stdin.write(`${JSON.stringify(command)}\n`)
    return answer()
  }
}
