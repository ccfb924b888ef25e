// Writing: versions, compare-and-set, all or nothing, undo, checks.

import assert from 'node:assert/strict'
import { refuses } from '../support/addon.mjs'

const entry = async (client, id, name) => (await client.list(id)).find((entry) => entry.name === name)

/** What may stand where a point in time is wanted, and how it reads afterwards; null where it is refused. */
const times = {
  '2031-01-31T12:00:00Z': '2031-01-31T12:00:00.000000Z',
  '2031-01-31t12:00:00.1z': '2031-01-31T12:00:00.100000Z',
  '2031-01-31 12:00': '2031-01-31T12:00:00.000000Z',
  '2031-01-31 12:00:00,5 +0200': '2031-01-31T10:00:00.500000Z',
  '2031-01-31T12:00:00-02': '2031-01-31T14:00:00.000000Z',
  '2031-01-31T12:00:00.1234564Z': '2031-01-31T12:00:00.123456Z',
  '2031-01-31T12:00:00.123456789Z': '2031-01-31T12:00:00.123457Z',
  '2031-01-31T12:00:00.9999996Z': '2031-01-31T12:00:01.000000Z',
  '2031-01-31T12:00:00.0000005Z': '2031-01-31T12:00:00.000000Z',
  '2031-01-31T12:00:00.0000015Z': '2031-01-31T12:00:00.000002Z',
  '2031-01-31T12:00:00+15:59': '2031-01-30T20:01:00.000000Z',
  '2031-01-31T12:00:00+16:00': null,
  '2031-01-31T12:00:00-23:59': null,
  '2031-01-31T12:00:00+01:60': null,
  '2031-01-31T24:00:00Z': '2031-02-01T00:00:00.000000Z',
  '2031-01-31T24:00:01Z': null,
  '2031-01-31T23:59:60Z': '2031-02-01T00:00:00.000000Z',
  '2031-01-31T23:59:60.5Z': null,
  '2031-01-31T12:00:60.5Z': '2031-01-31T12:01:00.500000Z',
  '2031-01-31T12:00:61Z': null,
  '2031-01-31T12:60:00Z': null,
  '2031-01-31T25:00:00Z': null,
  '2031-02-29T12:00:00Z': null,
  '2032-02-29T12:00:00Z': '2032-02-29T12:00:00.000000Z',
  '2031-13-01T12:00:00Z': null,
  '2031-01-00T12:00:00Z': null,
  '0000-01-01T00:00:00Z': null,
  '0001-01-01T00:00:00Z': '0001-01-01T00:00:00.000000Z',
  '0001-01-01T00:00:00+01:00': null,
  '0044-03-15T00:00:00Z': '0044-03-15T00:00:00.000000Z',
  '10000-01-01T00:00:00Z': '10000-01-01T00:00:00.000000Z',
  '+010000-01-01T00:00:00.000Z': '10000-01-01T00:00:00.000000Z',
  '275760-09-13T00:00:00Z': '275760-09-13T00:00:00.000000Z',
  '275760-09-13T00:00:00.000001Z': null,
  '294276-12-31T00:00:00Z': null,
  'Fri, 31 Jan 2031 12:00:00 GMT': '2031-01-31T12:00:00.000000Z',
  'Mon, 31 Jan 2031 12:00:00 UTC': '2031-01-31T12:00:00.000000Z',
  'Fri, 31 Feb 2031 12:00:00 GMT': null,
  '31 Jan 2031 12:00:00 GMT': null,
  '2031-01-31': null,
  '2031-01-31T12Z': null,
  infinity: null,
  tomorrow: null,
}

export const writes = {
  async 'a version increases with every change, and writing what is there is none'({ client, addBusiness }) {
    const id = await addBusiness()
    const first = await client.set(id, 'youtube_api_key', 'one')
    const second = await client.set(id, 'youtube_api_key', 'two')
    assert.ok(first > 0 && second > first)
    assert.equal(await client.set(id, 'youtube_api_key', ' two '), second)
    assert.equal((await entry(client, id, 'youtube_api_key')).version, second)
  },

  async 'null and blank values clear, and clearing what is not set changes nothing'({ client, addBusiness }) {
    const id = await addBusiness()
    assert.equal(await client.delete(id, 'grok_api_key'), 0)
    for (const blank of [null, '', ' ', '\ufeff\n\t\u2009']) {
      const there = await client.set(id, 'claude_api_key', 'there')
      const gone = await client.set(id, 'claude_api_key', blank)
      assert.ok(gone > there)
      assert.equal(await client.get(id, 'claude_api_key'), null)
      assert.equal(await client.set(id, 'claude_api_key', blank), gone)
    }
    await client.set(id, 'claude_api_key', 'there')
    await client.delete(id, 'claude_api_key')
    assert.equal(await client.get(id, 'claude_api_key'), null)
  },

  async 'setMany writes and clears together and gives the versions'({ client, addBusiness }) {
    const id = await addBusiness()
    const old = await client.set(id, 'gemini_api_key', 'old')
    await client.set(id, 'whatsapp_api_key', 'untouched')
    const written = await client.setMany(id, {
      gemini_api_key: null,
      grok_api_key: 'new',
      claude_api_key: ' ',
    })
    assert.deepEqual(Object.keys(written), ['gemini_api_key', 'grok_api_key', 'claude_api_key'])
    assert.ok(written.gemini_api_key > old && written.grok_api_key > 0)
    assert.equal(written.claude_api_key, 0)
    assert.deepEqual(
      await client.getMany(id, ['gemini_api_key', 'grok_api_key', 'claude_api_key', 'whatsapp_api_key']),
      { gemini_api_key: null, grok_api_key: 'new', claude_api_key: null, whatsapp_api_key: 'untouched' },
    )
  },

  async 'setMany writes nothing when one of its values is refused'({ client, addBusiness }) {
    const id = await addBusiness()
    await client.set(id, 'gemini_api_key', 'stays')
    for (const bad of ['x'.repeat(65_537), 'nul \0', '\ud800', 7]) {
      const values = { gemini_api_key: 'lost', whatsapp_api_key: bad }
      await refuses(() => client.setMany(id, values), 'INVALID_VALUE', { hides: ['lost'] })
    }
    // What is no time only the store can tell.
    const values = { gemini_api_key: 'lost', google_token_expiry: 'the day after tomorrow' }
    await refuses(() => client.setMany(id, values), 'INVALID_VALUE', { hides: ['lost', 'tomorrow'] })
    assert.equal(await client.get(id, 'gemini_api_key'), 'stays')
  },

  async 'a write against another version is refused, and changes nothing'({ client, addBusiness }) {
    const id = await addBusiness()
    const one = await client.set(id, 'grok_api_key', 'one', { expectedVersion: 0 })
    const two = await client.set(id, 'grok_api_key', 'two', { expectedVersion: one })
    const conflict = { says: /grok_api_key|version/, hides: ['three'] }
    for (const expectedVersion of [0, one, two + 1_000_000]) {
      const call = () => client.set(id, 'grok_api_key', 'three', { expectedVersion })
      await refuses(call, 'VERSION_CONFLICT', conflict)
      await refuses(
        () => client.delete(id, 'grok_api_key', { expectedVersion }),
        'VERSION_CONFLICT',
        conflict,
      )
    }
    assert.equal(await client.get(id, 'grok_api_key'), 'two')
    assert.ok((await client.delete(id, 'grok_api_key', { expectedVersion: two })) > two)
  },

  async 'setMany compares every version before it writes any'({ client, addBusiness, refused }) {
    const id = await addBusiness()
    const grok = await client.set(id, 'grok_api_key', 'one')
    const values = { claude_api_key: 'lost', grok_api_key: 'lost' }
    const call = (version) =>
      client.setMany(id, values, { expectedVersions: { claude_api_key: 0, grok_api_key: version } })
    if (refused.includes('setMany')) return void (await refuses(() => call(grok), 'PERMISSION_DENIED'))
    await refuses(() => call(grok + 1), 'VERSION_CONFLICT', { hides: ['lost'] })
    assert.deepEqual(await client.getMany(id, ['claude_api_key', 'grok_api_key']), {
      claude_api_key: null,
      grok_api_key: 'one',
    })
    assert.ok((await call(grok)).grok_api_key > grok)
  },

  async 'of writers that expect the same version exactly one gets through'({ client, other, addBusiness }) {
    const id = await addBusiness()
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        [client, other][i % 2].set(id, 'gemini_api_key', `writer ${i}`, { expectedVersion: 0 }).then(
          () => `writer ${i}`,
          ({ code }) => code,
        ),
      ),
    )
    const winners = outcomes.filter((outcome) => outcome !== 'VERSION_CONFLICT')
    assert.equal(winners.length, 1, outcomes.join())
    assert.deepEqual([await client.get(id, 'gemini_api_key')], winners)
  },

  async 'undo puts the previous value back, as a new version'({ client, addBusiness }) {
    const id = await addBusiness()
    await client.set(id, 'grok_api_key', 'one')
    assert.equal((await entry(client, id, 'grok_api_key')).canUndo, false)
    await refuses(() => client.undo(id, 'grok_api_key'), 'REFUSED')
    const two = await client.set(id, 'grok_api_key', 'two')
    assert.equal((await entry(client, id, 'grok_api_key')).canUndo, true)
    await refuses(() => client.undo(id, 'grok_api_key', { expectedVersion: two - 1 }), 'VERSION_CONFLICT')
    assert.ok((await client.undo(id, 'grok_api_key', { expectedVersion: two })) > two)
    assert.equal(await client.get(id, 'grok_api_key'), 'one')
    await client.delete(id, 'grok_api_key')
    await client.undo(id, 'grok_api_key')
    assert.equal(await client.get(id, 'grok_api_key'), 'one')
  },

  async 'what is not sealed has no value before the present one to put back'({ client, addBusiness }) {
    const id = await addBusiness()
    await client.set(id, 'google_drive_folder_id', 'one')
    await client.set(id, 'google_drive_folder_id', 'two')
    assert.equal((await entry(client, id, 'google_drive_folder_id')).canUndo, false)
    await refuses(() => client.undo(id, 'google_drive_folder_id'), 'REFUSED')
    assert.equal(await client.get(id, 'google_drive_folder_id'), 'two')
  },

  async 'a point in time is what the database takes for one, and comes back in UTC to the microsecond'({
    client,
    addBusiness,
  }) {
    const id = await addBusiness()
    for (const [text, read] of Object.entries(times)) {
      if (read === null) {
        await refuses(() => client.set(id, 'google_token_expiry', text), 'INVALID_VALUE', { says: /in time/ })
        continue
      }
      await client.set(id, 'google_token_expiry', text)
      assert.equal(await client.get(id, 'google_token_expiry'), read, text)
    }
    // Written beside others, it is found again in its other form.
    for (const google_token_expiry of ['2031-01-31 12:00', '2031-01-31T23:59:60Z', '10000-01-01T00:00:00Z']) {
      const written = await client.setMany(id, { google_token_expiry, google_drive_folder_id: 'a folder' })
      assert.ok(written.google_token_expiry > 0)
    }
  },

  async 'a check is kept beside the version that was checked'({ client, addBusiness }) {
    const id = await addBusiness()
    const version = await client.set(id, 'grok_api_key', 'one')
    assert.equal(await client.check(id, 'grok_api_key', version, 'works'), true)
    const { lastCheckedAt, checkResult } = await entry(client, id, 'grok_api_key')
    assert.ok(lastCheckedAt instanceof Date)
    assert.equal(checkResult, 'works')
    assert.equal(await client.check(id, 'grok_api_key', version, 'works'), true)
    assert.ok((await entry(client, id, 'grok_api_key')).lastCheckedAt >= lastCheckedAt)
    await client.set(id, 'grok_api_key', 'two')
    assert.equal(await client.check(id, 'grok_api_key', version, 'refused'), false)
    assert.notEqual((await entry(client, id, 'grok_api_key')).checkResult, 'refused')
  },

  async 'a value may expire, and be due for rotation'({ client, addBusiness, refused }) {
    const id = await addBusiness()
    const expiresAt = new Date('2031-01-31T12:00:00.000Z')
    const options = { expiresAt, rotateEvery: '90 days' }
    const call = () => client.set(id, 'grok_api_key', 'one', options)
    if (refused.includes('options')) return void (await refuses(call, 'PERMISSION_DENIED'))
    await call()
    assert.deepEqual((await entry(client, id, 'grok_api_key')).expiresAt, expiresAt)
    await client.set(id, 'grok_api_key', 'one', { expiresAt: null })
    assert.equal((await entry(client, id, 'grok_api_key')).expiresAt, null)
  },

  async 'what is purged cannot be put back'({ client, addBusiness, refused }) {
    const id = await addBusiness()
    await client.set(id, 'grok_api_key', 'one')
    const call = () => client.delete(id, 'grok_api_key', { purge: true })
    if (refused.includes('options')) return void (await refuses(call, 'PERMISSION_DENIED'))
    await call()
    await refuses(() => client.undo(id, 'grok_api_key'), 'REFUSED')
  },
}
