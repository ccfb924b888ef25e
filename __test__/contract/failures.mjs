// Failing: the code says which kind it is, and nothing says a value. Last, since it closes a client.

import assert from 'node:assert/strict'
import { addon, refuses } from '../support/addon.mjs'

export const failures = {
  async 'a business that does not exist is told apart from a secret that is not set'({ client, missing }) {
    for (const call of [
      () => client.get(missing, 'grok_api_key'),
      () => client.getMany(missing, ['grok_api_key', 'claude_api_key']),
      () => client.set(missing, 'grok_api_key', 'lost'),
      () => client.setMany(missing, { grok_api_key: 'lost', claude_api_key: 'lost' }),
      () => client.list(missing),
      () => client.undo(missing, 'grok_api_key'),
    ]) {
      await refuses(call, 'BUSINESS_NOT_FOUND', { says: new RegExp(missing), hides: ['lost'] })
    }
  },

  async 'an unknown name is answered with the likely one, and not repeated'({ client, addBusiness }) {
    const id = await addBusiness()
    for (const [name, says] of [
      ['grok_api_kay', /did you mean grok_api_key\?/],
      ['grokApiKey', /did you mean grok_api_key\?/],
      ['sk_live_marker_4711', /the names are gemini_api_key, .*google_drive_folder_id/],
    ]) {
      const options = { says, hides: [name] }
      await refuses(() => client.get(id, name), 'UNKNOWN_SECRET', options)
      await refuses(() => client.getMany(id, ['claude_api_key', name]), 'UNKNOWN_SECRET', options)
      await refuses(() => client.set(id, name, 'lost'), 'UNKNOWN_SECRET', options)
      await refuses(
        () => client.setMany(id, { claude_api_key: 'lost', [name]: 'lost' }),
        'UNKNOWN_SECRET',
        options,
      )
      await refuses(() => client.undo(id, name), 'UNKNOWN_SECRET', options)
    }
    assert.equal(await client.get(id, 'claude_api_key'), null)
  },

  async 'what cannot be decrypted fails by its name, leaves its neighbours alone, and is healed by a write'({
    client,
    addBusiness,
    breakSecret,
  }) {
    const id = await addBusiness()
    await client.setMany(id, { grok_api_key: 'broken', claude_api_key: 'whole' })
    await breakSecret(id, 'grok_api_key')
    const asked = [client.get(id, 'grok_api_key'), client.get(id, 'claude_api_key')]
    const [broken, whole] = await Promise.allSettled(asked)
    assert.equal(broken.reason?.code, 'DECRYPT_FAILED')
    assert.equal(whole.value, 'whole')
    const both = ['claude_api_key', 'grok_api_key']
    await refuses(() => client.getMany(id, both), 'DECRYPT_FAILED', { says: /^grok_api_key cannot/ })
    await refuses(() => client.getMany(id, ['grok_api_key']), 'DECRYPT_FAILED')
    assert.equal((await client.list(id)).find(({ name }) => name === 'grok_api_key').isSet, true)
    await client.set(id, 'grok_api_key', 'healed')
    assert.equal(await client.get(id, 'grok_api_key'), 'healed')
  },

  async 'wrong arguments reject with their code, without what was passed'({ client, addBusiness }) {
    const id = await addBusiness()
    for (const [call, code] of [
      [() => client.get('sk_live_4711', 'grok_api_key'), 'INVALID_ARGUMENT'],
      [() => client.get(id), 'INVALID_ARGUMENT'],
      [() => client.set(id, 'grok_api_key', 4711), 'INVALID_VALUE'],
      [() => client.set(id, 'grok_api_key', 'lost', { ['sk_live'.concat('_4711')]: 1 }), 'INVALID_ARGUMENT'],
      [() => client.check(id, 'grok_api_key', -1, 'works'), 'INVALID_ARGUMENT'],
      [() => client.check(id, 'grok_api_key', 1, 'sk_live_4711'), 'INVALID_ARGUMENT'],
      [() => client.getProviderKey(id, 'sk_live_4711'), 'INVALID_ARGUMENT'],
      [() => client.withGoogleAccessToken(id), 'INVALID_ARGUMENT'],
    ]) {
      const error = await refuses(call, code, { hides: ['4711', 'lost'] })
      assert.ok(error instanceof addon.SecretsError)
    }
  },

  async 'ping resolves, and stats counts without a value or an id'({ client, addBusiness }) {
    const id = await addBusiness()
    assert.equal(await client.ping(), undefined)
    await client.get(id, 'grok_api_key')
    const stats = client.stats()
    assert.ok(stats.elements >= 1 && stats.batches >= 1)
    for (const key of ['hits', 'negativeHits', 'misses', 'entries', 'staleServed', 'evictions']) {
      assert.equal(typeof stats[key], 'number', key)
    }
    for (const key of ['invalidations', 'coalesced', 'batches', 'elements']) {
      assert.equal(typeof stats[key], 'number', key)
    }
    const pool = ['busy', 'connections', 'idle', 'lost', 'opened', 'waiting']
    assert.deepEqual(Object.keys(stats.pool).sort(), pool)
    assert.ok(['off', 'connecting', 'listening', 'unavailable'].includes(stats.listener.state))
    assert.ok(!JSON.stringify(stats).includes(id))
  },

  async 'a closed client refuses every call, and closing again is no failure'({ other, addBusiness }) {
    const id = await addBusiness()
    let told = 0
    other.watch(null, () => told++)
    assert.equal(await other.close(), undefined)
    assert.equal(await other.close(), undefined)
    for (const call of [
      () => other.get(id, 'grok_api_key'),
      () => other.getMany(id, ['grok_api_key']),
      () => other.set(id, 'grok_api_key', 'x'),
      () => other.list(id),
      () => other.undo(id, 'grok_api_key'),
      () => other.ping(),
      () => other.getBusinessApiKeys(id),
    ]) {
      await refuses(call, 'CLOSED', { says: /connect\(\)/ })
    }
    assert.throws(() => other.watch(null, () => {}), { code: 'CLOSED' })
    assert.ok(other.stats().listener.state === 'off')
  },
}
