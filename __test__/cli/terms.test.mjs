import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, clear } from '../support/secrets.mjs'

test('undo puts the value before back, twice if it must, and says so where there is none', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const value = async () => (await clear(db, id)).grok_api_key
  assert.match((await cliEnds(6, db, ['undo', id, 'grok_api_key'])).stderr, /no earlier value/)
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'first-marker' })
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'second-marker' })
  assert.match((await cliEnds(0, db, ['history', id])).stdout, /set, undo until/)
  const { stdout } = await cliEnds(0, db, ['undo', id, 'grok_api_key'])
  assert.match(stdout, /has the value before again/)
  assert.doesNotMatch(stdout, /marker/)
  assert.equal(await value(), 'first-marker')
  await cliEnds(1, db, ['undo', id, 'grok_api_key', '--expected-version', '0'])
  await cliEnds(0, db, ['undo', id, 'grok_api_key'])
  assert.equal(await value(), 'second-marker')
  assert.match((await cliEnds(1, db, ['undo', id, 'grok_key'])).stderr, /did you mean grok_api_key\?/)

  await cliEnds(0, db, ['unset', id, 'grok_api_key', '--purge'])
  await cliEnds(6, db, ['undo', id, 'grok_api_key'])
  assert.equal(await value(), undefined)
})

test('what expires or is to be replaced is listed across businesses', async (t) => {
  const db = await freshDatabase(t, 17)
  const [one, other] = [await addBusiness(db), await addBusiness(db)]
  const soon = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 10)
  await cliEnds(0, db, ['set', one, 'grok_api_key', '--expires-at', soon], { input: 'a' })
  await cliEnds(0, db, ['set', other, 'claude_api_key', '--rotate-every', '90d'], { input: 'b' })
  const { due } = await cliJson(db, ['list', '--due', '14d'])
  assert.deepEqual(
    due.map(({ businessId, name, reason, dueAt }) => [businessId, name, reason, dueAt]),
    [[one, 'grok_api_key', 'expires', `${soon}T00:00:00.000Z`]],
  )
  assert.match((await cliEnds(0, db, ['list', '--due', '20w'])).stdout, /claude_api_key +to be replaced/)
  assert.match((await cliEnds(0, db, ['list', '--due', '1h'])).stdout, /Nothing is due/)
  const { secrets } = await cliJson(db, ['list', other])
  assert.equal(secrets.find(({ name }) => name === 'claude_api_key').rotateEvery, '90 days')
  for (const args of [
    ['list', '--due', 'soon'],
    ['list', one, '--due', '14d'],
    ['set', one, 'grok_api_key', '--expires-at', 'tomorrow'],
    ['set', one, 'grok_api_key', '--rotate-every', '0d'],
  ]) {
    await cliEnds(1, db, args, { input: 'never written' })
  }
  assert.equal((await clear(db, one)).grok_api_key, 'a')
})
