// The edge function google-auth, served by Deno, with the real supabase-js, through the Data API.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { appDatabase, dataApi, forged, owner, stranger } from './support/database.mjs'
import { denoOptions, denoPath, functionFolder, serveFunction, startGoogle } from './support/edge.mjs'

const reference = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

test('google-auth', async (t) => {
  const { db, business } = await appDatabase(t)
  const api = await dataApi(t, db)
  const google = await startGoogle(t)
  const served = await serveFunction(t, {
    SUPABASE_URL: api.url,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: api.keys.publishable }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: api.keys.secret }),
    GOOGLE_CLIENT_ID: 'client',
    GOOGLE_CLIENT_SECRET: 'client-secret',
    GOOGLE_REDIRECT_URI: 'https://app.example.com/google',
    GOOGLE_TOKEN_URL: google.url,
  })

  async function call(token, body) {
    const response = await fetch(served.url, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: token ? { authorization: `Bearer ${token}` } : {},
    })
    const text = await response.text()
    return { status: response.status, body: text ? JSON.parse(text) : undefined }
  }
  const asOwner = (body = { business_id: business }) => call(api.sign({ sub: owner }), body)
  const stored = () =>
    db.one('select * from public.decrypted_business_secrets where business_id = $1', [business])
  const expire = (when = "now() + interval '30 seconds'") =>
    db.query(`update public.business_secrets set google_token_expiry = ${when} where business_id = $1`, [
      business,
    ])

  await t.test('a business without a grant is told so', async () => {
    assert.deepEqual(await asOwner(), { status: 409, body: { error: 'NOT_CONNECTED' } })
  })

  await t.test('the consent’s code becomes a sealed grant', async () => {
    assert.equal((await asOwner({ business_id: business, code: 'consent' })).status, 204)
    const { google_access_token: access, google_refresh_token: refresh } = await stored()
    assert.deepEqual([access, refresh], ['google-access-1', 'google-refresh-1'])
    const row = await db.one('select * from public.business_secrets where business_id = $1', [business])
    assert.match(row.google_access_token, reference)
    assert.match(row.google_refresh_token, reference)
  })

  await t.test('a token that is still good is handed out without asking Google', async () => {
    const { status, body } = await asOwner()
    assert.deepEqual([status, body.access_token], [200, 'google-access-1'])
    assert.equal(google.grants.length, 1)
  })

  await t.test(
    'one that is about to expire is refreshed, once for all who ask at the same time',
    async () => {
      await expire()
      const answers = await Promise.all(Array.from({ length: 20 }, () => asOwner()))
      assert.deepEqual([...new Set(answers.map(({ body }) => body.access_token))], ['google-access-2'])
      assert.equal(google.grants.length, 2)
      assert.equal(google.refused, 0)
      assert.equal((await stored()).google_refresh_token, 'google-refresh-2')
    },
  )

  await t.test('a refresh token that Google did not send again is kept', async () => {
    google.rotates = false
    await expire()
    assert.equal((await asOwner()).body.access_token, 'google-access-3')
    assert.equal((await stored()).google_refresh_token, 'google-refresh-2')
  })

  await t.test('while somebody else holds the lease it waits, and takes what they have stored', async () => {
    await expire()
    const lease = await db.one(
      "select * from public.lease_business_secret($1, 'google_access_token', '20 seconds')",
      [business],
    )
    const waiting = asOwner()
    await db.query('select public.set_business_secrets($1, $2)', [
      business,
      JSON.stringify({
        google_access_token: 'stored-by-the-holder',
        google_token_expiry: new Date(Date.now() + 3_600_000).toISOString(),
      }),
    ])
    assert.equal((await waiting).body.access_token, 'stored-by-the-holder')
    assert.equal(google.grants.length, 3)
    await db.query("select public.release_business_secret($1, 'google_access_token', $2)", [
      business,
      lease.token,
    ])
  })

  await t.test('Google being away is no refusal, and changes nothing', async () => {
    await expire()
    google.status = 503
    assert.deepEqual(await asOwner(), { status: 503, body: { error: 'GOOGLE_UNAVAILABLE' } })
    google.status = 200
    assert.equal((await asOwner()).body.access_token, 'google-access-4')
  })

  await t.test('a grant that Google has revoked is reported, and nothing is changed', async () => {
    await expire()
    google.current = 'somebody-elses'
    assert.deepEqual(await asOwner(), { status: 409, body: { error: 'GRANT_REVOKED' } })
    assert.equal((await stored()).google_refresh_token, 'google-refresh-2')
  })

  await t.test('another tenant, a visitor and a forged or expired token get nothing', async () => {
    await expire("now() + interval '1 hour'")
    const before = google.grants.length
    const tokens = {
      stranger: [api.sign({ sub: stranger }), 404],
      visitor: [undefined, 401],
      forged: [forged({ sub: owner }), 404],
      expired: [api.sign({ sub: owner, exp: 1 }), 404],
    }
    for (const [who, [token, status]] of Object.entries(tokens)) {
      const answer = await call(token, { business_id: business })
      assert.equal(answer.status, status, who)
      assert.doesNotMatch(JSON.stringify(answer.body), /google-|holder/)
    }
    assert.equal((await asOwner({})).status, 400)
    assert.equal(google.grants.length, before)
  })

  await t.test('no token is in its log', () =>
    assert.doesNotMatch(served.output, /google-(access|refresh)-|eyJ/),
  )
})

test('google-auth passes Deno’s type checker', async () => {
  const args = ['check', ...denoOptions, join(functionFolder, 'index.ts')]
  await promisify(execFile)(await denoPath(), args, { cwd: functionFolder }).catch(({ stderr }) =>
    assert.fail(stderr),
  )
})
