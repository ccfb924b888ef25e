// Names are data: whatever the catalogue holds is a secret like any other.

import assert from 'node:assert/strict'
import { refuses } from '../support/addon.mjs'
import { until } from '../support/wait.mjs'

export const names = {
  async 'a secret may have the name of what every object inherits'({
    t,
    client: before,
    addBusiness: addBefore,
    withName,
  }) {
    const name = 'constructor'
    // The names that there are have been asked for when the name is added.
    const asked = await addBefore()
    await refuses(() => before.get(asked, 'no_such_name'), 'UNKNOWN_SECRET')
    const { client, addBusiness } = await withName(name)
    const id = await addBusiness()
    const warned = []
    const note = ({ code }) => void warned.push(code)
    process.on('warning', note)
    t.after(() => process.off('warning', note))
    assert.equal(await client.get(id, name), null)
    assert.deepEqual(Object.entries(await client.getMany(id, ['grok_api_key', name])), [
      ['grok_api_key', null],
      [name, null],
    ])
    let changed
    let hears = false
    const watcher = client.watch({ businessId: id, names: [name] }, (event) => {
      hears = true
      if (event.kind === 'changed') changed = event
    })
    t.after(() => watcher.close())
    await until(() => hears || client.stats().listener.state === 'listening', 'a listener')
    const first = await client.set(id, name, 'one', { expectedVersion: 0 })
    const second = await client.set(id, name, 'two', { expectedVersion: first })
    assert.ok(second > first)
    await until(() => changed?.versions[name] === second, 'the event')
    assert.deepEqual([changed.names, Object.entries(changed.versions)], [[name], [[name, second]]])
    assert.ok(!warned.includes('UNKNOWN_SECRET'), 'the name is said to be unknown')
    const written = await client.setMany(id, { [name]: 'three', grok_api_key: 'x' })
    assert.deepEqual(Object.keys(written), [name, 'grok_api_key'])
    const entry = (await client.list(id)).find((entry) => entry.name === name)
    assert.equal(entry.version, written[name])
    assert.equal(await client.get(id, name), 'three')
  },
}
