// Where plaintext must not turn up. Every search is proved first on something that was put there to be found.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after } from 'node:test'
import { onEachMajor, startCluster, TestCluster } from '../support/cluster.mjs'
import { copyIn } from '../support/copy.mjs'
import { listen } from '../support/listener.mjs'
import { migration } from '../support/migrations.mjs'
import { filesWith, relationsWith } from '../support/scan.mjs'
import {
  addBusiness,
  batch,
  clear,
  get,
  insertSecrets,
  legacyNames,
  names,
  sealedNames,
  set,
  updateSecrets,
} from '../support/secrets.mjs'
import { until, untilBlocked } from '../support/wait.mjs'

// Everything that a careless administrator could turn on, short of the values of bind parameters.
const settings = {
  log_statement: 'all',
  log_min_duration_statement: '0',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  log_error_verbosity: 'verbose',
  log_lock_waits: 'on',
  track_activity_query_size: '65536',
}

const ours = [
  'public.business_secrets',
  'vault.secrets',
  'app_secrets.secret_versions',
  'app_secrets.audit_log',
  'app_secrets.backfill_progress',
  'app_secrets.migrations',
]

/** Found in no other text by chance, and short enough that no page compresses it. */
const marker = (label) => `${label}-${randomBytes(12).toString('hex')}`

onEachMajor('leaks', async (t, major) => {
  const own = await startCluster(major, { settings })
  after(() => own.stop())
  const cluster = new TestCluster(own.description)
  const log = () => readFileSync(cluster.logFile, 'utf8')

  await t.test(
    'what new code writes is in no file of the server: heap, WAL, log or anything else',
    async (t) => {
      const db = await cluster.freshDatabase(t, { migratedTo: 5 })
      const heard = await listen(db)
      const secret = marker('new-code')
      await writeInEveryWay(db, secret)

      await db.query('checkpoint', [], 'supabase_admin')
      assert.deepEqual(filesWith(cluster.dataDir, secret), [])
      assert.ok(!log().includes(secret))
      const told = await heard.next()
      assert.ok(told.length > 0)
      assert.ok(!JSON.stringify(told).includes(secret))
      const rows = await db.query('select to_jsonb(a) as row from app_secrets.audit_log a')
      assert.ok(rows.length > 10)
      assert.ok(!JSON.stringify(rows).includes(secret))
    },
  )

  await t.test('a large batch of long values needs no temporary file', async (t) => {
    const db = await cluster.freshDatabase(t)
    await db.query("insert into public.businesses (name) select 'long' from generate_series(1, 200)")
    await db.query(`
      insert into public.business_secrets (business_id, gemini_api_key)
      select b.id, (select string_agg(md5(random()::text), '') from generate_series(1, 2000) where b.id is not null)
      from public.businesses b`)
    const reader = await db.connect('supabase_admin')
    await reader.query('set temp_file_limit = 0')
    const read = `
      select count(*)::int as values, sum(length(r.value))::int as length from public.get_business_secrets_batch(
        array(select id from public.businesses), array(select 'gemini_api_key' from public.businesses)) r`
    assert.deepEqual((await reader.query(read)).rows, [{ values: 200, length: 12_800_000 }])
    // The control: the same where there is no room for them.
    await db.query("alter function public.get_business_secrets_batch(uuid[], text[]) set work_mem = '64kB'")
    await assert.rejects(reader.query(read), { code: '53400' })
  })

  await t.test('the same search finds what is written in clear, in heap, WAL and log', async (t) => {
    const db = await cluster.freshDatabase(t, { migratedTo: 5 })
    const planted = marker('planted')
    await db.query('create table public.careless (secret text)')
    await db.query(`insert into public.careless values ('${planted}')`)
    await db.query('checkpoint', [], 'supabase_admin')
    const found = filesWith(cluster.dataDir, planted)
    assert.ok(
      found.some((path) => path.startsWith('base/')),
      'heap',
    )
    assert.ok(
      found.some((path) => path.startsWith('pg_wal/')),
      'WAL',
    )
    assert.deepEqual(await relationsWith(db, ['public.careless', ...ours], planted), ['public.careless'])
    await until(() => log().includes(planted), 'the planted statement in the log')
  })

  await t.test('a call that is under way shows no value in pg_stat_activity', async (t) => {
    const db = await cluster.freshDatabase(t)
    const id = await addBusiness(db)
    const [secret, planted] = [marker('in-flight'), marker('planted')]
    const [holder, caller] = [await db.connect(), await db.connect('app_service')]
    const { pid } = (await caller.query('select pg_backend_pid() as pid')).rows[0]
    await holder.query('begin')
    await holder.query("update public.businesses set gemini_api_key = 'x'")
    const activity = async () =>
      JSON.stringify(await db.query('select query from pg_stat_activity', [], 'supabase_admin'))
    const call = caller.query('select public.set_business_secrets($1, $2)', [
      id,
      JSON.stringify({ grok_api_key: secret }),
    ])
    await untilBlocked(db, pid)
    await holder.query(`select '${planted}'`)
    const seen = await activity()
    await holder.query('commit')
    await call
    assert.ok(seen.includes('set_business_secrets') && seen.includes(planted))
    assert.ok(!seen.includes(secret))
  })

  await t.test('calls that fail leave no value in the log', async (t) => {
    const db = await cluster.freshDatabase(t)
    const id = await addBusiness(db)
    const secret = marker('failing')
    const long = secret.padEnd(70_000, 'x')
    const failing = [
      () => set(db, id, { gemini_api_key: long }),
      () => set(db, id, { [secret]: secret }),
      () => set(db, id, { google_token_expiry: secret }),
      () => set(db, id, { gemini_api_key: [secret] }),
      () => set(db, id, { gemini_api_key: secret }, { gemini_api_key: 9 }),
      () => set(db, '99999999-9999-4999-8999-999999999999', { gemini_api_key: secret }),
      () => get(db, id, [secret]),
      () => insertSecrets(db, id, { gemini_api_key: long }),
      () => insertSecrets(db, null, { gemini_api_key: secret }),
      () => insertSecrets(db, '99999999-9999-4999-8999-999999999999', { gemini_api_key: secret }),
      () => insertSecrets(db, id, { gemini_api_key: secret }, 'app_service'),
    ]
    for (const fail of failing) await assert.rejects(fail())
    const done = marker('done')
    await db.query(`select '${done}'`)
    await until(() => log().includes(done), 'the last statement in the log')
    assert.ok(!log().includes(secret))
  })

  await t.test(
    'the backfill leaves the eight keys in clear nowhere but in businesses, and 005 with a rewrite nowhere',
    async (t) => {
      const db = await cluster.freshDatabase(t, { migratedTo: 0 })
      const [key, token] = [marker('legacy-key'), marker('google-token')]
      await db.query(
        `insert into public.businesses (name, ${legacyNames.join(', ')})
       select 'marked', ${legacyNames.map((name) => `'${key}-${name}-' || i`).join(', ')} from generate_series(1, 300) i`,
      )
      await db.query(
        `insert into public.business_secrets (business_id, google_access_token, google_refresh_token)
       select id, '${token}-a', '${token}-r' from public.businesses`,
      )
      await db.query('analyze public.businesses; analyze public.business_secrets')
      for (const version of [2, 3, 4]) await db.query(migration(version))

      const everywhere = ['public.businesses', ...ours]
      assert.deepEqual(await relationsWith(db, everywhere, key), ['public.businesses'])
      // Row versions from before the tokens were sealed, which the rewrite takes away.
      assert.deepEqual(await relationsWith(db, everywhere, token), ['public.business_secrets'])
      await db.query('vacuum full public.business_secrets')
      assert.deepEqual(await relationsWith(db, everywhere, token), [])

      await db.query(migration(5))
      assert.deepEqual(await relationsWith(db, everywhere, key), ['public.businesses'])
      await db.query('vacuum full public.businesses')
      assert.deepEqual(await relationsWith(db, everywhere, key), [])

      const { id } = await db.one("select id from public.businesses where name = 'marked' limit 1")
      assert.ok((await clear(db, id)).gemini_api_key.startsWith(key))
      assert.ok((await clear(db, id)).google_access_token.startsWith(token))
    },
  )

  await t.test(
    "the planner's statistics show no sealed value, where those of the plaintext did",
    async (t) => {
      const db = await cluster.freshDatabase(t, { migratedTo: 0 })
      const [key, token] = [marker('common-key'), marker('common-token')]
      await db.query(
        `insert into public.businesses (gemini_api_key) select '${key}' from generate_series(1, 50)`,
      )
      await db.query(
        `insert into public.business_secrets (business_id, google_access_token) select id, '${token}' from public.businesses`,
      )
      // Those of an expression's index, of several columns and of an expression too.
      await db.query(`
        create index by_token on public.business_secrets (upper(google_access_token));
        create statistics public.of_tokens (mcv) on google_access_token, google_refresh_token from public.business_secrets;
        create statistics public.of_expression on (reverse(google_access_token)) from public.business_secrets;
        update public.business_secrets set google_refresh_token = google_access_token;
        analyze public.businesses; analyze public.business_secrets`)
      const statistics = async (table) =>
        JSON.stringify(
          await db.query(
            `select to_jsonb(s) as row from pg_stats s where tablename in ($1, 'by_token')
             union all select to_jsonb(s) from pg_stats_ext s where tablename = $1
             union all select to_jsonb(s) from pg_stats_ext_exprs s where tablename = $1`,
            [table],
            'supabase_admin',
          ),
        )
      const shown = async () => {
        const found = await statistics('business_secrets')
        const forms = { token, upper: token.toUpperCase(), reverse: [...token].toReversed().join('') }
        return Object.keys(forms).filter((form) => found.includes(forms[form]))
      }
      assert.ok((await statistics('businesses')).includes(key))
      assert.deepEqual(await shown(), ['token', 'upper', 'reverse'])
      for (const version of [2, 3, 4, 5]) await db.query(migration(version))
      assert.ok(!(await statistics('businesses')).includes(key))
      assert.deepEqual(await shown(), [])
    },
  )
})

/** Through RPC, table, upsert, COPY and MERGE; read back in every way too. */
async function writeInEveryWay(db, secret) {
  const ids = []
  for (let i = 0; i < 5; i++) ids.push(await addBusiness(db))
  const cells = Object.fromEntries(sealedNames.map((name) => [name, `${secret}-${name}`]))
  await set(db, ids[0], cells)
  await set(db, ids[0], { gemini_api_key: `${secret} again` }, { gemini_api_key: 1 })
  await insertSecrets(db, ids[1], cells)
  await updateSecrets(db, ids[1], { grok_api_key: `${secret} again`, claude_api_key: null })
  const upsert = `
    insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)
    on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`
  for (const id of ids.slice(0, 3)) await db.query(upsert, [id, `${secret} upserted`])
  await db.query(`${upsert} where false`, [ids[1], `${secret} not written`])
  await db.query(
    `merge into public.business_secrets s using (values ($1::uuid, $2), ($3, $2)) as v(id, value) on s.business_id = v.id
     when matched then update set gemini_api_key = v.value
     when not matched then insert (business_id, gemini_api_key) values (v.id, v.value)`,
    [ids[2], `${secret} merged`, ids[3]],
  )
  const client = await db.connect()
  await copyIn(client, 'copy public.business_secrets (business_id, gemini_api_key) from stdin', [
    [ids[4], secret],
  ])
  await db.query('begin')
  await updateSecrets(db, ids[4], { gemini_api_key: `${secret} rolled back` })
  await db.query('rollback')

  for (const id of ids) {
    assert.ok((await clear(db, id)).gemini_api_key.startsWith(secret))
    assert.ok((await get(db, id)).gemini_api_key.startsWith(secret))
    await batch(
      db,
      names.map(() => id),
      names,
    )
    await db.query('select * from public.list_business_secrets($1)', [id], 'app_service')
  }
}
