import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cliEnds, cliJson, startCli } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, clear, history, rawVersions, set } from '../support/secrets.mjs'

const value = 'xai-marker-0123456789-tail'

test('a value comes from stdin or a file, and goes out only with --reveal', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const outputs = [await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: `  ${value}\n` })]
  assert.equal((await clear(db, id)).grok_api_key, value)
  for (const args of [
    ['list', id],
    ['list', id, '--json'],
    ['get', id, 'grok_api_key'],
    ['get', id, 'grok_api_key', '--json'],
    ['history', id],
  ]) {
    outputs.push(await cliEnds(0, db, args))
  }
  for (const { stdout, stderr } of outputs) assert.doesNotMatch(stdout + stderr, /marker/)
  assert.match(outputs[1].stdout, /grok_api_key +…tail +1 /)

  // Nothing but the value, so that it can be piped.
  assert.equal((await cliEnds(0, db, ['get', id, 'grok_api_key', '--reveal'])).stdout, value)

  const file = temporaryFile(t, 'key', `${value}-2\n`)
  await cliEnds(0, db, ['set', id, 'grok_api_key', '--file', file])
  assert.equal((await clear(db, id)).grok_api_key, `${value}-2`)
})

test('white space around a value does not count, and what is too long to read is refused, not cut', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const input = value.padEnd(3_000_000)
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input })
  assert.equal((await clear(db, id)).grok_api_key, value)
  const file = temporaryFile(t, 'key', `another${' '.repeat(4_200_000)}end`)
  const { stderr } = await cliEnds(1, db, ['set', id, 'grok_api_key', '--file', file])
  assert.match(stderr, /more than 4 MiB/)
  assert.equal((await clear(db, id)).grok_api_key, value)
})

test('a value as an argument is refused, whatever it looks like, and never repeated', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  for (const [code, ...args] of [
    [6, 'set', id, 'grok_api_key', value],
    [1, 'set', id, 'grok_api_key', `--value=${value}`],
    [1, 'set', id, 'grok_api_key', `--${value}`],
    [1, 'set', id, value],
    [1, 'set', value, 'grok_api_key'],
    [1, 'get', id, value],
    [1, 'unset', id, 'grok_api_key', value],
    [1, 'import', '--business', id, 'no-such-file', value],
    [1, value],
  ]) {
    const { stdout, stderr } = await cliEnds(code, db, args, { input: 'another' })
    assert.doesNotMatch(stdout + stderr, /marker/)
  }
  assert.deepEqual(await clear(db, id), null)
})

test('a value is never in the process list', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const run = startCli(db, ['set', id, 'grok_api_key'], { input: value })
  assert.ok(!run.child.spawnargs.join(' ').includes(value))
  assert.equal((await run.ended).code, 0)
})

test('a blank value, one that is too long, and one that is no text are refused', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  for (const [input, pattern] of [
    [' \n', /the value is blank: `unset` clears/],
    ['x'.repeat(65_537), /longer than 65,536 bytes/],
    [Buffer.from([0xff, 0xfe]), /not UTF-8/],
  ]) {
    const { stderr } = await cliEnds(1, db, ['set', id, 'grok_api_key'], { input })
    assert.match(stderr, pattern)
  }
})

test('an expected version keeps one writer from overwriting another', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await cliEnds(0, db, ['set', id, 'grok_api_key', '--expected-version', '0'], { input: 'one' })
  const { stderr } = await cliEnds(1, db, ['set', id, 'grok_api_key', '--expected-version', '0'], {
    input: 'two',
  })
  assert.match(stderr, /grok_api_key is at version 1, not 0/)
  await cliEnds(1, db, ['unset', id, 'grok_api_key', '--expected-version', '7'])
  await cliEnds(0, db, ['unset', id, 'grok_api_key', '--expected-version', '1'])
  assert.deepEqual(await clear(db, id), {})
})

test('what is not set says so', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  assert.equal((await cliEnds(0, db, ['get', id, 'grok_api_key'])).stdout, '-\n')
  const { stderr } = await cliEnds(1, db, ['get', id, 'grok_api_key', '--reveal'])
  assert.match(stderr, /grok_api_key is not set/)
})

test('a misspelt name is answered with the likely one', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const { stderr } = await cliEnds(1, db, ['get', id, 'grokApiKey'])
  assert.match(stderr, /did you mean grok_api_key\?/)
})

test('a .env file is shown masked, and written all or nothing', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await set(db, id, { claude_api_key: 'sk-ant-before-1234' })
  const before = await rawVersions(db, id)
  const file = temporaryFile(
    t,
    '.env',
    `# keys\nexport XAI_API_KEY="${value}"\nANTHROPIC_API_KEY='sk-ant-$after-5678'\nGEMINI_API_KEY=\nDATABASE_URL=postgres://x:marker@h/d\n`,
  )
  const dry = await cliEnds(0, db, ['import', file, '--business', id, '--dry-run'])
  assert.match(dry.stdout, /XAI_API_KEY +→ +grok_api_key +- +→ +…tail/)
  assert.match(dry.stdout, /ANTHROPIC_API_KEY +→ +claude_api_key +…1234 +→ +…5678/)
  assert.match(dry.stdout, /Ignored, as no secret goes by that name: DATABASE_URL/)
  assert.match(dry.stdout, /Left alone, as the file has no value: GEMINI_API_KEY/)
  assert.doesNotMatch(dry.stdout + dry.stderr, /marker/)
  assert.deepEqual(await clear(db, id), { claude_api_key: 'sk-ant-before-1234' })

  const { versions } = await cliJson(db, ['import', file, '--business', id, '--yes'])
  const stored = await rawVersions(db, id)
  assert.deepEqual(versions, { grok_api_key: stored.grok_api_key, claude_api_key: stored.claude_api_key })
  assert.ok(versions.claude_api_key > before.claude_api_key)
  assert.deepEqual(await clear(db, id), { grok_api_key: value, claude_api_key: 'sk-ant-$after-5678' })

  const bad = `XAI_API_KEY=new-one\nANTHROPIC_API_KEY=${'x'.repeat(70_000)}\n`
  await cliEnds(1, db, ['import', '-', '--business', id, '--yes'], { input: bad })
  assert.equal((await clear(db, id)).grok_api_key, value)
})

test('history says who, through what, and never what', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { gemini_api_key: value })
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: value, env: { USER: 'ada' } })
  await cliEnds(0, db, ['unset', id, 'grok_api_key'], { env: { USER: 'ada' } })
  assert.deepEqual(await history(db, id), [
    'gemini_api_key set 1 legacy',
    'grok_api_key set 1 sealed',
    'grok_api_key clear 2 sealed',
  ])
  const { changes } = await cliJson(db, ['history', id])
  assert.deepEqual(
    changes.map(({ name, action, origin, login, actor }) => [name, action, origin, login, actor]),
    [
      ['grok_api_key', 'clear', 'sealed', 'app_service', 'ada'],
      ['grok_api_key', 'set', 'sealed', 'app_service', 'ada'],
      ['gemini_api_key', 'set', 'legacy', 'postgres', null],
    ],
  )
  const audited = await db.query(
    'select version::integer from app_secrets.audit_log where business_id = $1 order by id desc',
    [id],
  )
  assert.deepEqual(
    changes.map(({ version }) => version),
    audited.map(({ version }) => version),
  )
  assert.ok(changes[0].version > changes[1].version)
  assert.equal((await cliJson(db, ['history', '--limit', '1'])).changes.length, 1)
  assert.equal((await cliJson(db, ['history', '--name', 'gemini_api_key'])).changes.length, 1)
  assert.doesNotMatch(JSON.stringify(changes), /marker/)
})

test('without a service login of its own the migration role serves', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const env = { APP_SECRETS_URL: '' }
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: value, env })
  assert.equal((await cliEnds(0, db, ['get', id, 'grok_api_key', '--reveal'], { env })).stdout, value)
})

test('a password in --url is warned of, and not shown', async (t) => {
  const db = await freshDatabase(t, 17)
  const { stderr } = await cliEnds(0, null, ['status', '--url', db.admin])
  assert.match(stderr, /everybody on this machine can read the password of --url/)
  assert.ok(!stderr.includes(new URL(db.admin).password))
})

function temporaryFile(t, name, text) {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-cli-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, name)
  writeFileSync(file, text, { mode: 0o600 })
  return file
}
