// How clients and processes end: nothing keeps a process alive, nothing crashes it, nothing is left behind.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { cluster, freshDatabase } from '../support/cluster.mjs'
import { runNode, runScript } from '../support/script.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'

const linux = process.platform === 'linux'

before(() => cluster(17))

async function prepared(t) {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'a value' })
  const env = { APP_SECRETS_URL: db.service, ID: id }
  return { db, id, env }
}

/** In a script: waits until the test says a word. */
const told = `const told = async (word) => {
  globalThis.listening ??= await addon.connect({ applicationName: 'counted' })
  while (await listening.get(process.env.ID, 'whatsapp_api_key') !== word) await new Promise((r) => setTimeout(r, 10))
}`
const tell = (db, id, word) =>
  db.query('update public.businesses set whatsapp_api_key = $2 where id = $1', [id, word])

async function sessions(db, name) {
  const query = 'select from pg_catalog.pg_stat_activity where application_name = $1'
  return (await db.query(query, [name], 'supabase_admin')).length
}

/** By itself: a script that anything keeps alive is killed, which its signal tells. */
function assertEnded({ code, signal, stdout, stderr }, expected = 0) {
  assert.deepEqual({ code, signal }, { code: expected, signal: null }, `${stdout}\n${stderr}`)
}

test('a script that only loads the package ends by itself and starts no thread', async () => {
  const tasks = linux ? "require('node:fs').readdirSync('/proc/self/task').length" : '0'
  const ended = await runScript(`console.log(typeof addon.get, ${tasks})`)
  assertEnded(ended)
  const { stdout: without } = await runNode(['-e', `console.log('function', ${tasks})`])
  assert.equal(ended.stdout, without)
})

for (const [how, body] of [
  ['a module-level get', `addon.get(process.env.ID, 'grok_api_key').then(console.log)`],
  ['a client', `addon.connect().then((c) => c.get(process.env.ID, 'grok_api_key')).then(console.log)`],
  [
    'many clients that it keeps',
    `globalThis.all = Array.from({ length: 10 }, () => addon.connect())
     Promise.all(all.map(async (c) => (await c).get(process.env.ID, 'grok_api_key'))).then((v) => console.log(v[9]))`,
  ],
  [
    'awaited work at the end of a module',
    `(async () => { const c = await addon.connect(); await c.ping(); console.log(await c.get(process.env.ID, 'grok_api_key')) })()`,
  ],
]) {
  test(`a script that forgets close() after ${how} gets its answer and ends by itself`, async (t) => {
    const { env } = await prepared(t)
    const ended = await runScript(body, { env })
    assertEnded(ended)
    assert.equal(ended.stdout, 'a value\n')
  })
}

test('an idle client lets the process end, and pending work keeps it until it is done', async (t) => {
  const { db, env } = await prepared(t)
  const proxy = await wireProxy(t, db.service)
  const running = runScript(
    `addon.get(process.env.ID, 'grok_api_key')
      .then(() => { console.log('warm'); return addon.get(process.env.ID, 'grok_api_key') })
      .then(() => console.log('done'))
     process.on('exit', () => console.log('exit'))`,
    { env: { ...env, APP_SECRETS_URL: proxy.url } },
  )
  await until(() => proxy.answers >= 1, 'the first answer')
  proxy.hold()
  await delay(300)
  proxy.release()
  const ended = await running
  assertEnded(ended)
  assert.equal(ended.stdout, 'warm\ndone\nexit\n')
})

test('process.exit with work pending ends at once with its own code, at whatever moment', async (t) => {
  const { env } = await prepared(t)
  const moments = [
    'exit()',
    'setImmediate(exit)',
    'setTimeout(exit, 5)',
    'setTimeout(exit, 30)',
    'client.ping().then(exit)',
  ]
  for (const moment of moments) {
    const ended = await runScript(
      `const exit = () => process.exit(7)
       addon.connect({ timeoutMs: 60_000 }).then((client) => {
         for (let i = 0; i < 200; i++) {
           addon.get(process.env.ID, 'grok_api_key')
           client.set(process.env.ID, 'claude_api_key', 'x' + i)
           client.list(process.env.ID)
         }
         ${moment}
       })`,
      { env, limit: 90_000 },
    )
    assertEnded(ended, 7)
    assert.equal(ended.stderr, '')
  }
})

test('an exception elsewhere with work pending crashes with that exception and nothing else', async (t) => {
  const { env } = await prepared(t)
  const ended = await runScript(
    `for (let i = 0; i < 100; i++) addon.get(process.env.ID, 'grok_api_key')
     setTimeout(() => { throw new Error('of the application') }, 10)`,
    { env },
  )
  assertEnded(ended, 1)
  assert.match(ended.stderr, /of the application/)
})

test('a signal ends a process with work pending', async (t) => {
  const { env } = await prepared(t)
  const ended = await runScript(
    `for (let i = 0; i < 100; i++) addon.set(process.env.ID, 'claude_api_key', 'x' + i)
     setTimeout(() => process.kill(process.pid, 'SIGTERM'), 10)`,
    { env },
  )
  assert.equal(ended.signal, 'SIGTERM')
})

test('two hundred clients, opened and closed, leave no file, no thread and no session', async (t) => {
  const { db, id, env } = await prepared(t)
  const running = runScript(
    `${told}
     const { readdirSync } = require('node:fs')
     const left = () => ['fd', 'task'].map((what) => (${linux} ? readdirSync('/proc/self/' + what).length : 0))
     const round = async () => {
       const clients = await Promise.all(Array.from({ length: 20 }, () => addon.connect({ applicationName: 'one-of-many' })))
       await Promise.all(clients.map((client) => client.get(process.env.ID, 'grok_api_key')))
       await Promise.all(clients.map((client) => client.close()))
     }
     ;(async () => {
       await round()
       await told('go')
       const before = left()
       for (let i = 0; i < 10; i++) await round()
       console.log(JSON.stringify([before, left()]))
       await told('end')
     })()`,
    { env },
  )
  await until(async () => (await sessions(db, 'counted')) >= 1, 'the end of the first round')
  await tell(db, id, 'go')
  await until(async () => (await sessions(db, 'one-of-many')) > 0, 'a session')
  await until(async () => (await sessions(db, 'one-of-many')) === 0, 'no session')
  await tell(db, id, 'end')
  const ended = await running
  assertEnded(ended)
  const [before, after] = JSON.parse(ended.stdout)
  assert.ok(
    after.every((count, i) => count <= before[i]),
    `${before} before, ${after} after`,
  )
})

test('sessions last as long as their clients, and end with close()', async (t) => {
  const { db, id, env } = await prepared(t)
  const running = runScript(
    `${told}
     ;(async () => {
       const clients = await Promise.all(Array.from({ length: 10 }, () => addon.connect({ applicationName: 'kept' })))
       await Promise.all(clients.map((client) => client.ping()))
       await told('close')
       await Promise.all(clients.map((client) => client.close()))
       await told('end')
     })()`,
    { env },
  )
  await until(async () => (await sessions(db, 'kept')) >= 10, 'ten sessions')
  await tell(db, id, 'close')
  await until(async () => (await sessions(db, 'kept')) === 0, 'no session')
  await tell(db, id, 'end')
  assertEnded(await running)
})

test('a client that is forgotten gives its connections back when it is collected', async (t) => {
  const { db, id, env } = await prepared(t)
  const running = runScript(
    `${told}
     ;(async () => {
       await (async () => {
         const clients = await Promise.all(Array.from({ length: 10 }, () => addon.connect({ applicationName: 'forgotten' })))
         await Promise.all(clients.map((client) => client.ping()))
         await told('forget')
       })()
       const collecting = setInterval(global.gc, 20)
       await told('end')
       clearInterval(collecting)
     })()`,
    { env, args: ['--expose-gc'] },
  )
  await until(async () => (await sessions(db, 'forgotten')) >= 10, 'ten sessions')
  await tell(db, id, 'forget')
  await until(async () => (await sessions(db, 'forgotten')) === 0, 'no session')
  assert.ok((await sessions(db, 'counted')) >= 1)
  await tell(db, id, 'end')
  assertEnded(await running)
})

test('a client that is forgotten with work pending still answers', async (t) => {
  const { env } = await prepared(t)
  const ended = await runScript(
    `const pending = []
     ;(async () => {
       for (let i = 0; i < 20; i++) pending.push((await addon.connect()).get(process.env.ID, 'grok_api_key'))
       for (let i = 0; i < 5; i++) { global.gc(); await new Promise(setImmediate) }
       console.log(new Set(await Promise.all(pending)).size)
     })()`,
    { env, args: ['--expose-gc'] },
  )
  assertEnded(ended)
  assert.equal(ended.stdout, '1\n')
})

test('no rejection of our own is left unhandled, and no warning comes, while servers come and go', async (t) => {
  const { db, env } = await prepared(t)
  const proxy = await wireProxy(t, db.service)
  // By what was answered and not by the clock: on a slow machine nothing would ever be.
  let [cuts, cutAt] = [0, 25]
  const chaos = setInterval(() => {
    if (proxy.answers < cutAt) return
    proxy.cut()
    cuts++
    cutAt = proxy.answers + 25
  }, 1)
  t.after(() => clearInterval(chaos))
  const ended = await runScript(
    `const unexpected = []
     for (const event of ['unhandledRejection', 'uncaughtException', 'warning', 'multipleResolves']) {
       process.on(event, (what) => unexpected.push(event + ': ' + (what?.stack ?? what)))
     }
     ;(async () => {
       const codes = {}
       const note = (code) => { codes[code] = (codes[code] ?? 0) + 1 }
       const client = await addon.connect({ timeoutMs: 2000, maxConnections: 3 })
       for (let i = 0; i < 40; i++) {
         await Promise.all(Array.from({ length: 12 }, (_, j) =>
           (j % 4 ? client.get(process.env.ID, 'grok_api_key') : client.set(process.env.ID, 'claude_api_key', 'v' + i))
             .then(() => note('ok'), ({ code }) => note(code))))
       }
       await client.close()
       await new Promise(setImmediate)
       console.log(JSON.stringify({ codes, unexpected }))
     })()`,
    { env: { ...env, APP_SECRETS_URL: proxy.url }, limit: 90_000 },
  )
  assertEnded(ended)
  assert.equal(ended.stderr, '')
  const { codes, unexpected } = JSON.parse(ended.stdout)
  assert.deepEqual(unexpected, [])
  assert.ok(cuts > 5, `${cuts} cuts`)
  assert.ok(codes.ok > 100, JSON.stringify(codes))
  for (const code of Object.keys(codes)) {
    assert.ok(['ok', 'UNAVAILABLE', 'UNKNOWN_OUTCOME', 'TIMEOUT'].includes(code), code)
  }
})

test('a promise that nobody waits for does not hold back the others', async (t) => {
  const { env } = await prepared(t)
  const ended = await runScript(
    `(async () => {
       for (let i = 0; i < 500; i++) addon.get(process.env.ID, 'grok_api_key').catch(() => {})
       console.log(await addon.get(process.env.ID, 'grok_api_key'))
     })()`,
    { env },
  )
  assertEnded(ended)
  assert.equal(ended.stdout, 'a value\n')
})

test('the counter of files and threads counts', async () => {
  if (!linux) return
  const { stdout } = await runScript(`
    const { openSync, readdirSync } = require('node:fs')
    const count = () => readdirSync('/proc/self/fd').length
    const before = count()
    openSync('/dev/null', 'r')
    console.log(count() - before)`)
  assert.equal(stdout, '1\n')
  assert.ok(readdirSync('/proc/self/task').length > 1)
})
