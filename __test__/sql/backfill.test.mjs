// 003: plaintext into Vault, in batches, beside writers, from wherever it was stopped.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertSynced, differences } from '../support/invariants.mjs'
import { applyAsPsql, migration } from '../support/migrations.mjs'
import {
  batch,
  clear,
  history,
  legacy,
  legacyNames,
  names,
  reference,
  stored,
  updateLegacy,
} from '../support/secrets.mjs'
import { until, untilBlocked } from '../support/wait.mjs'

const idOf = (number) => `10000000-0000-4000-8000-${String(number).padStart(12, '0')}`

/** Businesses with ids in the order of their numbers, one key each; one more has a Google token only. */
const many = (count) => `
  insert into public.businesses (id, name, gemini_api_key)
  select ('10000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'Business ' || i, 'gemini-' || i
  from generate_series(1, ${count}) i;
  insert into public.businesses (id, name) values ('${idOf(999_999)}', 'Google only');
  insert into public.business_secrets (business_id, google_access_token) values ('${idOf(999_999)}', 'token')`

const progress = (db) =>
  db.query('select phase, rows_done::integer, finished from app_secrets.backfill_progress order by phase')

async function prepared(t, major, count) {
  const db = await freshDatabase(t, major, { migratedTo: 0 })
  await db.query(many(count))
  const client = await db.connect()
  await client.query(migration(2))
  await db.disconnect(client)
  return db
}

const sealedTwice = (db) =>
  db.query(
    'select business_id, name from app_secrets.audit_log group by business_id, name having count(*) > 1',
  )

/** Runs a migrator until it is about to seal business 600, which is in the sixth batch, and kills it there. */
async function killAtBusiness600(db, migrate) {
  const [holder, runner] = [await db.connect('supabase_admin'), await db.connect()]
  const { pid } = (await runner.query('select pg_backend_pid() as pid')).rows[0]
  // Vault's names are unique: whoever makes the same one waits for this transaction.
  await holder.query('begin')
  await holder.query("select vault.create_secret('', 'business_secrets/' || $1 || '/gemini_api_key')", [
    idOf(600),
  ])
  const killed = assert.rejects(migrate(runner), { code: '57P01' })
  await untilBlocked(db, pid)
  await db.query('select pg_terminate_backend($1)', [pid])
  await killed
  await db.disconnect(holder)
}

onEachMajor('backfill', async (t, major) => {
  await t.test('it seals every plaintext value, trimmed, and nothing where there is none', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 2, legacyData: true })
    const read = async (id) => ({ ...(await legacy(db, id)), ...(await stored(db, id)) })
    const ids = (await db.query('select id from public.businesses order by id')).map(({ id }) => id)
    const before = new Map()
    for (const id of ids) before.set(id, await read(id))
    await db.query(migration(3))

    let expectedRows = 0
    for (const [id, values] of before) {
      const expected = Object.fromEntries(
        Object.entries(values).flatMap(([name, value]) => {
          const trimmed = name === 'google_token_expiry' ? value : value.trim()
          return trimmed === '' ? [] : [[name, trimmed]]
        }),
      )
      expectedRows += Object.keys(expected).length
      assert.deepEqual(await clear(db, id), expected)
      for (const [name, cell] of Object.entries((await stored(db, id)) ?? {})) {
        if (!names.slice(-2).includes(name)) assert.match(cell, reference)
      }
      const entries = (await history(db, id)).sort()
      assert.deepEqual(
        entries,
        Object.keys(expected)
          .sort()
          .map((name) => `${name} set 1 backfill`),
      )
    }
    assert.ok(expectedRows > 100)
    await assertSynced(db)
  })

  await t.test('a key and a token that look like a reference are values like any other', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 3, legacyData: true })
    const { id } = await db.one("select id from public.businesses where name = 'Business 9'")
    const { google_access_token: token } = await clear(db, id)
    assert.match(token, /^30000000-/)
    assert.notEqual((await stored(db, id)).google_access_token, token)
    const keys = await db.query(
      "select whatsapp_api_key from public.businesses where whatsapp_api_key like '20000000-%'",
    )
    assert.ok(keys.length > 0)
  })

  await t.test('afterwards every sealed column has its validated check', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 3 })
    const { count } = await db.one(
      `select count(*)::integer from pg_constraint
       where conrelid = 'public.business_secrets'::regclass and conname like '%\\_is\\_reference' and convalidated`,
    )
    assert.equal(count, 10)
  })

  await t.test(
    'sent as psql sends it, it commits in batches: killed midway it goes on from there',
    async (t) => {
      const db = await prepared(t, major, 1000)
      await killAtBusiness600(db, (client) => applyAsPsql(client, 3))
      assert.deepEqual(await progress(db), [
        { phase: 'fill', rows_done: 500, finished: false },
        { phase: 'in_place', rows_done: 0, finished: false },
      ])
      assert.equal((await differences(db)).length, 500)

      await applyAsPsql(await db.connect(), 3)
      assert.deepEqual(await progress(db), [
        { phase: 'fill', rows_done: 1001, finished: true },
        { phase: 'in_place', rows_done: 1, finished: true },
      ])
      // Nothing was sealed twice.
      assert.deepEqual(await sealedTwice(db), [])
      await assertSynced(db)
    },
  )

  await t.test('sent as one query it is one transaction: killed midway it has sealed nothing', async (t) => {
    const db = await prepared(t, major, 900)
    await killAtBusiness600(db, (client) => client.query(migration(3)))
    assert.equal((await differences(db)).length, 900)
    await db.query(migration(3))
    await assertSynced(db)
  })

  await t.test(
    'of more than 1,000 businesses one transaction fills nothing and leaves the names to the runner',
    async (t) => {
      const db = await prepared(t, major, 1001)
      await db.query(migration(3))
      const states = () =>
        db.query('select distinct legacy_state as s, in_place as p from app_secrets.catalogue order by 1, 2')
      assert.deepEqual(await db.query('select from app_secrets.secret_versions'), [])
      assert.deepEqual(
        await states(),
        [
          { s: 'none', p: 'none' },
          { s: 'none', p: 'sealing' },
          { s: 'synced', p: 'none' },
        ].filter(({ s, p }) => s !== 'none' || p !== 'none'),
      )
      await assert.rejects(
        db.query(migration(4)).then(() => db.query(migration(5))),
        {
          code: 'AS007',
          message: /not everything is filled/,
        },
      )
      await db.query('rollback')
      await applyAsPsql(await db.connect(), 3)
      assert.deepEqual(await states(), [
        { s: 'filled', p: 'none' },
        { s: 'none', p: 'sealed' },
      ])
      await assertSynced(db)
    },
  )

  await t.test('it passes over a business that somebody holds and comes back to it', async (t) => {
    const db = await prepared(t, major, 700)
    const [holder, runner] = [await db.connect(), await db.connect()]
    const held = idOf(42)
    await holder.query('begin')
    await holder.query('select from public.businesses where id = $1 for update', [held])
    const run = applyAsPsql(runner, 3)
    await until(async () => (await differences(db)).length === 1, 'all but one sealed')
    assert.equal(await stored(db, held), null)
    await holder.query('rollback')
    await run
    assert.deepEqual(await clear(db, held), { gemini_api_key: 'gemini-42' })
    await assertSynced(db)
  })

  await t.test('a batch says what it did, and that it waits for what is locked', async (t) => {
    const db = await prepared(t, major, 12)
    const one = async (limit) =>
      (await db.one('select to_jsonb(b) as result from app_secrets.backfill_batch($1) b', [limit])).result
    // Step 1 only: the batch function.
    await db.query(migration(3).slice(0, migration(3).indexOf('do $backfill$')))
    const holder = await db.connect()
    await holder.query('begin')
    await holder.query("select from public.businesses where name = 'Business 3' for update")
    const progressed = { waiting: false, finished: false }
    assert.deepEqual(await one(10), { ...progressed, businesses: 9, secrets: 9 })
    assert.deepEqual(await one(10), { ...progressed, businesses: 3, secrets: 2 })
    assert.deepEqual(await one(10), { businesses: 0, secrets: 0, waiting: true, finished: false })
    await holder.query('rollback')
    assert.deepEqual(await one(10), { ...progressed, businesses: 1, secrets: 1 })
    assert.deepEqual(await one(10), { ...progressed, businesses: 0, secrets: 1 })
    // Nothing after the checkpoint; then nothing at all.
    assert.deepEqual(await one(10), { ...progressed, businesses: 0, secrets: 0 })
    assert.deepEqual(await one(10), { businesses: 0, secrets: 0, waiting: false, finished: true })
    await assertSynced(db)
  })

  await t.test('two that run at the same time share the work', async (t) => {
    const db = await prepared(t, major, 1500)
    const clients = [await db.connect(), await db.connect()]
    await Promise.all(clients.map((client) => applyAsPsql(client, 3)))
    assert.deepEqual(await sealedTwice(db), [])
    await assertSynced(db)
  })

  await t.test('old and new code may write beside it', async (t) => {
    const db = await prepared(t, major, 1500)
    const runner = await db.connect()
    let done = false
    const run = applyAsPsql(runner, 3).finally(() => {
      done = true
    })
    const writers = [
      ['update public.businesses set gemini_api_key = $2 where id = $1', await db.connect()],
      [
        'update public.businesses set grok_api_key = $2, gemini_api_key = null where id = $1',
        await db.connect(),
      ],
      [
        `insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)
         on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
        await db.connect(),
      ],
    ]
    await Promise.all(
      writers.map(async ([sql, client], w) => {
        for (let i = 0; !done; i++) {
          await client.query(sql, [idOf(1 + ((i * 37 + w * 500) % 1500)), `written ${w} ${i}`])
        }
      }),
    )
    await run
    await assertSynced(db)
  })

  await t.test('run again, it also seals what came around the triggers', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 4, legacyData: true })
    const around = await db.connect()
    await around.query('set session_replication_role = replica')
    await around.query(
      "insert into public.businesses (id, gemini_api_key) values (gen_random_uuid(), 'around')",
    )
    assert.equal((await differences(db)).length, 1)
    await db.query(migration(3))
    await assertSynced(db)
  })

  await t.test(
    'plaintext that is too long to be sealed is refused before anything is changed, with an error that does not show it',
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      await db.query(`insert into public.businesses (gemini_api_key) values (repeat('secret', 11000))`)
      const error = await db.query(migration(2)).catch((e) => e)
      assert.equal(error.code, 'AS007')
      assert.match(error.message, /gemini_api_key/)
      assert.doesNotMatch(JSON.stringify({ ...error, m: error.message }), /secretsecret/)
      await db.query('rollback')
      assert.deepEqual(await db.query("select from pg_namespace where nspname = 'app_secrets'"), [])
      await db.query("update public.businesses set gemini_api_key = 'short'")
      for (const version of [2, 3]) await db.query(migration(version))
      await assertSynced(db)
    },
  )

  await t.test('a wrong copy stops it before it is recorded, naming businesses and no value', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 2, legacyData: true })
    const { id } = await db.one("select id from public.businesses where name = 'Business 30'")
    await updateLegacy(db, id, Object.fromEntries(legacyNames.map((name) => [name, `right ${name}`])))
    const around = await db.connect()
    await around.query('set session_replication_role = replica')
    await around.query("update public.businesses set claude_api_key = 'changed around' where id = $1", [id])
    const error = await db.query(migration(3)).catch((e) => e)
    assert.equal(error.code, 'AS006')
    assert.match(error.message, new RegExp(`claude_api_key: 1 \\(businesses ${id}\\)`))
    assert.doesNotMatch(error.message, /around|right/)
    await db.query('rollback')
    assert.deepEqual(await db.query('select from app_secrets.migrations where version = 3'), [])
  })
})

onEachMajor('metadata of Google', async (t, major) => {
  await t.test(
    'what was there before has a version like the rest, and blank folder ids are cleared',
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
      await db.query(`update public.business_secrets set google_drive_folder_id = '  '
      where business_id = (select id from public.businesses where name = 'Business 5')`)
      for (const version of [2, 3, 4]) await db.query(migration(version))
      const [{ id: blank }] = await db.query("select id from public.businesses where name = 'Business 5'")
      const [{ id }] = await db.query("select id from public.businesses where name = 'Business 1'")
      assert.deepEqual(await batch(db, [blank, id], ['google_drive_folder_id', 'google_drive_folder_id']), [
        ['not_set', null, 1],
        ['ok', 'folder-1', 1],
      ])
      await assertSynced(db)
    },
  )
})
