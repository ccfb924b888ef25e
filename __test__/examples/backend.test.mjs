// backend_server with klingRoutes and systemRoutes, over HTTP.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import * as secrets from '../../index.js'
import { appDatabase, provider } from './support/database.mjs'

const { createBackend } = createRequire(import.meta.url)('../../examples/app/backend_server.js')

test('the backend', async (t) => {
  const { db, business, other } = await appDatabase(t)
  t.after(() => secrets.close())

  let answer = () => ({})
  let calls = []
  const session = { current: business }
  const server = createBackend({
    authenticate: async () => session.current,
    fetch: (url, request) => {
      const one = provider(answer)
      const response = one.fetch(url, request)
      calls.push(...one.calls)
      return response
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())

  async function call(method, path, body) {
    calls = []
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, {
      method,
      body: body && JSON.stringify(body),
      headers: { connection: 'close' },
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text ? JSON.parse(text) : undefined,
    }
  }

  await t.test('what is not set up answers 409, and no provider is called', async () => {
    const requests = [
      ['POST', '/api/sms', { to: '+4912345', text: 'hi' }],
      ['POST', '/api/whatsapp', { sender: '1', to: '+4912345', text: 'hi' }],
      ['GET', '/api/youtube/search?q=tea'],
      ['POST', '/api/kling/videos', { prompt: 'tea' }],
      ['POST', '/api/maya', { prompt: 'hi' }],
      ['POST', '/api/ads', { product: 'tea' }],
    ]
    for (const [method, path, body] of requests) {
      const response = await call(method, path, body)
      assert.equal(response.status, 409, path)
      assert.equal(response.body.error, 'NOT_CONFIGURED')
      assert.equal(calls.length, 0)
    }
  })

  await t.test('a text message goes out with the key of the business', async () => {
    await secrets.setSmsApiKey(business, 'sms-of-the-business')
    answer = () => ({ body: { id: 'sms-1' } })
    const { status, body } = await call('POST', '/api/sms', { to: '+4912345', text: 'hi' })
    assert.deepEqual([status, body], [202, { id: 'sms-1' }])
    assert.equal(calls[0].headers.authorization, 'Bearer sms-of-the-business')
  })

  await t.test('so does a WhatsApp message', async () => {
    await secrets.setWhatsAppApiKey(business, 'whatsapp-of-the-business')
    answer = () => ({ body: { messages: [{ id: 'wa-1' }] } })
    const { status, body } = await call('POST', '/api/whatsapp', {
      sender: '../7',
      to: '+4912345',
      text: 'hi',
    })
    assert.deepEqual([status, body], [202, { id: 'wa-1' }])
    assert.equal(calls[0].headers.authorization, 'Bearer whatsapp-of-the-business')
    assert.equal(new URL(calls[0].url).pathname, '/v23.0/..%2F7/messages')
  })

  await t.test('a search sends the key in a header, not in the address', async () => {
    await secrets.setYouTubeApiKey(business, 'youtube-of-the-business')
    answer = () => ({ body: { items: [{ id: { videoId: 'v1' }, snippet: { title: 'Tea' } }] } })
    const { body } = await call('GET', '/api/youtube/search?q=tea')
    assert.deepEqual(body.videos, [{ id: 'v1', title: 'Tea' }])
    assert.equal(calls[0].headers['x-goog-api-key'], 'youtube-of-the-business')
    assert.doesNotMatch(calls[0].url, /youtube-of-the-business/)
  })

  await t.test('Kling gets a token that its secret key signed', async () => {
    const pair = { accessKey: 'kling-access', secretKey: 'kling-secret' }
    assert.equal((await call('PUT', '/api/kling/credentials', pair)).status, 204)
    answer = () => ({ body: { data: { task_id: 'task-1' } } })
    const { status, body } = await call('POST', '/api/kling/videos', { prompt: 'tea' })
    assert.deepEqual([status, body], [202, { taskId: 'task-1' }])

    const [head, claims, signature] = calls[0].headers.authorization.replace('Bearer ', '').split('.')
    const expected = createHmac('sha256', 'kling-secret').update(`${head}.${claims}`).digest('base64url')
    assert.equal(signature, expected)
    assert.equal(JSON.parse(Buffer.from(claims, 'base64url')).iss, 'kling-access')
  })

  await t.test('half a pair of Kling keys is refused and changes nothing', async () => {
    for (const half of [{ accessKey: 'alone' }, { accessKey: 'with a blank', secretKey: ' ' }]) {
      assert.equal((await call('PUT', '/api/kling/credentials', half)).status, 400)
    }
    const kept = await secrets.getKlingCredentials(business)
    assert.deepEqual(kept, { accessKey: 'kling-access', secretKey: 'kling-secret' })
    assert.equal((await call('PUT', '/api/kling/credentials', {})).status, 204)
    assert.equal(await secrets.getKlingCredentials(business), null)
  })

  await t.test('validate-integrations says what is set and accepted, and holds no value', async () => {
    await secrets.setProviderKey(business, 'gemini', 'gemini-of-the-business')
    await secrets.setProviderKey(business, 'grok', 'grok-of-the-business')
    answer = ({ url }) => ({ status: url.includes('x.ai') ? 401 : 200 })
    const { status, body, text } = await call('GET', '/api/system/validate-integrations')
    assert.equal(status, 200)
    assert.deepEqual(body.accepted, { gemini: true, grok: false })
    assert.equal(body.integrations.gemini.configured, true)
    assert.equal(body.integrations.gemini.last4, 'ness')
    assert.equal(body.integrations.claude.configured, false)
    assert.doesNotMatch(text, /of-the-business/)
  })

  await t.test('the session decides whose secrets are used', async () => {
    session.current = other
    assert.equal((await call('POST', '/api/sms', { to: '+4912345', text: 'hi' })).status, 409)
    session.current = null
    assert.equal((await call('POST', '/api/sms', { to: '+4912345', text: 'hi' })).status, 401)
    session.current = '99999999-0000-4000-8000-000000000000'
    assert.equal((await call('POST', '/api/sms', { to: '+4912345', text: 'hi' })).status, 404)
    session.current = business
  })

  await t.test('a malformed body answers 400, an unknown path 404', async () => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}/api/sms`, {
      method: 'POST',
      body: '{',
    })
    assert.equal(response.status, 400)
    assert.equal((await call('GET', '/nothing/here')).status, 404)
  })

  await t.test('a secret that cannot be decrypted answers 409; the others still work', async () => {
    const damaged = ['global_sms_api_key', 'gemini_api_key'].map(
      (name) => `business_secrets/${business}/${name}`,
    )
    const text =
      "update vault.secrets set secret = encode(repeat('damaged', 10)::bytea, 'base64') where name = any ($1)"
    await db.query(text, [damaged], 'supabase_admin')
    const { status, body } = await call('POST', '/api/sms', { to: '+4912345', text: 'hi' })
    assert.deepEqual([status, body.error], [409, 'DECRYPT_FAILED'])
    answer = () => ({ body: { messages: [{ id: 'wa-2' }] } })
    const sent = await call('POST', '/api/whatsapp', { sender: '1', to: '+4912345', text: 'hi' })
    assert.equal(sent.status, 202)
    answer = () => ({})
    const validated = await call('GET', '/api/system/validate-integrations')
    assert.deepEqual(validated.body.accepted, { gemini: false, grok: true })
  })
})
