// npm run bench:writers: how long old code waits while new code writes the same few businesses, beside as many clients of old
// code alone on a database without us. Both take turns on the same server, slot after slot. Then what one change takes where
// nobody else writes, old code's with and without us and new code's, by turns.
//
// node bench/writers.mjs [--slots N] [--seconds N]

import { parseArgs } from 'node:util'
import { generator } from '../__test__/support/random.mjs'
import { addBusiness, legacyNames } from '../__test__/support/secrets.mjs'
import { majors, startCluster, TestCluster } from '../__test__/support/servers.mjs'
import { children, connectWriter, newCode, oldCode } from '../__test__/support/writers.mjs'
import { quantile } from './statistics.mjs'

const { values: options } = parseArgs({
  options: { slots: { type: 'string', default: '8' }, seconds: { type: 'string', default: '3' } },
})
const CLIENTS = 16
const BUSINESSES = 6
const CHANGES = 1_000

for (const major of majors) {
  const server = await startCluster(major)
  const releases = []
  const scope = { after: (release) => releases.unshift(release) }
  try {
    const cluster = new TestCluster(server.description)
    const sides = {
      'without us': await side(await cluster.freshDatabase(scope, { migratedTo: 0 }), () => false),
      'with us': await side(await cluster.freshDatabase(scope), (number) => number % 2 === 0),
    }
    for (let slot = -1; slot < Number(options.slots); slot++) {
      for (const one of Object.values(sides)) await run(one, slot)
    }
    const [alone, beside] = Object.values(sides)
    const shown = ({ took, failed }) =>
      `p50 ${quantile(took, 0.5).toFixed(1)} ms, p99 ${quantile(took, 0.99).toFixed(1)} ms of ${took.length}, ${failed} failed`
    const ratio = (part) => (quantile(beside.took, part) / quantile(alone.took, part)).toFixed(2)
    console.log(
      `PostgreSQL ${major}: old code alone ${shown(alone)}; beside new code ${shown(beside)}; ${ratio(0.5)} × and ${ratio(0.99)} ×`,
    )
    const took = await changes(alone, beside)
    const median = Object.entries(took).map(
      ([what, times]) => `${what} ${quantile(times, 0.5).toFixed(2)} ms`,
    )
    console.log(`PostgreSQL ${major}: one change at a time, p50: ${median.join(', ')}`)
  } finally {
    for (const release of releases) await release()
    await server.stop()
  }
}

/** One client at a time; the first tenth warms up. */
async function changes(alone, beside) {
  const key = legacyNames[0]
  const old = `update public.businesses set ${key} = $2 where id = $1`
  const kinds = {
    'old code alone': [alone, old],
    'old code with us': [beside, old],
    'old code with us, no key': [beside, 'update public.businesses set name = $2 where id = $1'],
    'new code': [beside, `update public.business_secrets set ${key} = $2 where business_id = $1`],
  }
  const took = Object.fromEntries(Object.keys(kinds).map((what) => [what, []]))
  for (let i = -CHANGES / 10; i < CHANGES; i++) {
    for (const [what, [{ clients, ids }, sql]] of Object.entries(kinds)) {
      const started = performance.now()
      await clients[0].query(sql, [ids[0], `${what} ${i}`])
      if (i >= 0) took[what].push(performance.now() - started)
    }
  }
  return took
}

async function side(db, isNewCode) {
  await db.query(children)
  const ids = []
  for (let i = 0; i < BUSINESSES; i++) ids.push(await addBusiness(db))
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connectWriter(db)))
  return { ids: ids.sort(), clients, isNewCode, took: [], failed: 0 }
}

/** The slot before the first warms up. */
async function run(one, slot) {
  const { ids, clients, isNewCode, took } = one
  const until = Date.now() + Number(options.seconds) * 1000
  await Promise.all(
    clients.map(async (client, number) => {
      const random = generator(slot * CLIENTS + number)
      while (Date.now() < until) {
        if (isNewCode(number)) {
          await newCode(random, client, ids, until)
          continue
        }
        const started = performance.now()
        try {
          await oldCode(random, client, ids)
          if (slot >= 0) took.push(performance.now() - started)
        } catch {
          one.failed += 1
        }
      }
    }),
  )
}
