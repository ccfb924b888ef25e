// One list of secrets: in Rust, in the addon, in the types and in the database.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openClient, refuses, root } from '../support/addon.mjs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { addBusiness, legacyNames, names, sealedNames } from '../support/secrets.mjs'

const source = readFileSync(join(root, 'src/catalogue.rs'), 'utf8')
const entries = [
  ...source.matchAll(/^\s+\w+ = "(\w+)", "[^"]+", sealed: (true|false), legacy: (true|false),/gm),
].map(([, name, sealed, legacy]) => ({ name, sealed: sealed === 'true', legacy: legacy === 'true' }))

onEachMajor('the catalogue', async (t, major) => {
  const db = await freshDatabase(t, major)
  const id = await addBusiness(db)
  const client = await openClient(t, db)

  await t.test('of the source is the one that the addon has', async () => {
    const { message } = await refuses(() => client.get(id, 'no such name'), 'UNKNOWN_SECRET')
    assert.deepEqual(
      message.split('the names are ')[1].split(', '),
      entries.map(({ name }) => name),
    )
  })

  await t.test('is the union of the types', () => {
    const [, union] = readFileSync(join(root, 'index.d.ts'), 'utf8').match(/export type SecretName = (.*)/)
    assert.deepEqual(
      union.split(' | ').map((name) => name.slice(1, -1)),
      entries.map(({ name }) => name),
    )
  })

  await t.test("is the database's own list, in its order", async () => {
    const { names: known } = await db.one('select app_secrets.secret_names() as names')
    assert.deepEqual(
      known,
      entries.map(({ name }) => name),
    )
    assert.deepEqual(
      (await client.list(id)).map(({ name }) => name),
      known,
    )
  })

  await t.test('is the columns of the table and of the view', async () => {
    for (const relation of ['business_secrets', 'decrypted_business_secrets']) {
      const rows = await db.query(
        `select attname as name from pg_catalog.pg_attribute
         where attrelid = ('public.' || $1)::regclass and attnum > 0 and not attisdropped`,
        [relation],
      )
      const columns = rows
        .map(({ name }) => name)
        .filter((name) => !['business_id', 'updated_at'].includes(name))
      assert.deepEqual(columns.sort(), entries.map(({ name }) => name).sort())
    }
  })

  await t.test('says which columns of businesses held plaintext', async () => {
    const rows = await db.query(
      `select attname as name from pg_catalog.pg_attribute
       where attrelid = 'public.businesses'::regclass and attname ~ '_(api|access|secret)_key$' and not attisdropped`,
    )
    const legacy = entries.filter((entry) => entry.legacy).map(({ name }) => name)
    assert.deepEqual(rows.map(({ name }) => name).sort(), legacy.sort())
  })

  await t.test('says which cells Vault seals', async () => {
    const own = await addBusiness(db)
    for (const { name } of entries) {
      await client.set(
        own,
        name,
        name === 'google_token_expiry' ? '2031-01-31T12:00:00Z' : 'a value to be found',
      )
    }
    const sealed = await db.query(
      "select split_part(name, '/', 3) as name from vault.secrets where name like 'business\\_secrets/' || $1 || '/%'",
      [own],
    )
    const wanted = entries.filter((entry) => entry.sealed).map(({ name }) => name)
    assert.deepEqual(sealed.map(({ name }) => name).sort(), wanted.sort())
  })

  await t.test('is what the tests go by', () => {
    assert.deepEqual(
      names,
      entries.map(({ name }) => name),
    )
    assert.deepEqual(
      sealedNames,
      entries.filter((entry) => entry.sealed).map(({ name }) => name),
    )
    assert.deepEqual(
      legacyNames,
      entries.filter((entry) => entry.legacy).map(({ name }) => name),
    )
  })
})
