// @app/secrets/testing: what the fake has beyond a client. That it behaves as one the contract suite says.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { addon, refuses, root } from '../support/addon.mjs'
import { runNode } from '../support/script.mjs'

const { createFakeSecrets, FakeSecrets, SecretsError } = createRequire(import.meta.url)(
  '../../lib/testing.js',
)

const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const other = '3f2504e0-4f89-41d3-9a0c-0305e82c3302'
const day = 86_400_000

test('it never loads the addon, and its process ends by itself', async () => {
  const script = `
    const { createFakeSecrets } = require(${JSON.stringify(join(root, 'lib/testing.js'))})
    const secrets = createFakeSecrets()
    secrets.watch(null, () => {})
    secrets.set('${id}', 'grok_api_key', 'x').then((version) => {
      console.log(version, Object.keys(require.cache).filter((file) => /\\.node$|binding|native/.test(file)).length)
    })`
  const { code, stdout, stderr } = await runNode(['-e', script])
  assert.equal(code, 0, stderr)
  assert.equal(stdout, '1 0\n')
})

test('a service that takes a client takes a fake, and its errors are those of the package', async () => {
  const secrets = createFakeSecrets()
  assert.ok(secrets instanceof addon.Secrets && secrets instanceof FakeSecrets)
  assert.equal(SecretsError, addon.SecretsError)
  await assert.rejects(secrets.get('no id', 'grok_api_key'), addon.SecretsError)
})

test('values that are given are there, and only businesses that are given exist', async () => {
  const secrets = createFakeSecrets({ businesses: [other], values: { [id]: { grok_api_key: ' x ' } } })
  assert.equal(await secrets.get(id, 'grok_api_key'), 'x')
  assert.equal(await secrets.get(other, 'grok_api_key'), null)
  const third = id.replace(/1$/, '9')
  await refuses(() => secrets.get(third, 'grok_api_key'), 'BUSINESS_NOT_FOUND')
  secrets.addBusiness(third, { claude_api_key: 'c' })
  assert.equal(await secrets.get(third, 'claude_api_key'), 'c')
  secrets.removeBusiness(third)
  await refuses(() => secrets.get(third, 'claude_api_key'), 'BUSINESS_NOT_FOUND')
  assert.equal(await createFakeSecrets().get(third, 'grok_api_key'), null)
})

test('names of a database of its own replace those of the plan', async () => {
  const names = ['stripe_key', { name: 'mail_from', label: 'Mail', sealed: false }]
  const secrets = createFakeSecrets({ names, values: { [id]: { mail_from: 'somebody@example.org' } } })
  const listed = await secrets.list(id)
  assert.deepEqual(
    listed.map(({ name, label, sealed, last4 }) => [name, label, sealed, last4]),
    [
      ['stripe_key', 'stripe_key', true, null],
      ['mail_from', 'Mail', false, null],
    ],
  )
  await refuses(() => secrets.get(id, 'grok_api_key'), 'UNKNOWN_SECRET', { says: /stripe_key, mail_from/ })
})

test('faults come on demand: for all calls, for one operation, or so many times', async () => {
  const secrets = createFakeSecrets()
  secrets.fail('UNAVAILABLE')
  await refuses(() => secrets.get(id, 'grok_api_key'), 'UNAVAILABLE')
  await refuses(() => secrets.set(id, 'grok_api_key', 'x'), 'UNAVAILABLE')
  secrets.recover()
  assert.equal(await secrets.get(id, 'grok_api_key'), null)

  secrets.fail('UNKNOWN_OUTCOME', { op: 'set', times: 2, message: 'cut off' })
  assert.equal(await secrets.get(id, 'grok_api_key'), null)
  for (let i = 0; i < 2; i++) {
    await refuses(() => secrets.delete(id, 'grok_api_key'), 'UNKNOWN_OUTCOME').catch(({ message }) =>
      assert.match(message, /cut off/),
    )
  }
  assert.equal(await secrets.delete(id, 'grok_api_key'), 0)
  assert.throws(() => secrets.fail('OUT_OF_LUCK'), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => secrets.fail('TIMEOUT', { operation: 'get' }), { code: 'INVALID_ARGUMENT' })
})

test('its clock stands still where it was told when it is, and moves when it is told', async () => {
  const secrets = createFakeSecrets({ now: new Date('2026-12-01T00:00:00Z') })
  await secrets.set(id, 'grok_api_key', 'one')
  await secrets.set(id, 'grok_api_key', 'two')
  const entry = async () => (await secrets.list(id)).find(({ name }) => name === 'grok_api_key')
  assert.deepEqual((await entry()).updatedAt, new Date('2026-12-01T00:00:00Z'))
  secrets.advance(7 * day - 1)
  assert.equal((await entry()).canUndo, true)
  secrets.advance(1)
  assert.deepEqual(secrets.now(), new Date('2026-12-08T00:00:00Z'))
  assert.equal((await entry()).canUndo, false)
  await refuses(() => secrets.undo(id, 'grok_api_key'), 'REFUSED')
})

test('a date that comes near is told once, and a new date again', async () => {
  const secrets = createFakeSecrets({ now: '2026-12-01T00:00:00Z' })
  const told = []
  secrets.watch({ dueWithinMs: day }, ({ kind, name, dueAt, reason }) => {
    if (kind === 'due') told.push([name, dueAt.toISOString().slice(0, 10), reason])
  })
  await secrets.set(id, 'grok_api_key', 'x', { expiresAt: '2026-12-05T00:00:00Z' })
  await secrets.set(id, 'claude_api_key', 'x', { rotateEvery: '30 days' })
  const pass = async (days) => {
    // The watcher asks every hour, and its answer takes a turn.
    for (let hour = 0; hour < days * 24; hour++) {
      secrets.advance(day / 24)
      await secrets.ping()
    }
  }
  await pass(2)
  assert.deepEqual(told, [])
  await pass(2)
  assert.deepEqual(told, [['grok_api_key', '2026-12-05', 'expires']])
  await secrets.set(id, 'grok_api_key', 'x', { expiresAt: '2026-12-07T00:00:00Z' })
  await pass(30)
  assert.deepEqual(told.slice(1), [
    ['grok_api_key', '2026-12-07', 'expires'],
    ['claude_api_key', '2026-12-31', 'rotate'],
  ])
})

test('a Google token that is about to expire is refreshed when its minute has come', async () => {
  const secrets = createFakeSecrets({ now: '2026-12-01T12:00:00Z' })
  const grant = { accessToken: 'one', refreshToken: 'r', expiresAt: '2026-12-01T13:00:00Z' }
  await secrets.setGoogleTokens(id, grant)
  const refresh = async () => ({
    accessToken: 'two',
    expiresAt: new Date(secrets.now().getTime() + 3_600_000),
  })
  secrets.advance(59 * 60_000 - 1)
  assert.equal(await secrets.withGoogleAccessToken(id, refresh), 'one')
  secrets.advance(1)
  assert.equal(await secrets.withGoogleAccessToken(id, refresh), 'two')
})

test('a refreshed Google token is kept through outages and answers that were cut off', async () => {
  for (const code of ['UNAVAILABLE', 'UNKNOWN_OUTCOME', 'TIMEOUT']) {
    const secrets = createFakeSecrets()
    await secrets.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: new Date(0) })
    let refreshes = 0
    const token = await secrets.withGoogleAccessToken(id, async () => {
      refreshes++
      secrets.fail(code, { op: 'set', times: 2 })
      return { accessToken: 'new', refreshToken: 'r2', expiresAt: new Date(Date.now() + 3_600_000) }
    })
    assert.deepEqual([token, refreshes], ['new', 1])
    assert.equal((await secrets.getGoogleTokens(id)).refreshToken, 'r2')
  }
})

test('a holder that was killed keeps others waiting for the rest of its lease, and no longer', async () => {
  const secrets = createFakeSecrets({ now: '2026-12-01T12:00:00Z' })
  await secrets.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: new Date(0) })
  // A refresh that never ends holds the lease, as a process that was killed does.
  let held
  const holding = new Promise((resolve) => {
    held = resolve
  })
  secrets.another().withGoogleAccessToken(id, () => new Promise(() => held()))
  await holding
  const later = () => new Date(secrets.now().getTime() + 3_600_000)
  let token
  const waiting = secrets.withGoogleAccessToken(id, async () => ({ accessToken: 'new', expiresAt: later() }))
  waiting.then((found) => {
    token = found
  })
  let waited = 0
  for (; token === undefined && waited < 60_000; waited += 500) {
    secrets.advance(500)
    for (let turn = 0; turn < 6; turn++) await secrets.ping()
  }
  assert.equal(await waiting, 'new')
  assert.ok(waited >= 30_000 && waited < 35_000, `${waited} ms`)
})

test('a refresh that never settles rejects with TIMEOUT after 90 seconds, and what it gives later is kept', async () => {
  const secrets = createFakeSecrets({ now: '2026-12-01T12:00:00Z' })
  await secrets.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: new Date(0) })
  const later = () => new Date(secrets.now().getTime() + 3_600_000)
  let settle
  const hanging = () =>
    new Promise((resolve) => {
      settle = resolve
    })
  const calls = [1, 2].map(() => secrets.withGoogleAccessToken(id, hanging))
  const outcomes = Promise.allSettled(calls)
  const pass = async (ms) => {
    for (let turn = 0; turn < 10; turn++) await secrets.ping()
    secrets.advance(ms)
  }
  await pass(89_000)
  assert.ok(settle)
  await pass(1000)
  for (const { reason } of await outcomes) {
    assert.equal(reason.code, 'TIMEOUT')
    assert.match(reason.message, /90000 ms.*refresh/)
  }
  // The next caller refreshes anew; what comes late then does not overwrite what that one got.
  const late = settle
  const given = async () => ({ accessToken: 'new', expiresAt: later() })
  assert.equal(await secrets.withGoogleAccessToken(id, given), 'new')
  late({ accessToken: 'late', refreshToken: 'lost', expiresAt: later() })
  await pass(0)
  assert.equal((await secrets.getGoogleTokens(id)).accessToken, 'new')

  secrets.advance(7_200_000)
  const alone = assert.rejects(secrets.withGoogleAccessToken(id, hanging), { code: 'TIMEOUT' })
  await pass(90_000)
  await alone
  settle({ accessToken: 'late', refreshToken: 'r2', expiresAt: later() })
  await pass(0)
  const { accessToken, refreshToken } = await secrets.getGoogleTokens(id)
  assert.deepEqual([accessToken, refreshToken], ['late', 'r2'])
})

test('the first watcher begins with a resync, and all are told of a lost listener', async () => {
  const secrets = createFakeSecrets()
  const [first, second] = [[], []]
  secrets.watch({ businessId: id }, ({ kind }) => void first.push(kind))
  secrets.watch({ businessId: id }, ({ kind }) => void second.push(kind))
  await secrets.ping()
  secrets.loseListener()
  await secrets.set(id, 'grok_api_key', 'x')
  assert.deepEqual(first, ['resync', 'resync', 'changed'])
  assert.deepEqual(second, ['resync', 'changed'])
})

test('months and years are counted by the calendar, and end with the month where it is shorter', async () => {
  for (const [now, rotateEvery, dueAt] of [
    ['2027-01-31T12:00:00Z', '1 month', '2027-02-28T12:00:00.000Z'],
    ['2028-02-29T12:00:00Z', '1 year', '2029-02-28T12:00:00.000Z'],
    ['2027-11-30T12:00:00Z', '3 months', '2028-02-29T12:00:00.000Z'],
    ['2027-01-31T12:00:00Z', '2 weeks', '2027-02-14T12:00:00.000Z'],
  ]) {
    const secrets = createFakeSecrets({ now })
    await secrets.set(id, 'grok_api_key', 'x', { rotateEvery })
    const told = await new Promise((resolve) => {
      secrets.watch({ dueWithinMs: 366 * day }, (event) => event.kind === 'due' && resolve(event))
    })
    assert.equal(told.dueAt.toISOString(), dueAt)
  }
})

test('what cannot be is refused in words', () => {
  for (const options of [7, { business: [] }, { names: ['Not A Name'] }, { now: 'yesterday' }]) {
    assert.throws(() => createFakeSecrets(options), SecretsError)
  }
  assert.throws(() => createFakeSecrets().addBusiness('no id'), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => createFakeSecrets().breakSecret(id, 'grok_api_key'), { code: 'REFUSED' })
})
