// What calls do when the network between them and the database fails.

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { connect } from '../../index.js'
import { until } from '../support/wait.mjs'
import { startDatabase } from './database.mjs'
import { byDeadline } from './deadlines.mjs'
import { startProxy } from './proxy.mjs'

const NAME = 'grok_api_key'
const TIMEOUT_MS = 2000

let database
let business
let proxy
let secrets

before(async () => {
  database = await startDatabase()
  ;[business] = await database.addBusinesses(1)
})
after(() => database?.cluster.stop())

beforeEach(async () => {
  proxy = await startProxy(database.cluster.port)
  secrets = await connect({
    url: proxy.through(database.service),
    timeoutMs: TIMEOUT_MS,
    maxConnections: 2,
  })
  await secrets.set(business, NAME, 'before')
})
afterEach(async () => {
  proxy.heal()
  await secrets.close()
  await proxy.close()
})

const get = () => secrets.get(business, NAME)
const version = async () => (await secrets.list(business)).find(({ name }) => name === NAME).version

test('latency below the deadline only makes calls slower', async () => {
  proxy.set({ delayMs: 40 })
  const { value } = await byDeadline(TIMEOUT_MS, get)
  assert.equal(value, 'before')
})

test('latency changes nothing of a read being one round trip', async () => {
  await get()
  for (const read of [get, () => secrets.getMany(business, [NAME, 'claude_api_key'])]) {
    const before = proxy.turns
    await read()
    assert.equal(proxy.turns - before, 1)
  }
})

test('latency beyond the deadline ends reads with TIMEOUT', async () => {
  proxy.set({ delayMs: TIMEOUT_MS })
  const { error } = await byDeadline(TIMEOUT_MS, get)
  assertGivenUp(error)
})

test('a network that swallows everything ends reads with TIMEOUT, and later ones succeed on new connections', async () => {
  proxy.set({ swallows: true })
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => byDeadline(TIMEOUT_MS, get)))
  for (const { error } of outcomes) assertGivenUp(error)
  proxy.heal()
  assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
})

test('a network that swallows the answer to a write leaves its outcome unknown, and the write is not repeated', async () => {
  const known = await version()
  proxy.resetAfterRequest()
  const { error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, 'after'))
  assert.ok(!error || error.code === 'UNKNOWN_OUTCOME', error?.code)
  proxy.set({ swallows: true })
  const { error: second } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, 'later'))
  assert.ok(['UNKNOWN_OUTCOME', 'TIMEOUT', 'UNAVAILABLE'].includes(second.code), second.code)
  proxy.heal()
  assert.ok((await version()) <= known + 2)
})

test('a connection that is reset before a read is answered is replaced, and the read repeated', async () => {
  for (let i = 0; i < 5; i++) {
    proxy.reset()
    assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
  }
})

test('a connection that is reset in the middle of an answer gives no part of it', async () => {
  for (const bytes of [0, 1, 5, 40, 80]) {
    proxy.resetAfter(bytes)
    const { value, error } = await byDeadline(TIMEOUT_MS, get)
    assert.ok(value === 'before' || error?.code === 'UNAVAILABLE', error?.code)
    proxy.heal()
  }
})

test('a write whose answer is cut off has an unknown outcome, and was carried out once or not at all', async () => {
  for (const bytes of [0, 1, 30]) {
    const { known, error } = await until(async () => {
      const known = await version()
      proxy.resetAfter(bytes)
      const { error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, `cut-after-${bytes}`))
      proxy.heal()
      // A connection that has been silent for a quarter of a second is tried first: then that met the reset, and not the write.
      return error && { known, error }
    }, 'a write that is cut off')
    assert.equal(error.code, 'UNKNOWN_OUTCOME')
    assert.match(error.message, /read the version/)
    assert.ok([known, known + 1].includes(await version()))
  }
})

test('a write is not entrusted to a connection whose server vanished without a word', async () => {
  proxy.halfOpen()
  // Longer than a connection is trusted without a sign of life.
  await new Promise((resolve) => setTimeout(resolve, 300))
  const { value, error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, 'after half-open'))
  assert.ok(typeof value === 'number' || ['TIMEOUT', 'UNAVAILABLE'].includes(error.code), error?.code)
  assert.equal((await byDeadline(TIMEOUT_MS, get)).error, undefined)
})

test('half-open connections end reads by their deadline, and are not used again', async () => {
  proxy.halfOpen()
  const first = await byDeadline(TIMEOUT_MS, get)
  if (first.value !== 'before') assertGivenUp(first.error)
  assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
})

test('refused connections fail at once once it is known that nobody listens, and the error says why', async () => {
  proxy.set({ refuses: true })
  proxy.reset()
  const outcomes = []
  for (let i = 0; i < 5; i++) outcomes.push(await byDeadline(TIMEOUT_MS, get))
  for (const { error } of outcomes) {
    assert.equal(error.code, 'UNAVAILABLE')
    assert.match(error.message, /127\.0\.0\.1/)
  }
  proxy.heal()
  assert.equal(await succeeds(get), 'before')
})

test('calls that wait for a connection end by their deadline too', async () => {
  const patient = await connect({ url: proxy.through(database.service), timeoutMs: TIMEOUT_MS })
  proxy.set({ swallows: true })
  const calls = Array.from({ length: 50 }, (_, i) =>
    byDeadline(TIMEOUT_MS, () => (i % 2 ? patient.get(business, NAME) : patient.list(business))),
  )
  for (const { error } of await Promise.all(calls)) {
    assert.ok(['TIMEOUT', 'UNAVAILABLE'].includes(error.code), error.code)
  }
  proxy.heal()
  await patient.close()
})

test('a read that was given up before there was a connection is asked anew', async () => {
  const patient = await connect({ url: proxy.through(database.service), timeoutMs: TIMEOUT_MS })
  proxy.set({ swallows: true })
  assertGivenUp((await byDeadline(TIMEOUT_MS, () => patient.get(business, NAME))).error)
  proxy.heal()
  // What waits is looked through by whoever is served first.
  assert.equal(await succeeds(() => patient.get(business, 'claude_api_key')), null)
  assert.equal((await byDeadline(TIMEOUT_MS, () => patient.get(business, NAME))).value, 'before')
  await patient.close()
})

/** By the call's own deadline, or by that of the connection that it waited for. */
function assertGivenUp(error) {
  assert.ok(['TIMEOUT', 'UNAVAILABLE'].includes(error?.code), error?.code)
  assert.match(error.message, new RegExp(`${TIMEOUT_MS} ms`))
}

/** Repeats a call for a while: what the network did before it was whole again may yet cost a first attempt. */
async function succeeds(call) {
  const ends = performance.now() + 5000
  for (;;) {
    const { value, error } = await byDeadline(TIMEOUT_MS, call)
    if (!error) return value
    if (performance.now() > ends) throw error
  }
}
