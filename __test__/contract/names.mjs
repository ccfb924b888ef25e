// Names are data: whatever the catalogue holds is a secret like any other.

import assert from 'node:assert/strict'
import { until } from '../support/wait.mjs'

export const names = {
  async 'a secret may have the name of what every object inherits'({ t, withName }) {
    const name = 'constructor'
    const { client, addBusiness } = await withName(name)
    const id = await addBusiness()
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
    const written = await client.setMany(id, { [name]: 'three', grok_api_key: 'x' })
    assert.deepEqual(Object.keys(written), [name, 'grok_api_key'])
    const entry = (await client.list(id)).find((entry) => entry.name === name)
    assert.equal(entry.version, written[name])
    assert.equal(await client.get(id, name), 'three')
  },
}
