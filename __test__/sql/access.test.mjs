// Every cell of the access matrix, on every major version, under both of the Data API's default privileges, and after
// the plaintext is gone.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { migration } from '../support/migrations.mjs'
import { cells, matches, outcome } from './access-cells.mjs'
import { seed } from './access-fixture.mjs'
import { actors } from './access-matrix.mjs'
import { probes, runProbe } from './access-probes.mjs'

const legacyGrants = readFileSync(new URL('../../dev/platform-legacy-grants.sql', import.meta.url), 'utf8')

const settings = {
  'default privileges of 2026': { version: 4, prepare: freshDatabase },
  'default privileges before 2026, and a policy that somebody left': { version: 4, prepare: beforeTheChange },
  'after 005': { version: 5, prepare: (t, major) => freshDatabase(t, major, { migratedTo: 5 }) },
}

async function beforeTheChange(t, major) {
  const db = await freshDatabase(t, major, { migratedTo: 0 })
  const superuser = await db.connect('supabase_admin')
  await superuser.query(legacyGrants)
  await superuser.query('grant all on all tables in schema public to anon, authenticated, service_role')
  const admin = await db.connect('postgres')
  await admin.query('create policy leftover on public.business_secrets using (true) with check (true)')
  for (const version of [2, 3, 4]) await admin.query(migration(version))
  return db
}

for (const [setting, { version, prepare }] of Object.entries(settings)) {
  onEachMajor(`who may do what: ${setting}`, async (t, major) => {
    const db = await prepare(t, major)
    const recognize = await seed(await db.connect('postgres'))

    await t.test('every actor gets from every object what the matrix says', async () => {
      const connections = new Map()
      for (const { login } of Object.values(actors)) {
        if (!connections.has(login)) connections.set(login, await db.connect(login))
      }
      const wrong = []
      for (const cell of cells(version)) {
        const actual = await outcome(connections.get(actors[cell.actor].login), cell, recognize)
        if (!matches(cell, actual)) wrong.push(`${cell.id}: ${actual}, not ${cell.expected}`)
      }
      assert.deepEqual(wrong, [])
    })

    const superuser = await db.connect('supabase_admin')
    await superuser.query('begin')
    for (const name of Object.keys(probes)) {
      await t.test(name, async () => assert.equal(await runProbe(superuser, name), undefined))
    }
  })
}
