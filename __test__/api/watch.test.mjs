// watch(): who is told what, and what a callback can do wrong.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { addon, addonPath, openClient } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'
import { addBusiness, clear, rawVersions, updateSecrets } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

/** A watcher and the events that it was told, once it hears. */
async function watching(client, filter, also = () => {}) {
  const hears = client.stats().listener.state === 'listening'
  const events = []
  const watcher = client.watch(filter, (event) => {
    events.push(event)
    return also(event)
  })
  // The first session begins with a resync, of which what changed before is part.
  await until(() => hears || events.length > 0, 'a listener')
  return { watcher, events, changes: () => events.filter(({ kind }) => kind === 'changed') }
}

const listeners = (db) =>
  db.query(
    `select pid from pg_catalog.pg_stat_activity
     where datname = pg_catalog.current_database() and application_name like '% listener'`,
    [],
    'supabase_admin',
  )

test('a watcher is told what its filter names, whoever changes it', async (t) => {
  const db = await freshDatabase(t, 17)
  const [id, other] = [await addBusiness(db), await addBusiness(db)]
  const [client, writer] = [await openClient(t, db), await openClient(t, db)]
  const all = await watching(client)
  const some = await watching(client, { businessId: id.toUpperCase(), names: ['grok_api_key'] })

  // Each is waited for: changes of one business that arrive together are told as one.
  await writer.set(other, 'grok_api_key', 'x')
  await until(() => all.changes().length === 1, 'the first event')
  await writer.set(id, 'claude_api_key', 'x')
  await until(() => all.changes().length === 2, 'the second event')
  await updateSecrets(db, id, { grok_api_key: 'x', gemini_api_key: 'x' })
  await until(() => some.changes().length === 1 && all.changes().length === 3, 'the events')
  const reached = await rawVersions(db, id)
  assert.deepEqual(some.changes(), [
    {
      kind: 'changed',
      businessId: id,
      names: ['grok_api_key'],
      versions: { grok_api_key: reached.grok_api_key },
    },
  ])
  const last = all.changes()[2]
  assert.deepEqual(last.names.toSorted(), ['gemini_api_key', 'grok_api_key'])
  const { gemini_api_key, grok_api_key } = reached
  assert.deepEqual(last.versions, { gemini_api_key, grok_api_key })
})

test('a truncate, and a listener that was lost, mean resync and an empty cache', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'x' })
  const client = await openClient(t, db, { cache: true })
  const { events } = await watching(client)
  const resynced = async (cause) => {
    assert.equal(await client.get(id, 'grok_api_key'), cause)
    const before = events.length
    return () => until(() => events.slice(before).some(({ kind }) => kind === 'resync'), 'a resync')
  }
  const truncated = await resynced('x')
  await db.query('truncate public.business_secrets')
  await truncated()
  assert.equal(await client.get(id, 'grok_api_key'), null)

  const reconnected = await resynced(null)
  const [{ pid }] = await listeners(db)
  await db.query('select pg_catalog.pg_terminate_backend($1)', [pid], 'supabase_admin')
  await updateSecrets(db, id, { grok_api_key: 'written unheard' }).catch(() => {})
  await reconnected()
  assert.equal(client.stats().listener.reconnects, 1)
  assert.match(client.stats().listener.lastError, /./)
  const { misses } = client.stats()
  await client.get(id, 'grok_api_key')
  assert.equal(client.stats().misses, misses + 1)
})

test('what a callback throws, at once or later, becomes a warning, and it is called again', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const result = await runScript(
    `
    process.on('warning', ({ name, code, message }) => console.log(name, code, message))
    addon.connect().then(async (client) => {
      let calls = 0
      const throwing = [
        () => { throw new TypeError('thrown') },
        async () => { throw new Error('rejected') },
        () => { throw null },
        () => { throw { get message() { throw 1 } } },
        () => Promise.reject(undefined),
        () => ({ then() { throw 2 } }),
      ]
      for (const callback of throwing) client.watch(null, (event) => { calls++; return callback(event) })
      for (let round = 1; round <= 3; round++) {
        const before = calls
        await client.set('${id}', 'grok_api_key', String(round))
        while (calls < before + throwing.length) await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
      console.log('still here')
    })`,
    { env: { APP_SECRETS_URL: db.service } },
  )
  assert.equal(result.code, 0, result.stderr)
  assert.match(result.stdout, /SecretsWatchWarning WATCH_CALLBACK_FAILED .*thrown/)
  assert.match(result.stdout, /SecretsWatchWarning WATCH_CALLBACK_FAILED .*rejected/)
  assert.match(result.stdout, /still here\n$/)
})

test('a watcher does not keep the process alive, nor does a cache', async (t) => {
  const db = await freshDatabase(t, 17)
  const result = await runScript(
    `addon.connect({ cache: true }).then(async (client) => {
       client.watch({}, () => {})
       while (client.stats().listener.state !== 'listening') await new Promise((resolve) => setTimeout(resolve, 5))
       console.log('done')
     })`,
    { env: { APP_SECRETS_URL: db.service } },
  )
  // One that is kept alive is killed, and has no exit code.
  assert.equal(result.code, 0, result.stderr)
  assert.equal(result.stdout, 'done\n')
})

test('close() ends a watcher, and the last one its session', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const client = await openClient(t, db)
  const [one, other] = [await watching(client), await watching(client)]
  one.watcher.close()
  one.watcher.close()
  await client.set(id, 'grok_api_key', 'x')
  await until(() => other.changes().length === 1, 'the event')
  assert.equal(one.changes().length, 0)
  other.watcher.close()
  assert.equal(client.stats().listener.state, 'off')
  await until(async () => (await listeners(db)).length === 0, 'the end of the session')

  const last = await watching(client)
  await client.close()
  const told = last.events.length
  assert.equal(client.stats().listener.state, 'off')
  await until(async () => (await listeners(db)).length === 0, 'the end of the session')
  assert.throws(() => client.watch({}, assert.fail), { code: 'CLOSED' })
  await delay(50)
  assert.equal(last.events.length, told)
})

test('a worker thread that ends takes its watchers and their session along', async (t) => {
  const db = await freshDatabase(t, 17)
  const script = `
    const { connect } = require(${JSON.stringify(addonPath)})
    connect({ url: ${JSON.stringify(db.service)} }).then(async (client) => {
      client.watch({}, () => {})
      while (client.stats().listener.state !== 'listening') await new Promise((resolve) => setTimeout(resolve, 5))
      require('node:worker_threads').parentPort.postMessage('listening')
      setInterval(() => {}, 1000)
    })`
  const worker = new Worker(script, { eval: true })
  await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  assert.equal((await listeners(db)).length, 1)
  await worker.terminate()
  await until(async () => (await listeners(db)).length === 0, 'the end of the session')
})

test('a watcher of a name that there is not is said in a warning', async (t) => {
  const db = await freshDatabase(t, 17)
  const client = await openClient(t, db)
  const warned = new Promise((resolve) => {
    process.once('warning', resolve)
  })
  client.watch({ names: ['grok_api_kay'] }, () => {}).close()
  const { name, code, message } = await warned
  assert.deepEqual([name, code], ['SecretsWatchWarning', 'UNKNOWN_SECRET'])
  assert.match(message, /did you mean grok_api_key/)
  assert.throws(() => client.watch({ names: ['Not A Name'] }, () => {}), { code: 'UNKNOWN_SECRET' })
  assert.equal(client.stats().listener.state, 'off')
})

test('the functions of the module watch and count on the shared client', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  process.env.APP_SECRETS_URL = db.service
  t.after(() => addon.close())
  const { changes } = await watching(addon, { businessId: id })
  await addon.set(id, 'grok_api_key', 'x')
  await until(() => changes().length === 1, 'the event')
  assert.ok(addon.stats().pool.opened > 0)
  await clear(db, id)
})
