// Many clients that write the same few businesses from both sides at once: a deadlock or a lost write shows here.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness, legacyNames } from '../support/secrets.mjs'

const CLIENTS = 16
const BUSINESSES = 6

const key = (random) => random.pick(legacyNames.slice(0, 3))
const value = (random) => (random.chance(0.2) ? null : `v${random.below(50)}`)

/** What old and new code do; each gives what it sends for one business. */
const writes = {
  legacyUpdate: (random, id) => [
    `update public.businesses set ${key(random)} = $2, ${legacyNames[3]} = $2 where id = $1`,
    [id, value(random)],
  ],
  legacySave: (random, id) => [
    `update public.businesses set name = $2, ${legacyNames.map((name) => `${name} = ${name}`).join(', ')} where id = $1`,
    [id, `name ${random.below(9)}`],
  ],
  legacyRename: (random, id) => [
    'update public.businesses set name = $2 where id = $1',
    [id, `name ${random.below(9)}`],
  ],
  sealedUpdate: (random, id) => [
    `update public.business_secrets set ${key(random)} = $2 where business_id = $1`,
    [id, value(random)],
  ],
  sealedUpsert: (random, id) => {
    const name = key(random)
    return [
      `insert into public.business_secrets (business_id, ${name}) values ($1, $2)
       on conflict (business_id) do update set ${name} = excluded.${name}`,
      [id, value(random)],
    ]
  },
  sealedDelete: (_random, id) => ['delete from public.business_secrets where business_id = $1', [id]],
  rpcSet: (random, id) => [
    'select public.set_business_secrets($1, $2)',
    [id, JSON.stringify({ [key(random)]: value(random), google_access_token: value(random) })],
  ],
  newBusiness: (random) => [
    `with added as (insert into public.businesses (name, ${key(random)}) values ('short-lived', 'x') returning id)
     select id from added`,
    [],
  ],
  endBusinesses: () => ["delete from public.businesses where name = 'short-lived'", []],
}

onEachMajor('sync under load', async (t, major) => {
  const db = await freshDatabase(t, major)
  const seed = randomSeed()
  const ids = []
  for (let i = 0; i < BUSINESSES; i++) ids.push(await addBusiness(db))

  await t.test(
    `${CLIENTS} clients write ${BUSINESSES} businesses from both sides without a failure`,
    async () => {
      const until = Date.now() + (major === 17 ? 5000 : 2000)
      const counts = new Map(Object.keys(writes).map((name) => [name, 0]))
      const work = async (number) => {
        const random = generator(seed + number)
        const client = await db.connect()
        while (Date.now() < until) {
          const transaction = random.chance(0.2)
          if (transaction) await client.query('begin')
          for (let left = transaction ? 2 : 1; left > 0; left--) {
            const name = random.pick([...counts.keys()])
            // A transaction that holds a row before it writes its first key could deadlock with or without us.
            if (transaction && name === 'legacyRename') continue
            await client.query(...writes[name](random, random.pick(ids)))
            counts.set(name, counts.get(name) + 1)
          }
          if (transaction) await client.query(random.chance(0.2) ? 'rollback' : 'commit')
        }
        await db.disconnect(client)
      }
      const outcomes = await Promise.allSettled(Array.from({ length: CLIENTS }, (_, number) => work(number)))
      const failures = outcomes.flatMap(({ reason }) => (reason ? [`${reason.code} ${reason.message}`] : []))
      assert.deepEqual(failures, [], `seed ${seed}`)
      for (const [name, count] of counts) assert.ok(count > 0, `no ${name} ran; seed ${seed}`)
    },
  )

  await t.test('both sides, Vault, versions and audit agree afterwards', () => assertSynced(db))
})
