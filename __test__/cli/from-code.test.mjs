// migrate, verify, status and doctor for those who migrate at deploy time.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addon, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { runScript } from '../support/script.mjs'

test('a deployment migrates, hears how it goes, and finds it done the next time', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const events = []
  const result = await addon.migrate({ url: db.admin, batch: 10 }, (event) => events.push(event))
  assert.deepEqual(result.applied, [2, 3, 4])
  assert.equal(result.businesses, 40)
  assert.ok(result.secrets > 100 && result.elapsedMs > 0)

  // All of them have come before the promise was settled.
  assert.deepEqual(
    events.filter(({ kind }) => kind !== 'batch').map(({ kind, version }) => [kind, version]),
    [2, 3, 4].flatMap((version) => [
      ['started', version],
      ['applied', version],
    ]),
  )
  const batches = events.filter(({ kind }) => kind === 'batch')
  assert.equal(batches.at(-1).done, 40)
  assert.equal(batches.at(-1).total, 40)
  assert.ok(batches.every(({ perSecond, leftMs }) => perSecond > 0 && leftMs >= 0))

  await assertSynced(db)
  assert.deepEqual((await addon.migrate({ url: db.admin })).applied, [])
  assert.equal((await addon.verify({ url: db.admin, sessions: 2 })).verified, true)
  await refuses(() => addon.verify({ url: db.admin, sessions: 0 }), 'INVALID_ARGUMENT')
  await refuses(() => addon.migrate({ url: db.admin, sessions: 33 }), 'INVALID_ARGUMENT')
  const status = await addon.status({ url: db.admin })
  assert.equal(status.pending, false)
  await refuses(() => addon.status({ url: db.service }), 'PERMISSION_DENIED')
  assert.deepEqual(
    status.files.map(({ version, state, appliedAt }) => [version, state, appliedAt instanceof Date]),
    [
      [2, 'applied', true],
      [3, 'applied', true],
      [4, 'applied', true],
      [5, 'pending', false],
    ],
  )
  assert.equal((await addon.doctor({ url: db.admin, serviceUrl: db.service })).healthy, true)
})

test('it reads the environment, and says what is missing there', async (t) => {
  const db = await freshDatabase(t, 17)
  const script = 'addon.status().then((s) => console.log(s.pending), (e) => console.log(e.code, e.message))'
  const found = await runScript(script, { env: { ADMIN_DATABASE_URL: db.admin } })
  assert.equal(found.stdout, 'false\n')
  const missing = await runScript(script, { env: { ADMIN_DATABASE_URL: ' ' } })
  assert.match(missing.stdout, /^CONFIG .*pass `url`, or set ADMIN_DATABASE_URL/)
})

for (const [how, callback] of [
  ['throws', "() => { throw new Error('mine') }"],
  ['rejects', "async () => { throw new Error('mine') }"],
]) {
  test(`a callback that ${how} is a warning, and the migration goes on`, async (t) => {
    const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
    const { stdout, stderr, code } = await runScript(
      `addon.migrate({ url: process.env.URL }, ${callback}).then((r) => console.log(r.applied))`,
      { env: { URL: db.admin } },
    )
    assert.equal(code, 0, stderr)
    assert.equal(stdout, '[ 2, 3, 4 ]\n')
    assert.match(stderr, /the callback of migrate\(\) failed, and goes on being called: mine/)
  })
}

test('what it refuses has a code', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const url = db.admin
  await refuses(() => addon.verify({ url }), 'NOT_MIGRATED')
  await refuses(() => addon.migrate({ url, to: 5 }), 'REFUSED', { says: /drops the plaintext/ })
  await refuses(() => addon.migrate({ url, to: 7 }), 'INVALID_ARGUMENT')
  await refuses(() => addon.migrate({ url, batch: 0 }), 'INVALID_ARGUMENT')
  await refuses(() => addon.migrate({ url, dropLegacy: true }), 'INVALID_ARGUMENT', {
    says: /unknown property/,
  })
  await refuses(() => addon.migrate({ url }, 'loud'), 'INVALID_ARGUMENT', {
    says: /callback must be a function/,
  })
  await refuses(
    () => addon.status({ url: 'postgres://a:b@db.example.com/app?sslmode=disable' }),
    'UNSAFE_CONNECTION',
  )

  const other = await db.connect()
  await other.query('begin; lock table public.businesses in row exclusive mode')
  const error = await refuses(() => addon.migrate({ url, lockWaitMs: 500 }), 'LOCK_TIMEOUT', {
    says: /held up for/,
  })
  assert.ok(!error.message.includes(new URL(url).password))
})
