// add_secret and retire_secret as one line of SQL: what they refuse, who may call them, and that nothing is changed then.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fingerprint } from '../support/addon.mjs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertIntact } from '../support/invariants.mjs'
import { addBusiness, get, set } from '../support/secrets.mjs'

const state = async (db) => [
  await fingerprint(db),
  await db.query(
    `select c.relname::text, a.attname::text from pg_attribute a join pg_class c on c.oid = a.attrelid
     where c.relnamespace in ('public'::regnamespace, 'app_secrets'::regnamespace) and a.attnum > 0 order by 1, a.attnum`,
  ),
]

test('what cannot be a secret is refused in words, and changes nothing', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await set(db, id, { google_access_token: 'ya29-marker' })
  await db.query('alter table public.businesses add column account jsonb, add column short char(8)')
  const before = await state(db)
  for (const [code, says, call] of [
    ['AS002', /1 to 48 lower-case letters/, "add_secret(null, 'A key')"],
    ['AS002', /1 to 48 lower-case letters/, "add_secret('sk_LIVE_marker', 'A key')"],
    ['AS002', /1 to 48 lower-case letters/, `add_secret('a${'b'.repeat(48)}', 'A key')`],
    ['AS002', /reserved/, "add_secret('business_id', 'A key')"],
    ['AS002', /reserved/, "add_secret('updated_at', 'A key')"],
    ['AS002', /reserved/, "add_secret('ctid', 'A key')"],
    ['AS002', /needs a label/, "add_secret('new_key', ' ')"],
    ['AS002', /is sealed/, "add_secret('new_key', 'A key', 'name', false)"],
    ['AS002', /is text/, "add_secret('new_key', 'A key', null, true, 'timestamptz')"],
    ['AS002', /is text/, "add_secret('new_key', 'A key', null, false, 'json')"],
    ['AS002', /is text/, "add_secret('new_key', 'A key', null, null)"],
    ['AS007', /has no column no_such/, "add_secret('new_key', 'A key', 'no_such')"],
    ['AS007', /is of type jsonb; needed: text/, "add_secret('new_key', 'A key', 'account')"],
    ['AS007', /is of type character; needed: text/, "add_secret('new_key', 'A key', 'short')"],
    ['AS007', /belongs to another secret/, "add_secret('new_key', 'A key', 'gemini_api_key')"],
    ['AS007', /is there already as text, sealed/, "add_secret('gemini_api_key', 'A key', null, false)"],
    ['AS001', /unknown secret/, "retire_secret('sk_live_marker')"],
    ['AS001', /unknown secret/, 'retire_secret(null)'],
    ['AS007', /is set for 1 businesses/, "retire_secret('google_access_token')"],
    ['AS007', /still stands in/, "retire_secret('gemini_api_key', true)"],
  ]) {
    await assert.rejects(db.query(`select app_secrets.${call}`), (error) => {
      assert.equal(error.code, code, `${call}: ${error.code} ${error.message}`)
      assert.match(error.message, says)
      assert.doesNotMatch(`${error.message} ${error.hint} ${error.detail}`, /marker/)
      return true
    })
  }
  assert.deepEqual(await state(db), before)
})

test('there are 200 secrets at most, those out of use aside', async (t) => {
  const db = await freshDatabase(t, 17)
  const client = await db.connect()
  await client.query('begin')
  await client.query(
    `insert into app_secrets.catalogue (name, position, label, sealed, type)
     select 'filler_' || n, 100 + n, 'Filler', true, 'text' from generate_series(1, 200 - 12) n`,
  )
  await client.query('savepoint full_house')
  await assert.rejects(client.query("select app_secrets.add_secret('one_more', 'One more')"), {
    code: 'AS007',
    message: /200 secrets already/,
  })
  await client.query('rollback to full_house')
  await client.query("update app_secrets.catalogue set retired_at = now() where name = 'filler_1'")
  await client.query("select app_secrets.add_secret('one_more', 'One more')")
  await client.query('rollback')
})

test('nobody but the migration role adds or retires', async (t) => {
  const db = await freshDatabase(t, 17)
  for (const role of ['anon', 'authenticated', 'service_role']) {
    for (const call of ["add_secret('new_key', 'A key')", "retire_secret('google_drive_folder_id')"]) {
      await assert.rejects(
        db.as(role, {}, (session) => session.query(`select app_secrets.${call}`)),
        { code: '42501' },
      )
    }
  }
  await assert.rejects(db.query("select app_secrets.add_secret('new_key', 'A key')", [], 'app_service'), {
    code: '42501',
  })
})

test('a name that was taken out of use can come back, and nothing of before comes with it', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await db.query("select app_secrets.add_secret('stripe_key', 'Stripe')")
  await set(db, id, { stripe_key: 'sk-before' })
  await db.query("select app_secrets.retire_secret('stripe_key', true)")
  await assert.rejects(set(db, id, { stripe_key: 'sk-meanwhile' }), { code: 'AS001' })
  await db.query("select app_secrets.add_secret('stripe_key', 'Stripe again')")
  assert.equal((await get(db, id)).stripe_key, null)
  await assert.rejects(
    db.query("select public.undo_business_secret($1, 'stripe_key')", [id], 'app_service'),
    { code: 'AS008' },
  )
  await set(db, id, { stripe_key: 'sk-after' })
  assert.equal((await get(db, id)).stripe_key, 'sk-after')
  const { label } = await db.one("select label from public.business_secret_names where name = 'stripe_key'")
  assert.equal(label, 'Stripe again')
  await assertIntact(db)
})

onEachMajor(
  'what stands is not locked when it is made again, nor the owner table for a name without a column',
  async (t, major) => {
    const db = await freshDatabase(t, major)
    const id = await addBusiness(db)
    const [oldCode, reader, migrator] = await Promise.all([1, 2, 3].map(() => db.connect('postgres')))
    await oldCode.query('begin')
    await oldCode.query("update public.businesses set gemini_api_key = 'from old code' where id = $1", [id])
    await reader.query('begin')
    await reader.query('select * from public.decrypted_business_secrets')
    await migrator.query("set app_secrets.lock_attempts = '1'")
    await migrator.query('select app_secrets.make_all()')
    await reader.query('commit')
    // It holds business_secrets too, through the sync; another name waits for that and for nothing else.
    await assert.rejects(migrator.query("select app_secrets.add_secret('one_key', 'One')"), { code: '55P03' })
    await oldCode.query('rollback')
    await oldCode.query('begin')
    await oldCode.query("update public.businesses set name = 'Another' where id = $1", [id])
    await migrator.query("select app_secrets.add_secret('one_key', 'One')")
    await oldCode.query('rollback')
  },
)
