// What the tests of doctor's checks have in common.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { withClient } from '../../dev/postgres.mjs'
import { addon } from './addon.mjs'
import { cluster, freshDatabase } from './cluster.mjs'

export const superuser = 'supabase_admin'

/** `{ 'vault.key': { level, found, why, fix }, … }` */
export async function examine(db, options = {}) {
  const report = await addon.doctor({ url: db.admin, serviceUrl: db.service, ...options })
  for (const check of report.checks) {
    assert.ok(check.why.length > 20, check.id)
    assert.equal(check.fix === null, check.level === 'ok', check.id)
  }
  assert.equal(report.healthy, !report.checks.some(({ level }) => level === 'fail'))
  return Object.fromEntries(report.checks.map((check) => [check.id, check]))
}

export async function finds(db, id, level, found, options) {
  const check = (await examine(db, options))[id]
  assert.ok(check, `no check ${id}`)
  const wanted = level instanceof RegExp ? level : new RegExp(`^${level}$`)
  assert.match(check.level, wanted, `${id}: ${check.found}`)
  assert.match(check.found, found)
  return check
}

/** One claim: after `break_`, the check finds it. Before it, all was well. */
export function breaks(id, level, found, break_, { migratedTo = 4, title = break_.name || level } = {}) {
  test(`${id}: ${title}`, async (t) => {
    const db = await freshDatabase(t, 17, { migratedTo, legacyData: true })
    const options = await break_(db, t)
    await finds(db, id, level, found, options)
  })
}

/** Makes a role, which is dropped after the test's databases. Gives its name. */
export async function addRole(t, attributes = 'login') {
  const name = `doctor_${randomBytes(4).toString('hex')}`
  const server = await cluster(17)
  const send = (sql) => withClient(server.urlFor(superuser, 'postgres'), (client) => client.query(sql))
  await send(`create role ${name} ${attributes}`)
  t.after(() => send(`drop role ${name}`))
  return name
}
