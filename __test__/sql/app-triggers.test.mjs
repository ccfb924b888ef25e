// Triggers of the app's on the tables that the sync writes: what they make of a write shows on both sides, or it is refused.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { addBusiness, clear, insertSecrets, legacy, set, updateLegacy } from '../support/secrets.mjs'

/** A trigger on the owner table, where `body` is PL/pgSQL. */
const trigger = (when, body, options = '') => `
  create function public.of_the_app() returns trigger language plpgsql as $$ begin ${body} end $$;
  create trigger a_of_the_app ${when} on public.businesses for each row ${options} execute function public.of_the_app()`

onEachMajor("the app's triggers", async (t, major) => {
  const withTrigger = async (t, sql) => {
    const db = await freshDatabase(t, major)
    const id = await addBusiness(db, { gemini_api_key: 'first', grok_api_key: 'grok' })
    await db.query(sql)
    return { db, id }
  }
  const both = async (db, id, values) => {
    assert.deepEqual(await clear(db, id), values)
    assert.deepEqual(await legacy(db, id), values)
    await assertSynced(db)
  }

  for (const [what, sql] of [
    [
      'withholds the write',
      trigger(
        'before update',
        `if new.gemini_api_key is distinct from old.gemini_api_key then return null; end if; return new;`,
      ),
    ],
    [
      'keeps the value before',
      trigger('before update', 'new.gemini_api_key := old.gemini_api_key; return new;'),
    ],
  ]) {
    await t.test(`a trigger that ${what}: new code is refused, and nothing is written`, async (t) => {
      const { db, id } = await withTrigger(t, sql)
      for (const write of [
        () => set(db, id, { gemini_api_key: 'second' }),
        () => set(db, id, { gemini_api_key: null }),
        () => set(db, id, { gemini_api_key: 'second', claude_api_key: 'new' }),
        () =>
          db.query(
            `insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'second')
             on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
            [id],
          ),
        () => db.query('delete from public.business_secrets where business_id = $1', [id]),
        () => db.query('truncate public.business_secrets'),
      ]) {
        await assert.rejects(write(), { code: 'AS002', message: /gemini_api_key.* would not stand/ })
      }
      await both(db, id, { gemini_api_key: 'first', grok_api_key: 'grok' })
      await set(db, id, { grok_api_key: 'not its concern' })
      await both(db, id, { gemini_api_key: 'first', grok_api_key: 'not its concern' })
    })
  }

  await t.test(
    'a trigger that clears another key: both sides show that, or the write is refused',
    async (t) => {
      const { db, id } = await withTrigger(
        t,
        trigger(
          'before update',
          'if new.gemini_api_key is distinct from old.gemini_api_key then new.grok_api_key := null; end if; return new;',
        ),
      )
      await set(db, id, { gemini_api_key: 'second' })
      await both(db, id, { gemini_api_key: 'second' })
      await assert.rejects(set(db, id, { gemini_api_key: 'third', grok_api_key: 'grok' }), { code: 'AS002' })
      await both(db, id, { gemini_api_key: 'second' })
    },
  )

  for (const [name, options] of [
    ['a_of_the_app', 'when (new.gemini_api_key <> lower(new.gemini_api_key))'],
    ['a_of_the_app', 'when (pg_trigger_depth() = 0)'],
    ['zzz_of_the_app', 'when (new.gemini_api_key <> lower(new.gemini_api_key))'],
  ]) {
    await t.test(`an AFTER trigger that writes the key once more, ${name} ${options}`, async (t) => {
      const { db, id } = await withTrigger(
        t,
        trigger(
          'after insert or update of gemini_api_key',
          'update public.businesses set gemini_api_key = lower(new.gemini_api_key) where id = new.id; return null;',
          options,
        ).replace('a_of_the_app', name),
      )
      await updateLegacy(db, id, { gemini_api_key: 'SECOND' })
      await both(db, id, { gemini_api_key: 'second', grok_api_key: 'grok' })
      const other = await addBusiness(db, { gemini_api_key: 'THIRD' })
      await both(db, other, { gemini_api_key: 'third' })
    })
  }

  await t.test('a trigger on business_secrets that writes the row once more', async (t) => {
    const db = await freshDatabase(t, major)
    const id = await addBusiness(db)
    await db.query(`
      create function public.of_the_app() returns trigger language plpgsql set search_path = '' as $$ begin
        if pg_catalog.pg_trigger_depth() = 1 then
          update public.business_secrets set gemini_api_key = 'by the trigger' where business_id = new.business_id;
        end if;
        return null; end $$;
      create trigger a_of_the_app after insert on public.business_secrets for each row execute function public.of_the_app()`)
    await insertSecrets(db, id, { gemini_api_key: 'given', grok_api_key: 'grok' })
    await both(db, id, { gemini_api_key: 'by the trigger', grok_api_key: 'grok' })
  })

  await t.test(
    'a deferred trigger runs with our rights, as every other one, and not as the service',
    async (t) => {
      const { db, id } = await withTrigger(t, 'select')
      await db.query(`
      create function public.of_the_app() returns trigger language plpgsql as $$ begin
        if (select count(*) from businesses) = 0 then raise exception 'never'; end if; return null; end $$;
      create constraint trigger deferred_of_the_app after update on public.businesses deferrable initially deferred
        for each row execute function public.of_the_app()`)
      await set(db, id, { gemini_api_key: 'second' })
      await set(db, id, { gemini_api_key: 'third', grok_api_key: null })
      await both(db, id, { gemini_api_key: 'third' })
      // A name that another constraint has too is left alone, and one that is gone stops nobody.
      await db.query('create table public.other (a int constraint deferred_of_the_app check (a > 0))')
      if (major >= 18) await set(db, id, { gemini_api_key: 'fourth' })
      await db.query('drop table public.other; drop trigger deferred_of_the_app on public.businesses')
      await set(db, id, { gemini_api_key: 'fifth' })
      await both(db, id, { gemini_api_key: 'fifth' })
    },
  )

  await t.test('it stays deferred for whoever owns the tables', async (t) => {
    const { db, id } = await withTrigger(t, 'select')
    const other = await addBusiness(db, { name: 'half' })
    await db.query(`
      create function public.of_the_app() returns trigger language plpgsql as $$ begin
        if (select count(distinct name) from public.businesses) > 1 then raise exception 'names differ'; end if; return null; end $$;
      create constraint trigger deferred_of_the_app after update on public.businesses deferrable initially deferred
        for each row execute function public.of_the_app()`)
    const client = await db.connect()
    await client.query('begin')
    await client.query("update public.businesses set name = 'whole' where id = $1", [id])
    await client.query(
      "update public.business_secrets set gemini_api_key = 'in between' where business_id = $1",
      [id],
    )
    await client.query("update public.businesses set name = 'whole' where id = $1", [other])
    await client.query('commit')
    assert.equal((await clear(db, id)).gemini_api_key, 'in between')
  })

  await t.test('what a CHECK refuses is told without the row, which holds plaintext', async (t) => {
    const { db, id } = await withTrigger(
      t,
      `alter table public.businesses add constraint short check (length(gemini_api_key) < 20)`,
    )
    const long = 'x'.repeat(30)
    const error = await set(db, id, { gemini_api_key: long }).catch((error) => error)
    assert.deepEqual([error.code, error.constraint, error.table], ['23514', 'short', 'businesses'])
    assert.equal(error.detail, undefined)
    for (const value of ['grok', long]) assert.ok(!JSON.stringify(error).includes(value), value)
    // The control: without us it is told.
    const old = await updateLegacy(db, id, { gemini_api_key: long }).catch((error) => error)
    assert.ok(old.detail.includes('grok'))
    await both(db, id, { gemini_api_key: 'first', grok_api_key: 'grok' })
  })

  await t.test(
    'old code at a higher isolation is told to try again, where new code made the row meanwhile',
    async (t) => {
      const db = await freshDatabase(t, major)
      const id = await addBusiness(db)
      const old = await db.connect()
      await old.query('begin isolation level repeatable read')
      await old.query('select from public.businesses')
      // Its business is locked by nobody, and has no row of secrets that this snapshot shows.
      await db.query('select app_secrets.write_cells($1, $2, null)', [
        id,
        JSON.stringify({ google_access_token: 'token' }),
      ])
      await assert.rejects(
        old.query("update public.businesses set gemini_api_key = 'x' where id = $1", [id]),
        {
          code: '40001',
        },
      )
      await old.query('rollback')
      await updateLegacy(db, id, { gemini_api_key: 'again' })
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'again', google_access_token: 'token' })
    },
  )

  await t.test(
    'a column of the app’s that is of no concern to a write may hold what JSON cannot',
    async (t) => {
      const db = await freshDatabase(t, major)
      await db.query(`
      alter table public.businesses add of_the_app json;
      create domain public.tier as text not null default 'free';
      alter table public.business_secrets add tier public.tier default 'free'`)
      const id = await addBusiness(db, { of_the_app: '{"x": "\\u0000"}' })
      await set(db, id, { gemini_api_key: 'one' })
      await updateLegacy(db, id, { gemini_api_key: 'two', grok_api_key: 'three' })
      const { gemini_api_key, grok_api_key } = await db.one('select * from public.businesses where id = $1', [
        id,
      ])
      assert.deepEqual([gemini_api_key, grok_api_key], ['two', 'three'])
      assert.deepEqual(await clear(db, id), { gemini_api_key, grok_api_key })
      await db.query('delete from public.businesses where id = $1', [id])
      assert.equal(await clear(db, id), null)
    },
  )
})
