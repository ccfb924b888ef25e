// Many clients that write the same few businesses from both sides at once: a deadlock, a refusal of old code or a lost write
// shows here. APP_SECRETS_SYNC_SECONDS makes it longer; CONTRIBUTING.md names the full run.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cluster, freshDatabase, majors, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness } from '../support/secrets.mjs'
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
