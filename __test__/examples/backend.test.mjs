// backend_server.js with mayaService, adService, klingRoutes and systemRoutes, over HTTP, on Express.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { goodKey } from '../../dev/app-providers.mjs'
import { startBackend } from './support/backend.mjs'
import { appDatabase, dataApi, forged, owner, stranger } from './support/database.mjs'

test('the backend', async (t) => {
  const { db, business, other } = await appDatabase(t)
  const api = await dataApi(t, db)
  const session = { token: api.sign({ sub: owner }), business }
  const { providers, secrets, call } = await startBackend(t, db, api, session)
  const asked = () => providers.calls.splice(0)

  await t.test('what is not set up answers 409, and no provider is called', async () => {
    const requests = [
      ['POST', '/api/sms/send', { to: '+4912345', text: 'hi' }],
      ['POST', '/api/whatsapp/send', { sender: '1', to: '+4912345', text: 'hi' }],
      ['GET', '/api/youtube/search?q=tea'],
      ['POST', '/api/kling/videos', { prompt: 'tea' }],
      ['GET', '/api/kling/videos/task-1'],
      ['POST', '/api/maya', { prompt: 'hi' }],
      ['POST', '/api/maya', { prompt: 'hi', provider: 'claude' }],
      ['POST', '/api/ads', { product: 'tea' }],
    ]
    for (const [method, path, body] of requests) {
      const response = await call(method, path, body)
      assert.deepEqual([response.status, response.body.error], [409, 'NOT_CONFIGURED'], path)
    }
    assert.deepEqual(asked(), [])
  })

  const pair = goodKey('kling', 'of-the-business')
  await secrets.setMany(business, {
    gemini_api_key: goodKey('gemini', 'of-the-business'),
    grok_api_key: goodKey('grok', 'of-the-business'),
    claude_api_key: goodKey('claude', 'of-the-business'),
    youtube_api_key: goodKey('youtube', 'of-the-business'),
    kling_access_key: pair.accessKey,
    kling_secret_key: pair.secretKey,
    global_sms_api_key: goodKey('sms', 'of-the-business'),
    whatsapp_api_key: goodKey('whatsapp', 'of-the-business'),
  })

  await t.test('every consumer reaches its provider with the key of the business', async () => {
    const requests = [
      ['POST', '/api/sms/send', { to: '+4912345', text: 'hi' }, 202, { id: 'sms-1' }],
      ['POST', '/api/whatsapp/send', { sender: '7', to: '+4912345', text: 'hi' }, 202, { id: 'wa-1' }],
      ['GET', '/api/youtube/search?q=tea', undefined, 200, { videos: [{ id: 'v1', title: 'Tea' }] }],
      ['POST', '/api/kling/videos', { prompt: 'tea' }, 202, { taskId: 'task-1' }],
      ['GET', '/api/kling/videos/task-1', undefined, 200, undefined],
      ['POST', '/api/maya', { prompt: 'hi' }, 200, { text: 'Gemini: hi' }],
      ['POST', '/api/maya', { prompt: 'hi', provider: 'grok' }, 200, { text: 'Grok: hi' }],
      ['POST', '/api/maya', { prompt: 'hi', provider: 'claude' }, 200, { text: 'Claude: hi' }],
    ]
    for (const [method, path, body, status, expected] of requests) {
      const response = await call(method, path, body)
      assert.equal(response.status, status, `${path}: ${response.text}`)
      if (expected) assert.deepEqual(response.body, expected)
    }
    const { body } = await call('POST', '/api/ads', { product: 'tea' })
    assert.deepEqual(
      body.proposals.map(({ provider }) => provider),
      ['gemini', 'grok'],
    )
    assert.ok(asked().every(({ accepted }) => accepted))
  })

  await t.test('one model that fails does not take the other along', async () => {
    providers.down.add('grok')
    const { body } = await call('POST', '/api/ads', { product: 'tea' })
    assert.deepEqual(
      body.proposals.map(({ provider }) => provider),
      ['gemini'],
    )
    providers.down.add('gemini')
    assert.equal((await call('POST', '/api/ads', { product: 'tea' })).body.error, 'PROVIDER_ERROR')
    providers.down.clear()
  })

  await t.test('each login reads its own names, and those of nobody else', async () => {
    const { connect } = await import('../../index.js')
    const kling = await connect({ url: process.env.KLING_SECRETS_URL })
    t.after(() => kling.close())
    assert.deepEqual(await kling.getKlingCredentials(business), pair)
    await assert.rejects(kling.getProviderKey(business, 'gemini'), { code: 'PERMISSION_DENIED' })
    await assert.rejects(kling.set(business, 'kling_access_key', 'mine'), { code: 'PERMISSION_DENIED' })
  })

  await t.test('validation says works, refused and not checked, and keeps it beside the secret', async () => {
    await secrets.set(business, 'grok_api_key', 'grok-from-a-closed-account')
    await secrets.set(business, 'claude_api_key', null)
    await secrets.set(business, 'kling_secret_key', 'kling-secret-of-another-account')
    providers.down.add('whatsapp')
    asked()
    const { status, body, text } = await call('POST', '/api/system/validate-integrations', {})
    assert.equal(status, 200, text)
    assert.deepEqual(body.results, {
      gemini: 'works',
      grok: 'refused',
      claude: 'not_set',
      youtube: 'works',
      kling: 'refused',
      sms: 'works',
      whatsapp: 'not_checked',
    })
    assert.equal(asked().length, 6)
    assert.doesNotMatch(text, /live|closed-account|of-the-business/)
    const checked = Object.fromEntries((await secrets.list(business)).map((one) => [one.name, one]))
    assert.equal(checked.gemini_api_key.checkResult, 'works')
    assert.equal(checked.kling_access_key.checkResult, 'refused')
    assert.ok(checked.grok_api_key.lastCheckedAt instanceof Date)
    assert.equal(checked.claude_api_key.lastCheckedAt, null)
    providers.down.clear()
  })

  await t.test('a new key is not called refused for what its predecessor was', async () => {
    await secrets.set(business, 'grok_api_key', goodKey('grok', 'renewed'))
    const find = async () => (await secrets.list(business)).find(({ name }) => name === 'grok_api_key')
    assert.notEqual((await find()).checkResult, 'refused')
    await call('POST', '/api/system/validate-integrations', {})
    assert.equal((await find()).checkResult, 'works')
  })

  await t.test('integrations, the migration and the audit hold no value', async () => {
    const integrations = await call('GET', '/api/system/integrations')
    assert.equal(integrations.body.integrations.gemini.configured, true)
    assert.ok(integrations.body.readers.length >= 4)
    const migration = await call('GET', '/api/system/migration')
    assert.equal(migration.body.next, 'migrate --drop-legacy', migration.text)
    const audit = await call('GET', '/api/system/audit')
    assert.ok(audit.body.changes.some(({ name }) => name === 'grok_api_key'))
    assert.ok(audit.body.reads.some(({ name }) => name === 'youtube_api_key'))
    for (const { text } of [integrations, migration, audit]) {
      assert.doesNotMatch(text, /live-|kling-secret|closed-account|postgres(ql)?:\/\//)
    }
  })

  await t.test('the caller’s token decides whose business it is', async () => {
    const attempts = {
      'another owner': { token: api.sign({ sub: stranger }), business },
      'no token': { business },
      'no business': { token: api.sign({ sub: owner }) },
      'an expired token': { token: api.sign({ sub: owner, exp: 1 }), business },
      'a forged token': { token: forged({ sub: owner }), business },
      'the publishable key': { token: api.keys.publishable, business },
    }
    const own = { ...session }
    for (const [what, attempt] of Object.entries(attempts)) {
      for (const key of ['token', 'business']) session[key] = attempt[key]
      const { status, text } = await call('GET', '/api/system/integrations')
      assert.equal(status, 401, `${what}: ${text}`)
    }
    Object.assign(session, { token: api.sign({ sub: stranger }), business: other })
    assert.equal((await call('POST', '/api/sms/send', { to: '+4912345', text: 'hi' })).status, 409)
    Object.assign(session, own)
  })

  await t.test('a malformed body answers 400, an unknown path 404', async () => {
    const malformed = await call('POST', '/api/sms/send', '{')
    assert.deepEqual([malformed.status, malformed.body], [400, { error: 'MALFORMED_BODY' }])
    assert.equal((await call('GET', '/api/nothing/here')).status, 404)
  })

  await t.test('a secret that cannot be decrypted answers 409; the others still work', async () => {
    await db.query(
      `update vault.secrets set secret = encode(repeat('damaged', 10)::bytea, 'base64')
       where name = 'business_secrets/' || $1 || '/global_sms_api_key'`,
      [business],
      'supabase_admin',
    )
    const { status, body } = await call('POST', '/api/sms/send', { to: '+4912345', text: 'hi' })
    assert.deepEqual([status, body.error], [409, 'DECRYPT_FAILED'])
    const sent = await call('POST', '/api/whatsapp/send', { sender: '1', to: '+4912345', text: 'hi' })
    assert.equal(sent.status, 202)
    const validated = await call('POST', '/api/system/validate-integrations', {})
    assert.equal(validated.body.results.sms, 'refused')
  })
})
