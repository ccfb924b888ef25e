// The getters and setters by the names that the services use.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breakCipher, fingerprint, openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { addBusiness, clear } from '../support/secrets.mjs'

test('consumers', async (t) => {
  const db = await freshDatabase(t, 17)
  const secrets = await openClient(t, db)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })

  await claim('each provider has a key of its own', async () => {
    const id = await addBusiness(db)
    for (const provider of ['gemini', 'grok', 'claude']) {
      assert.equal(await secrets.getProviderKey(id, provider), null)
      assert.equal(await secrets.setProviderKey(id, provider, ` key of ${provider} `), 1)
      assert.equal(await secrets.getProviderKey(id, provider), `key of ${provider}`)
    }
    assert.deepEqual(await clear(db, id), {
      gemini_api_key: 'key of gemini',
      grok_api_key: 'key of grok',
      claude_api_key: 'key of claude',
    })
    assert.equal(await secrets.setProviderKey(id, 'grok', null), 2)
    assert.equal(await secrets.getProviderKey(id, 'grok'), null)
  })

  await claim('adService gets both of its keys, each set or null', async () => {
    const id = await addBusiness(db)
    assert.deepEqual(await secrets.getBusinessApiKeys(id), { gemini: null, grok: null })
    await secrets.setProviderKey(id, 'grok', 'only grok')
    assert.deepEqual(await secrets.getBusinessApiKeys(id), { gemini: null, grok: 'only grok' })
    await secrets.setProviderKey(id, 'gemini', 'and gemini')
    assert.deepEqual(await secrets.getBusinessApiKeys(id), { gemini: 'and gemini', grok: 'only grok' })
  })

  for (const [what, name] of [
    ['YouTube', 'youtube_api_key'],
    ['Sms', 'global_sms_api_key'],
    ['WhatsApp', 'whatsapp_api_key'],
  ]) {
    await claim(`the key of ${what} is set, read and cleared by its own functions`, async () => {
      const id = await addBusiness(db)
      const [get, set] = [`get${what}ApiKey`, `set${what}ApiKey`]
      assert.equal(await secrets[get](id), null)
      assert.equal(await secrets[set](id, `key of ${what}`), 1)
      assert.equal(await secrets[get](id), `key of ${what}`)
      assert.deepEqual(await clear(db, id), { [name]: `key of ${what}` })
      assert.equal(await secrets[set](id, null), 2)
      assert.equal(await secrets[get](id), null)
    })
  }

  await claim("Kling's keys come both or not at all", async () => {
    const id = await addBusiness(db)
    assert.equal(await secrets.getKlingCredentials(id), null)
    await secrets.set(id, 'kling_access_key', 'alone')
    assert.equal(await secrets.getKlingCredentials(id), null)
    await secrets.setMany(id, { kling_access_key: null, kling_secret_key: 'alone' })
    assert.equal(await secrets.getKlingCredentials(id), null)

    const written = await secrets.setKlingCredentials(id, { accessKey: ' access ', secretKey: 'secret' })
    assert.deepEqual(written, { kling_access_key: 3, kling_secret_key: 2 })
    assert.deepEqual(await secrets.getKlingCredentials(id), { accessKey: 'access', secretKey: 'secret' })
    await secrets.setKlingCredentials(id, null)
    assert.deepEqual(await clear(db, id), {})
  })

  await claim("Kling's keys are never written one without the other", async () => {
    const id = await addBusiness(db)
    await secrets.setKlingCredentials(id, { accessKey: 'access', secretKey: 'secret' })
    const before = await fingerprint(db)
    for (const half of [
      { accessKey: 'lost' },
      { secretKey: 'lost' },
      { accessKey: 'lost', secretKey: ' ' },
      { accessKey: '', secretKey: 'lost' },
      { accessKey: 'lost', secretKey: null },
      { accessKey: undefined, secretKey: 'lost' },
    ]) {
      await refuses(() => secrets.setKlingCredentials(id, half), 'INVALID_VALUE', { says: /null to clear/ })
    }
    assert.equal(await fingerprint(db), before)
  })

  await claim("readers of Kling's keys never see a mixed pair while it is being rotated", async () => {
    const id = await addBusiness(db)
    await secrets.setKlingCredentials(id, { accessKey: 'pair 0', secretKey: 'pair 0' })
    let rotating = true
    const rotate = async () => {
      for (let i = 1; i <= 25; i++) {
        await secrets.setKlingCredentials(id, { accessKey: `pair ${i}`, secretKey: `pair ${i}` })
      }
      rotating = false
    }
    const read = async () => {
      let reads = 0
      while (rotating) {
        const { accessKey, secretKey } = await secrets.getKlingCredentials(id)
        assert.equal(accessKey, secretKey)
        reads++
      }
      return reads
    }
    const [, ...reads] = await Promise.all([rotate(), read(), read(), read()])
    assert.ok(Math.min(...reads) > 0)
  })

  await claim("Google's tokens carry a Date, and none means no grant", async () => {
    const id = await addBusiness(db)
    assert.equal(await secrets.getGoogleTokens(id), null)
    const expiresAt = new Date('2031-01-31T12:34:56.789Z')
    const grant = { accessToken: 'access', refreshToken: 'refresh', expiresAt, driveFolderId: 'folder' }
    assert.deepEqual(await secrets.setGoogleTokens(id, grant), {
      google_access_token: 1,
      google_refresh_token: 1,
      google_token_expiry: 1,
      google_drive_folder_id: 1,
    })
    const read = await secrets.getGoogleTokens(id)
    assert.ok(read.expiresAt instanceof Date)
    assert.deepEqual(read, grant)

    await secrets.setGoogleTokens(id, { accessToken: null, refreshToken: null })
    assert.equal(await secrets.getGoogleTokens(id), null)
    assert.equal(await secrets.get(id, 'google_drive_folder_id'), 'folder')
  })

  await claim("a change of Google's tokens leaves alone what it does not name", async () => {
    const id = await addBusiness(db)
    const expiresAt = new Date(1_900_000_000_000)
    await secrets.setGoogleTokens(id, { accessToken: 'one', refreshToken: 'stays', expiresAt })
    const refreshed = { accessToken: 'two', refreshToken: undefined, expiresAt: null }
    assert.deepEqual(await secrets.setGoogleTokens(id, refreshed), {
      google_access_token: 2,
      google_token_expiry: 2,
    })
    assert.deepEqual(await secrets.getGoogleTokens(id), {
      accessToken: 'two',
      refreshToken: 'stays',
      expiresAt: null,
      driveFolderId: null,
    })
    await refuses(() => secrets.setGoogleTokens(id, {}), 'INVALID_ARGUMENT', { says: /at least one/ })
  })

  await claim('an expiry keeps its millisecond from one end of time to the other', async () => {
    const id = await addBusiness(db)
    await secrets.setGoogleTokens(id, { refreshToken: 'r' })
    for (const iso of [
      '0001-01-01T00:00:00.000Z',
      '1582-10-15T00:00:00.001Z',
      '1969-12-31T23:59:59.999Z',
      '1970-01-01T00:00:00.000Z',
      '2000-02-29T23:59:59.500Z',
      '2038-01-19T03:14:08.000Z',
      '9999-12-31T23:59:59.999Z',
    ]) {
      const expiresAt = new Date(iso)
      await secrets.setGoogleTokens(id, { expiresAt })
      assert.deepEqual((await secrets.getGoogleTokens(id)).expiresAt, expiresAt)
    }
  })

  await claim('an expiry that the database holds to the microsecond reads as its millisecond', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, {
      google_refresh_token: 'r',
      google_token_expiry: '2031-01-31 12:00:00.123987+02',
    })
    const { expiresAt } = await secrets.getGoogleTokens(id)
    assert.equal(expiresAt.toISOString(), '2031-01-31T10:00:00.123Z')
  })

  await claim('the status of integrations shows what is configured and never a value', async () => {
    const id = await addBusiness(db)
    const nothing = { configured: false, last4: null, updatedAt: null }
    const empty = await secrets.getIntegrationStatus(id)
    const every = ['gemini', 'grok', 'claude', 'youtube', 'kling', 'sms', 'whatsapp', 'google']
    assert.deepEqual(Object.keys(empty), every)
    for (const one of every) assert.deepEqual(empty[one], nothing)

    await secrets.setMany(id, {
      gemini_api_key: 'a long key of gemini',
      grok_api_key: 'short',
      kling_access_key: 'half of what kling needs',
      google_refresh_token: 'a long refresh token',
    })
    const status = await secrets.getIntegrationStatus(id)
    assert.deepEqual([status.gemini.configured, status.gemini.last4], [true, 'mini'])
    assert.deepEqual([status.grok.configured, status.grok.last4], [true, null])
    assert.deepEqual([status.kling.configured, status.kling.last4], [false, null])
    assert.deepEqual([status.google.configured, status.google.last4], [true, 'oken'])
    assert.ok(status.gemini.updatedAt instanceof Date)
    assert.deepEqual(status.sms, nothing)
    assert.ok(!/a long|short|half/.test(JSON.stringify(status)))
  })

  await t.test('what cannot be decrypted is never answered as "not set"', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, {
      gemini_api_key: 'g',
      grok_api_key: 'g',
      kling_access_key: 'k',
      google_access_token: 'a',
    })
    for (const name of ['gemini_api_key', 'kling_access_key', 'google_access_token'])
      await breakCipher(db, id, name)
    for (const call of [
      () => secrets.getProviderKey(id, 'gemini'),
      () => secrets.getBusinessApiKeys(id),
      () => secrets.getKlingCredentials(id),
      () => secrets.getGoogleTokens(id),
    ]) {
      await refuses(call, 'DECRYPT_FAILED')
    }
    assert.equal(await secrets.getProviderKey(id, 'grok'), 'g')
    assert.equal((await secrets.getIntegrationStatus(id)).gemini.configured, true)
  })
})
