// Each exit code, by everything that leads to it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cli, cliEnds } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { updateLegacy } from '../support/secrets.mjs'

const nowhere = '10000000-0000-4000-8000-0000000000ff'

test('0: all is well', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  for (const args of [
    ['status'],
    ['migrate'],
    ['migrate', '--dry-run'],
    ['verify'],
    ['doctor'],
    ['rollback'],
    ['history'],
  ]) {
    await cliEnds(0, db, args)
  }
  // Alone it shows the status where it can connect, and a short help where nothing says how.
  assert.match((await cliEnds(0, db, [])).stdout, /^Next: /m)
  assert.match((await cliEnds(0, null, [])).stdout, /Set ADMIN_DATABASE_URL/)
  for (const args of [['--help'], ['migrate', '--help'], ['--version'], ['completions', 'bash']]) {
    await cliEnds(0, null, args)
  }
})

test('1: an error', async (t) => {
  const db = await freshDatabase(t, 17)
  await cliEnds(1, null, ['status'])
  await cliEnds(1, db, ['list', 'not-an-id'])
  await cliEnds(1, db, ['list', nowhere])
  await cliEnds(1, db, ['get', nowhere, 'no_such_secret'])
  await cliEnds(1, db, ['migrate', '--to', '7'])
  await cliEnds(1, db, ['migrate', '--batch', '0'])
  await cliEnds(1, db, ['no-such-command'])
  await cliEnds(1, db, ['--allow-insecure'])
  await cliEnds(1, { admin: 'postgres://postgres@127.0.0.1:9/app', service: '' }, ['status'])
  await cliEnds(1, { admin: db.service, service: db.service }, ['status'])
})

test('2: something is due, is not healthy, or is not migrated', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  await cliEnds(2, db, ['status'])
  await cliEnds(2, db, ['list', nowhere])
  await cliEnds(2, db, ['verify'])
  await cliEnds(2, db, ['history'])
  const ill = await freshDatabase(t, 17)
  await ill.query('grant select on public.business_secrets to anon')
  await cliEnds(2, ill, ['doctor'])
})

test('status ends with 2 while something is due, and with 0 while it waits for a decision', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const status = async (code, next) => {
    const { stdout } = await cliEnds(code, db, ['status', '--json'])
    const document = JSON.parse(stdout)
    assert.deepEqual([document.next, document.pending], [next, code === 2])
  }
  await status(2, 'migrate')
  await cliEnds(0, db, ['migrate', '--to', '3'])
  await status(2, 'migrate')
  await cliEnds(0, db, ['migrate'])
  await status(0, 'migrate --drop-legacy')
  await db.query("update app_secrets.migrations set checksum = repeat('0', 64) where version = 4")
  await status(2, 'migrate --reapply')
  await cliEnds(0, db, ['migrate', '--reapply'])
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await status(0, 'scrub')
  await cliEnds(0, db, ['scrub', '--yes-lock-tables', db.name])
  await status(0, null)
})

test('3: a lock that others keep, who are named without their query', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const other = await db.connect()
  await other.query("set application_name = 'maya'")
  await other.query("begin; update public.businesses set grok_api_key = 'sk-marker'")
  // Who holds it is looked up by another session meanwhile, which takes a moment: with no time at all it may not be known.
  for (const [seconds, holder] of [
    ['3', /by pid \d+ \(postgres, maya, idle in transaction since /],
    ['0', /by (pid \d+|a session that could not be identified)/],
  ]) {
    const { stderr } = await cliEnds(3, db, ['migrate', '--lock-wait', seconds])
    assert.match(
      stderr,
      /error: gave up on a lock: 002_expand_business_secrets\.sql was held up for \d+ s by /,
    )
    assert.match(stderr, holder)
    assert.doesNotMatch(stderr, /sk-marker/)
  }
  await other.query('rollback')

  // Rows that the backfill cannot have.
  await cliEnds(0, db, ['migrate', '--to', '2'])
  await other.query('begin; select from public.businesses for update')
  const { stderr } = await cliEnds(3, db, ['migrate', '--lock-wait', '3'])
  assert.match(stderr, /the backfill was held up for \d+ s by pid \d+ \(postgres, maya, idle in transaction/)
  await other.query('rollback')

  // Dropping, and rewriting.
  await cliEnds(0, db, ['migrate'])
  await other.query('begin; select from public.businesses')
  await cliEnds(3, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name, '--lock-wait', '1'])
  await other.query('rollback')
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await other.query('begin; select from public.businesses')
  await cliEnds(3, db, ['scrub', '--yes-lock-tables', db.name, '--lock-wait', '1'])
  await cliEnds(3, db, ['rollback', '--lock-wait', '1'])
  await other.query('rollback')
  await cliEnds(0, db, ['rollback'])
})

test('4: what is in Vault is not what was in plaintext', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const id = '10000000-0000-4000-8000-000000000001'
  const client = await db.connect('supabase_admin')
  await client.query('set session_replication_role = replica')
  await client.query("update public.businesses set grok_api_key = 'sk-marker' where id = $1", [id])
  const { stdout } = await cliEnds(4, db, ['verify'])
  assert.match(stdout, new RegExp(`grok_api_key differs in 1 \\(${id}\\)`))
  const { stderr } = await cliEnds(4, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  assert.match(stderr, /nothing was dropped, because of values that differ from their plaintext: 1/)
  await cliEnds(2, db, ['status'])
  assert.doesNotMatch(stdout + stderr, /sk-marker/)
  await updateLegacy(db, id, { grok_api_key: 'mended' })
  await cliEnds(0, db, ['verify'])
})

test('4: a rollback that could not bring everything back', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await db.query(
    "update vault.secrets set secret = encode('broken', 'base64') where name like '%001/gemini_api_key'",
    [],
    'supabase_admin',
  )
  const { stdout } = await cliEnds(4, db, ['rollback'])
  assert.match(stdout, / 1 value differs: app-secrets verify says where/)
})

test('5: an unsafe connection', async () => {
  for (const url of ['postgres://a:hunter2@db.example.com/app?sslmode=disable']) {
    const { stderr } = await cliEnds(5, { admin: url, service: url }, ['status'])
    assert.match(stderr, /clear text/)
    assert.doesNotMatch(stderr, /hunter2/)
    await cliEnds(5, { admin: url, service: url }, ['list', nowhere])
  }
})

test('6: refused, because of the state or for want of a confirmation', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 4, legacyData: true })
  const refused = async (args, pattern, options) => {
    const { stderr } = await cliEnds(6, db, args, options)
    assert.match(stderr, pattern)
  }
  await refused(['migrate', '--to', '5'], /005 drops the plaintext/)
  await refused(['migrate', '--drop-legacy'], /nobody is there to ask; pass --yes-drop-plaintext=/)
  await refused(['migrate', '--drop-legacy', '--yes-drop-plaintext', 'yes'], /has to be the database's name/)
  await refused(['scrub', '--yes-lock-tables', db.name], /scrub comes after/)
  await refused(['set', nowhere, 'grok_api_key', 'sk-marker'], /value on the command line/)
  await refused(['get', nowhere, 'grok_api_key', '--reveal', '--json'], /--json never holds a value/)
  const [{ id }] = await db.query('select id from public.businesses limit 1')
  await refused(['import', '-', '--business', id], /pass --yes/, { input: 'XAI_API_KEY=sk-1' })

  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await refused(['scrub'], /nobody is there to ask; pass --yes-lock-tables=/)
  await refused(['scrub', '--yes-lock-tables', 'yes'], /has to be the database's name/)

  await db.query("insert into app_secrets.migrations (version, name) values (9, 'from_the_future')")
  for (const args of [['status'], ['migrate'], ['rollback'], ['scrub']]) {
    await refused(args, /migration 9 \(from_the_future\), which this version of @app\/secrets does not know/)
  }
})

test('6: a database that is not the one these migrations are for', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query('alter table public.businesses rename to organizations')
  const { stderr } = await cliEnds(6, db, ['migrate'])
  assert.match(stderr, /public\.businesses/)
})

test('6: the plaintext cannot go before everything else is applied', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 3 })
  const { stderr } = await cliEnds(6, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  assert.match(stderr, /before 004 is applied/)
})

test('an error under --json is a document with its code, on stderr', async () => {
  const { stdout, stderr, code } = await cli(null, ['status', '--json'])
  assert.equal(code, 1)
  assert.equal(stdout, '')
  const document = JSON.parse(stderr)
  assert.deepEqual([document.version, document.command, document.error.code], [1, 'status', 'CONFIG'])
})
