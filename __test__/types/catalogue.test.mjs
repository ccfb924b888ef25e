// One list of secrets: in the database. What else names them goes by it: the types, the fake, the tests.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { openClient, root } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, legacyNames, names, sealedNames } from '../support/secrets.mjs'

const { createFakeSecrets } = createRequire(import.meta.url)('../../lib/testing.js')

test('the default catalogue', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const entries = await db.query(
    'select name, label, sealed, legacy_column from app_secrets.catalogue order by position',
  )
  const known = entries.map(({ name }) => name)

  await t.test('is the union of the types', () => {
    const text = readFileSync(join(root, 'index.d.ts'), 'utf8')
    const [, union] = text.match(/export type DefaultSecretName =(.*?)\n\n/s)
    assert.deepEqual(
      [...union.matchAll(/'(\w+)'/g)].map(([, name]) => name),
      known,
    )
  })

  await t.test('is what a client lists, and what the fake has', async () => {
    const shown = (list) => list.map(({ name, label, sealed }) => ({ name, label, sealed }))
    const wanted = entries.map(({ name, label, sealed }) => ({ name, label, sealed }))
    assert.deepEqual(shown(await (await openClient(t, db)).list(id)), wanted)
    assert.deepEqual(shown(await createFakeSecrets().list(id)), wanted)
  })

  await t.test(
    'is listed nowhere else: not in SQL, and not in the code but for examples and what providers call their keys',
    () => {
      const found = []
      for (const file of readdirSync(join(root, 'migrations')).filter((name) => name.endsWith('.sql'))) {
        const sql = readFileSync(join(root, 'migrations', file), 'utf8')
        const rest = sql.replace(
          /-- app-secrets: default catalogue\n.*?-- app-secrets: end of default catalogue/s,
          '',
        )
        found.push(...known.filter((name) => rest.includes(name)).map((name) => `${file}: ${name}`))
      }
      for (const file of readdirSync(join(root, 'src'), { recursive: true })) {
        if (!file.endsWith('.rs') || /(^|\/)tests\.rs$|^cli\/(help|envfile\/mod)\.rs$/.test(file)) continue
        // Doc comments may give an example.
        const [code] = readFileSync(join(root, 'src', file), 'utf8')
          .replace(/^\s*\/\/.*$/gm, '')
          .split('#[cfg(test)]')
        found.push(...known.filter((name) => code.includes(name)).map((name) => `${file}: ${name}`))
      }
      assert.deepEqual(found, [])
    },
  )

  await t.test('is what the tests go by', () => {
    assert.deepEqual(names, known)
    const of = (filter) => entries.filter(filter).map(({ name }) => name)
    assert.deepEqual(
      sealedNames,
      of(({ sealed }) => sealed),
    )
    assert.deepEqual(
      legacyNames,
      of(({ legacy_column }) => legacy_column !== null),
    )
  })
})
