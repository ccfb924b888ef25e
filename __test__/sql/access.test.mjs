// Every cell of the access matrix, on every major version, under both of the Data API's default privileges, and after
// the plaintext is gone.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { migration } from '../support/migrations.mjs'
import { cells, matches, outcome } from './access-cells.mjs'
import { seed } from './access-fixture.mjs'
import { actors, functions, policies, privateTables } from './access-matrix.mjs'

const legacyGrants = readFileSync(new URL('../../dev/platform-legacy-grants.sql', import.meta.url), 'utf8')

const settings = {
  'default privileges of 2026': (t, major) => freshDatabase(t, major),
  'default privileges before 2026, and a policy that somebody left': beforeTheChange,
  'after 005': (t, major) => freshDatabase(t, major, { migratedTo: 5 }),
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

for (const [setting, prepare] of Object.entries(settings)) {
  onEachMajor(`every actor gets from every object what the matrix says: ${setting}`, async (t, major) => {
    const db = await prepare(t, major)
    const recognize = await seed(await db.connect('postgres'))
    const connections = new Map()
    for (const { login } of Object.values(actors)) {
      if (!connections.has(login)) connections.set(login, await db.connect(login))
    }
    const wrong = []
    for (const cell of cells()) {
      const actual = await outcome(connections.get(actors[cell.actor].login), cell, recognize)
      if (!matches(cell, actual)) wrong.push(`${cell.id}: ${actual}, not ${cell.expected}`)
    }
    assert.deepEqual(wrong, [])
  })
}

onEachMajor('nothing of ours is missing from the matrix', async (t, major) => {
  const db = await freshDatabase(t, major)
  const found = async (sql) => (await db.query(sql)).map((row) => Object.values(row).join(' ')).sort()
  assert.deepEqual(
    await found(`
      select format('%s.%s(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes))
      from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where n.nspname = 'app_secrets' or (n.nspname = 'public' and p.proname like '%business_secrets%')`),
    Object.keys(functions).sort(),
  )
  assert.deepEqual(
    await found(`
      select format('%s.%s', n.nspname, c.relname)
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind not in ('i', 'c', 'S')
        and (n.nspname = 'app_secrets' or (n.nspname = 'public' and c.relname <> 'businesses'))`),
    [...Object.keys(privateTables), 'public.business_secrets', 'public.decrypted_business_secrets'].sort(),
  )
  assert.deepEqual(
    await found(`
      select format('%s.%s', n.nspname, c.relname), p.polname, p.polcmd, (
        select pg_catalog.string_agg(coalesce(r.rolname, 'public'), ',')
        from pg_catalog.unnest(p.polroles) as o(oid) left join pg_catalog.pg_roles r on r.oid = o.oid)
      from pg_catalog.pg_policy p
      join pg_catalog.pg_class c on c.oid = p.polrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relname <> 'businesses'`),
    policies.map((policy) => policy.join(' ')).sort(),
  )
})
