import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cli, cliEnds, cliJson, startCli } from '../support/cli.mjs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertIntact, assertSynced, differences } from '../support/invariants.mjs'
import { addBusiness, clear, updateLegacy } from '../support/secrets.mjs'
import { majors, startCluster, TestCluster } from '../support/servers.mjs'
import { transactionPooler } from '../support/transaction-pooler.mjs'
import { until } from '../support/wait.mjs'

onEachMajor('a live database goes all the way, and back', async (t, major) => {
  const db = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
  const before = await legacyColumns(db)

  await cliEnds(0, db, ['migrate'])
  await assertSynced(db)
  await cliEnds(0, db, ['verify'])
  await cliEnds(0, db, ['status'])

  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await assertIntact(db)
  assert.equal((await cliJson(db, ['status'])).plaintextColumns.length, 0)
  await cliEnds(0, db, ['scrub', '--yes-lock-tables', db.name])
  assert.equal((await cliJson(db, ['status'])).next, null)

  await cliEnds(0, db, ['rollback'])
  assert.deepEqual(await legacyColumns(db), before.map(normalised))
  await assertSynced(db)
  // Both sides are written again.
  const [{ id }] = before
  await updateLegacy(db, id, { grok_api_key: 'from the old code' })
  assert.equal((await clear(db, id)).grok_api_key, 'from the old code')
  await cliEnds(0, db, ['verify'])
  // And it can be done once more.
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
})

test('what is done already is not done again', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  assert.deepEqual((await cliJson(db, ['migrate'])).applied, [2, 3, 4])
  assert.deepEqual((await cliJson(db, ['migrate'])).applied, [])
})

test('--to stops after that file, and the next run goes on', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  assert.deepEqual((await cliJson(db, ['migrate', '--to', '2'])).applied, [2])
  assert.equal((await cli(db, ['status'])).code, 2)
  assert.deepEqual((await cliJson(db, ['migrate', '--to', '3'])).applied, [3])
  assert.deepEqual((await cliJson(db, ['migrate'])).applied, [4])
})

test('a dry run says what would be done and changes nothing', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  await db.query('alter table public.business_secrets enable row level security')
  await db.query('create policy everybody on public.business_secrets using (true)')
  const plan = await cliJson(db, ['migrate', '--dry-run'])
  assert.equal(plan.files.length, 3)
  assert.equal(plan.businesses, 40)
  assert.match(plan.warnings.join('\n'), /policy everybody on public\.business_secrets/)
  const [{ schema }] = await db.query("select to_regnamespace('app_secrets') as schema")
  assert.equal(schema, null)
})

test('a value that is too long to be sealed is refused before anything is changed', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const id = await addBusiness(db, { grok_api_key: `marker-${'x'.repeat(66_000)}` })
  const { stderr } = await cliEnds(6, db, ['migrate'])
  assert.match(stderr, /public\.businesses\.grok_api_key: 1 values over 65,536 bytes/)
  assert.doesNotMatch(stderr, /marker-/)
  await updateLegacy(db, id, { grok_api_key: 'short' })
  await cliEnds(0, db, ['migrate'])
  await assertSynced(db)
})

test('of two migrators at once one works, and the other waits and finds it done', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const first = startCli(db, ['migrate', '--json', '--batch', '2', '--pause-ms', '50'])
  await until(async () => {
    const [{ schema }] = await db.query("select to_regclass('app_secrets.backfill_progress') as schema")
    return schema
  })
  // The first is held until the second was seen to wait.
  const holder = await db.connect()
  await holder.query('begin')
  await holder.query(
    'select from public.businesses where id = (select id from public.businesses order by id desc limit 1) for update',
  )
  const second = startCli(db, ['migrate', '--json'])
  await until(() => second.output.stderr.includes('waiting for another migrator'), 'a second migrator')
  await holder.query('rollback')
  const [one, other] = await Promise.all([first.ended, second.ended])
  assert.deepEqual([one.code, other.code], [0, 0])
  assert.deepEqual(JSON.parse(one.stdout).applied, [2, 3, 4])
  assert.deepEqual(JSON.parse(other.stdout).applied, [])
  assert.match(other.stderr, /waiting for another migrator: pid \d+ \(postgres, app-secrets migrate/)
  await assertSynced(db)
})

test('Ctrl-C ends the batch that is running, says how to go on, and what was done stays done', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const run = startCli(db, ['migrate', '--batch', '3', '--pause-ms', '1000'])
  await backfillHasBegun(db)
  run.child.kill('SIGINT')
  const { code, stdout, stderr } = await run.ended
  assert.equal(code, 130)
  assert.match(stderr, /stopping in good order/)
  assert.match(stdout, /Stopped in 003: .* Run the same command again/)
  const { businesses } = await cliJson(db, ['status'])
  assert.ok(businesses.done > 0 && businesses.done < 40, `${businesses.done} done`)
  await cliEnds(0, db, ['migrate'])
  await assertSynced(db)
})

test('Ctrl-C while it waits for a lock undoes the step', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const other = await db.connect()
  await other.query('begin; lock table public.businesses in share mode')
  const run = startCli(db, ['migrate'])
  await until(() => run.output.stderr.includes('is held up'))
  run.child.kill('SIGTERM')
  assert.equal((await run.ended).code, 130)
  await other.query('rollback')
  const [{ ledger }] = await db.query("select to_regclass('app_secrets.migrations') as ledger")
  assert.equal(ledger, null)
})

test('it waits its turn behind a lock without making a queue of everybody, and then goes on', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const other = await db.connect()
  await other.query('begin; lock table public.businesses in row exclusive mode')
  const run = startCli(db, ['migrate', '--json'])
  await until(() => run.output.stderr.includes('is held up'))
  // The lock that it waits for would make everybody wait: it does so for less than a second at a time.
  let longest = 0
  for (let i = 0; i < 30; i++) {
    const started = performance.now()
    await db.query(
      'update public.businesses set name = name where id = (select id from public.businesses limit 1)',
    )
    longest = Math.max(longest, performance.now() - started)
  }
  assert.ok(longest < 20_000, `a writer waited ${Math.round(longest)} ms`)
  await other.query('commit')
  assert.equal((await run.ended).code, 0)
  await assertSynced(db)
})

test('a business that somebody holds is left for last, and waited for', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const [{ id }] = await db.query('select id from public.businesses order by id limit 1')
  const other = await db.connect()
  await other.query('begin')
  await other.query('select from public.businesses where id = $1 for update', [id])
  const run = startCli(db, ['migrate'])
  await untilMigratorWaits(db)
  const { businesses } = await cliJson(db, ['status'])
  assert.equal(businesses.done, 40)
  await other.query('commit')
  assert.equal((await run.ended).code, 0)
  await assertSynced(db)
})

test('a transaction pooler is recognised by what it does, and refused with where to connect instead', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const url = await transactionPooler(t, db.admin)
  const { stderr } = await cliEnds(6, null, ['migrate'], { env: { ADMIN_DATABASE_URL: url } })
  assert.match(stderr, /is a pooler in transaction mode/)
  assert.match(stderr, /postgresql:\/\/postgres:PASSWORD@DATABASE-HOST:5432\/DATABASE/)
  assert.ok(!stderr.includes(new URL(url).password))
  const [{ schema }] = await db.query("select to_regnamespace('app_secrets') as schema")
  assert.equal(schema, null)
})

test('--reapply puts back what was changed or dropped of ours, before 005 and after it', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  await cliEnds(0, db, ['migrate'])
  await db.query("update app_secrets.migrations set checksum = 'other' where version in (2, 4)")
  await db.query('drop function public.list_business_secrets(uuid)')
  assert.equal((await cliJson(db, ['status'])).next, 'migrate --reapply')
  assert.deepEqual((await cliJson(db, ['migrate'])).applied, [])
  assert.deepEqual((await cliJson(db, ['migrate', '--reapply'])).applied, [2, 4, 3])
  assert.equal((await cliJson(db, ['status'])).pending, false)

  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await db.query("update app_secrets.migrations set checksum = 'other'")
  assert.deepEqual((await cliJson(db, ['migrate', '--reapply'])).applied, [2, 4, 5, 3])
  assert.equal((await cliJson(db, ['status'])).files.filter(({ state }) => state !== 'applied').length, 0)
  await assertIntact(db)
  const [{ columns }] = await db.query(
    `select count(*)::int as columns from pg_attribute
     where attrelid = 'public.businesses'::regclass and attname = 'grok_api_key' and not attisdropped`,
  )
  assert.equal(columns, 0)
})

test('columns that a view of the app uses are named, and nothing is dropped', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 4, legacyData: true })
  await db.query('create view public.old_report as select id, grok_api_key from public.businesses')
  const { stderr } = await cliEnds(6, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  assert.match(stderr, /view (public\.)?old_report/)
  assert.equal((await cliJson(db, ['status'])).plaintextColumns.length, 8)
})

test('what others wrote while it was being dropped is proved too', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 4, legacyData: true })
  const [{ id }] = await db.query('select id from public.businesses order by id limit 1')
  const other = await db.connect('supabase_admin')
  await other.query('begin; set local session_replication_role = replica')
  await other.query("update public.businesses set grok_api_key = 'around the triggers' where id = $1", [id])
  const run = startCli(db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await untilMigratorWaits(db)
  await other.query('commit')
  const { code, stderr } = await run.ended
  assert.equal(code, 4)
  assert.match(stderr, new RegExp(`grok_api_key: 1 \\(businesses ${id}\\)`))
  assert.doesNotMatch(stderr, /around the triggers/)
  assert.deepEqual(await differences(db), [`${id}/grok_api_key`])
})

test('status lists the statements that still name a plaintext column, without their constants', async (t) => {
  const own = await startCluster(17, { settings: { shared_preload_libraries: 'pg_stat_statements' } })
  const db = await new TestCluster(own.description).freshDatabase(t, { migratedTo: 4, legacyData: true })
  t.after(() => own.stop())
  assert.equal((await cliJson(db, ['status'])).legacyStatements, null)
  await db.query('create extension pg_stat_statements with schema extensions', [], 'supabase_admin')
  assert.deepEqual((await cliJson(db, ['status'])).legacyStatements, [])

  await db.query("update public.businesses set grok_api_key = 'sk-marker' where name = 'Business 1'")
  await db.query("do $$ begin update public.businesses set grok_api_key = 'sk-marker'; end $$")
  const { stdout } = await cliEnds(0, db, ['status'])
  assert.match(stdout, /1 +postgres +update public\.businesses set grok_api_key = \$1 where name = \$2/)
  assert.doesNotMatch(stdout, /sk-marker/)
})

for (const major of majors) {
  test(`status never lists our own statements, in functions and triggers neither (PostgreSQL ${major})`, async (t) => {
    const own = await startCluster(major, {
      settings: { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track': 'all' },
    })
    const db = await new TestCluster(own.description).freshDatabase(t, { migratedTo: 0, legacyData: true })
    // After the database's own end, which wants the server.
    t.after(() => own.stop())
    await db.query('create extension pg_stat_statements with schema extensions', [], 'supabase_admin')
    const listed = async () => (await cliJson(db, ['status'])).legacyStatements.map(({ text }) => text)
    const oldCode = [
      'update public.businesses set grok_api_key = $1 where name = $2',
      'insert into public.businesses (name, gemini_api_key) values ($1, $2)',
      'delete from public.businesses where gemini_api_key = $1',
    ]
    await db.query('select extensions.pg_stat_statements_reset()', [], 'supabase_admin')
    await cliEnds(0, db, ['migrate', '--dry-run'])
    await cliEnds(0, db, ['migrate'])
    await db.query(oldCode[0], ['old', 'Business 1'])
    await db.query(oldCode[1], ['Old code', 'old'])
    await db.query(oldCode[2], ['old'])
    const writes = `'{"gemini_api_key": "new", "claude_api_key": null}'`
    await db.query(`select public.set_business_secrets(b.id, ${writes}) from public.businesses b limit 3`)
    await db.query(`update public.business_secrets set youtube_api_key = 'new'`)
    await db.query(
      `delete from public.business_secrets where business_id = (select id from public.businesses limit 1)`,
    )
    for (const args of [['verify'], ['doctor', '--full'], ['migrate', '--reapply']])
      await cliEnds(0, db, args)
    assert.deepEqual((await listed()).sort(), [...oldCode].sort())

    await db.query('truncate public.business_secrets')
    await db.query('select extensions.pg_stat_statements_reset()', [], 'supabase_admin')
    await db.query(`select public.set_business_secrets(b.id, ${writes}) from public.businesses b`)
    await cliEnds(0, db, ['migrate', '--drop-legacy', `--yes-drop-plaintext=${db.name}`])
    await cliEnds(0, db, ['rollback'])
    assert.deepEqual(await listed(), [])
    // Of the app's, those that name our objects too, and those in its functions.
    const join = `select b.grok_api_key from public.businesses b join public.business_secrets s on s.business_id = b.id`
    await db.query(join)
    await db.query(`create function public.keys() returns bigint language plpgsql as $$
      begin return (select count(b.claude_api_key) from public.businesses b join public.business_secrets s on s.business_id = b.id); end $$`)
    await db.query('select public.keys()')
    const found = await listed()
    assert.ok(found.includes(join), String(found))
    assert.equal(found.length, 2, String(found))
  })
}

async function backfillHasBegun(db) {
  await until(async () => {
    const [{ relation }] = await db.query("select to_regclass('app_secrets.backfill_progress') as relation")
    if (!relation) return false
    const rows = await db.query(
      "select rows_done::int from app_secrets.backfill_progress where phase = 'fill' and rows_done > 0",
    )
    return rows.length
  }, 'the first batch')
}

function legacyColumns(db) {
  return db.query(
    `select id, gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key, kling_secret_key,
       global_sms_api_key, whatsapp_api_key
     from public.businesses order by id`,
  )
}

function normalised({ id, ...values }) {
  return {
    id,
    ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value?.trim() || null])),
  }
}

/** Waits until a session of `migrate` waits for somebody's lock. */
function untilMigratorWaits(db) {
  return until(async () => {
    const [{ waits }] = await db.query(
      `select count(*) > 0 as waits from pg_stat_activity
       where datname = $1 and application_name = 'app-secrets migrate' and wait_event_type = 'Lock'`,
      [db.name],
    )
    return waits
  }, 'a migrator that waits for a lock')
}
