// The getters and setters by the names that the services use, against a database that others change. What they give and take
// the contract suite says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { breakCipher, openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { addBusiness } from '../support/secrets.mjs'

test('consumers', async (t) => {
  const db = await freshDatabase(t, 17)
  const secrets = await openClient(t, db)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
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

  await claim('an expiry that the database holds to the microsecond reads as its millisecond', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, {
      google_refresh_token: 'r',
      google_token_expiry: '2031-01-31 12:00:00.123987+02',
    })
    const { expiresAt } = await secrets.getGoogleTokens(id)
    assert.equal(expiresAt.toISOString(), '2031-01-31T10:00:00.123Z')
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
