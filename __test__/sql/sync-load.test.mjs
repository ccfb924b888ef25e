// Many clients that write the same few businesses from both sides at once: a deadlock, a refusal of old code or a lost write
// shows here. APP_SECRETS_SYNC_SECONDS makes it longer; CONTRIBUTING.md names the full run.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cluster, freshDatabase, majors, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness, clear } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'
import { children, connectWriter, isOldCodesOwn, newCode, oldCode, uniqueKey } from '../support/writers.mjs'

const CLIENTS = 16
const BUSINESSES = 6
const SECONDS = Number(process.env.APP_SECRETS_SYNC_SECONDS ?? 3)

for (const major of majors) {
  for (const unique of [false, true]) {
    test(`old code never fails while new code writes the same businesses${unique ? ', with a key in a unique index' : ''} (PostgreSQL ${major})`, async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      await db.query(children)
      if (unique) await db.query(uniqueKey)
      for (const version of [2, 3, 4]) await db.query(migration(version))
      const seed = randomSeed()
      const ids = []
      for (let i = 0; i < BUSINESSES; i++) ids.push(await addBusiness(db))
      ids.sort()
      const until = Date.now() + SECONDS * 1000 * (major === 17 ? 1 : 0.5)
      const counts = { legacy: 0, sealed: 0, repeated: 0, ownDeadlocks: 0 }
      const { logFile } = await cluster(major)
      const failures = []
      await Promise.all(
        Array.from({ length: CLIENTS }, async (_, number) => {
          const random = generator(seed + number)
          const client = await connectWriter(db)
          while (Date.now() < until) {
            try {
              if (number % 2) {
                await oldCode(random, client, ids)
                counts.legacy += 1
              } else {
                counts.repeated += await newCode(random, client, ids, until)
                counts.sealed += 1
              }
            } catch (error) {
              if (isOldCodesOwn(error.cause, logFile)) counts.ownDeadlocks += 1
              else failures.push(error.message)
            }
          }
          await db.disconnect(client)
        }),
      )
      assert.deepEqual([...new Set(failures)], [], `seed ${seed}`)
      assert.ok(counts.legacy > 10 && counts.sealed > 10, JSON.stringify(counts))
      t.diagnostic(
        `${counts.legacy} transactions of old code, ${counts.ownDeadlocks} failed as without us; ${counts.sealed} of new code, ${counts.repeated} repeated`,
      )
      await assertSynced(db)
    })
  }
}

onEachMajor(
  'with a key in a unique index new code waits in turns that are too short for a deadlock',
  async (t, major) => {
    const db = await freshDatabase(t, major, { migratedTo: 0 })
    await db.query(children)
    await db.query(uniqueKey)
    for (const version of [2, 3, 4]) await db.query(migration(version))
    const id = await addBusiness(db)
    const old = await connectWriter(db)
    await old.query('begin')
    await old.query('insert into public.orders (business_id) values ($1)', [id])
    const set = `select public.set_business_secrets('${id}', '{"claude_api_key": "from new code"}')`

    const impatient = await connectWriter(db)
    await impatient.query("set lock_timeout = '180ms'")
    const started = performance.now()
    await assert.rejects(impatient.query(set), { code: '55P03', message: /lock timeout/ })
    assert.ok(performance.now() - started >= 180)
    assert.deepEqual((await impatient.query('show lock_timeout')).rows, [{ lock_timeout: '180ms' }])

    const patient = await connectWriter(db)
    const waits = patient.query(set)
    const begun = new Set()
    await until(async () => {
      const rows = await db.query('select waitstart::text from pg_locks where pid = $1 and not granted', [
        patient.processID,
      ])
      for (const { waitstart } of rows) begun.add(waitstart)
      return begun.size > 3
    }, 'several turns')
    await old.query("update public.businesses set claude_api_key = 'from old code' where id = $1", [id])
    await old.query('commit')
    await waits
    assert.equal((await clear(db, id)).claude_api_key, 'from new code')
    await assertSynced(db)
  },
)

onEachMajor("a deadlock counts as old code's own only where nothing of ours ran in it", async (t, major) => {
  const db = await freshDatabase(t, major)
  await db.query(children)
  const { logFile } = await cluster(major)
  const ids = [await addBusiness(db), await addBusiness(db)]
  const lock = 'select from public.businesses where id = $1 for update'
  const child = 'insert into public.orders (business_id) values ($1)'
  const rename = "update public.businesses set name = 'renamed' where id = $1"
  const key = "update public.businesses set grok_api_key = 'renamed' where id = $1"
  for (const [first, second, isOwn] of [
    [lock, child, true],
    [lock, lock, true],
    [lock, rename, false],
    [key, child, false],
    [key, key, false],
  ]) {
    const error = await deadlock(db, ids, first, second)
    assert.equal(error.code, '40P01')
    assert.equal(isOldCodesOwn(error, logFile), isOwn, `${first}; ${second}`)
  }
  assert.equal(isOldCodesOwn({ code: '40001' }, logFile), false)
})

/** Two transactions that each hold a business, and then want the other's by these statements; gives how one of them ended. */
async function deadlock(db, ids, first, second) {
  const clients = [await connectWriter(db), await connectWriter(db)]
  for (const [i, client] of clients.entries()) {
    await client.query('begin')
    await client.query('select from public.businesses where id = $1 for update', [ids[i]])
  }
  const ends = await Promise.allSettled([
    clients[0].query(first, [ids[1]]),
    clients[1].query(second, [ids[0]]),
  ])
  for (const client of clients) {
    await client.query('rollback')
    await db.disconnect(client)
  }
  return ends.find(({ status }) => status === 'rejected').reason
}
