// The hint to read again: which business, which names, which versions. Never a value.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { listen } from '../support/listener.mjs'
import { migration } from '../support/migrations.mjs'
import {
  addBusiness,
  insertSecrets,
  names,
  rawVersions,
  sealedNames,
  set,
  updateLegacy,
  updateSecrets,
} from '../support/secrets.mjs'

onEachMajor('notifications', async (t, major) => {
  const db = await freshDatabase(t, major)
  const heard = await listen(db)
  const claim = (name, body) =>
    t.test(name, async () => {
      await heard.next()
      await body()
    })

  await claim('a write from either side sends one, with the versions that it made', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    const now = async (...names) => {
      const versions = await rawVersions(db, id)
      return Object.fromEntries(names.map((name) => [name, versions[name]]))
    }
    assert.deepEqual(await heard.next(), [{ business_id: id, versions: await now('gemini_api_key') }])
    await updateSecrets(db, id, { gemini_api_key: 'two', grok_api_key: 'three' })
    const told = Object.assign({}, ...(await heard.next()).map(({ versions }) => versions))
    assert.deepEqual(told, await now('gemini_api_key', 'grok_api_key'))
    await set(db, id, { gemini_api_key: null })
    assert.deepEqual(await heard.next(), [{ business_id: id, versions: await now('gemini_api_key') }])
    await updateLegacy(db, id, { grok_api_key: 'four' })
    assert.deepEqual(await heard.next(), [{ business_id: id, versions: await now('grok_api_key') }])
  })

  await claim('the two columns of metadata are told of as well', async () => {
    const id = await addBusiness(db)
    await set(db, id, { google_token_expiry: '2026-01-31T12:00:00Z', google_drive_folder_id: 'folder' })
    assert.deepEqual(await heard.next(), [{ business_id: id, versions: await rawVersions(db, id) }])
  })

  await claim('nothing is sent for equal values, other columns, and what is rolled back', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    await heard.next()
    await set(db, id, { gemini_api_key: 'one', grok_api_key: null })
    await updateSecrets(db, id, { gemini_api_key: 'one' })
    await updateLegacy(db, id, { name: 'renamed' })
    await db.query('begin')
    await updateSecrets(db, id, { gemini_api_key: 'two' })
    await db.query('rollback')
    assert.deepEqual(await heard.next(), [])
  })

  await claim('what is deleted is told of, with versions above all that were seen', async () => {
    const [row, business] = [await addBusiness(db), await addBusiness(db)]
    for (const id of [row, business])
      await insertSecrets(db, id, { gemini_api_key: 'one', google_access_token: 'two' })
    await heard.next()
    const before = { [row]: await rawVersions(db, row), [business]: await rawVersions(db, business) }
    await db.query('delete from public.business_secrets where business_id = $1', [row])
    await db.query('delete from public.businesses where id = $1', [business])
    const told = await heard.next()
    for (const id of [row, business]) {
      const merged = Object.assign({}, ...told.filter((n) => n.business_id === id).map((n) => n.versions))
      assert.deepEqual(Object.keys(merged).sort(), ['gemini_api_key', 'google_access_token'])
      for (const [name, version] of Object.entries(merged)) assert.ok(version > before[id][name])
    }
  })

  await claim('a truncate says that everything may have changed', async () => {
    await db.query('truncate public.business_secrets')
    assert.ok((await heard.next()).some((payload) => payload.business_id === null))
  })

  await claim('a statement over many businesses sends one for each', async () => {
    const ids = []
    for (let i = 0; i < 20; i++) ids.push(await addBusiness(db))
    await heard.next()
    await db.query(
      "insert into public.business_secrets (business_id, gemini_api_key) select unnest($1::uuid[]), 'one'",
      [ids],
    )
    const told = await heard.next()
    assert.deepEqual(told.map(({ business_id }) => business_id).sort(), [...ids].sort())
  })

  await claim('of more names than a payload holds it says that everything may have changed', async () => {
    const id = await addBusiness(db)
    const long = (i) => `a_name_as_long_as_names_may_be_and_then_some_${String(i).padStart(3, '0')}`
    await db.query("select app_secrets.record_changes($1, $2, '{}')", [
      id,
      Array.from({ length: 200 }, (_, i) => long(i)),
    ])
    assert.deepEqual(await heard.next(), [{ business_id: id, versions: null }])
    await db.query('delete from app_secrets.secret_versions where business_id = $1', [id])
  })

  await claim(
    'a payload with every name at a high version stays far below the limit, and holds no value',
    async () => {
      const id = await addBusiness(db)
      const values = Object.fromEntries(sealedNames.map((name) => [name, `value-${'x'.repeat(9000)}`]))
      await db.query("select setval('app_secrets.versions', 1000000000000000)")
      const all = {
        ...values,
        google_drive_folder_id: `value-${'x'.repeat(9000)}`,
        google_token_expiry: '2026-01-31T12:00:00Z',
      }
      await db.query('select public.set_business_secrets($1, $2)', [id, JSON.stringify(all)], 'app_service')
      const told = await heard.next()
      assert.deepEqual(Object.keys(told.at(-1).versions).sort(), [...names].sort())
      for (const payload of told) {
        assert.deepEqual(Object.keys(payload).sort(), ['business_id', 'versions'])
        const text = JSON.stringify(payload)
        assert.ok(text.length < 2000)
        assert.doesNotMatch(text, /value-/)
      }
    },
  )

  await t.test(
    'the migration itself tells no one of the backfill, and a run again of 004 sends nothing',
    async (t) => {
      const fresh = await freshDatabase(t, major, { migratedTo: 2, legacyData: true })
      const quiet = await listen(fresh)
      for (const version of [3, 4, 4]) await fresh.query(migration(version))
      assert.deepEqual(await quiet.next(), [])
    },
  )
})

test('what does not fit into a notification is written all the same, and told of as anything', async (t) => {
  const long = Array.from({ length: 160 }, (_, i) => `${'long_name_'.repeat(4)}${String(i).padStart(8, '0')}`)
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  const admin = await db.connect('postgres')
  await admin.query("select pg_catalog.set_config('app_secrets.catalogue', $1, false)", [
    JSON.stringify({
      owner_table: 'public.businesses',
      owner_key: 'id',
      access: { column: 'owner_id' },
      secrets: long.map((name) => ({ name, label: name, sealed: true, type: 'text', legacy_column: null })),
    }),
  ])
  for (const version of [2, 3, 4]) await admin.query(migration(version))
  const id = await addBusiness(db)
  const heard = await listen(db)
  const write = (values) =>
    admin.query('select public.set_business_secrets($1, $2) as versions', [id, JSON.stringify(values)])
  await write(Object.fromEntries(long.map((name) => [name, 'a value'])))
  assert.deepEqual(await heard.next(), [{ business_id: id, versions: null }])
  const few = Object.fromEntries(long.slice(0, 110).map((name) => [name, 'another']))
  const { rows } = await write(few)
  assert.deepEqual(await heard.next(), [{ business_id: id, versions: rows[0].versions }])
})
