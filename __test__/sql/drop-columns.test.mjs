// 005: plaintext goes only where every value of it is proved to be in Vault; and the way back.

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { everythingOf, schemaOf } from '../support/fingerprint.mjs'
import { assertIntact, assertSynced, differences } from '../support/invariants.mjs'
import { migration } from '../support/migrations.mjs'
import { addBusiness, batch, clear, legacyNames, set, updateLegacy } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

const columns = async (db) =>
  Object.keys(await schemaOf(db)).filter(
    (object) => /^column businesses\.(.*)/.test(object) && legacyNames.some((name) => object.endsWith(name)),
  )

/** Runs 005, which must be refused with AS006 and change nothing. Gives the error. */
async function refused(db) {
  const before = await everythingOf(db)
  const error = await db.query(migration(5)).catch((e) => e)
  await db.query('rollback')
  assert.equal(error.code, 'AS006')
  assert.deepEqual(await everythingOf(db), before)
  return error
}

/** Writes plaintext as only a session that skips triggers can. */
async function around(db, sql, values) {
  const client = await db.connect()
  await client.query('set session_replication_role = replica')
  await client.query(sql, values)
  await db.disconnect(client)
}

/** 005 has compared everything, and waits for its locks. */
async function lockAwaited(db) {
  const observer = await db.connect('supabase_admin')
  const awaited = `select from pg_catalog.pg_locks where not granted and mode = 'AccessExclusiveLock'
       and database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())`
  await until(async () => (await observer.query(awaited)).rows.length > 0, 'a wait for the lock')
}

const upsert = `
  insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)
  on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`

const corrupt = (db, id, name) =>
  db.query(
    "update vault.secrets set secret = encode(sha256('x') || sha256('y'), 'base64') where name = $1",
    [`business_secrets/${id}/${name}`],
    'supabase_admin',
  )

onEachMajor('dropping plaintext', async (t, major) => {
  await t.test('a single value that differs, in any of the eight columns, stops it', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    const id = await addBusiness(db, Object.fromEntries(legacyNames.map((name) => [name, `sealed ${name}`])))
    for (const name of legacyNames) {
      await around(db, `update public.businesses set ${name} = 'differs' where id = $1`, [id])
      const { message, detail, hint } = await refused(db)
      assert.equal(message, `plaintext and sealed values differ: ${name}: 1 (businesses ${id})`)
      assert.doesNotMatch(`${detail} ${hint}`, /differs|sealed [a-z]+_/)
      await around(db, `update public.businesses set ${name} = $2 where id = $1`, [id, `sealed ${name}`])
    }
    await db.query(migration(5))
    assert.deepEqual(await columns(db), [])
  })

  await t.test(
    'plaintext without a sealed value, and a sealed value without plaintext, stop it',
    async (t) => {
      const db = await freshDatabase(t, major)
      const id = await addBusiness(db)
      await around(db, "update public.businesses set grok_api_key = 'never sealed' where id = $1", [id])
      assert.match((await refused(db)).message, /grok_api_key: 1 \(/)
      await updateLegacy(db, id, { grok_api_key: 'sealed now' })
      await around(db, 'update public.businesses set grok_api_key = null where id = $1', [id])
      assert.match((await refused(db)).message, /grok_api_key: 1 \(/)
    },
  )

  await t.test(
    'a sealed value that cannot be decrypted stops it, with and without its plaintext',
    async (t) => {
      const db = await freshDatabase(t, major)
      const id = await addBusiness(db, { claude_api_key: 'still here' })
      await corrupt(db, id, 'claude_api_key')
      assert.match((await refused(db)).message, /claude_api_key: 1 \(/)
      await around(db, 'update public.businesses set claude_api_key = null where id = $1', [id])
      assert.match((await refused(db)).message, /claude_api_key: 1 \(/)
      await updateLegacy(db, id, { claude_api_key: 'healed' })
      await db.query(migration(5))
      assert.deepEqual(await clear(db, id), { claude_api_key: 'healed' })
    },
  )

  await t.test('many differences are counted, and no more than ten ids of a column listed', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    await around(
      db,
      "update public.businesses set gemini_api_key = 'differs', kling_access_key = 'differs too'",
    )
    const { message } = await refused(db)
    assert.match(message, /gemini_api_key: 40 \(businesses ([0-9a-f-]{36}, ){10}…\); kling_access_key: 40 \(/)
    assert.doesNotMatch(message, /differs( too|$)|gemini-\d/)
  })

  await t.test(
    'where all is equal it drops columns and sync, and every secret stays readable and writable',
    async (t) => {
      const db = await freshDatabase(t, major, { legacyData: true })
      const read = () =>
        db.query('select to_jsonb(d) as row from public.decrypted_business_secrets d order by business_id')
      const before = await read()
      assert.equal((await columns(db)).length, legacyNames.length)
      await db.query(migration(5))
      assert.deepEqual(await columns(db), [])
      assert.deepEqual(await read(), before)

      const id = await addBusiness(db)
      await set(db, id, { gemini_api_key: 'one' })
      await db.query("update public.business_secrets set grok_api_key = 'two' where business_id = $1", [id])
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'one', grok_api_key: 'two' })
      await db.query('delete from public.businesses where id = $1', [id])
      await assertIntact(db)
    },
  )

  await t.test('afterwards writers of different businesses no longer wait for each other', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 5 })
    const [first, second] = [await addBusiness(db), await addBusiness(db)]
    const [holder, other] = [await db.connect(), await db.connect()]
    const write = 'select public.set_business_secrets($1, $2)'
    await holder.query('begin')
    await holder.query(write, [first, '{"gemini_api_key": "one"}'])
    await other.query("set lock_timeout = '50ms'")
    await other.query(write, [second, '{"gemini_api_key": "two"}'])
    await assert.rejects(other.query(write, [first, '{"gemini_api_key": "three"}']), { code: '55P03' })
    await holder.query('commit')
    assert.deepEqual(await clear(db, first), { gemini_api_key: 'one' })
  })

  await t.test('a column that a view of the app uses stops it, and nothing is dropped', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    await db.query('create view public.app_view as select youtube_api_key from public.businesses')
    const before = await everythingOf(db)
    await assert.rejects(db.query(migration(5)), { code: 'AS007', message: /app_view/ })
    await db.query('rollback')
    assert.deepEqual(await everythingOf(db), before)
  })

  await t.test(
    'an index that holds a column beside a key that others refer to stops it, whatever is consented to',
    async (t) => {
      const db = await freshDatabase(t, major, { legacyData: true })
      await db.query(`
      alter table public.businesses add slug int generated always as identity;
      create unique index by_slug on public.businesses (slug) include (gemini_api_key);
      create table public.pages (slug int references public.businesses (slug))`)
      const before = await everythingOf(db)
      await db.query(`set app_secrets.drop_also = '["*"]'`)
      await assert.rejects(db.query(migration(5)), {
        code: 'AS007',
        message: /while these use them: index public\.by_slug/,
      })
      await db.query('rollback')
      assert.deepEqual(await everythingOf(db), before)
    },
  )

  await t.test('what a savepoint writes around the triggers while it runs stops it', async (t) => {
    const db = await freshDatabase(t, major)
    const id = await addBusiness(db, { gemini_api_key: 'sealed' })
    const writer = await db.connect()
    await writer.query('begin; set local session_replication_role = replica; savepoint s')
    await writer.query("update public.businesses set gemini_api_key = 'differs' where id = $1", [id])
    // Somebody else's transaction, so that a snapshot from here on is past the savepoint's id.
    await db.query('select pg_catalog.pg_current_xact_id()')
    const [outcome] = await Promise.all([
      db.query(migration(5)).catch((error) => error),
      lockAwaited(db).then(() => writer.query('commit')),
    ])
    await db.query('rollback')
    assert.equal(outcome.code, 'AS006')
    assert.equal((await columns(db)).length, legacyNames.length)
  })

  await t.test('a snapshot that is older than what others write is refused', async (t) => {
    const db = await freshDatabase(t, major)
    await db.query('set default_transaction_isolation = serializable')
    await assert.rejects(db.query(migration(5)), { code: 'AS007' })
    await db.query('rollback')
  })

  await t.test('it takes no writer down, and what they write while it runs is not lost', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    const ids = (await db.query('select id from public.businesses order by id limit 4')).map(({ id }) => id)
    const last = new Map()
    let dropped = false
    const write = async (id, w) => {
      const client = await db.connect()
      const sql = w % 2 ? 'update public.businesses set gemini_api_key = $2 where id = $1' : upsert
      for (let i = 0; !dropped || i < 20; i++) {
        try {
          await client.query(sql, [id, `written ${w} ${i}`])
          last.set(id, `written ${w} ${i}`)
          // Writes of keys are rare: where they never pause, 005 gives up with a lock timeout.
          await delay(20)
        } catch (error) {
          // The plaintext column is gone.
          assert.equal(error.code, w % 2 ? '42703' : undefined)
          return
        }
      }
    }
    const migrate = async () => {
      await db.query(migration(5))
      dropped = true
    }
    await Promise.all([migrate(), ...ids.map(write)])
    for (const id of ids) {
      const [[status, value]] = await batch(db, [id], ['gemini_api_key'])
      assert.deepEqual([status, value], ['ok', last.get(id) ?? value])
    }
    await assertIntact(db)
  })
})

onEachMajor('bringing plaintext back', async (t, major) => {
  const restore = async (db, limit) => {
    for (;;) {
      const { finished } = await db.one('select * from app_secrets.restore_batch($1)', [limit])
      if (finished) break
    }
    return db.query('select * from app_secrets.finish_restore()')
  }

  await t.test('every value returns to its column, the sync works again, and 005 may follow', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    const before = await db.query(
      'select to_jsonb(d) as row from public.decrypted_business_secrets d order by business_id',
    )
    await db.query(migration(5))
    await db.query('select app_secrets.begin_restore()')
    const id = await addBusiness(db, { gemini_api_key: 'written meanwhile' })
    await restore(db, 7)
    await assertSynced(db)
    await db.query('delete from public.businesses where id = $1', [id])
    const rows = await db.query(
      'select to_jsonb(d) as row from public.decrypted_business_secrets d order by business_id',
    )
    assert.deepEqual(rows, before)
    await db.query(migration(5))
    assert.deepEqual(await columns(db), [])
  })

  await t.test('what new code writes in between is not overwritten', async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    await db.query(migration(5))
    await db.query('select app_secrets.begin_restore()')
    const { id } = await db.one("select id from public.businesses where name = 'Business 30'")
    await set(db, id, { gemini_api_key: 'new', grok_api_key: null })
    await updateLegacy(db, id, { kling_access_key: 'newer' })
    await restore(db, 250)
    const { gemini_api_key, grok_api_key, kling_access_key } = await clear(db, id)
    assert.deepEqual(
      { gemini_api_key, grok_api_key, kling_access_key },
      {
        gemini_api_key: 'new',
        grok_api_key: undefined,
        kling_access_key: 'newer',
      },
    )
    assert.deepEqual(await differences(db), [])
  })

  await t.test('a batch without a restore is refused', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 5 })
    await assert.rejects(db.query('select app_secrets.restore_batch(10)'), { code: 'AS007' })
  })
})
