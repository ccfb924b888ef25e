// What verify finds, and what scrub and rollback prove.

import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { breakCipher } from '../support/addon.mjs'
import { cli, cliEnds, cliJson, startCli } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertIntact, assertSynced } from '../support/invariants.mjs'
import { addBusiness, clear, legacy, legacyNames, set, updateLegacy } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

const first = '10000000-0000-4000-8000-000000000001'

async function verified(db) {
  const { code, stdout } = await cli(db, ['verify', '--json'])
  const report = JSON.parse(stdout)
  assert.equal(code, report.verified ? 0 : 4)
  return report
}

test('verify finds a value that was written around the triggers, on either side', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const client = await db.connect('supabase_admin')
  await client.query('set session_replication_role = replica')
  await client.query("update public.businesses set gemini_api_key = 'other' where id = $1", [first])
  await client.query("update public.businesses set grok_api_key = 'new' where id = $1", [first])
  await client.query('update public.businesses set gemini_api_key = null where name = $1', ['Business 2'])
  const { mismatched, columns } = await verified(db)
  assert.equal(mismatched, 3)
  const gemini = columns.find(({ name }) => name === 'gemini_api_key')
  assert.equal(gemini.mismatched, 2)
  assert.ok(gemini.businessIds.includes(first))
})

test('verify finds dangling references, undecryptable values, orphans and cells that are not sealed', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await set(db, id, { gemini_api_key: 'a', grok_api_key: 'b', claude_api_key: 'c', youtube_api_key: 'd' })
  await db.query('delete from vault.secrets where name = $1', [`business_secrets/${id}/gemini_api_key`])
  await breakCipher(db, id, 'grok_api_key')
  const [{ stranger }] = await db.query(
    "select vault.create_secret('', 'business_secrets/' || gen_random_uuid() || '/claude_api_key') as stranger",
  )
  await db.query('alter table public.business_secrets drop constraint youtube_api_key_is_reference')
  const client = await db.connect('supabase_admin')
  await client.query('set session_replication_role = replica')
  await client.query("update public.business_secrets set youtube_api_key = 'sk-marker'")

  const report = await verified(db)
  assert.deepEqual(report.dangling, { count: 1, samples: [`gemini_api_key of ${id}`] })
  assert.deepEqual(report.undecryptable, { count: 1, samples: [`grok_api_key of ${id}`] })
  assert.deepEqual(report.unsealed, { count: 1, samples: [`youtube_api_key of ${id}`] })
  // What the overwritten cell referred to. A row that somebody else made under such a name is a stranger.
  assert.equal(report.orphans.count, 1)
  assert.deepEqual(report.notOurs, { count: 1, samples: [stranger] })
  assert.doesNotMatch(JSON.stringify(report), /marker/)
})

test('orphans alone do not keep the plaintext from being dropped', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const client = await db.connect('supabase_admin')
  await client.query('set session_replication_role = replica')
  await client.query('update public.business_secrets set google_access_token = null where business_id = $1', [
    first,
  ])
  const { stdout } = await cliEnds(4, db, ['verify'])
  assert.match(stdout, /Vault rows that nothing refers to: 1\b/)
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
})

test('verify finds triggers that are disabled or missing, and dropping is refused while they are', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await db.query('alter table public.businesses disable trigger zz_app_secrets_sync')
  await db.query('drop trigger zz_app_secrets_reap on public.business_secrets')
  const { idleTriggers } = await verified(db)
  assert.deepEqual(idleTriggers.sort(), [
    'public.business_secrets.zz_app_secrets_reap is missing',
    'public.businesses.zz_app_secrets_sync is disabled',
  ])
  await cliEnds(4, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
})

test('verify says who still writes the plaintext columns, which is no fault', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  assert.equal((await verified(db)).legacyWrites.count, 0)
  const client = await db.connect()
  await client.query("set application_name = 'old-backend'")
  await client.query("update public.businesses set grok_api_key = 'new' where id = $1", [first])
  const { verified: isVerified, legacyWrites } = await verified(db)
  assert.ok(isVerified)
  assert.equal(legacyWrites.count, 1)
  assert.deepEqual(legacyWrites.writers, ['postgres/old-backend'])
})

test('scrub proves on the pages that nothing is left, where it may read them', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  const pages = async () => {
    await db.query('checkpoint', [], 'supabase_admin')
    const [{ path }] = await db.query("select pg_relation_filepath('public.businesses') as path")
    return readFileSync(join(db.cluster.dataDir, path), 'latin1')
  }
  assert.ok((await pages()).includes('gemini-7'), 'the dropped plaintext should still be there')

  const own = { admin: db.superuser, service: db.service }
  const report = await cliJson(own, ['scrub', '--yes-lock-tables', db.name])
  assert.ok(report.search.values > 40)
  assert.equal(report.search.found, 0)
  assert.ok(!(await pages()).includes('gemini-7'))
  assert.deepEqual(
    report.rotate.map(({ name }) => name),
    [...legacyNames, 'google_access_token'],
  )
})

test('scrub names the tables that triggers of the app may have copied the plaintext to', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await db.query(`
    create schema history;
    create table history.businesses (id uuid, was jsonb);
    create table public.notes (id uuid);
    create function public.keep_history() returns trigger language plpgsql as
      $$ begin insert into history.businesses values (old.id, to_jsonb(old)); return null; end $$;
    create function public.take_note() returns trigger language plpgsql as
      $$ begin insert into public.notes values (new.id); return null; end $$;
    create trigger keep_history after update on public.businesses for each row execute function public.keep_history()`)
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  const { copies } = await cliJson(db, ['scrub', '--dry-run'])
  // Not the table of the function that no trigger calls.
  assert.deepEqual(copies, ['history.businesses (trigger keep_history on businesses)'])
  const { stdout } = await cliEnds(0, db, ['scrub', '--yes-lock-tables', db.name])
  assert.match(stdout, /history\.businesses \(trigger keep_history/)
})

test('scrub says so where the plaintext stands in another column too', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  await db.query(
    `update public.businesses set settings = '{"key": "sk-copied-marker"}' where name = 'Business 7'`,
  )
  const id = await addBusiness(db)
  await set(db, id, { gemini_api_key: 'sk-copied-marker' })
  const own = { admin: db.superuser, service: db.service }
  const { stdout } = await cliEnds(4, own, ['scrub', '--yes-lock-tables', db.name])
  assert.match(stdout, /STILL THERE: of \d+ sealed values looked for, 1 stands in the pages/)
  assert.doesNotMatch(stdout, /copied/)
})

test('the look at the pages writes no value to a temporary file, long as they are', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5 })
  await db.query("insert into public.businesses (name) select 'long' from generate_series(1, 60)")
  await db.query(`
    insert into public.business_secrets (business_id, gemini_api_key)
    select b.id, (select string_agg(md5(random()::text), '') from generate_series(1, 200) where b.id is not null)
    from public.businesses b`)
  for (const [setting, value] of [
    ['log_temp_files', '0'],
    ['work_mem', '64kB'],
    ['hash_mem_multiplier', '1'],
  ]) {
    await db.query(`alter database ${db.name} set ${setting} = '${value}'`, [], 'supabase_admin')
  }
  const start = statSync(db.cluster.logFile).size
  const temporary = () => readFileSync(db.cluster.logFile).subarray(start).includes('temporary file')

  const own = { admin: db.superuser, service: db.service }
  const { search } = await cliJson(own, ['scrub', '--yes-lock-tables', db.name])
  assert.deepEqual([search.values, search.found], [60, 0])
  assert.ok(!temporary(), 'a temporary file was written')
  // The control: the same values, sorted.
  const client = await db.connect('supabase_admin')
  await client.query('select distinct gemini_api_key from public.decrypted_business_secrets')
  await until(temporary, 'the control in the log')
})

test('scrub without the right to read pages says that it proves nothing', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  const { stdout, stderr } = await cliEnds(0, db, ['scrub', '--yes-lock-tables', db.name])
  assert.match(stderr, /locked for READERS and writers .* pg_repack/s)
  assert.match(stdout, /pages could not be looked at/)
})

test('a rollback under writes gives back every value, byte by byte, and keeps both sides written', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const ids = (await db.query('select id from public.businesses order by id')).map(({ id }) => id)
  const before = Object.fromEntries(await Promise.all(ids.map(async (id) => [id, await legacy(db, id)])))
  await cliEnds(0, db, ['migrate'])
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])

  const run = startCli(db, ['rollback', '--batch', '2', '--pause-ms', '200'])
  await until(async () => {
    const rows = await db.query(
      "select from app_secrets.backfill_progress where phase = 'restore' and rows_done > 3",
    )
    return rows.length
  })
  // It cannot end before this one is let go.
  const other = await db.connect()
  await other.query('begin')
  await other.query('select from public.businesses where id = $1 for update', [ids.at(-3)])
  // The last one is still to come, the first one is done: either way both sides are written.
  await updateLegacy(db, ids[0], { youtube_api_key: 'legacy, done' })
  await updateLegacy(db, ids.at(-1), { youtube_api_key: 'legacy, to come' })
  await set(db, ids[1], { youtube_api_key: 'sealed, done', gemini_api_key: null })
  await set(db, ids.at(-2), { youtube_api_key: 'sealed, to come', gemini_api_key: null })
  assert.equal((await cliJson(db, ['status'])).next, 'rollback')
  await other.query('commit')
  assert.equal((await run.ended).code, 0)

  await assertSynced(db)
  for (const [id, youtube] of [
    [ids[0], 'legacy, done'],
    [ids.at(-1), 'legacy, to come'],
    [ids[1], 'sealed, done'],
    [ids.at(-2), 'sealed, to come'],
  ]) {
    before[id].youtube_api_key = youtube
    if (youtube.startsWith('sealed')) delete before[id].gemini_api_key
    assert.equal((await clear(db, id)).youtube_api_key, youtube)
  }
  for (const id of ids) {
    const wanted = Object.entries(before[id]).map(([name, value]) => [name, value.trim() || null])
    assert.deepEqual(await legacy(db, id), Object.fromEntries(wanted.filter(([, value]) => value)))
  }
  await cliEnds(0, db, ['verify'])
})

test('a rollback that was stopped or killed goes on where it was', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 5, legacyData: true })
  for (const signal of ['SIGINT', 'SIGKILL']) {
    const run = startCli(db, ['rollback', '--batch', '2', '--pause-ms', '1000'])
    await until(async () => {
      const rows = await db.query(
        "select from app_secrets.backfill_progress where phase = 'restore' and rows_done > 3",
      )
      return rows.length
    })
    await delay(120)
    run.child.kill(signal)
    const { code, stdout } = await run.ended
    if (signal === 'SIGINT') {
      assert.equal(code, 130)
      assert.match(stdout, /run `app-secrets rollback` to restore the rest/)
      await cliEnds(2, db, ['status'])
      // Nothing can be dropped before it is whole.
      await cliEnds(4, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
    }
  }
  await cliEnds(0, db, ['rollback'])
  await assertSynced(db)
  await cliEnds(0, db, ['status'])
})

test('a rollback leaves what was not dropped as it is', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const { stdout } = await cliEnds(0, db, ['rollback'])
  assert.match(stdout, /were not dropped: .* Nothing to do/)
  await assertIntact(db)
})
