// Named checks of what the matrix cannot show. Each gets a superuser's client in a transaction that is rolled back, and
// throws an AssertionError where the protection that it is named after is gone.

import assert from 'node:assert/strict'
import { become } from './access-cells.mjs'
import { businesses, users } from './access-fixture.mjs'
import { actors, expectations, functionsAt, policies, privateTables } from './access-matrix.mjs'

const { A, B, D } = businesses

const sealedColumns = [
  'gemini_api_key',
  'grok_api_key',
  'claude_api_key',
  'youtube_api_key',
  'kling_access_key',
  'kling_secret_key',
  'global_sms_api_key',
  'whatsapp_api_key',
  'google_access_token',
  'google_refresh_token',
]

const ours = "n.nspname = 'app_secrets' or (n.nspname = 'public' and %name like '%business_secret%')"
const oursBy = (column) => ours.replace('%name', column)

async function as(client, actor, sql, values) {
  await client.query(`savepoint actor;${become(actor, { impersonate: true }).join(';')}`)
  try {
    return (await client.query(sql, values)).rows
  } catch (error) {
    await client.query('rollback to savepoint actor')
    throw error
  } finally {
    // A role that is set in a subtransaction stays set when that is released.
    await client.query(
      "reset session authorization; reset role; select pg_catalog.set_config('request.jwt.claims', '', true)",
    )
  }
}

async function attempt(client, work) {
  await client.query('savepoint attempt')
  try {
    await work()
    return 'ok'
  } catch (error) {
    if (!error.code) throw error
    await client.query('rollback to savepoint attempt')
    return error.code
  }
}

const rowsOf = async (client, sql, values) => (await client.query(sql, values)).rows
const listOf = async (client, sql, values) =>
  (await rowsOf(client, sql, values)).map((row) => Object.values(row).join(' ')).sort()

/** Puts a text into a cell around the triggers, as a restore or an attacker with that power would. */
async function plant(client, business, column, text) {
  await client.query('set local session_replication_role = replica')
  await client.query(`update public.business_secrets set ${column} = $2 where business_id = $1`, [
    business,
    text,
  ])
  await client.query('set local session_replication_role = origin')
}

async function referenceOf(client, business, column = 'gemini_api_key') {
  const [row] = await rowsOf(client, 'select * from public.business_secrets where business_id = $1', [
    business,
  ])
  return row[column]
}

/** A session keeps what it compiled, with the types that it saw then; a new definition makes it look again. */
async function recompile(client) {
  await client.query(`do $$
    declare
      v_function pg_catalog.regprocedure;
    begin
      for v_function in
        select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
        where ${oursBy('p.proname')} or n.nspname = 'vault'
      loop
        execute pg_catalog.format('alter function %s cost 100', v_function);
      end loop;
    end $$`)
}

/**
 * Gives as whom the CHECKs of temporary domains named like built-in types ran, while an actor with such domains runs these
 * statements, but for the actor itself. The statements themselves may fail.
 */
async function withSpies(client, actor, statements) {
  await recompile(client)
  const { login, role } = actors[actor]
  await client.query(`set local session authorization ${login}`)
  for (const type of [
    'jsonb',
    'text',
    'timestamptz',
    'uuid',
    'bytea',
    'int4',
    'int8',
    'bool',
    'name',
    'interval',
  ]) {
    await client.query(`
      create function pg_temp.spy_${type}(p_value pg_catalog.${type}) returns pg_catalog.bool language plpgsql as $$
      begin
        if current_user not in ('${login}', '${role ?? login}') then
          raise notice '${type} as %', current_user;
        end if;
        return true;
      end $$`)
  }
  for (const type of [
    'jsonb',
    'text',
    'timestamptz',
    'uuid',
    'bytea',
    'int4',
    'int8',
    'bool',
    'name',
    'interval',
  ]) {
    await client.query(
      `create domain pg_temp.${type} as pg_catalog.${type} check (pg_temp.spy_${type}(value))`,
    )
  }
  const notices = new Set()
  const note = ({ message }) => / as /.test(message) && notices.add(message)
  client.on('notice', note)
  for (const statement of statements) {
    await attempt(client, async () => {
      await client.query(become(actor).join(';') || 'select')
      await client.query(statement)
    })
    await client.query("reset role; select pg_catalog.set_config('request.jwt.claims', '', true)")
  }
  client.off('notice', note)
  return [...notices]
}

async function versionOf(client) {
  const [{ version }] = await rowsOf(
    client,
    'select pg_catalog.max(version) as version from app_secrets.migrations',
  )
  return version
}

export const probes = {
  async 'a planted reference to another cell reveals nothing in the view'(client) {
    await plant(client, A, 'gemini_api_key', await referenceOf(client, B))
    await plant(client, A, 'grok_api_key', await referenceOf(client, A, 'google_refresh_token'))
    const [row] = await as(
      client,
      'owner',
      'select * from public.decrypted_business_secrets where business_id = $1',
      [A],
    )
    assert.deepEqual([row.gemini_api_key, row.grok_api_key], [null, null])
  },

  async 'a planted reference to another cell reveals nothing through the RPC'(client) {
    await plant(client, A, 'gemini_api_key', await referenceOf(client, B))
    const rows = await as(
      client,
      'login',
      "select value, status from public.get_business_secrets_batch(array[$1, $1]::uuid[], '{gemini_api_key,google_refresh_token}')",
      [A],
    )
    assert.deepEqual(rows, [
      { value: null, status: 'undecryptable' },
      { value: 'plain-A-google', status: 'ok' },
    ])
  },

  async 'a reference to another cell is stored as text'(client) {
    const foreign = await referenceOf(client, B)
    const insert = 'insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)'
    await as(client, 'owner', insert, [D, foreign])
    await as(
      client,
      'owner',
      `${insert} on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
      [A, foreign],
    )
    await as(client, 'owner', 'update public.business_secrets set grok_api_key = $2 where business_id = $1', [
      A,
      foreign,
    ])
    const seen = await as(
      client,
      'owner',
      'select gemini_api_key, grok_api_key from public.decrypted_business_secrets where business_id in ($1, $2) order by 1, 2',
      [A, D],
    )
    assert.deepEqual(seen, [
      { gemini_api_key: foreign, grok_api_key: foreign },
      { gemini_api_key: foreign, grok_api_key: null },
    ])
    assert.notEqual(await referenceOf(client, D), foreign)
  },

  async 'a row keeps its business'(client) {
    const move = () =>
      as(client, 'owner', 'update public.business_secrets set business_id = $2 where business_id = $1', [
        A,
        D,
      ])
    assert.equal(await attempt(client, move), 'AS002')
  },

  async 'a row cannot be moved to another tenant, triggers or not'(client) {
    await client.query('set local session_replication_role = replica')
    await client.query('delete from public.business_secrets where business_id <> $1', [A])
    // Reads no column: a WHERE would bring in the policy for SELECT, which refuses too.
    const move = () => as(client, 'owner', 'update public.business_secrets set business_id = $1', [B])
    assert.equal(await attempt(client, move), '42501')
  },

  ...Object.fromEntries(
    sealedColumns.map((column) => [
      `${column} holds nothing but a reference, triggers or not`,
      async (client) => {
        assert.equal(await attempt(client, () => plant(client, A, column, 'plaintext')), '23514')
      },
    ]),
  ),

  async 'a cell that goes takes its Vault row along'(client) {
    const count = async (business) =>
      (
        await listOf(client, 'select name from vault.secrets where name like $1', [
          `business_secrets/${business}/%key`,
        ])
      ).length
    await client.query("update public.business_secrets set grok_api_key = 'another' where business_id = $1", [
      A,
    ])
    assert.equal(await count(A), 2)
    await as(
      client,
      'owner',
      'update public.business_secrets set gemini_api_key = null where business_id = $1',
      [A],
    )
    assert.equal(await count(A), 1)
    await as(client, 'owner', 'delete from public.business_secrets where business_id = $1', [A])
    assert.equal(await count(A), 0)
  },

  async 'a truncated table leaves nothing in Vault'(client) {
    await as(client, 'postgres', 'truncate public.business_secrets')
    assert.deepEqual(
      await listOf(client, "select name from vault.secrets where name like 'business_secrets/%'"),
      [],
    )
  },

  ...Object.fromEntries(
    Object.keys(privateTables).map((table) => [
      `${table} shows no row even to a role that was granted it`,
      async (client) => {
        await client.query(
          `insert into app_secrets.backfill_progress (phase) values ('fill') on conflict do nothing;
           insert into app_secrets.dropped_objects (kind, object) values ('index', 'an_index');
           insert into app_secrets.access_marks values (gen_random_uuid(), 'login', now(), '{}');
           insert into app_secrets.rekey (id, proof) values (gen_random_uuid(), '');
           insert into app_secrets.rekey_wraps (vault_id, fingerprint) values (gen_random_uuid(), '');
           insert into app_secrets.verifications (mismatched, dangling, undecryptable, unsealed, orphans, proven)
           values (0, 0, 0, 0, 0, true);
           insert into app_secrets.leases values (gen_random_uuid(), 'name', gen_random_uuid(), 'login', now())`,
        )
        await client.query('grant usage on schema app_secrets to authenticated')
        await client.query(`grant select on ${table} to authenticated`)
        assert.notEqual((await rowsOf(client, `select from ${table}`)).length, 0)
        assert.equal((await as(client, 'owner', `select from ${table}`)).length, 0)
      },
    ]),
  ),

  async 'a login in service_role, without BYPASSRLS, works by its policy'(client) {
    const login = `probe_${process.pid}_${Date.now()}`
    await client.query(`create role ${login} login inherit nobypassrls in role service_role`)
    await client.query(`set local session authorization ${login}`)
    const { rows } = await client.query(
      "update public.business_secrets set grok_api_key = 'new' returning business_id",
    )
    await client.query('reset session authorization; reset role')
    assert.equal(rows.length, 3)
  },

  async 'policies are the ones listed'(client) {
    const found = await listOf(
      client,
      `select format('%s.%s', n.nspname, c.relname), p.polname, p.polcmd, (
        select pg_catalog.string_agg(coalesce(r.rolname, 'public'), ',')
        from pg_catalog.unnest(p.polroles) as o(oid) left join pg_catalog.pg_roles r on r.oid = o.oid)
      from pg_catalog.pg_policy p
      join pg_catalog.pg_class c on c.oid = p.polrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where ${oursBy('c.relname')}`,
    )
    assert.deepEqual(found, policies.map((policy) => policy.join(' ')).sort())
  },

  async 'every function is listed, with whom it runs as'(client) {
    const found = await listOf(
      client,
      `select format('%s.%s(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes)),
        case when p.prosecdef then 'definer' else 'invoker' end
      from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where ${oursBy('p.proname')}`,
    )
    assert.deepEqual(
      found,
      Object.entries(functionsAt(await versionOf(client)))
        .map((entry) => entry.join(' '))
        .sort(),
    )
  },

  async 'every relation has a row in the matrix'(client) {
    const found = await listOf(
      client,
      `select format('%s.%s', n.nspname, c.relname)
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and (${oursBy('c.relname')})`,
    )
    const listed = new Set(expectations(5).map(({ object }) => object))
    assert.deepEqual(
      found.filter((name) => !listed.has(name)),
      [],
    )
  },

  async 'every function puts the temporary schema last in its search_path'(client) {
    const loose = await listOf(
      client,
      `select p.oid::pg_catalog.regprocedure from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where (${oursBy('p.proname')}) and not exists (
        select from unnest(p.proconfig) as c(setting) where c.setting like 'search\\_path=%, pg\\_temp')`,
    )
    assert.deepEqual(loose, [])
  },

  async 'an operator of the caller does not run in a function of ours'(client) {
    await client.query(`
      create schema trap;
      grant usage on schema trap to authenticated;
      create function trap.join(text, uuid) returns text language sql
        return 'business_secrets/' || '${B}';
      create operator trap.|| (function = trap.join, leftarg = text, rightarg = uuid)`)
    await plant(client, A, 'gemini_api_key', await referenceOf(client, B))
    await client.query('set local search_path = trap, pg_catalog')
    const [row] = await as(
      client,
      'owner',
      'select gemini_api_key from public.decrypted_business_secrets where business_id = $1',
      [A],
    )
    assert.equal(row.gemini_api_key, null)
  },

  async "a caller's temporary types run with nobody else's rights"(client) {
    const ran = await withSpies(client, 'login', [
      `select public.get_business_secrets('${A}')`,
      `select * from public.list_business_secrets('${A}')`,
      `select * from public.get_business_secrets_columns(array['${A}']::pg_catalog.uuid[], array['gemini_api_key']::pg_catalog.text[], false)`,
      `select public.set_business_secrets('${A}', '{"gemini_api_key": "new", "google_token_expiry": "2030-01-01T00:00:00Z"}'::pg_catalog.jsonb)`,
      `select public.undo_business_secret('${A}', 'gemini_api_key')`,
    ])
    assert.deepEqual(ran, [])
  },

  async "a user's temporary types run with nobody else's rights"(client) {
    const ran = await withSpies(client, 'owner', [
      'select count(*) from public.business_secrets',
      'select * from public.decrypted_business_secrets',
      'select * from public.business_secret_status',
      "update public.business_secrets set gemini_api_key = 'new'",
      `insert into public.business_secrets (business_id, grok_api_key) values ('${D}', 'new')`,
      "update public.business_secret_status set value = 'new' where name = 'claude_api_key'",
    ])
    assert.deepEqual(ran, [])
  },

  async "the platform's role's temporary types run with nobody else's rights"(client) {
    const ran = await withSpies(client, 'service', [
      'select * from public.decrypted_business_secrets',
      "update public.business_secrets set gemini_api_key = 'new'",
      'delete from public.business_secrets',
    ])
    assert.deepEqual(ran, [])
  },

  async 'everything belongs to the migration role'(client) {
    const strangers = await listOf(
      client,
      `select format('%s.%s', n.nspname, p.proname), p.proowner::pg_catalog.regrole
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where (${oursBy('p.proname')}) and p.proowner <> 'postgres'::pg_catalog.regrole
      union all
      select format('%s.%s', n.nspname, c.relname), c.relowner::pg_catalog.regrole
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where (${oursBy('c.relname')}) and c.relowner <> 'postgres'::pg_catalog.regrole
      union all
      select n.nspname, n.nspowner::pg_catalog.regrole from pg_catalog.pg_namespace n
        where n.nspname = 'app_secrets' and n.nspowner <> 'postgres'::pg_catalog.regrole`,
    )
    assert.deepEqual(strangers, [])
  },

  async 'the views run as their callers, behind a barrier'(client) {
    const views = await rowsOf(
      client,
      `select c.relname, c.reloptions from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'v' and (${oursBy('c.relname')})`,
    )
    assert.equal(views.length, 3)
    for (const { relname, reloptions } of views)
      assert.deepEqual(reloptions?.sort(), ['security_barrier=true', 'security_invoker=true'], relname)
  },

  async 'a login without a scope reads and writes nothing'(client) {
    await client.query("delete from app_secrets.scopes where login = 'app_service'")
    const rows = await as(
      client,
      'login',
      `select * from public.get_business_secrets_batch(array['${A}']::uuid[], '{gemini_api_key}')`,
    )
    assert.deepEqual(rows, [{ ord: 1, value: null, version: rows[0].version, status: 'permission_denied' }])
    const refused = async (sql) =>
      assert.equal(await attempt(client, () => as(client, 'login', sql)), 'AS005', sql)
    await refused(`select public.get_business_secrets('${A}')`)
    await refused(`select public.set_business_secrets('${A}', '{"gemini_api_key": "new"}')`)
    await refused(`select public.undo_business_secret('${A}', 'gemini_api_key')`)
    await refused(`select * from public.lease_business_secret('${A}', 'gemini_api_key')`)
    assert.deepEqual(await as(client, 'login', `select * from public.list_business_secrets('${A}')`), [])
  },

  async 'a login reads and writes the names of its scope and no others'(client) {
    await client.query("delete from app_secrets.scopes where login = 'app_service'")
    await client.query("select app_secrets.grant_scope('app_service', '{gemini_api_key}', true, false)")
    await client.query("select app_secrets.grant_scope('app_service', '{grok_api_key}', false, true)")
    const rows = await as(
      client,
      'login',
      `select value, status from public.get_business_secrets_batch(array['${A}', '${A}', '${A}']::uuid[], '{gemini_api_key,google_refresh_token,nothing}')`,
    )
    assert.deepEqual(rows, [
      { value: 'plain-A-gemini', status: 'ok' },
      { value: null, status: 'permission_denied' },
      { value: null, status: 'unknown_secret' },
    ])
    const set = (values) =>
      as(client, 'login', `select public.set_business_secrets('${A}', '${JSON.stringify(values)}')`)
    assert.equal(await attempt(client, () => set({ grok_api_key: 'new' })), 'ok')
    assert.equal(await attempt(client, () => set({ grok_api_key: 'newer', gemini_api_key: 'no' })), 'AS005')
    const listed = await as(client, 'login', `select name, last4 from public.list_business_secrets('${A}')`)
    assert.deepEqual(listed, [
      { name: 'gemini_api_key', last4: 'mini' },
      { name: 'grok_api_key', last4: null },
    ])
  },

  async 'what a restore has granted opens nothing'(client) {
    await client.query(`grant all on all tables in schema public to anon, authenticated;
      grant all on all functions in schema public to anon, authenticated`)
    // Without the notice of it, which refuses everybody: the refusal by who calls has to hold by itself.
    await client.query(
      `revoke all on function public.set_business_secrets(uuid, jsonb, jsonb, jsonb) from anon`,
    )
    for (const actor of ['anon', 'nobody']) {
      for (const sql of [
        `select public.get_business_secrets('${A}')`,
        `select * from public.get_business_secrets_columns(array['${A}']::uuid[], '{gemini_api_key}', false)`,
        `select * from public.list_business_secrets('${A}')`,
        `select public.undo_business_secret('${A}', 'gemini_api_key')`,
      ]) {
        assert.equal(await attempt(client, () => as(client, actor, sql)), '42501', `${actor}: ${sql}`)
      }
      const rows = await as(client, actor, 'select * from public.business_secrets').catch(({ code }) => code)
      assert.ok(rows === '42501' || rows.length === 0)
    }
  },

  async 'functions that are open to anon serve nobody'(client) {
    await client.query(
      'grant execute on function public.set_business_secrets(uuid, jsonb, jsonb, jsonb) to anon',
    )
    const get = () => as(client, 'login', `select public.get_business_secrets('${A}')`)
    assert.equal(await attempt(client, get), 'AS007')
  },

  async 'the service group is nobody, and in no other role'(client) {
    const [role] = await rowsOf(
      client,
      `select rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication
      from pg_catalog.pg_roles where rolname = 'app_secrets_service'`,
    )
    assert.deepEqual(new Set(Object.values(role)), new Set([false]))
    const memberships = await listOf(
      client,
      `select m.member::pg_catalog.regrole, m.roleid::pg_catalog.regrole from pg_catalog.pg_auth_members m
      where m.member = 'app_secrets_service'::pg_catalog.regrole
        or (m.roleid = 'app_secrets_service'::pg_catalog.regrole
          and m.member in (select oid from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'authenticator')))`,
    )
    assert.deepEqual(memberships, [])
  },

  async 'the audit names the login that connected and the claimed user'(client) {
    await as(
      client,
      'owner',
      "update public.business_secrets set grok_api_key = 'new' where business_id = $1",
      [A],
    )
    const rows = await rowsOf(
      client,
      "select login, jwt_sub from app_secrets.audit_log where business_id = $1 and name = 'grok_api_key'",
      [A],
    )
    assert.deepEqual(rows, [{ login: 'authenticator', jwt_sub: users.owner }])
  },
}

/** Runs a probe in the client's transaction and undoes it; gives what is wrong, or nothing. */
export async function runProbe(client, name) {
  assert.ok(probes[name], `no probe is called: ${name}`)
  await client.query('savepoint probe')
  try {
    await probes[name](client)
  } catch (error) {
    if (!(error instanceof assert.AssertionError))
      throw new Error(`${name}: ${error.message}`, { cause: error })
    return error.message
  } finally {
    await client.query('rollback to savepoint probe')
  }
}
