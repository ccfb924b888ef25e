// The files as they are sent: in order, again, by different senders, into databases of different shapes.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { freshDatabase, majors, onEachMajor, startCluster, TestCluster } from '../support/cluster.mjs'
import { everythingOf, schemaOf } from '../support/fingerprint.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { applyAsPsql, migration, versions } from '../support/migrations.mjs'
import { addBusiness, clear, get, insertSecrets, legacyNames, set } from '../support/secrets.mjs'

const apply = async (db, version) => {
  const client = await db.connect()
  try {
    await client.query(migration(version))
  } finally {
    await db.disconnect(client)
  }
}

onEachMajor('migrations', async (t, major) => {
  await t.test('every file may run again, in every state, and changes nothing', async (t) => {
    for (const state of versions) {
      const db = await freshDatabase(t, major, { migratedTo: state, legacyData: true })
      const before = await everythingOf(db)
      for (const version of versions.filter((v) => v <= state)) {
        await apply(db, version)
        assert.deepEqual(await everythingOf(db), before, `${version} again after ${state}`)
      }
    }
  })

  await t.test(
    'the comparison behind that claim sees a function, a grant and a row that changed',
    async (t) => {
      const db = await freshDatabase(t, major)
      const before = await everythingOf(db)
      for (const change of [
        'alter function app_secrets.seal(uuid, text, text) reset search_path',
        'grant select on public.decrypted_business_secrets to anon',
        "insert into public.businesses (name) values ('one more')",
      ]) {
        await db.query('begin')
        await db.query(change)
        assert.notDeepEqual(await everythingOf(db), before, change)
        await db.query('rollback')
      }
    },
  )

  await t.test('a file that comes too early is refused and changes nothing', async (t) => {
    for (const state of [0, 2, 3]) {
      const db = await freshDatabase(t, major, { migratedTo: state, legacyData: true })
      const before = await everythingOf(db)
      for (const version of versions.filter((v) => v > Math.max(state + 1, 2))) {
        await assert.rejects(apply(db, version), { code: 'AS007' }, `${version} on ${state}`)
        assert.deepEqual(await everythingOf(db), before)
      }
    }
  })

  await t.test(
    'whole files, single statements, and a transaction around them come to the same',
    async (t) => {
      const senders = [
        (client, version) => client.query(migration(version)),
        (client, version) => applyAsPsql(client, version),
        async (client, version) => {
          await client.query('begin')
          await client.query(migration(version))
          await client.query('commit')
        },
      ]
      const results = []
      for (const send of senders) {
        const db = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
        const client = await db.connect()
        for (const version of versions) {
          await send(client, version)
          if (version === 4) await assertSynced(db)
        }
        const { rows } = await client.query(
          'select version, name, applied_by from app_secrets.migrations order by version',
        )
        results.push({ schema: await schemaOf(db), ledger: rows, secrets: await secretsOf(db) })
      }
      assert.equal(results[0].ledger.length, versions.length)
      assert.ok(results[0].secrets.length > 20)
      for (const result of results.slice(1)) assert.deepEqual(result, results[0])
    },
  )

  await t.test(
    'the ledger keeps the checksum that our runner sets, also when another sender runs the file again',
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      const client = await db.connect()
      await client.query("set app_secrets.migration_checksum = 'of the runner'")
      await client.query(migration(2))
      await client.query('reset app_secrets.migration_checksum')
      await client.query(migration(2))
      await client.query(migration(3))
      const { rows } = await client.query(
        'select version, checksum from app_secrets.migrations order by version',
      )
      assert.deepEqual(rows, [
        { version: 2, checksum: 'of the runner' },
        { version: 3, checksum: null },
      ])
    },
  )

  await t.test(
    'of legacy columns some may be missing, or all: their secrets have no plaintext beside them',
    async (t) => {
      for (const missing of [['grok_api_key', 'kling_secret_key'], legacyNames]) {
        const db = await freshDatabase(t, major, { migratedTo: 0 })
        await db.query(
          `alter table public.businesses ${missing.map((name) => `drop column ${name}`).join(', ')}`,
        )
        for (const version of [2, 3, 4]) await apply(db, version)
        const rows = await db.query(
          "select name from app_secrets.catalogue where legacy_state = 'filled' order by position",
        )
        assert.deepEqual(
          rows.map(({ name }) => name),
          legacyNames.filter((name) => !missing.includes(name)),
        )
        const id = await addBusiness(db)
        await set(db, id, { grok_api_key: 'new' })
        assert.deepEqual(await get(db, id, ['grok_api_key']), { grok_api_key: 'new' })
      }
    },
  )

  await t.test('a database without Vault is refused with the remedy', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 0 })
    await db.query('drop schema vault cascade', [], 'supabase_admin')
    await assert.rejects(apply(db, 2), { code: 'AS007', hint: /create extension supabase_vault/ })
  })

  await t.test('a database that is not UTF-8 is refused', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 0 })
    const name = `${db.name}_ascii`
    await db.query(
      `create database ${name} owner postgres encoding 'SQL_ASCII' locale 'C' template template0`,
      [],
      'supabase_admin',
    )
    const ascii = new db.constructor(db.cluster, name)
    const refused = await apply(ascii, 2).catch((error) => error)
    await ascii.close()
    await db.query(`drop database ${name}`, [], 'supabase_admin')
    assert.equal(refused.code, 'AS007')
  })

  await t.test(
    'a lock that somebody holds makes a file give up, and it goes through afterwards',
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      const holder = await db.connect()
      const before = await schemaOf(db)
      await holder.query('begin; select from public.business_secrets')
      await assert.rejects(apply(db, 2), { code: '55P03' })
      assert.deepEqual(await schemaOf(db), before)
      await holder.query('commit')
      await apply(db, 2)
    },
  )

  await t.test(
    "the app's own columns, policies, triggers and data of businesses survive all of them",
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
      await db.query(`
      alter table public.businesses add column plan text not null default 'free', add constraint plans check (plan <> '');
      alter table public.business_secrets add column note text default 'a note';
      create policy anyone on public.businesses for select to anon using (plan = 'public');
      create index on public.businesses (plan);
      create trigger app_own after insert on public.businesses for each statement execute function public.touch_updated_at();`)
      const ours = new RegExp(`app_secrets|\\.(${legacyNames.join('|')})$`)
      const own = async () => {
        const objects = Object.entries(await schemaOf(db)).filter(
          ([object]) => /businesses|business_secrets\.note|touch/.test(object) && !ours.test(object),
        )
        const rows = await db.query(
          `select to_jsonb(b) - $1::text[] as row, s.note from public.businesses b
         left join public.business_secrets s on s.business_id = b.id and s.google_drive_folder_id is not null
         order by b.id`,
          [legacyNames],
        )
        return { objects, rows }
      }
      const before = await own()
      assert.ok(before.objects.length > 15)
      for (const version of versions) await apply(db, version)
      assert.deepEqual(await own(), before)
    },
  )

  await t.test('004 drops policies that others left on the sealed table, and says so', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 3 })
    await db.query('create policy wide_open on public.business_secrets for all to anon using (true)')
    const client = await db.connect()
    const notices = []
    client.on('notice', ({ severity, message }) => severity === 'WARNING' && notices.push(message))
    await client.query(migration(4))
    assert.equal(notices.length, 1)
    assert.match(notices[0], /wide_open/)
    assert.deepEqual(await db.query("select from pg_policies where policyname = 'wide_open'"), [])
  })

  await t.test('004 leaves an accessible_business_ids() that the app made its own', async (t) => {
    const db = await freshDatabase(t, major)
    await db.query(`create or replace function app_secrets.accessible_business_ids() returns setof uuid
      language sql stable security definer set search_path = '' as $$ select id from public.businesses where name = 'mine' $$`)
    const before = await schemaOf(db)
    await apply(db, 4)
    assert.deepEqual(await schemaOf(db), before)
  })

  await t.test('the published table is in supabase_realtime after 004', async (t) => {
    const db = await freshDatabase(t, major)
    assert.ok('publication supabase_realtime public.business_secrets' in (await schemaOf(db)))
  })

  await t.test('a publication that belongs to another role is left to it, with a warning', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 3 })
    await db.query('alter publication supabase_realtime owner to supabase_admin', [], 'supabase_admin')
    const client = await db.connect()
    const notices = []
    client.on('notice', ({ severity, message }) => severity === 'WARNING' && notices.push(message))
    await client.query(migration(4))
    assert.match(notices.join(), /supabase_realtime belongs to another role/)
  })

  await t.test(
    'a login has no scope that nobody gave it: in another database, or after a restore',
    async (t) => {
      const login = `scoped_${major}`
      const first = await freshDatabase(t, major)
      await first.query(`create role ${login} login in role app_secrets_service`)
      await first.query(`select app_secrets.grant_scope('${login}', array['gemini_api_key'])`)
      const scopes = (db) => db.query('select name from app_secrets.scopes where login = $1', [login])
      const second = await freshDatabase(t, major, { migratedTo: 3 })
      await second.query(migration(4))
      assert.deepEqual(await scopes(second), [])
      await first.query('drop table app_secrets.scopes')
      for (const version of [2, 4, 3]) await first.query(migration(version))
      assert.deepEqual(await scopes(first), [])
      assert.equal(
        (await first.query("select from app_secrets.scopes where login = 'service_role' and name = '*'"))
          .length,
        1,
      )
      await first.query(`drop role ${login}`)
    },
  )

  await t.test(
    'what default privileges hand to other roles is taken again, by the file that is run again too',
    async (t) => {
      const db = await freshDatabase(t, major, { migratedTo: 0 })
      const role = `analyst_${major}`
      await db.query(`create role ${role} nologin`)
      await db.query(`alter default privileges grant usage on schemas to ${role}`)
      await db.query(`alter default privileges grant execute on functions to ${role}`)
      const open = () =>
        db.query(
          `select p.oid::regprocedure::text as function from pg_proc p
         where (p.pronamespace = 'app_secrets'::regnamespace or obj_description(p.oid, 'pg_proc') like 'app-secrets contract %')
           and has_function_privilege($1, p.oid, 'execute')`,
          [role],
        )
      for (const version of [2, 3, 4]) await db.query(migration(version))
      assert.deepEqual(await open(), [])
      await db.query(`grant execute on all functions in schema app_secrets, public to ${role}`)
      assert.ok((await open()).length > 50)
      await db.query(migration(4))
      assert.deepEqual(await open(), [])
      await db.query(`drop owned by ${role}`, [], 'supabase_admin')
      await db.query(`drop role ${role}`)
    },
  )

  await t.test('a plaintext column under its new name is looked at like any other', async (t) => {
    const db = await freshDatabase(t, major)
    await db.query('alter table public.businesses rename youtube_api_key to youtube')
    await db.query('alter table public.businesses alter youtube set not null, alter youtube set default 1')
    const before = await schemaOf(db)
    await assert.rejects(db.query(migration(2)), {
      code: 'AS007',
      message: /businesses\.youtube: NOT NULL, with the default/,
    })
    await db.query('rollback')
    assert.deepEqual(await schemaOf(db), before)
  })

  await t.test('the path of the migrating login is taken anew, and none is one too', async (t) => {
    const db = await freshDatabase(t, major, { migratedTo: 0, legacyData: true })
    const path = async () => (await db.one('select app_search_path as path from app_secrets.settings')).path
    const as = async (setting, ...files) => {
      await db.query(`alter role postgres in database ${db.name} set search_path = ${setting}`)
      for (const version of files) await apply(db, version)
    }
    await as("''", 2, 3, 4, 5)
    assert.equal(await path(), 'pg_catalog')
    await as('public, extensions', 2)
    assert.equal(await path(), 'public, extensions')
    // Of a login that only may act as the owner it is not the app's.
    const deployer = `deployer_${major}`
    await db.query(
      `create role ${deployer} in role postgres; alter role ${deployer} set role = postgres`,
      [],
      'supabase_admin',
    )
    const client = await db.connect('supabase_admin')
    await client.query(`set session authorization ${deployer}; set role postgres`)
    await client.query(migration(2))
    assert.equal(await path(), 'public, extensions')
    await db.disconnect(client)
    await db.query(`drop role ${deployer}`, [], 'supabase_admin')
  })

  await t.test(
    'a plaintext column that somebody dropped or renamed is followed, or taken as dropped, with a warning',
    async (t) => {
      const db = await freshDatabase(t, major, { legacyData: true })
      const id = await addBusiness(db, {
        gemini_api_key: 'one',
        grok_api_key: 'two',
        claude_api_key: 'three',
      })
      await db.query('alter table public.businesses drop column grok_api_key cascade')
      await db.query('alter table public.businesses rename claude_api_key to claude')
      const stale = await db.query('select object, problem from app_secrets.stale_objects()')
      for (const column of ['grok_api_key', 'claude_api_key']) {
        assert.ok(
          stale.some(({ object }) => object === `public.businesses.${column}`),
          column,
        )
      }
      const client = await db.connect()
      const notices = []
      client.on('notice', ({ severity, message }) => severity === 'WARNING' && notices.push(message))
      for (const version of [2, 4, 3]) await client.query(migration(version))
      assert.match(
        notices.join('\n'),
        /grok_api_key: no such column any more; needed: nothing: grok_api_key is synced with no/,
      )
      assert.match(
        notices.join('\n'),
        /claude_api_key: its name is claude now; needed: nothing: claude_api_key is synced with it/,
      )
      assert.deepEqual(await db.query('select * from app_secrets.stale_objects()'), [])
      await db.query(
        "update public.businesses set gemini_api_key = 'old code', claude = 'old code' where id = $1",
        [id],
      )
      await set(db, id, { grok_api_key: 'new code' })
      assert.deepEqual(await clear(db, id), {
        gemini_api_key: 'old code',
        grok_api_key: 'new code',
        claude_api_key: 'old code',
      })
      await set(db, id, { claude_api_key: 'new code' })
      assert.equal(
        (await db.one('select claude from public.businesses where id = $1', [id])).claude,
        'new code',
      )
    },
  )
})

async function secretsOf(db) {
  return (
    await db.query(
      'select to_jsonb(d) - $1 as row from public.decrypted_business_secrets d order by business_id',
      ['updated_at'],
    )
  ).map(({ row }) => row)
}

for (const major of majors) {
  test(`a platform of before 2026 (PostgreSQL ${major})`, async (t) => {
    const own = await startCluster(major, { dataApi: 'legacy' })
    after(() => own.stop())
    const old = new TestCluster(own.description)

    await t.test('several databases of one server may be migrated at the same time', async (t) => {
      // The templates of this server are not built yet, so the role that 004 makes is not there either.
      const databases = []
      for (let i = 0; i < 3; i++) databases.push(await old.bareDatabase(t))
      await Promise.all(
        databases.map(async (db) => {
          for (const version of versions) await apply(db, version)
        }),
      )
    })

    await t.test('grants and policies come out the same under both default privileges', async (t) => {
      const [before2026, now] = [await old.freshDatabase(t), await freshDatabase(t, major)]
      const ours = async (db) =>
        Object.entries(await schemaOf(db)).filter(([object]) => /secret/.test(object))
      assert.deepEqual(await ours(before2026), await ours(now))
      const id = await addBusiness(before2026)
      await insertSecrets(before2026, id, { gemini_api_key: 'one' })
      await set(before2026, id, { grok_api_key: 'two' })
      assert.deepEqual(await clear(before2026, id), { gemini_api_key: 'one', grok_api_key: 'two' })
    })
  })
}
