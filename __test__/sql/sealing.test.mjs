// What happens to a value on its way into business_secrets, and what is left in Vault, however the write ends.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { copyIn } from '../support/copy.mjs'
import { assertIntact, assertSynced, violations } from '../support/invariants.mjs'
import {
  addBusiness,
  batch,
  clear,
  history,
  insertSecrets,
  names,
  reference,
  sealedNames,
  stored,
  updateSecrets,
  versions,
} from '../support/secrets.mjs'

/** The rows of Vault under a business's names: all, or those that are registered in a role. */
const vaultRows = (db, id, role = null) =>
  db.query(
    `select s.id, s.secret from vault.secrets s
     where s.name like 'business\\_secrets/' || $1 || '/%' and ($2::text is null or exists (
       select from app_secrets.vault_rows r where r.vault_id = s.id and r.role = $2))
     order by s.name`,
    [id, role],
  )

onEachMajor('sealing', async (t, major) => {
  const db = await freshDatabase(t, major)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })

  await claim(
    'an insert seals every secret under a reference of its own and leaves metadata readable',
    async () => {
      const id = await addBusiness(db)
      const values = Object.fromEntries(sealedNames.map((name) => [name, `${name} of ${id}`]))
      await insertSecrets(db, id, { ...values, google_drive_folder_id: 'folder' })

      const row = await stored(db, id)
      for (const name of sealedNames) assert.match(row[name], reference)
      assert.equal(new Set(sealedNames.map((name) => row[name])).size, sealedNames.length)
      assert.equal(row.google_drive_folder_id, 'folder')
      assert.deepEqual(await clear(db, id), { ...values, google_drive_folder_id: 'folder' })
      assert.equal((await vaultRows(db, id)).length, sealedNames.length)
    },
  )

  await claim('an update seals anew in the same Vault row and counts a version', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'one', grok_api_key: 'stays' })
    const before = await stored(db, id)
    const [{ secret }] = await vaultRows(db, id)
    await updateSecrets(db, id, { gemini_api_key: 'two' })

    assert.deepEqual(await stored(db, id), before)
    assert.notEqual((await vaultRows(db, id))[0].secret, secret)
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'two', grok_api_key: 'stays' })
    assert.deepEqual(await versions(db, id), { gemini_api_key: 2, grok_api_key: 1 })
  })

  await claim('writing the value that is there changes nothing at all', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'same', google_drive_folder_id: 'folder' })
    const state = async () => ({
      row: await db.one('select * from public.business_secrets where business_id = $1', [id]),
      vault: await vaultRows(db, id),
      versions: await db.query('select * from app_secrets.secret_versions where business_id = $1', [id]),
      history: await history(db, id),
    })
    const before = await state()
    await updateSecrets(db, id, { gemini_api_key: 'same', google_drive_folder_id: 'folder' })
    await updateSecrets(db, id, { gemini_api_key: ' same\t' })
    assert.deepEqual(await state(), before)
  })

  await claim(
    'writing back a row that was read, from the table or from the view, changes nothing',
    async () => {
      const id = await addBusiness(db)
      await insertSecrets(db, id, { gemini_api_key: 'one', google_refresh_token: 'two' })
      const [row, before] = [await stored(db, id), await history(db, id)]
      await updateSecrets(db, id, row)
      await updateSecrets(db, id, await clear(db, id))
      assert.deepEqual(await stored(db, id), row)
      assert.deepEqual(await history(db, id), before)
    },
  )

  await claim('NULL and blank clear a secret and take its Vault row away', async () => {
    for (const nothing of [null, '', '   ', '\u00a0\t\n\ufeff']) {
      const id = await addBusiness(db)
      await insertSecrets(db, id, {
        gemini_api_key: 'one',
        google_access_token: 'two',
        grok_api_key: 'stays',
      })
      await updateSecrets(db, id, { gemini_api_key: nothing, google_access_token: nothing })
      assert.deepEqual(await clear(db, id), { grok_api_key: 'stays' })
      assert.equal((await vaultRows(db, id, 'current')).length, 1)
      assert.equal((await vaultRows(db, id, 'previous')).length, 2)
      assert.equal((await versions(db, id)).gemini_api_key, 2)
    }
  })

  await claim('an insert of nothing but blanks makes a row without secrets, versions or audit', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: ' ', grok_api_key: null, google_drive_folder_id: '\t' })
    assert.deepEqual(await stored(db, id), {})
    assert.deepEqual(await history(db, id), [])
  })

  await claim('surrounding white space is trimmed and inner white space kept', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: '\u2003\n a  b\t\ufeff', google_drive_folder_id: ' f g ' })
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'a  b', google_drive_folder_id: 'f g' })
  })

  await claim(
    'deleting the row leaves in Vault what can be put back, and deleting the business nothing',
    async () => {
      const id = await addBusiness(db)
      await insertSecrets(db, id, { gemini_api_key: 'one', google_access_token: 'two' })
      await db.query('delete from public.business_secrets where business_id = $1', [id])
      assert.equal(await stored(db, id), null)
      assert.deepEqual(await vaultRows(db, id, 'current'), [])
      assert.equal((await vaultRows(db, id, 'previous')).length, 2)
      await db.query('delete from public.businesses where id = $1', [id])
      assert.deepEqual(await vaultRows(db, id), [])
    },
  )

  await claim('text that stands in a cell is the value before, and no token takes its place', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    const put = (value) =>
      db.query('select public.set_business_secrets($1, $2)', [id, { gemini_api_key: value }])
    const legacy = (value) =>
      db.query('update public.businesses set gemini_api_key = $2 where id = $1', [id, value])
    const trigger = (what) =>
      db.query(`alter table public.business_secrets ${what} trigger zz_app_secrets_seal`)
    const { definition } = await db.one(
      `select pg_get_constraintdef(oid) as definition from pg_catalog.pg_constraint where conname = 'gemini_api_key_is_reference'`,
    )
    await db.query('alter table public.business_secrets drop constraint gemini_api_key_is_reference')
    const undone = async () => {
      await db.query("select public.undo_business_secret($1, 'gemini_api_key')", [id])
      return (await clear(db, id)).gemini_api_key
    }
    for (const [overwrite, text] of [
      [() => put('two'), 'text of new code'],
      [() => legacy('three'), 'text that old code writes over'],
      [() => put(null), 'text that is cleared'],
      [
        () => db.query('delete from public.business_secrets where business_id = $1', [id]),
        'text that goes with its row',
      ],
      [() => put('undone last'), 'text beside what Vault holds'],
    ]) {
      await trigger('disable')
      await updateSecrets(db, id, { gemini_api_key: text })
      for (const write of [
        () => put('refused'),
        () => put(null),
        () => legacy('refused'),
        () => legacy(null),
        () =>
          db.query(
            "update public.business_secret_status set value = 'refused' where business_id = $1 and name = 'gemini_api_key'",
            [id],
          ),
      ]) {
        await assert.rejects(write(), { code: 'AS007' })
      }
      assert.equal((await stored(db, id)).gemini_api_key, text)
      await trigger('enable')
      await overwrite()
      assert.deepEqual(await violations(db), [])
      assert.equal(await undone(), text)
    }
    // Vault holds `text beside what Vault holds` now, and what is written is that: the text in the cell is the value before still.
    await trigger('disable')
    await updateSecrets(db, id, { gemini_api_key: 'text beside the same value' })
    await trigger('enable')
    await put('text beside what Vault holds')
    assert.deepEqual(await violations(db), [])
    assert.equal(await undone(), 'text beside the same value')
    await db.query(
      `alter table public.business_secrets add constraint gemini_api_key_is_reference ${definition}`,
    )
  })

  await claim(
    "an upsert in an app's trigger that does nothing does not pass for a value that was not sealed",
    async () => {
      const id = await addBusiness(db, { gemini_api_key: 'one' })
      await db.query(`
      create function public.app_upserts() returns trigger language plpgsql as $$
      begin
        insert into public.business_secrets (business_id, grok_api_key) values (new.business_id, 'nothing')
        on conflict (business_id) do nothing;
        return null;
      end $$;
      create trigger app_upserts after update on public.business_secrets for each row execute function public.app_upserts()`)
      await db.query('select public.set_business_secrets($1, $2)', [id, { gemini_api_key: 'two' }])
      await db.query("update public.businesses set gemini_api_key = 'three' where id = $1", [id])
      await db.query('select public.set_business_secrets($1, $2)', [
        id,
        { gemini_api_key: null, claude_api_key: 'four' },
      ])
      await db.query('drop function public.app_upserts() cascade')
      assert.deepEqual(await clear(db, id), { claude_api_key: 'four' })
    },
  )

  await claim('where no earlier value is kept, deleting the row leaves nothing in Vault', async () => {
    await db.query("update app_secrets.settings set keep_previous = '0'")
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'one', google_access_token: 'two' })
    await updateSecrets(db, id, { gemini_api_key: 'three' })
    assert.deepEqual(await vaultRows(db, id, 'previous'), [])
    await db.query('delete from public.business_secrets where business_id = $1', [id])
    assert.deepEqual(await vaultRows(db, id), [])
    await db.query("update app_secrets.settings set keep_previous = '7 days'")
  })

  await claim('a row that is deleted and inserted again in one transaction is sealed again', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'one' })
    await db.query('begin')
    await db.query('delete from public.business_secrets where business_id = $1', [id])
    await insertSecrets(db, id, { gemini_api_key: 'two' })
    await db.query('commit')
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'two' })
  })

  await claim(
    'rolling back, to a savepoint, out of an exception block or altogether, leaves nothing',
    async () => {
      const [first, second] = [await addBusiness(db), await addBusiness(db)]
      await insertSecrets(db, first, { gemini_api_key: 'one' })
      const before = [await stored(db, first), await history(db, first)]
      for (const end of ['rollback to savepoint here; commit', 'rollback']) {
        await db.query('begin; savepoint here')
        await updateSecrets(db, first, { gemini_api_key: 'two', grok_api_key: 'three' })
        await insertSecrets(db, second, { gemini_api_key: 'four' })
        await db.query(end)
      }
      await db.query(`do $$
      begin
        insert into public.business_secrets (business_id, gemini_api_key) values ('${second}', 'five');
        update public.business_secrets set gemini_api_key = null where business_id = '${first}';
        raise exception 'undo';
      exception when raise_exception then null;
      end $$`)
      assert.deepEqual([await stored(db, first), await history(db, first)], before)
      assert.equal(await stored(db, second), null)
      assert.deepEqual(await vaultRows(db, second), [])
    },
  )

  await claim('COPY seals what it loads, and a COPY that fails loads nothing', async () => {
    const ids = [await addBusiness(db), await addBusiness(db), await addBusiness(db)]
    const client = await db.connect()
    const copy = 'copy public.business_secrets (business_id, gemini_api_key, google_access_token) from stdin'
    const line = (id) => [id, `key\t${id}\\`, null]
    await copyIn(client, copy, ids.slice(0, 2).map(line))
    assert.deepEqual(await clear(db, ids[1]), { gemini_api_key: `key\t${ids[1]}\\` })

    await assert.rejects(copyIn(client, copy, [line(ids[2]), line(ids[0])]), { code: '23505' })
    assert.equal(await stored(db, ids[2]), null)
    await db.disconnect(client)
  })

  await claim("another business's reference is only text: it reveals nothing of that business", async () => {
    const [victim, thief] = [await addBusiness(db), await addBusiness(db)]
    await insertSecrets(db, victim, { gemini_api_key: 'of the victim' })
    const { gemini_api_key: stolen } = await stored(db, victim)
    await insertSecrets(db, thief, { gemini_api_key: stolen })
    assert.deepEqual(await clear(db, thief), { gemini_api_key: stolen })
    assert.notEqual((await stored(db, thief)).gemini_api_key, stolen)
    await updateSecrets(db, thief, { gemini_api_key: 'x', grok_api_key: stolen })
    await updateSecrets(db, thief, { gemini_api_key: stolen })
    assert.deepEqual(await clear(db, thief), { gemini_api_key: stolen, grok_api_key: stolen })
    assert.deepEqual(await clear(db, victim), { gemini_api_key: 'of the victim' })
  })

  await claim(
    "another column's reference, a foreign Vault row's id and a random uuid are only text",
    async () => {
      const id = await addBusiness(db)
      await insertSecrets(db, id, { gemini_api_key: 'gemini' })
      const foreign = (await db.one("select vault.create_secret('foreign', 'somebody-elses') as id")).id
      const other = (await stored(db, id)).gemini_api_key
      const random = 'c56a4180-65aa-42ec-a945-5fd21dec0538'
      await updateSecrets(db, id, { grok_api_key: other, claude_api_key: foreign, youtube_api_key: random })
      assert.deepEqual(await clear(db, id), {
        gemini_api_key: 'gemini',
        grok_api_key: other,
        claude_api_key: foreign,
        youtube_api_key: random,
      })
      await updateSecrets(db, id, { grok_api_key: null, claude_api_key: null, youtube_api_key: null })
      assert.equal((await db.query('select from vault.secrets where id = $1', [foreign])).length, 1)
    },
  )

  await claim(
    "a cell's own reference from before it was cleared is refused, since the cell has changed since",
    async () => {
      const id = await addBusiness(db)
      await insertSecrets(db, id, { gemini_api_key: 'one' })
      const { gemini_api_key: old } = await stored(db, id)
      await updateSecrets(db, id, { gemini_api_key: null })
      await assert.rejects(updateSecrets(db, id, { gemini_api_key: old }), {
        code: 'AS002',
        message: /has changed since it was read/,
      })
      await updateSecrets(db, id, { gemini_api_key: 'two' })
      await assert.rejects(updateSecrets(db, id, { gemini_api_key: old }), { code: 'AS002' })
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'two' })
    },
  )

  await claim('a row cannot be moved to another business', async () => {
    const [from, to] = [await addBusiness(db), await addBusiness(db)]
    await insertSecrets(db, from, { gemini_api_key: 'one' })
    const move = db.query('update public.business_secrets set business_id = $2 where business_id = $1', [
      from,
      to,
    ])
    await assert.rejects(move, { code: 'AS002' })
    assert.deepEqual(await clear(db, from), { gemini_api_key: 'one' })
  })

  await claim('a write that is refused leaves no Vault row and its error holds no plaintext', async () => {
    const id = await addBusiness(db)
    const secret = 'plaintext-in-no-error'
    const attempts = [
      insertSecrets(db, '00000000-0000-4000-8000-000000000000', { gemini_api_key: secret }),
      insertSecrets(db, null, { gemini_api_key: secret }),
      insertSecrets(db, id, { gemini_api_key: secret, grok_api_key: `${secret}${'x'.repeat(65_536)}` }),
      db.query(
        `insert into public.business_secrets (business_id, gemini_api_key, updated_at) values ($1, $2, 'infinity'), ($1, $2, null)`,
        [id, secret],
      ),
    ]
    for (const outcome of await Promise.allSettled(attempts)) {
      assert.equal(outcome.status, 'rejected')
      const { message, detail, hint, where } = outcome.reason
      assert.doesNotMatch(JSON.stringify([message, detail, hint, where]), /plaintext-in/)
    }
    assert.deepEqual(await vaultRows(db, id), [])
  })

  await claim("what an app's own trigger makes of a value is what gets sealed", async () => {
    await db.query(`
      create function public.app_upper() returns trigger language plpgsql as $$
      begin new.gemini_api_key := upper(new.gemini_api_key); return new; end $$;
      create trigger app_upper before insert or update on public.business_secrets
        for each row when (new.grok_api_key = 'raise it') execute function public.app_upper()`)
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'low', grok_api_key: 'raise it' })
    await db.query('drop trigger app_upper on public.business_secrets')
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'LOW', grok_api_key: 'raise it' })
  })

  await claim('with triggers bypassed plaintext is refused for every sealed column', async () => {
    const id = await addBusiness(db)
    const client = await db.connect()
    await client.query('set session_replication_role = replica')
    for (const name of sealedNames) {
      const write = client.query(
        `insert into public.business_secrets (business_id, ${name}) values ($1, 'plain')`,
        [id],
      )
      await assert.rejects(write, { code: '23514', constraint: `${name}_is_reference` })
    }
    await db.disconnect(client)
  })

  await claim(
    "with triggers bypassed another business's reference still reveals nothing, and a write heals it",
    async () => {
      const [victim, thief] = [await addBusiness(db), await addBusiness(db)]
      await insertSecrets(db, victim, { gemini_api_key: 'of the victim' })
      const { gemini_api_key: stolen } = await stored(db, victim)
      const client = await db.connect()
      await client.query('set session_replication_role = replica')
      await client.query(
        'insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)',
        [thief, stolen],
      )
      await db.disconnect(client)

      assert.deepEqual(await clear(db, thief), {})
      assert.deepEqual(await batch(db, [thief], ['gemini_api_key']), [['undecryptable', null, 0]])
      await updateSecrets(db, thief, { gemini_api_key: 'healed' })
      assert.deepEqual(await clear(db, thief), { gemini_api_key: 'healed' })
      assert.deepEqual(await clear(db, victim), { gemini_api_key: 'of the victim' })
    },
  )

  await claim('truncate empties Vault of our rows and of no others, and clears what was set', async () => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, { gemini_api_key: 'one', google_drive_folder_id: 'folder' })
    const others = await db.query("select id from vault.secrets where name not like 'business\\_secrets/%'")
    await db.query('truncate public.business_secrets')
    assert.deepEqual(await db.query('select id from vault.secrets'), others)
    assert.ok(others.length > 0)
    assert.deepEqual(await versions(db, id), { gemini_api_key: 2, google_drive_folder_id: 2 })
    await insertSecrets(db, id, { gemini_api_key: 'again' })
    assert.deepEqual(await versions(db, id), { gemini_api_key: 3, google_drive_folder_id: 2 })
  })
})

onEachMajor('the check of the invariants', async (t, major) => {
  const db = await freshDatabase(t, major)
  const id = await addBusiness(db)
  const cell = `business_secrets/${id}/gemini_api_key`
  const planted = async (sql, expected) => {
    await db.query('begin')
    await db.query(sql)
    assert.deepEqual(await violations(db), expected)
    await db.query('rollback')
  }
  await insertSecrets(db, id, Object.fromEntries(names.slice(0, -2).map((name) => [name, 'x'])))
  await assertIntact(db)
  // Around the triggers, as nothing else may.
  await db.query('set session_replication_role = replica')

  await t.test('finds an orphan', () =>
    planted(`select vault.create_secret('x', 'business_secrets/${id}/no_such_cell')`, [
      `orphan in Vault: business_secrets/${id}/no_such_cell`,
    ]),
  )
  await t.test('finds a dangling reference', () =>
    planted(`delete from vault.secrets where name = '${cell}'`, [
      `dangling reference: ${cell}`,
      `not decryptable: ${cell}`,
    ]),
  )
  await t.test('finds a cell that was cleared behind its version', () =>
    planted(`update public.business_secrets set gemini_api_key = null`, [
      `orphan in Vault: ${cell}`,
      `set in its version only: ${id}/gemini_api_key`,
    ]),
  )
  await t.test('finds a missing version', () =>
    planted(`delete from app_secrets.secret_versions where name = 'gemini_api_key'`, [
      `set without a version: ${cell}`,
    ]),
  )
  await t.test('finds a write that the audit missed', () =>
    planted(`delete from app_secrets.audit_log where name = 'gemini_api_key'`, [
      `audit and version disagree: ${id}/gemini_api_key`,
    ]),
  )
})
