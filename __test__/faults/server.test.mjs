// What calls do when the database itself fails: restarts, demotions, crashes, wrong or missing things.

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { connect } from '../../index.js'
import { until } from '../support/wait.mjs'
import { startDatabase, terminateSessions } from './database.mjs'
import { byDeadline } from './deadlines.mjs'

const NAME = 'claude_api_key'
const TIMEOUT_MS = 2000
/** The contract's bound on how soon calls succeed again: 2 s, where nothing else keeps the machine busy, as in the full run. */
const RECOVERY_MS = process.env.APP_SECRETS_FAULTS ? 2000 : 10_000
/** Whoever asks for as long as this will not be answered any more. */
const PATIENCE_MS = 20_000

let database
let cluster
let business
let secrets

before(async () => {
  database = await startDatabase({ settings: { max_connections: 20, superuser_reserved_connections: 3 } })
  cluster = database.cluster
  ;[business] = await database.addBusinesses(1)
})
after(() => cluster?.stop())

beforeEach(async () => {
  secrets = await connect({ url: database.service, timeoutMs: TIMEOUT_MS, maxConnections: 4 })
  await secrets.set(business, NAME, 'before')
})
afterEach(() => secrets.close())

const get = () => secrets.get(business, NAME)

/** Calls until one succeeds; says how long that took. */
async function untilSuccess(call) {
  const started = performance.now()
  for (;;) {
    const { value, error } = await byDeadline(TIMEOUT_MS, call)
    const ms = performance.now() - started
    if (!error) return { value, ms }
    assert.ok(['UNAVAILABLE', 'TIMEOUT'].includes(error.code), error.code)
    assert.ok(ms < PATIENCE_MS, `no success within ${Math.round(ms)} ms: ${error.message}`)
  }
}

/** Asks all the time while `work` runs. Resolves with the outcomes. */
async function meanwhile(call, work) {
  let isOver = false
  const outcomes = []
  const asking = (async () => {
    while (!isOver) {
      outcomes.push(await byDeadline(TIMEOUT_MS, call))
      await new Promise(setImmediate)
    }
  })()
  try {
    await work()
  } finally {
    isOver = true
    await asking
  }
  return outcomes
}

test('a restart is survived: calls fail as UNAVAILABLE at the most, and succeed soon after its end', async () => {
  const outcomes = await meanwhile(get, () => cluster.restart())
  for (const { value, error } of outcomes) {
    assert.ok(value === 'before' || ['UNAVAILABLE', 'TIMEOUT'].includes(error.code), error?.code)
  }
  const { value, ms } = await untilSuccess(get)
  assert.equal(value, 'before')
  assert.ok(ms <= RECOVERY_MS, `the first success came after ${Math.round(ms)} ms`)
})

test('a database that was away for longer is used again soon after its return', async () => {
  await cluster.stopImmediate()
  const ends = performance.now() + 4000
  while (performance.now() < ends) {
    const { error } = await byDeadline(TIMEOUT_MS, get)
    assert.equal(error.code, 'UNAVAILABLE')
    assert.match(error.message, /connection refused/)
  }
  await cluster.restart()
  const { value, ms } = await untilSuccess(get)
  assert.equal(value, 'before')
  assert.ok(ms <= RECOVERY_MS, `the first success came after ${Math.round(ms)} ms`)
})

test('a database that is away for longer than deadlines are is used again soon after its return', async () => {
  // No longer than the longest pause between attempts to connect.
  const hastyMs = 500
  const hasty = await connect({ url: database.service, timeoutMs: hastyMs })
  await cluster.stopImmediate()
  for (let i = 0; i < 8; i++) {
    const { error } = await byDeadline(hastyMs, () => hasty.get(business, NAME))
    assert.ok(['UNAVAILABLE', 'TIMEOUT'].includes(error.code), error.code)
  }
  await cluster.restart()
  const started = performance.now()
  while ((await byDeadline(hastyMs, () => hasty.get(business, NAME))).error) {
    assert.ok(performance.now() - started < RECOVERY_MS, `no success within ${RECOVERY_MS} ms`)
  }
  await hasty.close()
})

test('terminated sessions are replaced without a failed read', async () => {
  for (let i = 0; i < 5; i++) {
    await Promise.all([get(), secrets.list(business)])
    await terminateSessions(cluster)
    assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
  }
})

test('a write finds terminated sessions out and is carried out once', async () => {
  for (let i = 0; i < 5; i++) {
    const known = (await secrets.list(business)).find(({ name }) => name === NAME).version
    await terminateSessions(cluster)
    const { value, error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, `write ${i}`))
    assert.ok(value === known + 1 || error?.code === 'UNKNOWN_OUTCOME', error?.code)
  }
})

test('a crash in the middle of writes loses no write that was acknowledged', async () => {
  const businesses = await database.addBusinesses(20)
  const acknowledged = new Map()
  const attempted = new Map()
  let isOver = false
  const writers = businesses.map(async (id) => {
    for (let i = 0; !isOver; i++) {
      attempted.set(id, `${id} ${i}`)
      const { error } = await byDeadline(TIMEOUT_MS, () => secrets.set(id, NAME, `${id} ${i}`))
      if (!error) acknowledged.set(id, `${id} ${i}`)
      else {
        assert.ok(['UNKNOWN_OUTCOME', 'UNAVAILABLE', 'TIMEOUT'].includes(error.code), error.code)
        return
      }
    }
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  await cluster.stopImmediate()
  isOver = true
  await Promise.all(writers)
  await cluster.restart()
  for (const id of businesses) {
    const { value } = await untilSuccess(() => secrets.get(id, NAME))
    assert.ok([acknowledged.get(id) ?? null, attempted.get(id)].includes(value))
  }
})

test('a server that became read-only is left, and found again when it is writable', async () => {
  await cluster.sql('alter role app_service set default_transaction_read_only = on')
  await terminateSessions(cluster)
  const { error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, 'to a standby'))
  assert.equal(error.code, 'UNAVAILABLE')
  assert.match(error.message, /read-only/)
  assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
  await cluster.sql('alter role app_service reset default_transaction_read_only')
  // No session is ended here: the next write must not go to one that is known to be read-only.
  const { ms } = await untilSuccess(() => secrets.set(business, NAME, 'to the primary'))
  assert.ok(ms <= RECOVERY_MS)
})

test('without a free connection slot calls wait for one, and succeed once there is', async () => {
  await secrets.close()
  secrets = await connect({ url: database.service, timeoutMs: TIMEOUT_MS })
  // A session that ends later than this looked would give its place back to the client.
  await until(async () => {
    const { rows } = await cluster.sql(
      "select from pg_catalog.pg_stat_activity where usename = 'app_service'",
    )
    return rows.length === 0
  }, 'the end of the sessions')
  const hoard = []
  const admin = cluster.urlFor('postgres')
  for (let refusals = 0; ; ) {
    const client = new pg.Client({ connectionString: admin })
    client.on('error', () => {})
    try {
      await client.connect()
      hoard.push(client)
    } catch (error) {
      assert.equal(error.code, '53300')
      if (++refusals === 3) break
      await delay(200)
    }
  }
  const { error } = await byDeadline(TIMEOUT_MS, get)
  assert.equal(error.code, 'UNAVAILABLE')
  assert.match(error.message, /53300/)
  await Promise.all(hoard.map((client) => client.end()))
  const { value, ms } = await untilSuccess(get)
  assert.equal(value, 'before')
  assert.ok(ms <= RECOVERY_MS)
})

test('a wrong password says so at once, and is neither retried nor repeated in the message', async () => {
  const url = new URL(database.service)
  url.password = 'not-the-password'
  const logged = cluster.log().length
  const stranger = await connect({ url: url.href, timeoutMs: TIMEOUT_MS })
  const { error } = await byDeadline(TIMEOUT_MS, () => stranger.get(business, NAME))
  await stranger.close()
  assert.equal(error.code, 'PERMISSION_DENIED')
  assert.match(error.message, /password/)
  assert.doesNotMatch(error.message, /not-the-password/)
  assert.equal(
    cluster
      .log()
      .slice(logged)
      .match(/password authentication failed/g).length,
    1,
  )
})

test('a missing function says NOT_MIGRATED, and is used as soon as it is there', async () => {
  const signature = 'public.get_business_secrets_columns(uuid[], text[], boolean)'
  await cluster.sql(`alter function ${signature} rename to hidden`)
  try {
    const newcomer = await connect({ url: database.service, timeoutMs: TIMEOUT_MS })
    for (const client of [secrets, newcomer]) {
      const { error } = await byDeadline(TIMEOUT_MS, () => client.get(business, NAME))
      assert.equal(error.code, 'NOT_MIGRATED')
      assert.match(error.message, /app-secrets migrate/)
    }
    await newcomer.close()
  } finally {
    await cluster.sql('alter function public.hidden rename to get_business_secrets_columns')
  }
  assert.equal((await byDeadline(TIMEOUT_MS, get)).value, 'before')
})

test('a write that waits for a lock gives up before its deadline, and was not carried out', async () => {
  const known = (await secrets.list(business)).find(({ name }) => name === NAME).version
  const other = new pg.Client({ connectionString: cluster.urlFor('supabase_admin') })
  await other.connect()
  await other.query('begin')
  await other.query('select from public.business_secrets where business_id = $1 for update', [business])
  const { error } = await byDeadline(TIMEOUT_MS, () => secrets.set(business, NAME, 'never written'))
  await other.query('rollback')
  await other.end()
  assert.equal(error.code, 'TIMEOUT')
  const now = (await secrets.list(business)).find(({ name }) => name === NAME).version
  assert.equal(now, known)
  assert.equal(await get(), 'before')
})
