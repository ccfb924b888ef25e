// A value counts the same wherever it is told of: blank ones do not, and metadata is none.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, legacyNames, sealedNames } from '../support/secrets.mjs'

/** Those that stand in business_secrets from the beginning. */
const inPlaceNames = sealedNames.filter((name) => !legacyNames.includes(name))

test('dry run, migrate, verify, doctor, names and list count the same values', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  // Each kind of white space that JavaScript trims.
  const blank = await addBusiness(db)
  await db.query('update public.businesses set grok_api_key = $2, claude_api_key = $3 where id = $1', [
    blank,
    '\t\n\u00a0\ufeff',
    '\u2003\r',
  ])
  await db.query('insert into public.business_secrets (business_id, google_refresh_token) values ($1, $2)', [
    blank,
    '\n\u2028',
  ])
  const count = async (table, columns) => {
    const rows = await db.query(`select ${columns.join(', ')} from public.${table}`)
    return rows.flatMap((row) => Object.values(row)).filter((value) => value?.trim()).length
  }
  const [inColumns, inPlace] = [
    await count('businesses', legacyNames),
    await count('business_secrets', inPlaceNames),
  ]
  assert.ok(inColumns > 100 && inPlace > 5)
  const all = inColumns + inPlace

  const planned = await cliJson(db, ['migrate', '--dry-run'])
  assert.deepEqual([planned.plaintextValues, planned.businesses], [all, 41])
  // Half-way, what is left is counted.
  const expanded = await cliJson(db, ['migrate', '--to', '2'])
  assert.equal(expanded.secrets, 0)
  assert.equal((await cliJson(db, ['migrate', '--dry-run'])).plaintextValues, all)

  const migrated = await cliJson(db, ['migrate'])
  assert.deepEqual([migrated.secrets, migrated.businesses], [all, 41])
  const sum = (list, field) => list.reduce((total, one) => total + one[field], 0)
  const { columns } = await cliJson(db, ['verify'])
  assert.deepEqual([sum(columns, 'plaintext'), sum(columns, 'sealed')], [inColumns, inColumns])
  const { stdout } = await cliEnds(0, db, ['doctor', '--full'])
  assert.match(stdout, new RegExp(`values in clear: ${inColumns}, kept in step`))
  assert.match(stdout, new RegExp(`every value opens: ${all}`))
  const { names } = await cliJson(db, ['names', 'list'])
  assert.equal(
    sum(
      names.filter(({ sealed }) => sealed),
      'set',
    ),
    all,
  )
  // Nothing is left to be filled: what still stands in clear is told as such, and is not planned again.
  const again = await cliJson(db, ['migrate', '--dry-run'])
  assert.deepEqual([again.files, again.plaintextValues], [[], inColumns])
})
