// The names that stand in the example's code, because it says who reads what: each has to be one that the database has.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { appRequire, installApp } from '../../dev/app-install.mjs'
import { freshDatabase } from '../support/cluster.mjs'

test('the names in the example are those of the default catalogue', async (t) => {
  const db = await freshDatabase(t, 17)
  const rows = await db.query('select name::text from app_secrets.catalogue where sealed order by position')
  const sealed = rows.map(({ name }) => name)
  // What Google hands out is nothing that an owner types, or that a service's login reads.
  const entered = sealed.filter((name) => !name.startsWith('google_'))
  const folder = await installApp()

  await t.test('the consumers’ logins read all of them between them, and nothing else', () => {
    const { consumers } = appRequire(join(folder, 'backend/lib/secrets.js'))
    const read = new Set(Object.values(consumers).flatMap(({ reads }) => reads))
    assert.deepEqual([...read].toSorted(), entered.toSorted())
  })

  await t.test('validation asks about each', () => {
    const { names } = appRequire(join(folder, 'backend/lib/validation.js'))
    assert.deepEqual(names.toSorted(), entered.toSorted())
  })
})
