// What has the shape of a reference: as a value, as one that opens nothing any more, and rows of Vault that are not ours.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import {
  addBusiness,
  clear,
  get,
  legacy,
  rawVersions,
  set,
  stored,
  updateLegacy,
} from '../support/secrets.mjs'

test("a cell's own reference is a value like any other to old code and to the RPC", async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { gemini_api_key: 'one', grok_api_key: 'two' })
  const references = await stored(db, id)
  await updateLegacy(db, id, { gemini_api_key: references.gemini_api_key })
  await set(db, id, { grok_api_key: references.grok_api_key })
  assert.deepEqual(await clear(db, id), references)
  assert.deepEqual(await legacy(db, id), references)
  assert.equal((await get(db, id, ['grok_api_key'])).grok_api_key, references.grok_api_key)
  await assertSynced(db)
})

test('a reference that opens nothing any more stays one: when a row is written back, and when all is applied again', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const before = await db.query('select * from public.business_secrets order by business_id')
  await db.query('delete from vault.secrets', [], 'supabase_admin')
  await db.query(
    `insert into public.business_secrets select s.* from public.business_secrets s
     on conflict (business_id) do update set google_access_token = excluded.google_access_token,
       gemini_api_key = excluded.gemini_api_key`,
  )
  await db.query('update public.business_secrets set google_refresh_token = google_refresh_token')
  for (const version of [2, 3, 4]) await db.query(migration(version))
  assert.deepEqual(await db.query('select * from public.business_secrets order by business_id'), before)
  const { opens } = await db.one(
    'select count(google_access_token)::integer as opens from public.decrypted_business_secrets',
  )
  assert.equal(opens, 0)
})

test("a secret of somebody else's under a cell's name stops its write, and nothing touches it", async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const name = `business_secrets/${id}/gemini_api_key`
  await db.query("select vault.create_secret('of somebody else', $1)", [name])
  await db.query("select vault.create_secret('a backup', 'business_secrets/backup')")
  const others = () =>
    db.query(
      `select name, decrypted_secret as value from vault.decrypted_secrets where name in ($1, 'business_secrets/backup') order by 1`,
      [name],
    )
  const there = await others()
  assert.equal(there.length, 2)
  await assert.rejects(set(db, id, { gemini_api_key: 'ours' }), { code: 'AS007', message: /not ours/ })
  await set(db, id, { grok_api_key: 'ours' })
  await db.query('select * from app_secrets.fix_orphans($1)', [id])
  await db.query('select app_secrets.register_vault_rows()')
  await db.query('truncate public.business_secrets')
  await db.query('delete from public.businesses')
  assert.deepEqual(await others(), there)
})

test('who is given the id of a business that was deleted past our triggers is not given its secrets', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await set(db, id, { gemini_api_key: 'of the one before' })
  const admin = await db.connect('supabase_admin')
  await admin.query('set session_replication_role = replica')
  await admin.query('delete from public.business_secrets')
  await admin.query('delete from public.businesses')
  await addBusiness(db, { id })
  const fixed = (putBack) => db.one('select * from app_secrets.fix_orphans($1, $2)', [id, putBack])
  const value = async () => (await clear(db, id))?.gemini_api_key ?? null
  assert.equal(await value(), null)
  assert.deepEqual({ ...(await fixed(false)) }, { put_back: '0', removed: '0' })
  assert.equal(await value(), null)
  // The control: what only a restore wants is there to be had, by whoever says so.
  assert.equal((await fixed(true)).put_back, '1')
  assert.equal(await value(), 'of the one before')
})

test('a row that another constraint keeps out leaves nothing, and versions of a row that is made anew go on', async (t) => {
  const db = await freshDatabase(t, 17)
  const [one, two] = [await addBusiness(db), await addBusiness(db)]
  await db.query('create unique index on public.business_secrets (google_drive_folder_id)')
  await db.query(
    `insert into public.business_secrets (business_id, google_drive_folder_id, gemini_api_key) values ($1, 'folder', 'kept')`,
    [one],
  )
  await db.query(
    `insert into public.business_secrets (business_id, google_drive_folder_id, gemini_api_key) values ($1, 'folder', 'kept out')
     on conflict do nothing`,
    [two],
  )
  assert.equal(await stored(db, two), null)
  assert.deepEqual(await rawVersions(db, two), {})
  assert.equal(
    (await db.one('select count(*)::integer as n from app_secrets.audit_log where business_id = $1', [two]))
      .n,
    0,
  )
  await assertSynced(db)

  const first = await rawVersions(db, one)
  await db.query('delete from public.business_secrets where business_id = $1', [one])
  const cleared = await rawVersions(db, one)
  await set(db, one, { gemini_api_key: 'again' })
  const again = await rawVersions(db, one)
  assert.ok(first.gemini_api_key < cleared.gemini_api_key && cleared.gemini_api_key < again.gemini_api_key)
  await db.query('delete from public.businesses where id = $1', [one])
  await db.query("insert into public.businesses (id, name) values ($1, 'anew')", [one])
  await set(db, one, { gemini_api_key: 'anew' })
  assert.ok((await rawVersions(db, one)).gemini_api_key > again.gemini_api_key)
})
