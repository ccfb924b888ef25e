// What is left after a long time: memory, file descriptors, threads, connections. Modest by default; the full run is
// `npm run test:endurance`, which sets the counts: APP_SECRETS_READS, APP_SECRETS_CACHED_READS, APP_SECRETS_WORKERS and
// APP_SECRETS_CLIENTS.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { connect } from '../../index.js'
import { startDatabase } from '../faults/database.mjs'

const execute = promisify(execFile)
const setting = (name, modest) => Number(process.env[`APP_SECRETS_${name}`] ?? modest)
const script = (name) => fileURLToPath(new URL(name, import.meta.url))

let database
let url
let businesses

before(async () => {
  database = await startDatabase()
  url = database.service
  businesses = await database.addBusinesses(500)
  const secrets = await connect({ url, timeoutMs: 120_000 })
  await Promise.all(businesses.map((id) => secrets.set(id, 'gemini_api_key', `gemini of ${id}`)))
  await secrets.close()
})
after(() => database?.cluster.stop())

/** Reads in a process of its own, and asserts that its memory does not grow once it has warmed up. */
async function assertFlat(t, options) {
  // V8 and malloc take memory in steps of megabytes, and keep it. A leak grows with the counts, and grows each time: 12 MB
  // are 24 bytes a read in the full run.
  const grown = []
  while (grown.length < 2) {
    const series = await memoryOver(options)
    t.diagnostic(`${options.reads} reads, RSS in KB: ${series.join(' ')}`)
    const warm = series.slice(series.length / 2)
    const [early, late] = [warm.slice(0, 5), warm.slice(5)].map((part) => Math.min(...part))
    if (late - early < 12_288) return
    grown.push(`from ${early} to ${late} KB: ${series.join(' ')}`)
  }
  assert.fail(`RSS grew ${grown.join('; and again ')}`)
}

async function memoryOver(options) {
  const { stdout } = await execute(
    process.execPath,
    // V8's young generation at its largest from the start: growing, it takes up to 32 MB in one step, at any time.
    [
      '--expose-gc',
      '--min-semi-space-size=16',
      script('memory.mjs'),
      JSON.stringify({ url, businesses, ...options }),
    ],
    { maxBuffer: 1 << 20 },
  )
  return JSON.parse(stdout)
}

test('memory stays flat over uncached reads', (t) =>
  assertFlat(t, { reads: setting('READS', 100_000), cache: false }))

test('memory stays flat over cached reads', (t) =>
  assertFlat(t, { reads: setting('CACHED_READS', 1_000_000), cache: { ttlMs: 3_600_000 } }))

test('memory stays flat where the cache is smaller than what is read', (t) =>
  assertFlat(t, { reads: setting('READS', 100_000), cache: { maxEntries: 100 } }))

const linux = process.platform === 'linux'
/** Sockets, pipes and the like. Node itself forgets the script that a worker was reading when it was terminated. */
const descriptors = () => (linux ? readdirSync('/proc/self/fd').filter(isNoFile).length : 0)
const threads = () => (linux ? readdirSync('/proc/self/task').length : 0)

function isNoFile(descriptor) {
  try {
    return !readlinkSync(`/proc/self/fd/${descriptor}`).startsWith('/')
  } catch {
    // The one that the list was read with.
    return false
  }
}

async function sessions() {
  const { rows } = await database.cluster.sql(
    "select count(*)::integer as n from pg_catalog.pg_stat_activity where usename = 'app_service'",
  )
  return rows[0].n
}

/** Asserts that `work` leaves neither descriptors nor threads nor sessions, once the first round has made what stays. */
async function assertNothingLeft(work) {
  await work(2)
  const before = await settled(() => [descriptors(), threads(), 0])
  await work()
  await settled(async () => [descriptors(), threads(), await sessions()], before)
}

/** Sockets close in their own time: waits for `expected`, or for two looks that agree. */
async function settled(look, expected) {
  const deadline = Date.now() + 10_000
  for (let last; ; ) {
    const now = await look()
    if (expected ? now.every((n, i) => n <= expected[i]) : String(now) === String(last)) return now
    if (Date.now() > deadline) assert.deepEqual(now, expected, 'left: descriptors, threads, sessions')
    last = now
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

test('clients that were opened, used and closed leave nothing behind', () =>
  assertNothingLeft(async (count = setting('CLIENTS', 100)) => {
    for (let i = 0; i < count; i++) {
      const secrets = await connect({ url, cache: i % 2 ? {} : false })
      const id = businesses[i % businesses.length]
      assert.equal(await secrets.get(id, 'gemini_api_key'), `gemini of ${id}`)
      await secrets.close()
    }
  }))

test('worker threads leave nothing behind, whether or not they close', () =>
  assertNothingLeft(async (count = setting('WORKERS', 40)) => {
    for (let i = 0; i < count; i += 4) {
      await Promise.all(
        [0, 1, 2, 3].map(async (j) => {
          const workerData = { url, business: businesses[(i + j) % businesses.length], closes: j % 2 === 0 }
          const worker = new Worker(script('worker.mjs'), { workerData })
          const [code] = await once(worker, 'exit')
          assert.equal(code, 0)
        }),
      )
    }
  }))

test('worker threads that are terminated in the middle of a call leave nothing behind', () =>
  assertNothingLeft(async (count = setting('WORKERS', 40) / 4) => {
    for (let i = 0; i < count; i++) {
      const workerData = { url, business: businesses[i], closes: false }
      const worker = new Worker(script('worker.mjs'), { workerData })
      await once(worker, 'online')
      await new Promise((resolve) => setTimeout(resolve, i * 3))
      await worker.terminate()
    }
  }))

test('a script that forgets close() ends by itself', async () => {
  // Killed, and so rejected, where it does not.
  await execute(
    process.execPath,
    [script('forgetful.mjs'), JSON.stringify({ url, business: businesses[0] })],
    { timeout: 60_000, killSignal: 'SIGKILL' },
  )
})
