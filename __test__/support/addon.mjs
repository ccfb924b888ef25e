// The package under test, and what every claim about it says the same way.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { dataOf } from './fingerprint.mjs'
import { sealedNames } from './secrets.mjs'

export const root = fileURLToPath(new URL('../../', import.meta.url))
/** The folder of the package that is tested: this checkout, or where its tarball was installed. */
const packageFolder = process.env.APP_SECRETS_TEST_PACKAGE ?? root
export const addonPath = join(packageFolder, 'index.js')
export const addon = createRequire(import.meta.url)(addonPath)
export const testing = createRequire(import.meta.url)(join(packageFolder, 'lib/testing.js'))
export const { internals } = createRequire(import.meta.url)(join(packageFolder, 'lib/client.js'))

/** Every function and class for callers. `runCli` is the command's own way in, and is not declared. */
export const exported = Object.keys(addon).filter(
  (name) => typeof addon[name] === 'function' && name !== 'runCli',
)

/** A client of a database (or a connection string), closed after the test. Its deadline is one that no busy machine meets. */
export async function openClient(t, database, options = {}) {
  const url = typeof database === 'string' ? database : database.service
  const client = await addon.connect({ url, timeoutMs: 20_000, ...options })
  t.after(() => client.close())
  return client
}

/** The codes that the package documents, as its types list them. */
export const codes = [
  'INVALID_ARGUMENT',
  'UNKNOWN_SECRET',
  'INVALID_VALUE',
  'BUSINESS_NOT_FOUND',
  'PERMISSION_DENIED',
  'VERSION_CONFLICT',
  'DECRYPT_FAILED',
  'NOT_MIGRATED',
  'UNSAFE_CONNECTION',
  'UNAVAILABLE',
  'TIMEOUT',
  'UNKNOWN_OUTCOME',
  'LOCK_TIMEOUT',
  'VERIFICATION_FAILED',
  'REFUSED',
  'CLOSED',
  'CONFIG',
]

/**
 * Calls, and expects a promise that rejects with an Error of this code. A throw instead of a rejection fails.
 * `says`: what the message must say. `hides`: what nothing of the error may hold. Gives the error.
 */
export async function refuses(call, code, { says, hides = [] } = {}) {
  let promise
  try {
    promise = call()
  } catch (error) {
    assert.fail(`threw instead of rejecting: ${error?.stack ?? error}`)
  }
  assert.ok(promise instanceof Promise, 'no promise came back')
  const outcome = await promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  )
  assert.ok('error' in outcome, `resolved instead of rejecting with ${code}`)
  const { error } = outcome
  assert.ok(error instanceof Error, 'rejected with something that is no Error')
  assert.equal(error.code, code, `${error.code}: ${error.message}`)
  assert.ok(error.message.length > 10, `no help in: ${error.message}`)
  if (says) assert.match(error.message, says)
  for (const secret of hides) assertHides(error, secret)
  return error
}

/** Everything of a thing that may reach a log. */
export function shown(thing) {
  return [
    inspect(thing, { depth: 9, showHidden: true, getters: true }),
    String(thing?.message ?? ''),
    String(thing?.stack ?? ''),
    `${thing}`,
    JSON.stringify(thing, Object.getOwnPropertyNames(Object(thing))) ?? '',
    JSON.stringify(thing) ?? '',
  ].join('\n')
}

export function assertHides(thing, secret) {
  assert.ok(!shown(thing).includes(secret), 'a secret is shown')
}

/** Equal before and after means that nothing was written. */
export async function fingerprint(db) {
  return createHash('sha256')
    .update(JSON.stringify(await dataOf(db)))
    .digest('hex')
}

/** Makes one sealed value undecryptable, as a restore without Vault's key does. */
export async function breakCipher(db, business, name) {
  assert.ok(sealedNames.includes(name))
  const rows = await db.query(
    `update vault.secrets set secret = pg_catalog.encode(pg_catalog.sha256('broken'), 'base64')
     where name = $1 returning id`,
    [`business_secrets/${business}/${name}`],
    'supabase_admin',
  )
  assert.equal(rows.length, 1)
}
