// Breaks every protection in turn and expects a named check to notice: the proof that the checks protect anything.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { cells, matches, outcome } from './access-cells.mjs'
import { seed } from './access-fixture.mjs'
import { runProbe } from './access-probes.mjs'
import { mutations, version } from './mutations.mjs'
import { guardsQuery, listedGuards } from './mutations-guards.mjs'

const byId = new Map(cells(version).map((cell) => [cell.id, cell]))

/** Runs a cell or a probe in the client's transaction; gives what is wrong, or nothing. */
async function check(client, name, recognize) {
  const cell = byId.get(name)
  if (cell) {
    const actual = await outcome(client, cell, recognize, { impersonate: true })
    return matches(cell, actual) ? undefined : `${actual}, not ${cell.expected}`
  }
  return runProbe(client, name)
}

onEachMajor('every protection, once broken, turns a named check red', async (t, major) => {
  const db = await freshDatabase(t, major, { migratedTo: version })
  const recognize = await seed(await db.connect('postgres'))
  const client = await db.connect('supabase_admin')

  await t.test('each check passes while nothing is broken', async () => {
    await client.query('begin')
    const failed = []
    for (const name of new Set(mutations.map(({ caughtBy }) => caughtBy))) {
      const wrong = await check(client, name, recognize)
      if (wrong) failed.push(`${name}: ${wrong}`)
    }
    await client.query('rollback')
    assert.deepEqual(failed, [])
  })

  await t.test('each mutation is caught', async () => {
    const survivors = []
    for (const { guard, name, sql, caughtBy } of mutations) {
      await client.query('begin')
      await client.query(sql)
      if (!(await check(client, caughtBy, recognize))) survivors.push(`${guard}: ${name}, by ${caughtBy}`)
      await client.query('rollback')
    }
    assert.deepEqual(survivors, [])
  })

  await t.test(
    'each protection in the catalogues has a mutation, and each mutation a protection',
    async () => {
      const found = (await client.query(guardsQuery)).rows.map(({ guard }) => guard)
      assert.deepEqual(found.sort(), listedGuards().sort())
    },
  )
})
