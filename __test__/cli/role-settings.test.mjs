// What the migrating role, or its database, has set for its sessions does not end a migration.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cliEnds } from '../support/cli.mjs'
import { startCluster, TestCluster, withClient } from '../support/cluster.mjs'

const settings = {
  statement_timeout: '1s',
  lock_timeout: '1ms',
  idle_in_transaction_session_timeout: '20ms',
  // Shorter than the pause between two batches, in which both of the runner's sessions are idle.
  idle_session_timeout: '1500ms',
  default_transaction_read_only: 'on',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  standard_conforming_strings: 'off',
  transform_null_equals: 'on',
}

for (const major of [15, 18]) {
  test(`migrate, verify, drop-legacy and rollback run under any setting of their role (PostgreSQL ${major})`, async (t) => {
    const own = await startCluster(major)
    const cluster = new TestCluster(own.description)
    const db = await cluster.freshDatabase(t, { migratedTo: 0, legacyData: true })
    // After the database's own end, which wants the server.
    t.after(() => own.stop())
    await db.query(
      `insert into public.businesses (name, grok_api_key)
       select 'Business ' || n, 'sk-' || n || '-0123456789' from generate_series(1, 200) n`,
    )
    const all = { ...settings, ...(major >= 17 ? { transaction_timeout: '1s' } : {}) }
    await withClient(cluster.urlFor('supabase_admin'), async (client) => {
      for (const [name, value] of Object.entries(all)) {
        await client.query(`alter role postgres set ${name} = '${value}'`)
      }
    })
    await cliEnds(0, db, ['migrate', '--batch', '50', '--pause-ms', '1700'])
    await cliEnds(0, db, ['verify'])
    await cliEnds(0, db, ['migrate', '--drop-legacy', `--yes-drop-plaintext=${db.name}`])
    await cliEnds(0, db, ['rollback', '--batch', '50', '--pause-ms', '1700'])
  })
}

test('a migrating role that policies hide rows from is refused, and told why', async (t) => {
  const own = await startCluster(17)
  const db = await new TestCluster(own.description).freshDatabase(t, { migratedTo: 0, legacyData: true })
  // After the database's own end, which wants the server.
  t.after(() => own.stop())
  await db.query('alter role postgres nobypassrls', [], 'supabase_admin')
  await db.query('alter table public.businesses force row level security')
  const { stdout } = await cliEnds(6, db, ['migrate', '--dry-run'])
  assert.match(stdout, /FORCE ROW LEVEL SECURITY, and this login has no BYPASSRLS: rows are hidden from it/)
})
