// Probes of what there is: functions, policies, owners, roles and private tables.

import assert from 'node:assert/strict'
import { businesses, users } from './access-fixture.mjs'
import { expectations, functionsAt, policies, privateTables } from './access-matrix.mjs'
import { as, listOf, oursBy, plant, referenceOf, rowsOf } from './access-probe-tools.mjs'

const { A, B } = businesses

async function versionOf(client) {
  const [{ version }] = await rowsOf(
    client,
    'select pg_catalog.max(version) as version from app_secrets.migrations',
  )
  return version
}

export const probes = {
  ...Object.fromEntries(
    Object.keys(privateTables).map((table) => [
      `${table} shows no row even to a role that was granted it`,
      async (client) => {
        await client.query(
          `insert into app_secrets.backfill_progress (phase) values ('fill') on conflict do nothing;
           insert into app_secrets.dropped_objects (kind, object) values ('index', 'an_index');
           insert into app_secrets.access_marks values (gen_random_uuid(), 'login', now(), 'name', 0, 1);
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
