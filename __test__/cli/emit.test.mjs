import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pgDump } from '../../dev/pg-dump.mjs'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'

test('the folder alone makes what migrate makes, and status agrees', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const pushed = await freshDatabase(t, 17, { migratedTo: 0 })
  const migrated = await freshDatabase(t, 17, { migratedTo: 0 })
  const emit = async (db) => (await cliJson(db, ['emit', '--dir', folder])).files

  const first = await emit(pushed)
  assert.deepEqual(
    first.map((name) => name.replace(/^\d{14}/, '')),
    [
      '_app_secrets_002_expand_business_secrets.sql',
      '_app_secrets_003_migrate_data_and_encrypt.sql',
      '_app_secrets_004_rls_and_rpc.sql',
    ],
  )
  assert.deepEqual(await emit(pushed), [])
  await cliEnds(0, migrated, ['migrate'])
  await cliEnds(0, migrated, ['names', 'add', 'stripe_secret_key', '--label', 'Stripe'])
  const more = await emit(migrated)
  assert.equal(more.length, 1)
  assert.deepEqual(await emit(migrated), [])

  // As the Supabase CLI does: in the order of the digits, each file as one batch.
  for (const name of readdirSync(folder).sort()) {
    const client = await pushed.connect()
    await client.query(readFileSync(join(folder, name), 'utf8'))
    await pushed.disconnect(client)
  }
  await cliEnds(0, pushed, ['status'])
  const { files } = await cliJson(pushed, ['status'])
  assert.deepEqual(
    files.filter(({ version }) => version <= 4).map(({ state }) => state),
    ['applied', 'applied', 'applied'],
  )
  const schema = async (db) =>
    (await pgDump(db.admin, ['--schema-only'])).replace(/^\\(un)?restrict .*$/gm, '')
  assert.equal(await schema(pushed), await schema(migrated))
})

test('a folder that is begun after 005 makes a branch of the app’s own tables whole, and takes later names as they are there', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const db = await freshDatabase(t, 17, { legacyData: true })
  const drop = () => cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  const emit = (...args) => cliEnds(0, db, ['emit', '--dir', folder, ...args])
  await drop()
  await emit()
  await db.query('alter table public.businesses add column mailgun text')
  await cliEnds(0, db, ['names', 'add', 'mailgun_key', '--legacy-column', 'mailgun'])
  await cliEnds(0, db, ['migrate'])
  await drop()
  await emit('--drop-legacy')

  const branch = await freshDatabase(t, 17, { migratedTo: 0 })
  for (const name of readdirSync(folder).sort()) {
    const client = await branch.connect()
    await client.query(readFileSync(join(folder, name), 'utf8'))
    await branch.disconnect(client)
  }
  await cliEnds(0, branch, ['status'])
  assert.deepEqual((await cliJson(branch, ['status'])).plaintextColumns, [])
  const known = async (one) => (await cliJson(one, ['names', 'list'])).names.map(({ name }) => name)
  assert.deepEqual(await known(branch), await known(db))
  const { columns } = await branch.one(
    `select array_agg(attname::text order by attnum) as columns from pg_attribute
     where attrelid = 'public.businesses'::regclass and attnum > 0 and not attisdropped`,
  )
  assert.ok(!columns.some((column) => /key|mailgun/.test(column)), `${columns}`)
})
