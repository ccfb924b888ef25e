// Backfill and verify in several sessions: they share the work and not one value more or less comes of it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breakCipher } from '../support/addon.mjs'
import { cli, cliEnds, cliJson, startCli } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { until } from '../support/wait.mjs'

const keys = ['gemini_api_key', 'grok_api_key', 'claude_api_key']

/** Businesses whose ids are spread over the key as gen_random_uuid() would, and the same in every database. */
const fill = (db, count) =>
  db.query(
    `insert into public.businesses (id, name, ${keys.join(', ')})
     select md5('business ' || i)::uuid, 'b' || i, ${keys.map((key) => `'${key} ' || i`).join(', ')}
     from generate_series(1, $1) i`,
    [count],
  )

const sealed = (db) =>
  db.query(
    `select d.business_id as id, ${keys.join(', ')} from public.decrypted_business_secrets d order by d.business_id`,
  )

test('several sessions backfill what one does, each value once', async (t) => {
  const outcomes = []
  for (const sessions of [1, 4]) {
    const db = await freshDatabase(t, 17, { migratedTo: 0 })
    await fill(db, 200)
    const report = await cliJson(db, ['migrate', '--batch', '7', '--sessions', String(sessions)])
    assert.deepEqual([report.businesses, report.secrets], [200, 600])
    await assertSynced(db)
    const [written] = await db.query(
      `select count(*)::int as rows, count(distinct (business_id, name))::int as cells
       from app_secrets.audit_log where origin = 'backfill'`,
    )
    assert.deepEqual(written, { rows: 600, cells: 600 })
    const progress = await db.query(
      'select phase, rows_done::int, finished from app_secrets.backfill_progress order by phase',
    )
    outcomes.push({ values: await sealed(db), progress })
  }
  assert.deepEqual(outcomes[1], outcomes[0])
})

test('what a session has claimed and left is found by the next run', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await fill(db, 400)
  await cliEnds(0, db, ['migrate', '--to', '2'])
  const run = startCli(db, ['migrate', '--batch', '3', '--pause-ms', '500', '--sessions', '4'])
  await until(async () => {
    const [{ there }] = await db.query(
      "select to_regprocedure('app_secrets.claim_businesses(int)') is not null as there",
    )
    if (!there) return false
    return (await db.query('select from app_secrets.backfill_progress where rows_done > 5')).length
  }, 'the first batches')
  run.child.kill('SIGKILL')
  await run.ended
  // As a session that was killed between its two statements leaves it.
  const [{ claimed }] = await db.query('select app_secrets.claim_businesses(5) as claimed')
  assert.ok(claimed.length > 0)
  await cliEnds(0, db, ['migrate', '--sessions', '4'])
  await assertSynced(db)
  assert.equal((await sealed(db)).length, 400)
})

test('a backfill in several sessions ends its batches at Ctrl-C, and the next run does the rest', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await fill(db, 200)
  const run = startCli(db, ['migrate', '--batch', '2', '--pause-ms', '500', '--sessions', '3'])
  await until(async () => {
    const rows = await db.query(
      "select from pg_stat_activity where datname = current_database() and application_name = 'app-secrets migrate'",
    )
    return rows.length === 3
  }, 'three sessions')
  run.child.kill('SIGINT')
  const { code } = await run.ended
  assert.equal(code, 130)
  await cliEnds(2, db, ['status'])
  await cliEnds(0, db, ['migrate'])
  await assertSynced(db)
})

/** Breaks one cell of each kind in every part of the key, and gives how many parts there were. */
async function breakEachPart(db) {
  const rows = await db.query(
    'select array_agg(id order by id) as ids from (select id, ntile(5) over (order by id) as part from public.businesses) b group by part order by part',
  )
  const around = await db.connect('supabase_admin')
  await around.query('set session_replication_role = replica')
  for (const { ids } of rows) {
    const [mismatched, dangling, undecryptable] = [ids[3], ids[10], ids.at(-3)]
    await around.query("update public.businesses set gemini_api_key = 'other' where id = $1", [mismatched])
    await around.query('delete from vault.secrets where name = $1', [
      `business_secrets/${dangling}/grok_api_key`,
    ])
    await breakCipher(db, undecryptable, 'claude_api_key')
  }
  return rows.length
}

test('verify finds the same in one session and in four, in every part of the key', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await fill(db, 1_100)
  await cliEnds(0, db, ['migrate', '--batch', '500'])
  const verify = async (sessions) => {
    const { code, stdout } = await cli(db, ['verify', '--json', '--sessions', String(sessions)])
    return { code, report: JSON.parse(stdout) }
  }
  const sound = await verify(4)
  assert.equal(sound.code, 0)
  assert.deepEqual(await verify(1), sound)
  assert.equal(sound.report.columns.find(({ name }) => name === 'gemini_api_key').sealed, 1_100)

  const parts = await breakEachPart(db)
  const broken = await verify(4)
  assert.equal(broken.code, 4)
  assert.deepEqual(await verify(1), broken)
  const { columns, dangling, undecryptable } = broken.report
  const mismatched = Object.fromEntries(columns.map((column) => [column.name, column.mismatched]))
  // A value that cannot be read is not what stands in plaintext, either.
  assert.deepEqual(
    keys.map((key) => mismatched[key]),
    [parts, parts, parts],
  )
  assert.deepEqual([dangling.count, undecryptable.count], [parts, parts])
  assert.deepEqual(dangling.samples, dangling.samples.toSorted())
  await cliEnds(4, db, ['migrate', '--drop-legacy', '--sessions', '3', '--yes-drop-plaintext', db.name])
})

/** What is asked of every value, and takes its time: long enough to look at who is at work. */
const slowly = `
  create or replace function public.slowly(value text) returns text language plpgsql volatile as
    $$ begin perform pg_sleep(0.01); return value; end $$;
  grant execute on function public.slowly(text) to public;`

test('verify works in sessions that see one snapshot, and a stop ends all of them and records nothing', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await fill(db, 1_100)
  await cliEnds(0, db, ['migrate', '--batch', '500'])
  await db.query(slowly, [], 'supabase_admin')
  const [{ definition }] = await db.query(
    "select pg_get_functiondef('app_secrets.verify_legacy'::regproc) as definition",
  )
  await db.query(
    definition.replace(
      'app_secrets.normalize(v.legacy) as legacy',
      'public.slowly(app_secrets.normalize(v.legacy)) as legacy',
    ),
  )

  const atWork = () =>
    db.query(
      `select a.pid, a.backend_xmin::text as snapshot from pg_stat_activity a
       where a.datname = current_database() and a.query like '%verify_legacy(p_from%' and a.state = 'active'
         and a.pid <> pg_backend_pid()`,
    )
  const run = startCli(db, ['verify', '--sessions', '3'])
  const snapshotsOf = async (enough) => {
    const found = await until(async () => {
      const rows = await atWork()
      return enough(rows.length) && rows
    }, 'sessions at work')
    return found.map(({ snapshot }) => snapshot)
  }
  const before = await snapshotsOf((count) => count === 3)
  // Others go on writing, and the sessions still see what they saw at first.
  await db.query("update public.businesses set grok_api_key = 'later' where name = 'b1'")
  const snapshots = new Set([...before, ...(await snapshotsOf((count) => count > 0))])
  assert.equal(snapshots.size, 1, [...snapshots].join())
  run.child.kill('SIGINT')
  const { code, stdout, stderr } = await run.ended
  assert.equal(code, 130)
  assert.equal(stdout.includes('dangling'), false)
  assert.match(stderr, /Stopped: not everything was compared/)
  await until(async () => (await atWork()).length === 0, 'nobody at work')
  assert.deepEqual(await db.query('select from app_secrets.verifications'), [])
})

test('a number of sessions that makes no sense is refused', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  for (const args of [['verify'], ['migrate']]) {
    const { stderr } = await cliEnds(1, db, [...args, '--sessions', '0'])
    assert.match(stderr, /`sessions` is a number from 1 to 32/)
  }
})
