// Lists of secrets that stand outside of the catalogue, because SQL, browsers and documents cannot load it: each has to
// be the catalogue's. The union in index.d.ts is generated from it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { names, sealedNames } from '../support/secrets.mjs'
import { compile, examples } from './support/compiled.mjs'

const text = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const [, union] = text('index.d.ts').match(/export type SecretName =([^;\n]*)/)
const catalogue = [...union.matchAll(/'([a-z_]+)'/g)].map(([, name]) => name)
const metadata = ['google_token_expiry', 'google_drive_folder_id']
const sealed = catalogue.filter((name) => !metadata.includes(name))

test('the database has the names of the catalogue, in its order', async (t) => {
  const db = await freshDatabase(t, 17)
  assert.deepEqual((await db.one('select app_secrets.secret_names() as names')).names, catalogue)
  const columns = await db.query(
    `select attrelid::regclass::text as relation, array_agg(attname::text order by attnum) as names
     from pg_attribute
     where attrelid in ('public.business_secrets'::regclass, 'public.decrypted_business_secrets'::regclass)
       and attnum > 0 and not attisdropped and attname not in ('business_id', 'updated_at')
     group by attrelid`,
  )
  for (const { relation, names: found } of columns) {
    assert.deepEqual(found.toSorted(), catalogue.toSorted(), relation)
  }
  const checked = await db.query(
    `select replace(conname, '_is_reference', '') as name from pg_constraint
     where conrelid = 'public.business_secrets'::regclass and conname like '%\\_is\\_reference' and convalidated`,
  )
  assert.deepEqual(checked.map(({ name }) => name).toSorted(), sealed.toSorted())
})

test('the tests know all of them', () => {
  assert.deepEqual(names, catalogue)
  assert.deepEqual(sealedNames, sealed)
})

test('settings offers every secret but those that Google hands out', async (t) => {
  const load = await compile(t, ['src/lib/businessSecrets.js'])
  const { integrations } = await load('src/lib/businessSecrets.js')
  const offered = integrations.map(({ name }) => name)
  const entered = sealed.filter((name) => !name.startsWith('google_'))
  assert.deepEqual(offered, entered)
})

test('reseal carries every sealed secret over', () => {
  const [, list] = readFileSync(join(examples, 'scripts/reseal.js'), 'utf8').match(
    /const sealed = \[([^\]]*)\]/,
  )
  const carried = [...list.matchAll(/'([a-z_]+)'/g)].map(([, name]) => name)
  assert.deepEqual(carried, sealed)
})
