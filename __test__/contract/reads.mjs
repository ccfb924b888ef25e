// Reading: what is set, what is not, and what a list may show.

import assert from 'node:assert/strict'

export const reads = {
  async 'a secret that was never set is null, and has version 0'({ client, addBusiness }) {
    const id = await addBusiness()
    assert.equal(await client.get(id, 'grok_api_key'), null)
    const entry = (await client.list(id)).find(({ name }) => name === 'grok_api_key')
    assert.equal(entry.version, 0)
    assert.equal(entry.isSet, false)
  },

  async 'what one client writes the other reads'({ client, other, addBusiness }) {
    const id = await addBusiness()
    await client.set(id, 'grok_api_key', 'a value')
    assert.equal(await other.get(id, 'grok_api_key'), 'a value')
  },

  async 'an id in upper case is the same business'({ client, addBusiness }) {
    const id = await addBusiness()
    await client.set(id.toUpperCase(), 'grok_api_key', 'a value')
    assert.equal(await client.get(id.toUpperCase(), 'grok_api_key'), 'a value')
    assert.equal(await client.get(id, 'grok_api_key'), 'a value')
  },

  async 'a business never receives what another one has'({ client, addBusiness }) {
    const ids = await Promise.all(Array.from({ length: 8 }, addBusiness))
    await Promise.all(ids.map((id) => client.set(id, 'claude_api_key', `of ${id}`)))
    const read = await Promise.all(ids.map((id) => client.get(id, 'claude_api_key')))
    assert.deepEqual(
      read,
      ids.map((id) => `of ${id}`),
    )
  },

  async 'getMany gives what was asked for, each once, in that order'({ client, addBusiness }) {
    const id = await addBusiness()
    await client.setMany(id, { grok_api_key: 'g', kling_access_key: 'k' })
    const wanted = ['kling_access_key', 'claude_api_key', 'grok_api_key', 'grok_api_key']
    const read = await client.getMany(id, wanted)
    assert.deepEqual(read, { kling_access_key: 'k', claude_api_key: null, grok_api_key: 'g' })
    assert.deepEqual(Object.keys(read), ['kling_access_key', 'claude_api_key', 'grok_api_key'])
  },

  async 'the gets of one turn each get their own answer'({ client, addBusiness }) {
    const [id, second] = [await addBusiness(), await addBusiness()]
    await client.setMany(id, { grok_api_key: 'g', gemini_api_key: 'm' })
    const asked = [
      client.get(id, 'grok_api_key'),
      client.get(id, 'gemini_api_key'),
      client.get(second, 'grok_api_key'),
      client.get(id, 'grok_api_key'),
      client.get(id, 'whatsapp_api_key'),
    ]
    assert.deepEqual(await Promise.all(asked), ['g', 'm', null, 'g', null])
  },

  async 'a value comes back as it was, but for white space around it'({ client, addBusiness }) {
    const id = await addBusiness()
    for (const value of [
      `quotes ' " \` and \\ backslash \\u0000`,
      'tab\tand\nnewline inside',
      'naïve 日本語 العربية 👩‍👩‍👧 \u{10ffff}',
      '{"json": [1, null]}',
      '(parentheses), commas. and "in.(" of a filter',
      'null',
      '20000000-0000-4000-8000-000000000001',
      'x'.repeat(65_536),
    ]) {
      await client.set(id, 'grok_api_key', ` \n${value}\ufeff\t`)
      assert.equal(await client.get(id, 'grok_api_key'), value)
    }
  },

  async 'a list names every secret in one order and shows no value'({ client, addBusiness }) {
    const id = await addBusiness()
    const began = Date.now()
    await client.setMany(id, {
      gemini_api_key: 'elevenchars',
      grok_api_key: 'twelve chars',
      claude_api_key: 'accents: éèê😀',
      google_token_expiry: '2031-01-31T12:00:00Z',
      google_drive_folder_id: 'a folder of many characters',
    })
    const list = await client.list(id)
    assert.equal(list[0].name, 'gemini_api_key')
    assert.deepEqual(
      list.slice(-2).map(({ name, sealed }) => [name, sealed]),
      [
        ['google_token_expiry', false],
        ['google_drive_folder_id', false],
      ],
    )
    assert.equal(list.length, 12)
    const of = (name) => list.find((entry) => entry.name === name)
    assert.deepEqual(
      ['gemini_api_key', 'grok_api_key', 'claude_api_key', 'google_drive_folder_id'].map(
        (name) => of(name).last4,
      ),
      [null, 'hars', 'éèê😀', null],
    )
    const { updatedAt, version, lastReadAt, ...grok } = of('grok_api_key')
    assert.deepEqual(grok, {
      name: 'grok_api_key',
      label: 'xAI Grok',
      sealed: true,
      isSet: true,
      last4: 'hars',
      lastCheckedAt: null,
      checkResult: null,
      expiresAt: null,
      canUndo: false,
    })
    assert.ok(version > 0)
    assert.ok(updatedAt instanceof Date && Math.abs(updatedAt - began) < 60_000)
    assert.ok(lastReadAt === null || lastReadAt instanceof Date)
    assert.equal(await client.get(id, 'google_token_expiry'), '2031-01-31T12:00:00.000000Z')
    assert.ok(!/elevenchars|twelve c|accents|a folder/.test(JSON.stringify(list)))
  },
}
