// Test runners, which load the package anew for each file while the process has the addon once.

import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { runLines, service } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'

test('the fake stands for a client under each test runner, with no database and no addon', async () => {
  const { files, commands } = recipe('Your own code, without a database')
  const dependencies = { jest: '30.5.2', vitest: '5.1.2' }
  const folder = service({ dependencies, files })
  const passed = [/^# pass 2$|pass 2$/m, /Tests: +1 passed, 1 total/, /Tests +1 passed/]
  const installed = join(folder, 'node_modules/@app/secrets')
  for (const name of readdirSync(installed)) if (name.endsWith('.node')) rmSync(join(installed, name))
  for (const [i, command] of commands.entries()) {
    assert.match(await runLines(folder, [command], { env: { CI: 'true' } }), passed[i])
  }
})

const jestFile = `const exercise = require('./exercise.cjs')
const id = process.env.BUSINESS_ID
const works = (secrets) => exercise(secrets, id)
const failure = (work) => Promise.resolve().then(work).then(() => { throw new Error('it did not fail') }, (error) => error)

test('loads', () => works(require('@app/secrets')))

test('loads again after resetModules, and what was loaded before still works', async () => {
  const first = require('@app/secrets')
  jest.resetModules()
  const second = require('@app/secrets')
  expect(second).not.toBe(first)
  await works(second)
  await works(first)
})

test('loads in isolateModules', () => {
  let secrets
  jest.isolateModules(() => {
    secrets = require('@app/secrets')
  })
  return works(secrets)
})

test('errors and dates are of this context', async () => {
  const secrets = require('@app/secrets')
  for (const work of [
    () => secrets.get('no uuid', 'grok_api_key'),
    () => secrets.get('10000000-0000-4000-8000-0000000000ff', 'grok_api_key'),
    () => secrets.setMany(id, { nothing: 'x' }),
    () => secrets.connect({ url: 'http://x' }),
    () => secrets.status({ url: 'postgres://u:p@127.0.0.1:1/x' }),
    () => secrets.watch({ businessId: 'no uuid' }, () => {}),
  ]) {
    const error = await failure(work)
    expect(typeof error.code).toBe('string')
    expect(error).toBeInstanceOf(Error)
  }
  const expiresAt = new Date('2031-01-31T12:00:00Z')
  await secrets.setGoogleTokens(id, { accessToken: 'ya29.0123456789', expiresAt })
  const tokens = await secrets.getGoogleTokens(id)
  expect(tokens.expiresAt).toBeInstanceOf(Date)
  expect(tokens.expiresAt).toEqual(expiresAt)
  const { updatedAt } = (await secrets.list(id)).find(({ name }) => name === 'google_access_token')
  expect(updatedAt).toBeInstanceOf(Date)
  await secrets.close()
})
`

test('Jest loads the package in each file of one worker, and again wherever it is told to', async (t) => {
  const db = await freshDatabase(t, 17)
  const folder = service({
    dependencies: { jest: '30.5.2' },
    manifest: { jest: { testTimeout: 30_000 } },
    files: { 'one.test.js': jestFile, 'two.test.js': jestFile },
  })
  const { commands } = recipe('Jest')
  const env = { APP_SECRETS_URL: db.service, BUSINESS_ID: await addBusiness(db), CI: 'true' }
  const inOneWorker = commands.map((line) => `${line} --runInBand`)
  assert.match(await runLines(folder, inOneWorker, { env }), /Tests: +8 passed, 8 total/)
})

const vitestFile = `import { expect, test, vi } from 'vitest'
import exercise from './exercise.mjs'
const id = process.env.BUSINESS_ID

test('loads', async () => {
  expect(await exercise(await import('@app/secrets'), id)).toBe('exercised')
})

test('loads again after resetModules', async () => {
  vi.resetModules()
  expect(await exercise(await import('@app/secrets'), id)).toBe('exercised')
})

test('errors are of this context', async () => {
  const secrets = await import('@app/secrets')
  const error = await secrets.get('no uuid', 'grok_api_key').catch((reason) => reason)
  expect(error).toBeInstanceOf(Error)
  expect(error.code).toBe('INVALID_ARGUMENT')
})
`

test('Vitest loads the package in each of its pools', async (t) => {
  const folder = service({
    dependencies: { vitest: '5.1.2' },
    files: { 'one.test.mjs': vitestFile, 'two.test.mjs': vitestFile },
  })
  const { commands } = recipe('Vitest')
  for (const pool of ['forks', 'threads', 'vmForks', 'vmThreads']) {
    await t.test(pool, async (t) => {
      const db = await freshDatabase(t, 17)
      const env = { APP_SECRETS_URL: db.service, BUSINESS_ID: await addBusiness(db), CI: 'true' }
      const one = commands.map((line) => `${line} --pool=${pool} --no-file-parallelism --test-timeout=30000`)
      assert.match(await runLines(folder, one, { env }), /Tests +6 passed/)
    })
  }
})
