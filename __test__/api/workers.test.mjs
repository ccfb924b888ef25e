// Worker threads: each has its own promises and its own shared client, and may end at any moment.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { addonPath, openClient } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'

const preamble = `
  const { parentPort, workerData, threadId } = require('node:worker_threads')
  const addon = require(${JSON.stringify(addonPath)});
`

/** Runs CommonJS text in a worker of this process. */
function start(body, { env, ...workerData }) {
  return new Worker(preamble + body, { eval: true, env, workerData })
}

async function result(worker) {
  const [message] = await Promise.race([
    once(worker, 'message'),
    once(worker, 'error').then(([error]) => Promise.reject(error)),
  ])
  return message
}

async function prepared(t) {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'a value' })
  return { db, id, env: { APP_SECRETS_URL: db.service } }
}

test('thousands of gets of one turn are answered each with its own, on a small stack too', async (t) => {
  const { id, env } = await prepared(t)
  const body = `
    const { randomUUID } = require('node:crypto')
    const ids = Array.from({ length: 9_000 }, (_, i) => (i % 3_000 === 7 ? workerData.id : randomUUID()))
    addon.connect({ timeoutMs: 60_000 }).then(async (client) => {
      const ends = await Promise.allSettled(ids.map((id) => client.get(id, 'grok_api_key')))
      await client.close()
      parentPort.postMessage({
        values: ends.flatMap(({ value }, i) => (value === undefined ? [] : [[i, value]])),
        others: ends.filter(({ reason }, i) => reason?.message.includes(ids[i])).length,
      })
    })`
  const worker = new Worker(preamble + body, {
    eval: true,
    env,
    workerData: { id },
    resourceLimits: { stackSizeMb: 0.5 },
  })
  const { values, others } = await result(worker)
  assert.deepEqual(
    values,
    [7, 3_007, 6_007].map((i) => [i, 'a value']),
  )
  assert.equal(others, 8_997)
})

test('a worker reads through the module and through a client of its own, and ends by itself', async (t) => {
  const { db, id, env } = await prepared(t)
  const worker = start(
    `(async () => {
       const client = await addon.connect({ url: workerData.url })
       parentPort.postMessage([
         await addon.get(workerData.id, 'grok_api_key'),
         await client.get(workerData.id, 'grok_api_key'),
         await addon.set(workerData.id, 'claude_api_key', 'from a worker'),
         await client.get(workerData.id, 'nothing').catch(({ code }) => code),
       ])
     })()`,
    { env, url: db.service, id },
  )
  const exited = once(worker, 'exit')
  const [shared, own, version, code] = await result(worker)
  assert.deepEqual([shared, own, code], ['a value', 'a value', 'UNKNOWN_SECRET'])
  assert.ok(version > 0)
  assert.deepEqual(await exited, [0])
})

test("a worker's shared client comes from the worker's own environment", async (t) => {
  const [one, two] = [await prepared(t), await prepared(t)]
  await two.db.query('insert into public.businesses (id, grok_api_key) values ($1, $2)', [
    one.id,
    'of the second',
  ])
  const read = `addon.get(workerData.id, 'grok_api_key').then((value) => parentPort.postMessage(value))`
  const answers = [one, two].map(({ env }) => result(start(read, { env, id: one.id })))
  assert.deepEqual(await Promise.all(answers), ['a value', 'of the second'])
})

test('every promise settles on the thread that made it', async (t) => {
  const { db, id, env } = await prepared(t)
  const { AsyncLocalStorage } = await import('node:async_hooks')
  const body = `
    const { AsyncLocalStorage } = require('node:async_hooks')
    const here = new AsyncLocalStorage()
    ;(async () => {
      let wrong = 0
      for (let round = 0; round < 20; round++) {
        await Promise.all(Array.from({ length: 50 }, (_, i) => here.run(threadId + ':' + i, async () => {
          const value = await addon.get(workerData.id, 'grok_api_key')
          if (value !== 'a value' || here.getStore() !== threadId + ':' + i) wrong++
          if (require('node:worker_threads').threadId !== threadId) wrong++
        })))
      }
      parentPort.postMessage([threadId, wrong])
    })()`
  const workers = Array.from({ length: 4 }, () => start(body, { env, id }))
  const client = await openClient(t, db)
  const here = new AsyncLocalStorage()
  const mine = Array.from({ length: 500 }, (_, i) =>
    here.run(i, async () => {
      assert.equal(await client.get(id, 'grok_api_key'), 'a value')
      assert.equal(here.getStore(), i)
    }),
  )
  const answers = await Promise.all(workers.map(result))
  await Promise.all(mine)
  assert.equal(new Set(answers.map(([thread]) => thread)).size, 4)
  assert.deepEqual(
    answers.map(([, wrong]) => wrong),
    [0, 0, 0, 0],
  )
})

test('workers that are terminated with work pending take nothing with them', async (t) => {
  const { db, id } = await prepared(t)
  const proxy = await wireProxy(t, db.service)
  const client = await openClient(t, db)
  for (const moment of ['at once', 'with answers held back', 'while answers come']) {
    const workers = Array.from({ length: 4 }, () =>
      start(
        `(async () => {
           const client = await addon.connect({ url: workerData.url })
           await client.ping()
           parentPort.postMessage('ready')
           for (;;) {
             const calls = Array.from({ length: 50 }, () => addon.get(workerData.id, 'grok_api_key'))
             await Promise.allSettled([...calls, client.list(workerData.id), client.ping()])
           }
         })()`,
        { env: { APP_SECRETS_URL: proxy.url }, url: proxy.url, id },
      ),
    )
    await Promise.all(workers.map(result))
    if (moment === 'with answers held back') proxy.hold()
    if (moment !== 'at once') await new Promise((resolve) => setTimeout(resolve, 30))
    await Promise.all(workers.map((worker) => worker.terminate()))
    proxy.release()
    assert.equal(await client.get(id, 'grok_api_key'), 'a value')
  }
})

test("a worker's sessions end with it", async (t) => {
  const { db, env } = await prepared(t)
  const sessions = async (name) => {
    const query = 'select from pg_catalog.pg_stat_activity where application_name = $1'
    return (await db.query(query, [name], 'supabase_admin')).length
  }
  const url = `${env.APP_SECRETS_URL}?application_name=of-a-worker`
  const worker = start(
    `setInterval(() => {}, 1000)
     Promise.all([addon.ping(), addon.connect({ url: workerData.url }).then((c) => (globalThis.kept = c).ping())])
       .then(() => parentPort.postMessage('ready'))`,
    { env: { APP_SECRETS_URL: url }, url },
  )
  await result(worker)
  await until(async () => (await sessions('of-a-worker')) >= 2, 'two sessions')
  await worker.terminate()
  await until(async () => (await sessions('of-a-worker')) === 0, 'no session')
})

test('workers come and go by the dozen, and the process ends well', async (t) => {
  const { id, env } = await prepared(t)
  const ended = await runScript(
    `const { Worker } = require('node:worker_threads')
     const body = ${JSON.stringify(`${preamble}
       for (let i = 0; i < 100; i++) addon.get(workerData.id, 'grok_api_key').catch(() => {})
       addon.get(workerData.id, 'grok_api_key').then((value) => parentPort.postMessage(value))`)}
     const run = (i) => new Promise((resolve, reject) => {
       const worker = new Worker(body, { eval: true, workerData: { id: '${id}' } })
       worker.on('error', reject)
       if (i % 2) worker.on('message', (value) => resolve(value === 'a value'))
       else setTimeout(() => worker.terminate().then(() => resolve(true)), i * 3)
     })
     ;(async () => {
       const all = []
       for (let round = 0; round < 4; round++) {
         all.push(...await Promise.all(Array.from({ length: 6 }, (_, i) => run(round * 6 + i))))
       }
       console.log(all.every(Boolean), all.length, await addon.get('${id}', 'grok_api_key'))
     })()`,
    { env },
  )
  assert.deepEqual([ended.code, ended.signal, ended.stderr], [0, null, ''])
  assert.equal(ended.stdout, 'true 24 a value\n')
})

test('process.exit in the middle of the work of workers ends the process with its code', async (t) => {
  const { id, env } = await prepared(t)
  for (const after of [1, 60, 150]) {
    const ended = await runScript(
      `const { Worker } = require('node:worker_threads')
       const body = ${JSON.stringify(`${preamble}
         const again = () => addon.get(workerData.id, 'grok_api_key').then(again, again)
         for (let i = 0; i < 20; i++) again()`)}
       for (let i = 0; i < 3; i++) new Worker(body, { eval: true, workerData: { id: '${id}' } })
       addon.get('${id}', 'grok_api_key')
       setTimeout(() => process.exit(7), ${after})`,
      { env },
    )
    assert.deepEqual([ended.code, ended.signal], [7, null], ended.stderr)
  }
})
