// What the database notes of reads, and that noting it never makes a read slow.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { addBusiness, insertSecrets } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

onEachMajor('access marks', async (t, major) => {
  const db = await freshDatabase(t, major)

  await t.test('each name is marked once a minute, and its minutes are counted', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'one', grok_api_key: 'two' })
    const read = async (time, names, statuses = names.map(() => 0)) => {
      const ids = names.map(() => id)
      const minute = Date.parse(`${time}Z`) / 60_000
      const { unmarked } = await db.one(
        `select unmarked
         from app_secrets.read_cells($1, $2, false, null, hashtextextended('reader', $3::bigint / 1440), $3)`,
        [ids, names, minute],
      )
      await db.query("select app_secrets.mark_reads('reader', $1, $2, $3, $4)", [
        ids,
        names,
        statuses,
        minute,
      ])
      return unmarked
    }
    const [gemini, grok] = ['gemini_api_key', 'grok_api_key']
    assert.deepEqual(
      [
        await read('2026-01-01 10:00', [gemini]),
        await read('2026-01-01 10:00', [gemini]),
        await read('2026-01-01 10:00', [gemini, grok]),
        await read('2026-01-01 10:00', [grok, gemini]),
        await read('2026-01-01 10:01', [grok]),
        await read('2026-01-01 10:01', [gemini], [1]),
        await read('2026-01-01 10:01', [gemini, gemini]),
        await read('2026-01-02 10:01', [grok]),
      ],
      [true, false, true, false, true, true, true, true],
    )
    const rows = await db.query(
      `select name, to_char(last_read_at at time zone 'UTC', 'DD HH24:MI') as last, minutes
       from app_secrets.access_of($1) order by name, last`,
      [id],
    )
    assert.deepEqual(rows, [
      { name: gemini, last: '01 10:01', minutes: 2 },
      { name: grok, last: '01 10:01', minutes: 2 },
      { name: grok, last: '02 10:01', minutes: 1 },
    ])
  })

  for (const count of [1, 7, 8, 100]) {
    await t.test(`of ${count} secrets that are read at once, none lacks its mark`, async () => {
      const ids = []
      for (let i = 0; i < count; i++) {
        ids.push(await addBusiness(db, { gemini_api_key: 'one', grok_api_key: i % 2 ? 'two' : null }))
      }
      const client = await db.connect('app_service')
      const read = async (name) => {
        await client.query('select from public.get_business_secrets_columns($1, $2)', [
          ids,
          ids.map(() => name),
        ])
        const rows = await db.query(
          `select distinct business_id as id from app_secrets.access_marks
           where business_id = any ($1::uuid[]) and name = $2 and login = 'app_service' and minutes between 1 and 2 order by 1`,
          [ids, name],
        )
        return rows.map(({ id }) => id)
      }
      assert.deepEqual(await read('gemini_api_key'), ids.toSorted())
      assert.deepEqual(await read('grok_api_key'), ids.filter((_, i) => i % 2).toSorted())
      // One mark of them all is missing.
      await db.query('delete from app_secrets.access_marks where business_id = $1', [ids.at(-1)])
      assert.deepEqual(await read('gemini_api_key'), ids.toSorted())
    })
  }

  await t.test('what forbids scans forbids compilation, which their cost would bring about', async () => {
    const functions = await db.query(
      `select p.oid::regproc::text as name, 'jit=off' = any (p.proconfig) as is_interpreted
       from pg_proc p where 'enable_seqscan=off' = any (p.proconfig) order by 1`,
    )
    assert.ok(functions.length >= 3)
    assert.deepEqual(
      functions.filter(({ is_interpreted }) => !is_interpreted),
      [],
    )
  })

  await t.test(
    'a session that planned its reads while every table was empty scans none of them later',
    async () => {
      const fresh = await freshDatabase(t, major)
      await fresh.query('vacuum analyze', [], 'supabase_admin')
      const service = await fresh.connect('app_service')
      const ids = [await addBusiness(fresh)]
      const read = () =>
        service.query('select statuses from public.get_business_secrets_columns($1, $2, true)', [
          ids,
          ids.map(() => 'gemini_api_key'),
        ])
      const scans = async () => {
        // A session counts for itself, and passes on what it counted once a second at the most.
        for (const session of [service, fresh]) {
          await session.query('select pg_stat_force_next_flush()')
          await session.query('select')
        }
        return fresh.query(
          `select relid::regclass::text as table, seq_scan from pg_stat_user_tables
         where relid in ('app_secrets.access_marks'::regclass, 'app_secrets.scopes'::regclass, 'app_secrets.secret_versions'::regclass,
           'vault.secrets'::regclass, 'public.business_secrets'::regclass, 'public.businesses'::regclass) order by 1`,
        )
      }
      const looks = async () => {
        const row = await fresh.one(
          "select idx_scan::int from pg_stat_user_indexes where indexrelname = 'access_marks_hash'",
        )
        return row.idx_scan
      }
      // A mark is looked up once more in the next minute.
      await until(() => new Date().getSeconds() < 45, 'a minute that is not about to end')
      await read()
      for (let i = 0; i < 5; i++) ids.push(await addBusiness(fresh, { gemini_api_key: `key ${i}` }))
      await read()
      const before = await scans()
      const looked = await looks()
      for (let i = 0; i < 3; i++) await read()
      assert.deepEqual(await scans(), before)
      assert.equal((await looks()) - looked, 3 * (ids.length - 1))
      for (let i = 0; i < 20; i++) ids.push(await addBusiness(fresh, { gemini_api_key: `more ${i}` }))
      await read()
      const beforeMany = await scans()
      for (let i = 0; i < 3; i++) await read()
      assert.deepEqual(await scans(), beforeMany)
      // The control: a scan is counted.
      await fresh.query('select count(*) from app_secrets.access_marks')
      await fresh.query('select pg_stat_force_next_flush()')
      assert.notDeepEqual(await scans(), beforeMany)
    },
  )
})
