// Doctor finds plaintext, broken cells, idle triggers and publications that leak.

import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { breaks, finds, superuser } from '../support/doctor.mjs'

breaks(
  'triggers',
  'fail',
  /business_secrets\.zz_app_secrets_seal is disabled/,
  async function aDisabledTrigger(db) {
    await db.query('alter table public.business_secrets disable trigger zz_app_secrets_seal')
  },
)
breaks('triggers', 'fail', /businesses\.zz_app_secrets_sync is missing/, async function aMissingTrigger(db) {
  await db.query('drop trigger zz_app_secrets_sync on public.businesses')
})

breaks(
  'plaintext.columns',
  'fail',
  /back since 005, .*: public\.businesses\.grok_api_key/,
  async function aColumnIsBack(db) {
    await db.query('alter table public.businesses add column grok_api_key text')
    await db.query("update public.businesses set grok_api_key = 'sk-1' where name = 'Business 1'")
  },
  { migratedTo: 5 },
)
breaks(
  'plaintext.columns',
  'fail',
  /back since 005, .*: public\.businesses\.grok_api_key/,
  async function anEmptyColumnIsBack(db) {
    await db.query('alter table public.businesses add column grok_api_key text')
  },
  { migratedTo: 5 },
)

test('plaintext.pages: not rewritten, rewritten, and looked at where that is allowed', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  const privileged = { admin: db.superuser, service: db.service }
  await db.query('checkpoint', [], superuser)
  await finds(db, 'plaintext.pages', 'warn', /not rewritten since/)
  await finds(privileged, 'plaintext.pages', 'fail', /sealed values in the tables' pages: [1-9]\d* of \d+/)
  await db.query('vacuum full public.businesses')
  await db.query('vacuum full public.business_secrets')
  await finds(db, 'plaintext.pages', 'ok', /both tables were rewritten/)
  await finds(privileged, 'plaintext.pages', 'ok', /sealed values in the tables' pages: none of \d+/)
})

const replica = async (db, ...statements) => {
  const client = await db.connect(superuser)
  await client.query('set session_replication_role = replica')
  for (const statement of statements) await client.query(statement)
}
breaks(
  'cells.sealed',
  'fail',
  /cells that hold text instead of a reference: 1 \(grok_api_key of/,
  async function textInACell(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
    await replica(
      db,
      `update public.business_secrets set grok_api_key = 'sk-plain' where business_id = (
    select business_id from public.business_secrets limit 1)`,
    )
  },
)
breaks(
  'cells.sealed',
  'fail',
  /no validated constraint grok_api_key_is_reference/,
  async function noConstraint(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
  },
)
breaks(
  'cells.sealed',
  'warn',
  /plaintext values in the planner's samples \(pg_stats\): [1-9]\d*/,
  async function staleSamples(db) {
    await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
    await replica(
      db,
      // Or its worker may take new samples at any time.
      'alter table public.business_secrets set (autovacuum_enabled = off)',
      'create table public.kept as select business_id, grok_api_key from public.business_secrets',
      "update public.business_secrets set grok_api_key = 'sk-plain-' || business_id",
      'analyze public.business_secrets',
      'update public.business_secrets s set grok_api_key = k.grok_api_key from public.kept k where k.business_id = s.business_id',
      'drop table public.kept',
    )
    await db.query(
      `alter table public.business_secrets add constraint grok_api_key_is_reference check (grok_api_key ~ '^[0-9a-f-]{36}$')`,
    )
  },
)
breaks(
  'cells.references',
  'fail',
  /cells that refer to nothing: 1 \(gemini_api_key of/,
  async function aLostVaultRow(db) {
    await db.query(`delete from vault.secrets where name like 'business\\_secrets/%001/gemini\\_api\\_key'`)
  },
)
breaks('cells.orphans', 'warn', /nothing refers to: 1 \([0-9a-f-]{36}\)/, async function anOrphan(db) {
  await replica(
    db,
    `update public.business_secrets set google_access_token = null
     where business_id = '10000000-0000-4000-8000-000000000001'`,
  )
})

breaks('publication', 'warn', /reports has public\.businesses/, async function plaintextIsPublished(db) {
  await db.query('create publication reports for table public.businesses')
})
breaks(
  'publication',
  'warn',
  /reports has app_secrets\.audit_log/,
  async function privateTablesArePublished(db) {
    await db.query('create publication reports for table app_secrets.audit_log')
  },
)
breaks('publication', 'warn', /supabase_realtime lacks business_secrets/, async function realtimeIsDeaf(db) {
  await db.query('alter publication supabase_realtime drop table public.business_secrets')
})
