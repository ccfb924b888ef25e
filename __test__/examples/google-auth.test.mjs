// The edge function google-auth, served as Deno would serve it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compile } from './support/compiled.mjs'
import { appDatabase, owner, provider, stranger } from './support/database.mjs'
import { tokenFor } from './support/supabase.mjs'

test('google-auth', async (t) => {
  const { db, business } = await appDatabase(t)
  const load = await compile(t, ['supabase/functions/google-auth/index.ts'])

  const env = {
    SUPABASE_URL: db.urlFor('authenticator'),
    SUPABASE_ANON_KEY: 'anon',
    SUPABASE_SERVICE_ROLE_KEY: 'service_role',
    GOOGLE_CLIENT_ID: 'client',
    GOOGLE_CLIENT_SECRET: 'client-secret',
    GOOGLE_REDIRECT_URI: 'https://app.example.com/google',
  }
  let handler
  globalThis.Deno = { env: { get: (name) => env[name] }, serve: (serve) => (handler = serve) }
  t.after(() => delete globalThis.Deno)
  await load('supabase/functions/google-auth/index.js')

  let google = provider(() => ({ status: 500 }))
  t.mock.method(globalThis, 'fetch', (...request) => google.fetch(...request))
  async function call(user, body) {
    const request = new Request('http://localhost/google-auth', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: user ? { Authorization: `Bearer ${tokenFor(user)}` } : {},
    })
    const response = await handler(request)
    const text = await response.text()
    return { status: response.status, body: text ? JSON.parse(text) : undefined }
  }
  const grants = (body) => provider(() => ({ body }))
  const stored = () =>
    db.one('select * from public.decrypted_business_secrets where business_id = $1', [business])

  await t.test('a business without a grant is told so', async () => {
    assert.deepEqual(await call(owner, { business_id: business }), {
      status: 409,
      body: { error: 'NOT_CONNECTED' },
    })
  })

  await t.test('the consent’s code becomes a sealed grant', async () => {
    google = grants({ access_token: 'access-1', refresh_token: 'refresh-1', expires_in: 3600 })
    assert.equal((await call(owner, { business_id: business, code: 'consent' })).status, 204)
    const { google_access_token: access, google_refresh_token: refresh } = await stored()
    assert.deepEqual([access, refresh], ['access-1', 'refresh-1'])
    const row = await db.one('select google_access_token from public.business_secrets')
    assert.match(row.google_access_token, /^[0-9a-f-]{36}$/)
  })

  await t.test('a token that is still good is handed out without asking Google', async () => {
    google = provider(() => ({ status: 500 }))
    const { status, body } = await call(owner, { business_id: business })
    assert.equal(status, 200)
    assert.equal(body.access_token, 'access-1')
    assert.equal(google.calls.length, 0)
  })

  await t.test('one that is about to expire is refreshed, and the refresh token kept', async () => {
    await db.query("update public.business_secrets set google_token_expiry = now() + interval '30 seconds'")
    google = grants({ access_token: 'access-2', expires_in: 3600 })
    assert.equal((await call(owner, { business_id: business })).body.access_token, 'access-2')
    assert.equal(new URLSearchParams(google.calls[0].body).get('refresh_token'), 'refresh-1')
    const { google_access_token: access, google_refresh_token: refresh } = await stored()
    assert.deepEqual([access, refresh], ['access-2', 'refresh-1'])
  })

  await t.test('a grant that Google revoked is reported, and nothing is changed', async () => {
    await db.query('update public.business_secrets set google_token_expiry = now()')
    google = provider(() => ({ status: 400, body: { error: 'invalid_grant' } }))
    assert.deepEqual(await call(owner, { business_id: business }), {
      status: 409,
      body: { error: 'GRANT_REVOKED' },
    })
    assert.equal((await stored()).google_refresh_token, 'refresh-1')
  })

  await t.test('another tenant, and a visitor, get nothing', async () => {
    google = grants({ access_token: 'stolen', expires_in: 3600 })
    for (const user of [stranger, null]) {
      const { status } = await call(user, { business_id: business })
      assert.equal(status, 404)
    }
    assert.equal(google.calls.length, 0)
    assert.equal((await call(owner, {})).status, 400)
  })
})
