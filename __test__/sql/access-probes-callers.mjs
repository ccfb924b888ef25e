// Probes of who calls: scopes, the roles of the platform, and what a restore has granted.

import assert from 'node:assert/strict'
import { businesses } from './access-fixture.mjs'
import { as, attempt } from './access-probe-tools.mjs'

const { A } = businesses

export const probes = {
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
      `select value, status from public.get_business_secrets_batch(
         array_fill('${A}'::uuid, array[4]), '{gemini_api_key,google_refresh_token,grok_api_key,nothing}')`,
    )
    assert.deepEqual(rows, [
      { value: 'plain-A-gemini', status: 'ok' },
      { value: null, status: 'permission_denied' },
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
}
