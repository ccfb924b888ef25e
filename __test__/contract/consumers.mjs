// The getters and setters by the names that the services use.

import assert from 'node:assert/strict'
import { refuses } from '../support/addon.mjs'

const hour = () => new Date(Date.now() + 3_600_000)
const past = () => new Date(Date.now() - 1000)

export const consumers = {
  async 'each provider has a key of its own'({ client, addBusiness }) {
    const id = await addBusiness()
    for (const provider of ['gemini', 'grok', 'claude']) {
      assert.equal(await client.getProviderKey(id, provider), null)
      assert.ok((await client.setProviderKey(id, provider, ` key of ${provider} `)) > 0)
      assert.equal(await client.getProviderKey(id, provider), `key of ${provider}`)
      assert.equal(await client.get(id, `${provider}_api_key`), `key of ${provider}`)
    }
    assert.deepEqual(await client.getBusinessApiKeys(id), { gemini: 'key of gemini', grok: 'key of grok' })
    await client.setProviderKey(id, 'grok', null)
    assert.deepEqual(await client.getBusinessApiKeys(id), { gemini: 'key of gemini', grok: null })
  },

  async 'YouTube, SMS and WhatsApp have functions of their own'({ client, addBusiness }) {
    const id = await addBusiness()
    const columns = { YouTube: 'youtube_api_key', Sms: 'global_sms_api_key', WhatsApp: 'whatsapp_api_key' }
    for (const [what, name] of Object.entries(columns)) {
      const [get, set] = [`get${what}ApiKey`, `set${what}ApiKey`]
      assert.equal(await client[get](id), null)
      assert.ok((await client[set](id, `key of ${what}`)) > 0)
      assert.equal(await client[get](id), `key of ${what}`)
      assert.equal(await client.get(id, name), `key of ${what}`)
      await client[set](id, null)
      assert.equal(await client[get](id), null)
    }
  },

  async "Kling's keys come and are written both or not at all"({ client, addBusiness }) {
    const id = await addBusiness()
    assert.equal(await client.getKlingCredentials(id), null)
    await client.set(id, 'kling_access_key', 'alone')
    assert.equal(await client.getKlingCredentials(id), null)
    const written = await client.setKlingCredentials(id, { accessKey: ' access ', secretKey: 'secret' })
    assert.deepEqual(Object.keys(written), ['kling_access_key', 'kling_secret_key'])
    for (const half of [
      { accessKey: 'lost' },
      { secretKey: 'lost' },
      { accessKey: 'lost', secretKey: ' ' },
      { accessKey: 'lost', secretKey: null },
    ]) {
      await refuses(() => client.setKlingCredentials(id, half), 'INVALID_VALUE', { says: /null to clear/ })
    }
    assert.deepEqual(await client.getKlingCredentials(id), { accessKey: 'access', secretKey: 'secret' })
    await client.setKlingCredentials(id, null)
    assert.equal(await client.getKlingCredentials(id), null)
  },

  async "Google's tokens carry a Date, and none means no grant"({ client, addBusiness }) {
    const id = await addBusiness()
    assert.equal(await client.getGoogleTokens(id), null)
    const expiresAt = new Date('2031-01-31T12:34:56.789Z')
    const grant = { accessToken: 'access', refreshToken: 'refresh', expiresAt, driveFolderId: 'folder' }
    await client.setGoogleTokens(id, grant)
    assert.deepEqual(await client.getGoogleTokens(id), grant)
    await client.setGoogleTokens(id, { accessToken: 'two', refreshToken: undefined, expiresAt: null })
    assert.deepEqual(await client.getGoogleTokens(id), { ...grant, accessToken: 'two', expiresAt: null })
    await client.setGoogleTokens(id, { accessToken: null, refreshToken: null })
    assert.equal(await client.getGoogleTokens(id), null)
    await refuses(() => client.setGoogleTokens(id, {}), 'INVALID_ARGUMENT', { says: /at least one/ })
  },

  async 'an expiry is a Date or ISO 8601, keeps its millisecond, and nothing else is one'({
    client,
    addBusiness,
  }) {
    const id = await addBusiness()
    await client.setGoogleTokens(id, { refreshToken: 'r' })
    for (const iso of ['0001-01-01T00:00:00.000Z', '1969-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z']) {
      await client.setGoogleTokens(id, { expiresAt: new Date(iso) })
      assert.equal((await client.getGoogleTokens(id)).expiresAt.toISOString(), iso)
    }
    await client.setGoogleTokens(id, { expiresAt: '2031-01-31T12:00:00+02:00' })
    assert.equal((await client.getGoogleTokens(id)).expiresAt.toISOString(), '2031-01-31T10:00:00.000Z')
    for (const expiresAt of [
      'tomorrow',
      '01/12/2026',
      '2031-02-30T12:00:00Z',
      '2031-01-31T12:00:00',
      '+294276-01-01T00:00:00Z',
      new Date('never'),
      new Date(8.64e15),
      1_900_000_000_000,
    ]) {
      await refuses(() => client.setGoogleTokens(id, { expiresAt }), 'INVALID_VALUE', { says: /ISO 8601/ })
    }
  },

  async 'the status of integrations shows what is configured and checked, and never a value'({
    client,
    addBusiness,
  }) {
    const id = await addBusiness()
    const nothing = {
      configured: false,
      last4: null,
      updatedAt: null,
      lastCheckedAt: null,
      checkResult: null,
    }
    const empty = await client.getIntegrationStatus(id)
    const every = ['gemini', 'grok', 'claude', 'youtube', 'kling', 'sms', 'whatsapp', 'google']
    assert.deepEqual(Object.keys(empty), every)
    for (const one of every) assert.deepEqual(empty[one], nothing)

    const versions = await client.setMany(id, {
      gemini_api_key: 'a long key of gemini',
      grok_api_key: 'short',
      kling_access_key: 'half of what kling needs',
      google_refresh_token: 'a long refresh token',
    })
    await client.check(id, 'gemini_api_key', versions.gemini_api_key, 'refused')
    const status = await client.getIntegrationStatus(id)
    assert.deepEqual([status.gemini.configured, status.gemini.last4], [true, 'mini'])
    assert.equal(status.gemini.checkResult, 'refused')
    assert.ok(status.gemini.lastCheckedAt instanceof Date && status.gemini.updatedAt instanceof Date)
    assert.deepEqual([status.grok.configured, status.grok.last4], [true, null])
    assert.deepEqual([status.kling.configured, status.kling.last4], [false, null])
    assert.deepEqual([status.google.configured, status.google.last4], [true, 'oken'])
    assert.deepEqual(status.sms, nothing)
    assert.ok(!/a long|short|half/.test(JSON.stringify(status)))
  },

  async 'a Google token that is good is given as it is'({ client, addBusiness }) {
    const id = await addBusiness()
    const never = () => assert.fail('refreshed')
    assert.equal(await client.withGoogleAccessToken(id, never), null)
    await client.setGoogleTokens(id, { accessToken: 'good', refreshToken: 'r', expiresAt: hour() })
    assert.equal(await client.withGoogleAccessToken(id, never), 'good')
  },

  async 'an expired Google token is refreshed once, for all callers of all clients'({
    client,
    other,
    addBusiness,
    refused,
  }) {
    const id = await addBusiness()
    await client.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: past() })
    let refreshes = 0
    const refresh = async ({ refreshToken }) => {
      refreshes++
      assert.equal(refreshToken, 'r1')
      return { accessToken: 'new', refreshToken: 'r2', expiresAt: hour() }
    }
    const callers = Array.from({ length: 20 }, (_, i) =>
      [client, other][i % 2].withGoogleAccessToken(id, refresh),
    )
    if (refused.includes('lease')) {
      for (const { reason } of await Promise.allSettled(callers))
        assert.equal(reason.code, 'PERMISSION_DENIED')
      return
    }
    assert.deepEqual(new Set(await Promise.all(callers)), new Set(['new']))
    assert.equal(refreshes, 1)
    const { refreshToken } = await client.getGoogleTokens(id)
    assert.equal(refreshToken, 'r2')
  },

  async 'a refresh token that became void meanwhile is read again'({ client, other, addBusiness, refused }) {
    if (refused.includes('lease')) return
    const id = await addBusiness()
    await client.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: past() })
    const asked = []
    const token = await client.withGoogleAccessToken(id, async ({ refreshToken }) => {
      asked.push(refreshToken)
      if (refreshToken === 'r1') {
        await other.setGoogleTokens(id, { refreshToken: 'r2' })
        throw Object.assign(new Error('Bad Request'), { response: { data: { error: 'invalid_grant' } } })
      }
      return { accessToken: 'new', expiresAt: hour() }
    })
    assert.equal(token, 'new')
    assert.deepEqual(asked, ['r1', 'r2'])
    const revoked = Object.assign(new Error('Bad Request'), { code: 'invalid_grant' })
    await client.setGoogleTokens(id, { expiresAt: past() })
    const refused2 = client.withGoogleAccessToken(id, () => Promise.reject(revoked))
    await assert.rejects(refused2, revoked)
  },

  async 'a grant that was made anew while a refresh ran is not overwritten'({
    client,
    other,
    addBusiness,
    refused,
  }) {
    if (refused.includes('lease')) return
    const id = await addBusiness()
    await client.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: past() })
    const token = await client.withGoogleAccessToken(id, async () => {
      await other.setGoogleTokens(id, {
        accessToken: 'of the new grant',
        refreshToken: 'r9',
        expiresAt: hour(),
      })
      return { accessToken: 'late', refreshToken: 'r2', expiresAt: hour() }
    })
    assert.equal(token, 'of the new grant')
    assert.equal((await client.getGoogleTokens(id)).refreshToken, 'r9')
  },

  async 'what a refresh has to give is checked, and a grant without a refresh token says what to do'({
    client,
    addBusiness,
    refused,
  }) {
    if (refused.includes('lease')) return
    const id = await addBusiness()
    await client.setGoogleTokens(id, { accessToken: 'old', refreshToken: 'r1', expiresAt: past() })
    for (const answer of [undefined, null, {}, { accessToken: 'lost' }, { expiresAt: hour() }]) {
      const call = () => client.withGoogleAccessToken(id, () => answer)
      await refuses(call, 'INVALID_ARGUMENT', { says: /accessToken/, hides: ['lost'] })
    }
    await client.setGoogleTokens(id, { refreshToken: null })
    const call = () => client.withGoogleAccessToken(id, () => ({}))
    await refuses(call, 'REFUSED', { says: /connect the Google account again/ })
  },
}
