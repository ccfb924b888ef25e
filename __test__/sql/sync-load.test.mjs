// Many clients that write the same few businesses from both sides at once: a deadlock, a refusal of old code or a lost write
// shows here. APP_SECRETS_SYNC_SECONDS makes it longer; CONTRIBUTING.md names the full run.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness, legacyNames } from '../support/secrets.mjs'

const CLIENTS = 16
const BUSINESSES = 6
const SECONDS = Number(process.env.APP_SECRETS_SYNC_SECONDS ?? 3)

const key = (random) => random.pick(legacyNames.slice(0, 3))
const value = (random) => (random.chance(0.2) ? null : `v${random.below(50)}`)

/**
 * What old code does with one business. A transaction takes several of these, of businesses in ascending order, and locks a
 * business first that it comes back to: two that first share a row and then want it alone are a deadlock without us, too.
 */
const legacy = {
  update: (random, id) => [
    `update public.businesses set ${key(random)} = $2, ${legacyNames[3]} = $2 where id = $1`,
    [id, value(random)],
  ],
  save: (random, id) => [
    `update public.businesses set name = $2, ${legacyNames.map((name) => `${name} = ${name}`).join(', ')} where id = $1`,
    [id, `name ${random.below(9)}`],
  ],
  rename: (random, id) => [
    'update public.businesses set name = $2 where id = $1',
    [id, `name ${random.below(9)}`],
  ],
  lock: (_random, id) => ['select from public.businesses where id = $1 for update', [id]],
  child: (_random, id) => ['insert into public.orders (business_id) values ($1)', [id]],
  signUp: () => ["insert into public.businesses (name) values ('short-lived')", []],
  signUpWithKey: (random) => [
    `insert into public.businesses (name, ${key(random)}) values ('short-lived', 'x')`,
    [],
  ],
}

/** What new code does; a refusal with 40001 is repeated, as every client does. */
const sealed = {
  update: (random, id) => [
    `update public.business_secrets set ${key(random)} = $2 where business_id = $1`,
    [id, value(random)],
  ],
  upsert: (random, id) => {
    const name = key(random)
    return [
      `insert into public.business_secrets (business_id, ${name}) values ($1, $2)
       on conflict (business_id) do update set ${name} = excluded.${name}`,
      [id, value(random)],
    ]
  },
  bulk: (random, _id, ids) => {
    const name = key(random)
    return [
      `insert into public.business_secrets (business_id, ${name}) select id, $2 from unnest($1::uuid[]) as u(id)
       on conflict (business_id) do update set ${name} = excluded.${name}`,
      [ids.toSorted(() => random.below(3) - 1), value(random)],
    ]
  },
  remove: (_random, id) => ['delete from public.business_secrets where business_id = $1', [id]],
  set: (random, id) => [
    'select public.set_business_secrets($1, $2)',
    [id, JSON.stringify({ [key(random)]: value(random), google_access_token: value(random) })],
  ],
}

const REPEATED = ['40001', '40P01']

const percentile = (all, part) =>
  Math.round(all.sort((a, b) => a - b)[Math.floor(all.length * part)] * 10) / 10

for (const major of majors) {
  for (const unique of [false, true]) {
    test(`old code never fails while new code writes the same businesses${unique ? ', with a key in a unique index' : ''} (PostgreSQL ${major})`, async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      await db.query(
        'create table public.orders (id bigint generated always as identity, business_id uuid references public.businesses (id) on delete cascade)',
      )
      if (unique) await db.query(`create unique index on public.businesses (${legacyNames[2]}, id)`)
      for (const version of [2, 3, 4]) await db.query(migration(version))
      const seed = randomSeed()
      const ids = []
      for (let i = 0; i < BUSINESSES; i++) ids.push(await addBusiness(db))
      ids.sort()
      const until = Date.now() + SECONDS * 1000 * (major === 17 ? 1 : 0.5)
      const counts = { legacy: 0, sealed: 0, repeated: 0 }
      const took = []
      const failures = []

      const oldCode = async (random, client) => {
        const steps = random.below(3) + 1
        const mine = Array.from({ length: steps }, () => random.pick(ids)).sort()
        const started = performance.now()
        try {
          if (steps > 1) await client.query('begin')
          for (const [i, id] of mine.entries()) {
            const comesBack = mine[i + 1] === id && mine[i - 1] !== id
            const what = comesBack ? 'lock' : random.pick(Object.keys(legacy))
            await client.query(...legacy[what](random, id))
          }
          if (random.chance(0.1) && steps === 1)
            await client.query("delete from public.businesses where name = 'short-lived'")
          if (steps > 1) await client.query(random.chance(0.2) ? 'rollback' : 'commit')
          counts.legacy += 1
          took.push(performance.now() - started)
        } catch (error) {
          failures.push(`old code: ${error.code} ${error.message}`)
          await client.query('rollback')
        }
      }
      const newCode = async (random, client) => {
        const statement = sealed[random.pick(Object.keys(sealed))](random, random.pick(ids), ids)
        for (;;) {
          try {
            await client.query(...statement)
            counts.sealed += 1
            return
          } catch (error) {
            if (!REPEATED.includes(error.code))
              return failures.push(`new code: ${error.code} ${error.message}`)
            counts.repeated += 1
            if (Date.now() > until) return
            await setTimeout(random.below(20))
          }
        }
      }
      await Promise.all(
        Array.from({ length: CLIENTS }, async (_, number) => {
          const random = generator(seed + number)
          // Setting deadlock_timeout takes a superuser: a victim shows soon, and none is hidden by patience.
          const client = await db.connect('supabase_admin')
          await client.query('set deadlock_timeout = 100')
          await client.query('set session authorization postgres')
          while (Date.now() < until) await (number % 2 ? oldCode : newCode)(random, client)
          await db.disconnect(client)
        }),
      )
      assert.deepEqual([...new Set(failures)], [], `seed ${seed}`)
      assert.ok(counts.legacy > 10 && counts.sealed > 10, JSON.stringify(counts))
      t.diagnostic(
        `${counts.legacy} transactions of old code, 0 failed, 99 % within ${percentile(took, 0.99)} ms; ${counts.sealed} of new code, ${counts.repeated} repeated`,
      )
      await assertSynced(db)
    })
  }
}
