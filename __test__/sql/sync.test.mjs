// While plaintext columns and sealed cells both exist, a write to either shows in the other.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertIntact, assertSynced, differences } from '../support/invariants.mjs'
import {
  addBusiness,
  clear,
  history,
  insertSecrets,
  legacy,
  legacyNames,
  set,
  stored,
  updateLegacy,
  updateSecrets,
  versions,
} from '../support/secrets.mjs'

onEachMajor('sync', async (t, major) => {
  const db = await freshDatabase(t, major)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })
  const all = (value) => Object.fromEntries(legacyNames.map((name) => [name, `${value} ${name}`]))
  const seen = async (id, values) => {
    assert.deepEqual(await clear(db, id), values)
    assert.deepEqual(await legacy(db, id), values)
  }

  await claim('what legacy code inserts, updates and clears is sealed', async () => {
    const id = await addBusiness(db, all('inserted'))
    await seen(id, all('inserted'))
    await updateLegacy(db, id, all('updated'))
    await seen(id, all('updated'))
    await updateLegacy(db, id, { gemini_api_key: null, grok_api_key: '', claude_api_key: ' \t' })
    const { gemini_api_key, grok_api_key, claude_api_key, ...left } = all('updated')
    assert.deepEqual(await clear(db, id), left)
  })

  await claim('what new code inserts, upserts, updates, clears and deletes shows in plaintext', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, all('inserted'))
    await seen(id, all('inserted'))
    await db.query(
      `insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'upserted')
       on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
      [id],
    )
    await seen(id, { ...all('inserted'), gemini_api_key: 'upserted' })
    await updateSecrets(db, id, { ...all('updated'), gemini_api_key: null })
    const { gemini_api_key, ...left } = all('updated')
    await seen(id, left)
    await db.query('delete from public.business_secrets where business_id = $1', [id])
    assert.deepEqual(await legacy(db, id), {})
  })

  await claim('what the RPC sets and clears shows in plaintext', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'legacy' })
    await set(db, id, { ...all('set'), gemini_api_key: null, google_access_token: 'token' })
    const { gemini_api_key, ...left } = all('set')
    assert.deepEqual(await legacy(db, id), left)
    assert.deepEqual(await clear(db, id), { ...left, google_access_token: 'token' })
  })

  await claim('one statement over many businesses is mirrored row by row, in both directions', async () => {
    const ids = []
    for (let i = 0; i < 5; i++) ids.push(await addBusiness(db, { name: 'many', gemini_api_key: `${i}` }))
    await db.query(
      "update public.businesses set gemini_api_key = gemini_api_key || ' legacy' where name = 'many'",
    )
    for (const [i, id] of ids.entries())
      assert.deepEqual(await clear(db, id), { gemini_api_key: `${i} legacy` })
    await db.query('update public.business_secrets set gemini_api_key = $2 where business_id = any ($1)', [
      ids,
      'all',
    ])
    for (const id of ids) assert.deepEqual(await legacy(db, id), { gemini_api_key: 'all' })
  })

  await claim('an upsert of businesses is mirrored whichever way it goes', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'old' })
    await db.query(
      `insert into public.businesses (id, name, gemini_api_key)
       values ($1, 'x', 'updated'), ('40000000-0000-4000-8000-000000000001', 'x', 'inserted')
       on conflict (id) do update set gemini_api_key = excluded.gemini_api_key`,
      [id],
    )
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'updated' })
    assert.deepEqual(await clear(db, '40000000-0000-4000-8000-000000000001'), { gemini_api_key: 'inserted' })
  })

  await claim('the last write of a transaction that writes both sides wins on both', async () => {
    const id = await addBusiness(db)
    await db.query('begin')
    await updateLegacy(db, id, { gemini_api_key: 'one' })
    await updateSecrets(db, id, { gemini_api_key: 'two', grok_api_key: 'two' })
    await updateLegacy(db, id, { gemini_api_key: 'three' })
    await db.query('commit')
    await seen(id, { gemini_api_key: 'three', grok_api_key: 'two' })
  })

  await claim('legacy code that saves every column unchanged makes no version', async () => {
    const id = await addBusiness(db, all('same'))
    const before = await history(db, id)
    await updateLegacy(db, id, { name: 'saved', ...all('same') })
    assert.deepEqual(await history(db, id), before)
  })

  await claim("an app's AFTER trigger that writes a key from inside a trigger is mirrored", async () => {
    await db.query(`
      create function public.app_after() returns trigger language plpgsql as $$
      begin update public.businesses set gemini_api_key = 'from after' where id = new.id; return null; end $$;
      create trigger app_after after update of name on public.businesses
        for each row when (new.name = 'after') execute function public.app_after()`)
    const id = await addBusiness(db, { gemini_api_key: 'old' })
    await updateLegacy(db, id, { name: 'after' })
    await seen(id, { gemini_api_key: 'from after' })
  })

  await claim(
    "an app's BEFORE trigger that changes a key the statement does not name is mirrored",
    async () => {
      await db.query(`
      create function public.app_before() returns trigger language plpgsql as $$
      begin new.grok_api_key := 'from before'; return new; end $$;
      create trigger app_before before update of name on public.businesses
        for each row when (new.name = 'before') execute function public.app_before()`)
      const id = await addBusiness(db, { grok_api_key: 'old' })
      await updateLegacy(db, id, { name: 'before' })
      await seen(id, { grok_api_key: 'from before' })
    },
  )

  await claim("an app's trigger on the sealed table that writes plaintext is mirrored", async () => {
    await db.query(`
      create function public.app_sealed() returns trigger language plpgsql as $$
      begin update public.businesses set claude_api_key = 'from sealed' where id = new.business_id; return null; end $$;
      create trigger app_sealed after update of youtube_api_key on public.business_secrets
        for each row execute function public.app_sealed()`)
    const id = await addBusiness(db, { claude_api_key: 'old' })
    await updateSecrets(db, id, { youtube_api_key: 'new' })
    await db.query('drop trigger app_sealed on public.business_secrets')
    await seen(id, { claude_api_key: 'from sealed', youtube_api_key: 'new' })
  })

  await claim("an app's triggers on the sealed table decide last what a legacy write leaves", async () => {
    const id = await addBusiness(db, { gemini_api_key: 'old', grok_api_key: 'old', claude_api_key: 'old' })
    const cases = [
      ['before', "new.gemini_api_key := 'replaced'; return new;", { gemini_api_key: 'replaced' }],
      ['before', "new.grok_api_key := 'beside'; return new;", { grok_api_key: 'beside' }],
      ['before', 'new.grok_api_key := null; return new;', { grok_api_key: undefined }],
      [
        'after',
        "update public.business_secrets s set claude_api_key = 'later' where s.business_id = new.business_id; return null;",
        { claude_api_key: 'later' },
      ],
    ]
    let expected = await legacy(db, id)
    for (const [i, [time, body, change]] of cases.entries()) {
      await db.query(`
        create function public.app_decides() returns trigger language plpgsql as $$ begin ${body} end $$;
        create trigger app_decides ${time} update on public.business_secrets
          for each row when (pg_trigger_depth() < 3) execute function public.app_decides()`)
      const written = { gemini_api_key: `written ${i}` }
      await updateLegacy(db, id, written)
      await db.query('drop function public.app_decides() cascade')
      expected = JSON.parse(JSON.stringify({ ...expected, ...written, ...change }))
      await seen(id, expected)
    }
  })

  await claim(
    'no login keeps its write from the plaintext columns, or claims an earlier value, by settings',
    async () => {
      const [id, other] = [await addBusiness(db, { gemini_api_key: 'old' }), await addBusiness(db)]
      const service = await db.connect('app_service')
      // From a trigger of its own, as deep as the mirror is.
      await service.query(`
      create temporary table deep (id uuid);
      create function pg_temp.deep() returns trigger language plpgsql as $$
      begin
        perform public.set_business_secrets(new.id, '{"gemini_api_key": "new", "grok_api_key": "first"}');
        return null;
      end $$;
      create trigger deep after insert on deep for each row execute function pg_temp.deep()`)
      await service.query(
        `select set_config('app_secrets.mirroring', $1, false), set_config('app_secrets.mirrored', '2', false),
         set_config('app_secrets.writing_legacy', $1, false),
         set_config('app_secrets.kept', $1 || '/grok_api_key,' || $2 || '/gemini_api_key,', false)`,
        [id, other],
      )
      await service.query('insert into deep values ($1)', [id])
      await seen(id, { gemini_api_key: 'new', grok_api_key: 'first' })
      const kept = await db.query(
        `select name from app_secrets.secret_versions where previous_until is not null and business_id = any ($1)`,
        [[id, other]],
      )
      assert.deepEqual(kept, [{ name: 'gemini_api_key' }])
      await db.disconnect(service)
    },
  )

  await claim('a legacy write that cannot be sealed fails, and both sides stay as they were', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'old' })
    await assert.rejects(updateLegacy(db, id, { grok_api_key: 'new', gemini_api_key: 'x'.repeat(65_537) }), {
      code: 'AS002',
    })
    await seen(id, { gemini_api_key: 'old' })
    assert.deepEqual(await versions(db, id), { gemini_api_key: 1 })
  })

  await claim(
    'a sealed write that the plaintext column refuses fails, and both sides stay as they were',
    async () => {
      await db.query('alter table public.businesses add constraint short check (length(claude_api_key) < 50)')
      const id = await addBusiness(db, { claude_api_key: 'old' })
      const writes = [
        () => updateSecrets(db, id, { claude_api_key: 'x'.repeat(50) }),
        () => set(db, id, { grok_api_key: 'new', claude_api_key: 'x'.repeat(50) }),
      ]
      for (const write of writes) await assert.rejects(write(), { code: '23514' })
      await db.query('alter table public.businesses drop constraint short')
      await seen(id, { claude_api_key: 'old' })
    },
  )

  await claim(
    'a sealed cell that cannot be decrypted takes no plaintext down, and a legacy write heals it',
    async () => {
      const id = await addBusiness(db, { gemini_api_key: 'kept', grok_api_key: 'old' })
      const vaultName = `business_secrets/${id}/gemini_api_key`
      await db.query(
        "update vault.secrets set secret = encode(sha256('x') || sha256('y'), 'base64') where name = $1",
        [vaultName],
        'supabase_admin',
      )
      await updateSecrets(db, id, { grok_api_key: 'new' })
      await updateSecrets(db, id, await stored(db, id))
      assert.deepEqual(await legacy(db, id), { gemini_api_key: 'kept', grok_api_key: 'new' })
      await updateLegacy(db, id, { gemini_api_key: 'kept ' })
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'kept', grok_api_key: 'new' })
    },
  )

  await claim('a truncate of the sealed table clears the plaintext of what was sealed', async () => {
    const id = await addBusiness(db, all('gone'))
    await db.query('truncate public.business_secrets')
    assert.deepEqual(await legacy(db, id), {})
  })

  await claim(
    'a write of keys holds up no other write, keys of other businesses included, and an insert without keys holds up nothing',
    async () => {
      const [first, second] = [await addBusiness(db), await addBusiness(db)]
      const [holder, other] = [await db.connect(), await db.connect()]
      await holder.query('begin')
      await holder.query("update public.businesses set gemini_api_key = 'held' where id = $1", [first])
      await other.query("set lock_timeout = '50ms'")
      await other.query("update public.businesses set name = 'not held up' where id = $1", [second])
      await other.query('select from public.decrypted_business_secrets')
      await other.query("update public.businesses set gemini_api_key = 'not held up' where id = $1", [second])
      await set(db, second, { grok_api_key: 'nor this' })
      const own = other.query("update public.businesses set name = 'held up' where id = $1", [first])
      await assert.rejects(own, { code: '55P03' })
      await holder.query('commit')

      await holder.query('begin')
      await holder.query("insert into public.businesses (name) values ('a sign-up')")
      await other.query("insert into public.businesses (name, gemini_api_key) values ('another', 'key')")
      await other.query("delete from public.businesses where name = 'another'")
      await set(db, second, { gemini_api_key: 'new' })
      await holder.query('rollback')
      for (const client of [holder, other]) await db.disconnect(client)
    },
  )
})

onEachMajor('sync before the backfill', async (t, major) => {
  const db = await freshDatabase(t, major, { migratedTo: 2, legacyData: true })
  const plaintext = () => db.query(`select id, ${legacyNames.join(', ')} from public.businesses order by id`)

  await t.test('writes to the sealed side never wipe plaintext that is not sealed yet', async () => {
    const before = await plaintext()
    const ids = before.map(({ id }) => id)
    await db.query('update public.business_secrets set google_access_token = google_access_token')
    await db.query(
      `insert into public.business_secrets (business_id, gemini_api_key)
       select id, null from unnest($1::uuid[]) as b(id) on conflict (business_id) do update set gemini_api_key = null`,
      [ids],
    )
    await db.query(
      'update public.business_secrets set whatsapp_api_key = null, google_drive_folder_id = null',
    )
    assert.deepEqual(await plaintext(), before)

    await updateSecrets(db, ids[0], { whatsapp_api_key: 'new' })
    assert.deepEqual(await plaintext(), [{ ...before[0], whatsapp_api_key: 'new' }, ...before.slice(1)])
    await updateSecrets(db, ids[0], { whatsapp_api_key: null })
    await db.query('delete from public.business_secrets')
    assert.deepEqual(await plaintext(), [{ ...before[0], whatsapp_api_key: null }, ...before.slice(1)])
    await assertIntact(db)
  })

  await t.test('legacy writes of one key seal that key and leave the others to the backfill', async () => {
    const { id } = await db.one("select id from public.businesses where name = 'Business 30'")
    const before = await legacy(db, id)
    await updateLegacy(db, id, { grok_api_key: 'new' })
    assert.deepEqual(await clear(db, id), { grok_api_key: 'new' })
    assert.deepEqual(await legacy(db, id), { ...before, grok_api_key: 'new' })
    assert.ok((await differences(db)).length > 0)
  })
})
