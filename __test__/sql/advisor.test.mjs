// Supabase's advisor has nothing to say about what the migrations make, and would say it if there were something.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { addBusiness, insertSecrets } from '../support/secrets.mjs'
import { checks } from './advisor-checks.mjs'

for (const version of [4, 5]) {
  onEachMajor(`the advisor finds nothing after 00${version}`, async (t, major) => {
    const db = await freshDatabase(t, major, { migratedTo: version })
    const client = await db.connect('supabase_admin')
    // Two reads, as of any service: before the first, nothing has used the index that finds access marks.
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'a key' })
    const service = await db.connect('app_service')
    for (let i = 0; i < 2; i++) {
      await service.query(`select public.get_business_secrets('${id}', '{gemini_api_key}')`)
    }
    await service.query('select pg_stat_force_next_flush()')
    await service.query('select')
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
