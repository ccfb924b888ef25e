// Many mixed calls while the network and the server fail in every way, one after the other. What happens is drawn from
// a seed, which a failure prints: APP_SECRETS_TEST_SEED brings it back. APP_SECRETS_FAULTS=500 is the full run
// (`npm run test:faults`), with 20 calls a fault.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from '../../index.js'
import { generator, randomSeed } from '../support/random.mjs'
import { startDatabase, terminateSessions } from './database.mjs'
import { byDeadline } from './deadlines.mjs'
import { Ledger } from './ledger.mjs'
import { startProxy } from './proxy.mjs'

const FAULTS = Number(process.env.APP_SECRETS_FAULTS ?? 40)
const CALLS = FAULTS * 20
const CALLERS = 32
/** The full run has the machine to itself; among the other tests a handshake may take most of a second. */
const isFullRun = process.env.APP_SECRETS_FAULTS !== undefined
const TIMEOUT_MS = isFullRun ? 1000 : 3000
const RECOVERY_MS = isFullRun ? 2000 : 10_000
const NAMES = ['gemini_api_key', 'grok_api_key', 'kling_access_key']

test(`${CALLS} calls under ${FAULTS} faults: no wrong value, no other tenant's, no lost write`, async (t) => {
  const seed = randomSeed()
  t.diagnostic(`seed ${seed}`)
  const random = generator(seed)
  const { cluster, service, addBusinesses } = await startDatabase()
  t.after(() => cluster.stop())
  const proxy = await startProxy(cluster.port)
  t.after(() => proxy.close())
  const clients = []
  for (let i = 0; i < 3; i++) {
    clients.push(await connect({ url: proxy.through(service), timeoutMs: TIMEOUT_MS, maxConnections: 4 }))
  }

  const ledger = new Ledger(await addBusinesses(CALLERS), NAMES)
  const counts = new Map()
  const count = (what) => counts.set(what, (counts.get(what) ?? 0) + 1)
  let calls = 0
  let faults = 0
  const callers = ledger.businesses.map(async (business) => {
    while (calls < CALLS || faults < FAULTS) {
      calls++
      count(await call(ledger, random, random.pick(clients), business))
      // As if each caller did something with what it got.
      await delay(random.below(20))
    }
  })
  const storm = (async () => {
    for (; faults < FAULTS; faults++) {
      while (calls < faults * (CALLS / FAULTS)) await delay(5)
      const fault = random.pick(kinds)
      count(fault.name)
      await fault(cluster, proxy, random)
      proxy.heal()
    }
  })()
  await Promise.all([storm, ...callers])

  // The weather is fine again: everything has to be there.
  for (const client of clients) await recovered(() => client.ping())
  for (const business of ledger.businesses) {
    for (const name of NAMES) {
      const read = ledger.reads(business, name)
      read.gave(await recovered(() => clients[0].get(business, name)))
    }
    ledger.heard(business, await recovered(() => clients[0].list(business)))
  }
  await Promise.all(clients.map((client) => client.close()))
  const { rows } = await cluster.sql(
    'select business_id, name, version::integer from app_secrets.audit_log order by id',
  )
  ledger.audited(rows)
  for (const [what, times] of [...counts].sort()) t.diagnostic(`${what}: ${times}`)
  assert.ok(counts.get('get ok') > CALLS / 10, 'hardly anything succeeded: the storm proves nothing')
})

/** What a call gives now that nothing fails any more. Connections that died without a word may cost a first attempt. */
async function recovered(call) {
  const started = performance.now()
  for (;;) {
    const { value, error } = await byDeadline(TIMEOUT_MS, call)
    if (!error) return value
    assert.ok(
      performance.now() - started < RECOVERY_MS,
      `no success within ${RECOVERY_MS} ms of the return: ${error.message}`,
    )
  }
}

/** One call of a caller, who is the only one that writes its business. Gives what it was and how it ended. */
async function call(ledger, random, client, business) {
  const kind = random.next()
  if (kind < 0.2) return write(ledger, random, client, business)
  // Anybody's business may be read, also while it is written.
  const whose = random.pick(ledger.businesses)
  if (kind < 0.75) {
    const name = random.pick(NAMES)
    const read = ledger.reads(whose, name)
    const { value, error } = await byDeadline(TIMEOUT_MS, () => client.get(whose, name))
    if (!error) read.gave(value)
    return outcome('get', error)
  }
  if (kind < 0.9) {
    const reads = NAMES.map((name) => [name, ledger.reads(whose, name)])
    const { value, error } = await byDeadline(TIMEOUT_MS, () => client.getMany(whose, NAMES))
    if (!error) for (const [name, read] of reads) read.gave(value[name])
    return outcome('getMany', error)
  }
  const { value, error } = await byDeadline(TIMEOUT_MS, () => client.list(business))
  if (!error) ledger.heard(business, value)
  return outcome('list', error)
}

/** Every write expects the version before it: one that is carried out late, or twice, cannot go unnoticed. */
async function write(ledger, random, client, business) {
  const name = random.pick(NAMES)
  if (!ledger.isCertain(business, name)) {
    const { value, error } = await byDeadline(TIMEOUT_MS, () => client.list(business))
    if (!error) ledger.heard(business, value)
    return outcome('list', error)
  }
  const attempt = ledger.writes(business, name)
  const options = { expectedVersion: attempt.expected }
  const { value, error } = await byDeadline(TIMEOUT_MS, () =>
    client.set(business, name, attempt.value, options),
  )
  if (!error) attempt.acknowledged(value)
  else if (error.code === 'UNKNOWN_OUTCOME') attempt.unknown()
  else if (error.code === 'VERSION_CONFLICT') attempt.conflicted()
  else attempt.failed()
  return outcome('set', error, ['UNKNOWN_OUTCOME', 'VERSION_CONFLICT'])
}

function outcome(what, error, others = []) {
  if (!error) return `${what} ok`
  assert.ok(
    ['UNAVAILABLE', 'TIMEOUT', ...others].includes(error.code),
    `${what}: ${error.code} ${error.message}`,
  )
  return `${what} ${error.code}`
}

const kinds = [
  async function latency(_, proxy, random) {
    proxy.set({ delayMs: 10 + random.below(100) })
    await delay(50)
  },
  async function blackhole(_, proxy, random) {
    proxy.set({ swallows: true })
    await delay(random.below(400))
  },
  async function reset(_, proxy) {
    proxy.reset()
  },
  async function resetMidResponse(_, proxy, random) {
    proxy.resetAfter(random.below(200))
    await delay(20)
  },
  async function resetAfterRequest(_, proxy) {
    proxy.resetAfterRequest()
    await delay(20)
  },
  async function halfOpen(_, proxy) {
    proxy.halfOpen()
  },
  async function refused(_, proxy, random) {
    proxy.set({ refuses: true })
    proxy.reset()
    await delay(random.below(300))
  },
  async function terminated(cluster) {
    await terminateSessions(cluster)
  },
  async function readOnly(cluster, _, random) {
    await cluster.sql('alter role app_service set default_transaction_read_only = on')
    await terminateSessions(cluster)
    await delay(random.below(100))
    await cluster.sql('alter role app_service reset default_transaction_read_only')
  },
  async function noSlots(cluster, _, random) {
    await cluster.sql('alter role app_service connection limit 0')
    await terminateSessions(cluster)
    await delay(random.below(200))
    await cluster.sql('alter role app_service connection limit -1')
  },
  async function restart(cluster) {
    await cluster.restart()
  },
  async function crash(cluster) {
    await cluster.stopImmediate()
    await cluster.restart()
  },
]
