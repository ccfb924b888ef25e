// Many clients that write the same few businesses from both sides at once: a deadlock, a refusal of old code or a lost write
// shows here. APP_SECRETS_SYNC_SECONDS makes it longer; CONTRIBUTING.md names the full run.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { children, connectWriter, newCode, oldCode, uniqueKey } from '../support/writers.mjs'

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
      const counts = { legacy: 0, sealed: 0, repeated: 0 }
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
              failures.push(error.message)
            }
          }
          await db.disconnect(client)
        }),
      )
      assert.deepEqual([...new Set(failures)], [], `seed ${seed}`)
      assert.ok(counts.legacy > 10 && counts.sealed > 10, JSON.stringify(counts))
      t.diagnostic(
        `${counts.legacy} transactions of old code, 0 failed; ${counts.sealed} of new code, ${counts.repeated} repeated`,
      )
      await assertSynced(db)
    })
  }
}
