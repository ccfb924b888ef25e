// One batch of the backfill: what it fills, what it leaves alone, and what it writes down.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertIntact, assertSynced } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { addBusiness, clear, history, legacyNames, stored } from '../support/secrets.mjs'

/** A database whose plaintext came before 002, and which has the batch function. */
async function prepared(t, major, fill) {
  const db = await freshDatabase(t, major, { migratedTo: 0 })
  const result = await fill(db)
  await db.query(migration(2))
  await db.query(migration(3).slice(0, migration(3).indexOf('do $backfill$')))
  return { db, result }
}

const run = async (client, limit = 250) =>
  (await client.query('select businesses, secrets from app_secrets.backfill_batch($1)', [limit])).rows[0]

const keysOf = (label) => Object.fromEntries(legacyNames.map((name) => [name, `${label} ${name}`]))

const withKeys = async (db, values) => {
  const id = await addBusiness(db)
  const assignments = Object.keys(values).map((name, i) => `${name} = $${i + 2}`)
  await db.query(`update public.businesses set ${assignments.join(', ')} where id = $1`, [
    id,
    ...Object.values(values),
  ])
  return id
}

const recorded = async (db, id) => ({
  versions: await db.query(
    `select name, is_set, updated_by from app_secrets.secret_versions where business_id = $1 order by name`,
    [id],
  ),
  audit: await db.query(
    `select name, action, login, jwt_sub, application_name, actor
     from app_secrets.audit_log where business_id = $1 order by name, id`,
    [id],
  ),
})

onEachMajor('a batch of the backfill', async (t, major) => {
  await t.test('it writes down the same versions and audit rows as a write of one business', async (t) => {
    const { db, result } = await prepared(t, major, async (db) => ({
      filled: [await withKeys(db, keysOf('one')), await withKeys(db, keysOf('two'))],
      written: await addBusiness(db),
    }))
    const client = await db.connect()
    await client.query("set application_name = 'mover'; set app_secrets.actor = 'somebody'")
    assert.deepEqual(await run(client), { businesses: 3, secrets: 2 * legacyNames.length })
    const assignments = legacyNames.map((name) => `${name} = 'written'`).join(', ')
    await client.query(`update public.businesses set ${assignments} where id = $1`, [result.written])

    const expected = await recorded(db, result.written)
    assert.equal(expected.audit.length, legacyNames.length)
    assert.equal(expected.audit[0].actor, 'somebody')
    for (const id of result.filled) {
      assert.deepEqual(await recorded(db, id), expected)
      assert.deepEqual(
        (await history(db, id)).sort(),
        legacyNames.map((name) => `${name} set 1 backfill`).sort(),
      )
    }
    await assertSynced(db)
  })

  await t.test('of a business that is sealed in part it fills what is empty and nothing else', async (t) => {
    const { db, result: id } = await prepared(t, major, (db) =>
      withKeys(db, { grok_api_key: 'grok', claude_api_key: ' \t ', kling_access_key: ' kling ' }),
    )
    await db.query(
      "insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'sealed')",
      [id],
    )
    const around = await db.connect()
    await around.query('set session_replication_role = replica')
    await around.query("update public.businesses set gemini_api_key = 'older' where id = $1", [id])
    const before = await stored(db, id)

    assert.deepEqual(await run(await db.connect()), { businesses: 1, secrets: 2 })
    const values = { gemini_api_key: 'sealed', grok_api_key: 'grok', kling_access_key: 'kling' }
    assert.deepEqual(await clear(db, id), values)
    assert.equal((await stored(db, id)).gemini_api_key, before.gemini_api_key)
    assert.deepEqual((await history(db, id)).sort(), [
      'gemini_api_key set 1 sealed',
      'grok_api_key set 1 backfill',
      'kling_access_key set 1 backfill',
    ])
    await assertIntact(db)
  })

  await t.test(
    "a Vault row of the cell's name that is not ours is left alone, and the batch refuses",
    async (t) => {
      const { db, result: ids } = await prepared(t, major, async (db) => [
        await withKeys(db, { gemini_api_key: 'first' }),
        await withKeys(db, { gemini_api_key: 'second' }),
      ])
      for (const id of ids) {
        await db.query("select vault.create_secret('left', 'business_secrets/' || $1 || '/gemini_api_key')", [
          id,
        ])
      }
      await assert.rejects(run(await db.connect()), { code: 'AS007', message: /not ours/ })
      const left = await db.query(
        "select decrypted_secret as v from vault.decrypted_secrets where name like 'business\\_secrets/%'",
      )
      assert.deepEqual(left, [{ v: 'left' }, { v: 'left' }])
      await db.query("delete from vault.secrets where name like 'business\\_secrets/%'")
      assert.deepEqual(await run(await db.connect()), { businesses: 2, secrets: 2 })
      await assertSynced(db)
    },
  )

  await t.test('one value that is too long stops it whole, named by business and key', async (t) => {
    const { db, result } = await prepared(t, major, async (db) => {
      const ids = []
      for (const label of ['a', 'b', 'c']) ids.push(await withKeys(db, keysOf(label)))
      return { ids, long: ids[0] }
    })
    // After the pre-flight, which counts such values, and around the triggers, which refuse them.
    const around = await db.connect()
    await around.query('set session_replication_role = replica')
    await around.query(
      "update public.businesses set youtube_api_key = repeat('secret', 11000) where id = $1",
      [result.long],
    )
    const client = await db.connect()
    const error = await run(client).catch((e) => e)
    assert.equal(error.code, 'AS002')
    assert.equal(
      error.message,
      `youtube_api_key of business ${result.long} is 66000 bytes long; at most 65536 are allowed`,
    )
    assert.doesNotMatch(JSON.stringify({ ...error }), /secretsecret/)
    for (const id of result.ids) assert.equal(await stored(db, id), null)
    assert.deepEqual(await db.query('select from app_secrets.audit_log'), [])
    await assertIntact(db)

    // Of exactly the length that is allowed, once it is trimmed.
    await db.query("update public.businesses set youtube_api_key = ' ' || repeat('x', 65536) where id = $1", [
      result.long,
    ])
    await run(client)
    await assertSynced(db)
  })

  await t.test('long values need no temporary file', async (t) => {
    const { db } = await prepared(t, major, (db) =>
      db.query(
        `insert into public.businesses (name, gemini_api_key)
         select 'long', (select string_agg(md5(random()::text), '') from generate_series(1, 2000) where i > 0)
         from generate_series(1, 200) i`,
      ),
    )
    const client = await db.connect('supabase_admin')
    await client.query("set temp_file_limit = 0; set work_mem = '64kB'; set role postgres")
    assert.deepEqual(await run(client), { businesses: 200, secrets: 200 })
    await assertSynced(db)
  })

  await t.test("a session with types of its own named like Vault's is refused", async (t) => {
    const { db, result: id } = await prepared(t, major, (db) => withKeys(db, { gemini_api_key: 'key' }))
    const client = await db.connect()
    await client.query('create domain pg_temp.text as pg_catalog.text')
    await assert.rejects(run(client), { code: '42501', message: /temporary types/ })
    assert.equal(await stored(db, id), null)
  })
})
