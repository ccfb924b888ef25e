// Bad input to every function: a rejection with the documented code, nothing sent, nothing written, nothing repeated. The
// checks are JavaScript that every transport shares, so that the fake's stands for all.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { addon, refuses } from '../support/addon.mjs'
import * as bad from '../support/bad-values.mjs'

const { createFakeSecrets } = createRequire(import.meta.url)('../../lib/testing.js')

const remedies = {
  INVALID_ARGUMENT:
    /must be|such as|at least one|unknown property; known are|leave its version out|cannot be (read|listed)|more than \d+ elements/,
  UNKNOWN_SECRET: /did you mean|the names are .*whatsapp_api_key/,
  INVALID_VALUE: /must be|null to clear|65,536|NUL|surrogate/,
}

/** Functions that take a business, with arguments after it that would do. */
const byBusiness = {
  get: ['grok_api_key'],
  getMany: [['grok_api_key']],
  set: ['grok_api_key', 'lost'],
  setMany: [{ grok_api_key: 'lost' }],
  delete: ['grok_api_key'],
  undo: ['grok_api_key'],
  check: ['grok_api_key', 1, 'works'],
  list: [],
  getProviderKey: ['grok'],
  setProviderKey: ['grok', 'lost'],
  getBusinessApiKeys: [],
  getKlingCredentials: [],
  setKlingCredentials: [{ accessKey: 'lost', secretKey: 'lost' }],
  getYouTubeApiKey: [],
  setYouTubeApiKey: ['lost'],
  getSmsApiKey: [],
  setSmsApiKey: ['lost'],
  getWhatsAppApiKey: [],
  setWhatsAppApiKey: ['lost'],
  getGoogleTokens: [],
  setGoogleTokens: [{ refreshToken: 'lost' }],
  getIntegrationStatus: [],
  withGoogleAccessToken: [() => assert.fail('refreshed')],
}

test('bad input', async (t) => {
  const id = randomUUID()
  const values = { grok_api_key: 'stays', claude_api_key: 'stays' }
  const secrets = createFakeSecrets({ values: { [id]: values } })
  const addBusiness = async () => {
    const own = randomUUID()
    secrets.addBusiness(own)
    return own
  }
  const before = await secrets.list(id)
  const refused = (call, code) => refuses(call, code, { says: remedies[code], hides: [bad.marker, 'lost'] })

  /** One claim: every value of a kind is refused where `call` puts it, and changes nothing. */
  const claim = (name, values, code, call) =>
    t.test(name, async () => {
      for (const [what, value] of Object.entries(values)) {
        await refused(() => call(value), code).catch((error) => {
          error.message = `${what}: ${error.message}`
          throw error
        })
      }
      assert.deepEqual(await secrets.list(id), before)
    })

  await t.test('there is a claim for every method', () => {
    const methods = Object.getOwnPropertyNames(addon.Secrets.prototype)
    const apart = ['constructor', 'ping', 'close', 'watch', 'stats']
    assert.deepEqual(methods.filter((name) => !apart.includes(name)).sort(), Object.keys(byBusiness).sort())
  })

  for (const [name, rest] of Object.entries(byBusiness)) {
    await claim(`${name} refuses what is no business id`, bad.businessIds(id), 'INVALID_ARGUMENT', (value) =>
      secrets[name](value, ...rest),
    )
    await t.test(`${name} without arguments is refused`, () =>
      refused(() => secrets[name](), 'INVALID_ARGUMENT'),
    )
  }

  const names = [
    ['get', (name) => secrets.get(id, name)],
    ['getMany', (name) => secrets.getMany(id, ['claude_api_key', name])],
    ['set', (name) => secrets.set(id, name, 'lost')],
    ['delete', (name) => secrets.delete(id, name)],
  ]
  for (const [name, call] of names) {
    await claim(`${name} refuses what is no name`, bad.noNames(), 'INVALID_ARGUMENT', call)
    await claim(`${name} refuses unknown names`, bad.unknownNames(), 'UNKNOWN_SECRET', call)
  }
  const providers = { ...bad.noNames(), ...bad.unknownNames(), 'another case': 'Grok' }
  await claim('getProviderKey refuses what is no provider', providers, 'INVALID_ARGUMENT', (provider) =>
    secrets.getProviderKey(id, provider),
  )
  await claim('setProviderKey refuses what is no provider', providers, 'INVALID_ARGUMENT', (provider) =>
    secrets.setProviderKey(id, provider, 'lost'),
  )
  await claim('getMany refuses what is no list of names', bad.nameLists(), 'INVALID_ARGUMENT', (list) =>
    secrets.getMany(id, list),
  )

  const valued = [
    ['set', (value) => secrets.set(id, 'grok_api_key', value)],
    ['setMany', (value) => secrets.setMany(id, { claude_api_key: 'lost', grok_api_key: value })],
    ['setProviderKey', (value) => secrets.setProviderKey(id, 'grok', value)],
    ['setYouTubeApiKey', (value) => secrets.setYouTubeApiKey(id, value)],
    ['setSmsApiKey', (value) => secrets.setSmsApiKey(id, value)],
    ['setWhatsAppApiKey', (value) => secrets.setWhatsAppApiKey(id, value)],
    [
      'setKlingCredentials',
      (value) => secrets.setKlingCredentials(id, { accessKey: 'lost', secretKey: value }),
    ],
  ]
  for (const [name, call] of valued) {
    await claim(`${name} refuses what is no value`, bad.secretValues(), 'INVALID_VALUE', call)
  }
  const { undefined: _, ...tokens } = bad.secretValues()
  for (const property of ['accessToken', 'refreshToken', 'driveFolderId']) {
    await claim(`setGoogleTokens refuses what is no ${property}`, tokens, 'INVALID_VALUE', (value) =>
      secrets.setGoogleTokens(id, { expiresAt: null, [property]: value }),
    )
  }
  await claim('setGoogleTokens refuses what is no Date', bad.dates(), 'INVALID_VALUE', (expiresAt) =>
    secrets.setGoogleTokens(id, { refreshToken: 'lost', expiresAt }),
  )

  await claim(
    'setMany refuses what is no object of values',
    bad.valueObjects(),
    'INVALID_ARGUMENT',
    (object) => secrets.setMany(id, object),
  )
  await claim('setMany refuses unknown names', bad.unknownValueObjects(), 'UNKNOWN_SECRET', (object) =>
    secrets.setMany(id, object),
  )

  const objects = [
    ['set', (options) => secrets.set(id, 'grok_api_key', 'lost', options)],
    ['setMany', (options) => secrets.setMany(id, { grok_api_key: 'lost' }, options)],
    ['delete', (options) => secrets.delete(id, 'grok_api_key', options)],
    ['setKlingCredentials', (keys) => secrets.setKlingCredentials(id, keys)],
    ['setGoogleTokens', (tokens) => secrets.setGoogleTokens(id, tokens)],
  ]
  for (const [name, call] of objects) {
    await claim(
      `${name} refuses another thing in place of an object`,
      bad.noObjects(),
      'INVALID_ARGUMENT',
      call,
    )
  }
  await claim('missing objects are refused', { undefined }, 'INVALID_ARGUMENT', (missing) =>
    secrets.setKlingCredentials(id, missing),
  )
  await claim('missing tokens are refused', { undefined, null: null }, 'INVALID_ARGUMENT', (missing) =>
    secrets.setGoogleTokens(id, missing),
  )
  const { undefined: __, ...versions } = bad.expectedVersions()
  const expectations = [
    ['set', (expectedVersion) => secrets.set(id, 'grok_api_key', 'lost', { expectedVersion })],
    ['delete', (expectedVersion) => secrets.delete(id, 'grok_api_key', { expectedVersion })],
    [
      'setMany',
      (v) => secrets.setMany(id, { grok_api_key: 'lost' }, { expectedVersions: { grok_api_key: v } }),
    ],
  ]
  for (const [name, call] of expectations) {
    await claim(`${name} refuses what is no version`, versions, 'INVALID_ARGUMENT', call)
  }
  await claim(
    'an expected version of what is not written is refused',
    { 0: 0, 1: 1 },
    'INVALID_ARGUMENT',
    (version) =>
      secrets.setMany(id, { grok_api_key: 'lost' }, { expectedVersions: { claude_api_key: version } }),
  )

  await t.test('upper case ids are the same business', async () => {
    assert.equal(await secrets.get(id.toUpperCase(), 'grok_api_key'), 'stays')
  })

  await t.test('exactly 65,536 bytes are a value, however they are made up', async () => {
    const own = await addBusiness()
    for (const value of [
      'x'.repeat(65_536),
      `${'€'.repeat(21_845)}x`,
      'é'.repeat(32_768),
      '😀'.repeat(16_384),
    ]) {
      assert.equal(Buffer.byteLength(value), 65_536)
      await secrets.set(own, 'grok_api_key', ` \n${value}\ufeff\t`)
      assert.equal(await secrets.get(own, 'grok_api_key'), value)
    }
  })

  await t.test(
    'white space around a value counts up to a million characters, and not towards its bound',
    async () => {
      const own = await addBusiness()
      const longest = 'x'.repeat(65_536)
      for (const value of [longest.padEnd(140_000, ' \n'), longest.padStart(1_048_576, '\u2003')]) {
        await secrets.set(own, 'grok_api_key', value)
        assert.equal(await secrets.get(own, 'grok_api_key'), longest)
      }
      assert.ok((await secrets.set(own, 'grok_api_key', ' '.repeat(1_048_576))) > 0)
      assert.equal(await secrets.get(own, 'grok_api_key'), null)
      for (const value of [`${longest}y`.padEnd(140_000), 'x'.padEnd(1_048_577), ' '.repeat(1_048_577)]) {
        await refuses(() => secrets.set(own, 'grok_api_key', value), 'INVALID_VALUE', { says: /65,536/ })
      }
      assert.equal(await secrets.get(own, 'grok_api_key'), null)
    },
  )

  await t.test('objects without a prototype, getters and frozen objects do as well as literals', async () => {
    const own = await addBusiness()
    const bare = Object.assign(Object.create(null), { grok_api_key: 'bare' })
    await secrets.setMany(own, Object.freeze(bare))
    const lazy = {
      get claude_api_key() {
        return 'lazy'
      },
    }
    await secrets.setMany(own, lazy, Object.freeze({ expectedVersions: undefined }))
    await secrets.setMany(own, new Proxy({ whatsapp_api_key: 'by proxy' }, {}))
    assert.deepEqual(await secrets.getMany(own, ['grok_api_key', 'claude_api_key', 'whatsapp_api_key']), {
      grok_api_key: 'bare',
      claude_api_key: 'lazy',
      whatsapp_api_key: 'by proxy',
    })
    assert.equal(await secrets.get(own, 'grok_api_key', 'an argument too many', 2), 'bare')
  })

  await t.test('a getter may use the client that reads it', async () => {
    const own = await addBusiness()
    let inner
    const values = {
      get grok_api_key() {
        inner = secrets.get(own, 'grok_api_key')
        return 'outer'
      },
    }
    assert.ok((await secrets.setMany(own, values)).grok_api_key > 0)
    assert.ok([null, 'outer'].includes(await inner))
  })

  await t.test('what a polluted prototype holds is no option, no value and no filter', async (t) => {
    const own = await addBusiness()
    const polluted = {
      expectedVersion: 4711,
      expectedVersions: {},
      expiresAt: 'x',
      purge: 1,
      accessKey: 'lost',
    }
    Object.assign(polluted, {
      secretKey: 'lost',
      refreshToken: 'lost',
      businessId: id,
      names: [],
      url: 'lost',
    })
    Object.assign(Object.prototype, polluted)
    t.after(() => {
      for (const name of Object.keys(polluted)) delete Object.prototype[name]
    })
    assert.ok((await secrets.set(own, 'grok_api_key', 'one', {})) > 0)
    assert.ok((await secrets.setMany(own, { grok_api_key: 'two' }, {})).grok_api_key > 0)
    await refused(() => secrets.setKlingCredentials(own, {}), 'INVALID_VALUE')
    await refused(() => secrets.setGoogleTokens(own, {}), 'INVALID_ARGUMENT')
    const events = []
    const watcher = secrets.watch({}, (event) => void events.push(event))
    await secrets.set(own, 'grok_api_key', 'three')
    watcher.close()
    const changed = events.filter(({ kind }) => kind === 'changed')
    assert.deepEqual(changed[0].names, ['grok_api_key'])
    const { APP_SECRETS_URL, DATABASE_URL } = process.env
    for (const name of ['APP_SECRETS_URL', 'DATABASE_URL']) delete process.env[name]
    await refuses(() => addon.connect({}), 'CONFIG', { says: /no connection string/ })
    Object.assign(process.env, APP_SECRETS_URL && { APP_SECRETS_URL }, DATABASE_URL && { DATABASE_URL })
  })

  await t.test('a method that lost its client is a TypeError and does no harm', async () => {
    const { prototype } = addon.Secrets
    for (const self of [undefined, null, {}, 7, Object.create(prototype), new Map(), addon, prototype]) {
      for (const name of ['get', 'list', 'ping', 'close']) {
        assert.throws(() => prototype[name].call(self, id, 'grok_api_key'), TypeError)
      }
    }
    assert.throws(() => new addon.Secrets(), /connect|constructor/i)
    assert.equal(await secrets.get(id, 'grok_api_key'), 'stays')
  })
})
