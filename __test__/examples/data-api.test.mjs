// The stand-in for PostgREST, asked by the real supabase-js: roles, claims, transactions, statuses and errors.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { installApp } from '../../dev/app-install.mjs'
import { startDataApi } from '../../dev/data-api.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'
import { appDatabase, dataApi, forged, owner, stranger } from './support/database.mjs'
import { supabaseClient } from './support/traffic.mjs'

test('the Data API', async (t) => {
  await installApp()
  const { db, business, other } = await appDatabase(t)
  await db.query(`
    create table public.things (id int primary key, name text not null default 'unnamed', n bigint);
    grant all on public.things to authenticated, service_role;
    create table public.attempts (at timestamptz);
    create sequence public.tries;
    grant usage on sequence public.tries to authenticated;
    create function public.sees() returns jsonb language sql stable as $$
      select jsonb_build_object('role', current_user, 'sub', auth.uid(), 'read_only', current_setting('transaction_read_only')) $$;
    create function public.sees_volatile() returns jsonb language sql volatile as $$
      select jsonb_build_object('read_only', current_setting('transaction_read_only')) $$;
    create function public.fails(code text) returns void language plpgsql as $$
      begin raise exception 'as asked' using errcode = code, hint = 'a hint'; end $$;
    create function public.fails_twice() returns bigint language plpgsql as $$
      declare n bigint := nextval('public.tries');
      begin if n < 3 then raise exception 'again' using errcode = '40001'; end if; return n; end $$;
    create function public.rows_of(p_count int) returns table (n int) language sql stable as $$
      select generate_series(1, p_count) $$;
    grant execute on all functions in schema public to anon, authenticated, service_role`)
  const api = await dataApi(t, db)
  const user = supabaseClient(api, api.keys.publishable, api.sign({ sub: owner }))
  const anon = supabaseClient(api, api.keys.publishable)
  const service = supabaseClient(api, api.keys.secret)
  const brief = ({ status, data, error }) => [status, error ? error.code : data]

  await t.test('the key or the token decides the role, and the claims arrive', async () => {
    assert.deepEqual((await user.rpc('sees')).data, { role: 'authenticated', sub: owner, read_only: 'on' })
    assert.equal((await anon.rpc('sees')).data.role, 'anon')
    assert.equal((await service.rpc('sees')).data.role, 'service_role')
    for (const [key, role] of [
      [api.keys.anon, 'anon'],
      [api.keys.serviceRole, 'service_role'],
    ]) {
      assert.equal((await supabaseClient(api, key).rpc('sees')).data.role, role)
    }
  })

  await t.test('what is not signed by the project, or is too old, is 401', async () => {
    const attempts = {
      forged: [forged({ sub: owner }), 'PGRST301'],
      expired: [api.sign({ sub: owner, exp: 1 }), 'PGRST303'],
      unsigned: [`${api.sign({ sub: owner }).split('.').slice(0, 2).join('.')}.`, 'PGRST301'],
      'no token': ['x', 'PGRST301'],
    }
    for (const [what, [token, code]] of Object.entries(attempts)) {
      const { status, error } = await supabaseClient(api, api.keys.publishable, token).rpc('sees')
      assert.deepEqual([status, error.code], [401, code], what)
    }
    const { status } = await supabaseClient(api, 'sb_publishable_made_up').rpc('sees')
    assert.equal(status, 401)
  })

  await t.test('a secret key in a browser is refused', async () => {
    const response = await fetch(`${api.url}/rest/v1/things`, {
      headers: { apikey: api.keys.secret, 'user-agent': 'Mozilla/5.0' },
    })
    assert.equal(response.status, 401)
  })

  await t.test('a read, and a function that is not volatile, run in a read-only transaction', async () => {
    assert.equal((await user.rpc('sees')).data.read_only, 'on')
    assert.equal((await user.rpc('sees_volatile')).data.read_only, 'off')
    assert.equal((await user.rpc('sees_volatile', {}, { get: true })).data.read_only, 'on')
  })

  await t.test('statuses are PostgREST’s', async () => {
    assert.deepEqual(brief(await user.from('things').insert({ id: 1 })), [201, null])
    assert.deepEqual(brief(await user.from('things').insert({ id: 1 })), [409, '23505'])
    assert.deepEqual(brief(await user.from('things').insert({ id: 2, nothing: 1 })), [400, 'PGRST204'])
    assert.deepEqual(brief(await user.from('nothing').select()), [404, 'PGRST205'])
    assert.deepEqual(brief(await user.rpc('nothing')), [404, 'PGRST202'])
    assert.deepEqual(brief(await user.from('things').update({ name: 'a' }).eq('id', 1)), [204, null])
    assert.deepEqual(brief(await user.from('things').upsert({ id: 1, name: 'b' })), [200, null])
    assert.deepEqual(brief(await user.from('things').upsert({ id: 2, name: 'c' })), [201, null])
    assert.deepEqual(brief(await user.from('things').select('id').single()), [406, 'PGRST116'])
    assert.deepEqual(brief(await user.from('things').select('id').eq('id', 9).maybeSingle()), [200, null])
    assert.deepEqual(brief(await user.from('things').delete().eq('id', 2).select('id')), [200, [{ id: 2 }]])
    assert.deepEqual(brief(await anon.from('things').select()), [401, '42501'])
    assert.deepEqual(brief(await user.from('attempts').select()), [403, '42501'])
    assert.deepEqual(brief(await user.rpc('fails', { code: 'PT409' })), [409, 'PT409'])
    assert.deepEqual(brief(await user.rpc('fails', { code: 'AS004' })), [400, 'AS004'])
    assert.deepEqual(brief(await user.rpc('fails', { code: 'P0001' })), [400, 'P0001'])
    assert.deepEqual(brief(await user.rpc('rows_of', { p_count: 2 })), [200, [{ n: 1 }, { n: 2 }]])
  })

  await t.test('what a write was to give back and is not one row is undone', async () => {
    const { status } = await user
      .from('things')
      .update({ name: 'changed' })
      .gte('id', 0)
      .eq('id', 8)
      .select()
      .single()
    assert.equal(status, 406)
    await user.from('things').insert([{ id: 10 }, { id: 11 }], { defaultToNull: false })
    assert.equal(
      (await user.from('things').update({ name: 'both' }).gte('id', 10).select().single()).status,
      406,
    )
    const { data, count } = await user
      .from('things')
      .select('name', { count: 'exact' })
      .in('id', [10, 11])
      .limit(1)
    assert.deepEqual([data, count], [[{ name: 'unnamed' }], 2])
  })

  await t.test('40001 is repeated until it ends otherwise', async () => {
    const before = api.counters.repeated
    assert.equal((await user.rpc('fails_twice')).data, 3)
    assert.equal(api.counters.repeated, before + 2)
  })

  await t.test('values, names and filters are no SQL', async () => {
    const evil = `'; drop table public.things; --`
    assert.equal((await user.from('things').insert({ id: 20, name: evil })).error, null)
    assert.deepEqual((await user.from('things').select('id').eq('name', evil)).data, [{ id: 20 }])
    assert.equal(
      (await user.from('things').select('id').eq('id"; drop table public.things; --', 1)).status,
      501,
    )
    assert.equal((await user.from('things').select('id;drop')).status, 501)
    assert.deepEqual(
      (await user.from('things').select('key:id').in('name', [evil, 'x']).is('n', null)).data,
      [{ key: 20 }],
    )
  })

  await t.test('what it does not know is refused, and not left out', async () => {
    assert.equal((await user.from('things').select('id').or('id.eq.1,id.eq.2')).status, 501)
    assert.equal((await user.from('businesses').select('id, business_secrets(*)')).status, 501)
    assert.equal((await user.from('things').select('id').textSearch('name', 'x')).status, 501)
  })

  await t.test('Row Level Security decides whose businesses there are', async () => {
    assert.deepEqual((await user.from('businesses').select('id')).data, [{ id: business }])
    const foreign = supabaseClient(api, api.keys.publishable, api.sign({ sub: stranger }))
    assert.deepEqual((await foreign.from('businesses').select('id')).data, [{ id: other }])
  })

  await t.test('signing in gives a session, a refresh token is good once, signing out ends it', async () => {
    const client = supabaseClient(api, api.keys.publishable)
    const wrong = await client.auth.signInWithPassword({ email: 'owner@example.com', password: 'wrong' })
    assert.equal(wrong.error.code, 'invalid_credentials')
    const { data } = await client.auth.signInWithPassword({
      email: 'owner@example.com',
      password: 'of-the-owner',
    })
    assert.equal(data.user.id, owner)
    assert.equal((await client.from('businesses').select('id')).data.length, 1)
    const refresh = { refresh_token: data.session.refresh_token }
    assert.equal((await client.auth.refreshSession(refresh)).error, null)
    assert.ok((await client.auth.refreshSession(refresh)).error)
    assert.equal((await client.auth.signOut()).error, null)
  })

  await t.test('a database that is away is 503, and back again without a restart', async () => {
    const proxy = await wireProxy(t, db.urlFor('authenticator'))
    const behindProxy = await startDataApi({ url: proxy.url })
    t.after(() => behindProxy.close())
    const client = supabaseClient(behindProxy, behindProxy.keys.publishable)
    assert.equal((await client.rpc('sees')).status, 200)
    proxy.goAway()
    for (let i = 0; i < 3; i++) assert.equal((await client.rpc('sees')).status, 503)
    proxy.comeBack()
    assert.equal((await client.rpc('sees')).status, 200)
  })

  await t.test(
    'a session that the server ends fails the request that meets its end, and no other',
    async () => {
      await db.query(
        `select pg_terminate_backend(pid, 5000) from pg_stat_activity
       where datname = current_database() and usename = 'authenticator'`,
        [],
        'supabase_admin',
      )
      const statuses = []
      await until(async () => {
        const { status } = await user.rpc('sees')
        statuses.push(status)
        return status === 200
      }, 'an answer of a new session')
      assert.ok(
        statuses.every((status) => status === 200 || status === 503),
        statuses.join(),
      )
      assert.equal((await user.rpc('sees')).status, 200)
    },
  )
})
