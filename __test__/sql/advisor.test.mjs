// Supabase's advisor has nothing to say about what the migrations make, and would say it if there were something.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { checks } from './advisor-checks.mjs'

for (const version of [4, 5]) {
  onEachMajor(`the advisor finds nothing after 00${version}`, async (t, major) => {
    const db = await freshDatabase(t, major, { migratedTo: version })
    const client = await db.connect('supabase_admin')
    for (const { id, says, sql, control } of checks) {
      const findings = async () => (await client.query(sql)).rows.map(({ name }) => name)
      await t.test(`${id}: ${says}`, async () => {
        assert.deepEqual(await findings(), [])
        await client.query(`begin; ${control}`)
        const found = new Set(await findings())
        await client.query('rollback')
        assert.deepEqual(found, new Set(['planted']))
      })
    }
  })
}
