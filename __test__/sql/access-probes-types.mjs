// Probes of types of the caller's own: for types the temporary schema comes first unless a path says otherwise, so a
// temporary type named like a built-in one would run its owner's code with the rights of whatever names that type.

import assert from 'node:assert/strict'
import { become, cells } from './access-cells.mjs'
import { businesses } from './access-fixture.mjs'
import { actors } from './access-matrix.mjs'
import { attempt, listOf, oursBy } from './access-probe-tools.mjs'

const { A, D } = businesses

/** How a type runs code of its owner's: a domain by its CHECK, the others by a cast that assignments use. */
const makers = {
  domains: (type) => `
    create function pg_temp.spy_${type}(p_value pg_catalog.${type}) returns pg_catalog.bool language plpgsql as $$
    begin
      raise notice '${type} as %', current_user;
      return true;
    end $$;
    create domain pg_temp.${type} as pg_catalog.${type} check (pg_temp.spy_${type}(value))`,
  enums: (type) => `create type pg_temp.${type} as enum ('one'); ${cast(type)}`,
  composites: (type) => `create type pg_temp.${type} as (field pg_catalog.int4); ${cast(type)}`,
}

const cast = (type) => `
  create function pg_temp.spy_${type}(p_value pg_catalog.${type}) returns pg_temp.${type} language plpgsql as $$
  begin
    raise notice '${type} as %', current_user;
    return null;
  end $$;
  create cast (pg_catalog.${type} as pg_temp.${type}) with function pg_temp.spy_${type}(pg_catalog.${type}) as implicit`

/** Every entry that the matrix knows, and some that go further than its cells. */
const more = {
  login: [
    `select public.set_business_secrets('${A}', '{"gemini_api_key": "new", "google_token_expiry": "2030-01-01T00:00:00Z"}'::pg_catalog.jsonb)`,
    `select public.set_business_secrets('${A}', '{"gemini_api_key": null}'::pg_catalog.jsonb)`,
  ],
  owner: [
    `insert into public.business_secrets (business_id, grok_api_key) values ('${D}', 'new')`,
    'select count(*) from public.business_secrets',
    'delete from public.business_secrets',
  ],
}
const entries = (actor, version) => [
  ...cells(version)
    // The platform's own entries, Vault's, are the platform's to guard.
    .filter(({ actor: who, object, operation, sql }) => {
      const isOurs = !object.startsWith('vault.') && operation !== 'privileges'
      return who === actor && isOurs && !/^\s*explain/.test(sql)
    })
    // The caller's own statement names the real types: what is to be shown is what runs behind it.
    .map(({ sql }) => sql.replaceAll(/::(uuid|text|bytea)\b/g, '::pg_catalog.$1')),
  ...(more[actor] ?? []),
]

export const probes = {
  ...Object.fromEntries(
    ['anon', 'owner', 'service', 'login'].flatMap((actor) =>
      Object.keys(makers).map((kind) => [
        `temporary ${kind} of the actor ${actor} run with nobody else's rights`,
        async (client) => {
          assert.deepEqual(await ranAsOthers(client, actor, makers[kind]), [])
        },
      ]),
    ),
  ),

  async "temporary types of a user do not run in the app's own access function"(client) {
    // Its path is the app's: what it names without a schema is looked up in the temporary one first.
    await client.query(`create or replace function app_secrets.accessible_business_ids() returns setof pg_catalog.uuid
      language plpgsql stable security definer set search_path = public as $$
      declare
        v_state text := 'any';
      begin
        return query select b.id from public.businesses b where v_state = 'any';
      end $$`)
    assert.deepEqual(await ranAsOthers(client, 'owner', makers.domains), [])
  },
}

/** The types that functions name most. With more of them at once a call may fail before it comes to the next. */
const usual = ['jsonb', 'text', 'timestamptz', 'uuid', 'bytea', 'int4', 'int8', 'bool', 'name', 'interval']

/** As whom code of the types ran while an actor with such types went through every entry, but for the actor itself. */
async function ranAsOthers(client, actor, maker) {
  const types = await namedTypes(client)
  assert.ok(types.length > usual.length, String(types))
  const [version] = await listOf(client, 'select max(version) from app_secrets.migrations')
  const { login, role } = actors[actor]
  const notices = new Set()
  const note = ({ message }) => {
    const [, ranAs] = / as (\S+)$/.exec(message) ?? []
    if (ranAs && ranAs !== login && ranAs !== role) notices.add(message)
  }
  client.on('notice', note)
  for (const some of [usual, types]) {
    await client.query('savepoint types')
    await recompile(client)
    await client.query(`set local session authorization ${login}`)
    await client.query(some.map(maker).join(';\n'))
    for (const statement of entries(actor, Number(version))) {
      await attempt(client, async () => {
        await client.query(become(actor).join(';') || 'select')
        await client.query(statement)
      })
      await client.query("reset role; select pg_catalog.set_config('request.jwt.claims', '', true)")
    }
    await client.query('rollback to savepoint types')
    await client.query('reset session authorization; reset role')
  }
  client.off('notice', note)
  return [...notices]
}

/** The built-in types that functions of ours or the platform's name, or take. */
function namedTypes(client) {
  return listOf(
    client,
    `select distinct t.typname
     from pg_catalog.pg_type t
     join pg_catalog.pg_proc p on p.prosrc ~ ('\\m' || t.typname || '\\M') or t.oid = any (p.proargtypes)
     join pg_catalog.pg_namespace n on n.oid = p.pronamespace
     where t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace and t.typtype = 'b' and t.typelem = 0
       and (${oursBy('p.proname')} or n.nspname in ('vault', 'auth'))`,
  )
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
