// stats(): what is counted.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openClient, root } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'

test('identical reads are counted as joined, and those that travel together as one statement', async (t) => {
  const db = await freshDatabase(t, 17)
  const ids = await Promise.all(Array.from({ length: 20 }, () => addBusiness(db)))
  const proxy = await wireProxy(t, db.service)
  const client = await openClient(t, proxy.url, { maxConnections: 1 })
  await client.ping()
  const before = client.stats()
  // The first is answered after the last was asked for, however slow this machine is.
  proxy.hold()
  const reads = [...ids, ...ids].map((id) => client.getMany(id, ['grok_api_key', 'gemini_api_key']))
  await new Promise(setImmediate)
  proxy.release()
  await Promise.all(reads)
  const after = client.stats()
  assert.equal(after.coalesced - before.coalesced, 20)
  assert.equal(after.elements - before.elements, 40)
  assert.ok(after.batches - before.batches <= 2)
})

test('connections are counted in and out', async (t) => {
  const db = await freshDatabase(t, 17)
  const proxy = await wireProxy(t, db.service)
  const client = await openClient(t, proxy.url, { maxConnections: 2 })
  assert.deepEqual(client.stats().pool, { connections: 0, busy: 0, idle: 0, waiting: 0, opened: 0, lost: 0 })
  await client.ping()
  assert.deepEqual(client.stats().pool, { connections: 1, busy: 0, idle: 1, waiting: 0, opened: 1, lost: 0 })
  proxy.hold()
  const ping = client.ping()
  await until(() => client.stats().pool.busy === 1, 'work')
  proxy.release()
  await ping
  proxy.cut()
  await client.ping()
  await until(() => client.stats().pool.lost === 1, 'the loss to be counted')
  assert.deepEqual(client.stats().pool, { connections: 1, busy: 0, idle: 1, waiting: 0, opened: 2, lost: 1 })
  await client.close()
  const { connections, idle, opened } = client.stats().pool
  assert.deepEqual({ connections, idle, opened }, { connections: 0, idle: 0, opened: 2 })
})

test('what makes room and what was changed is counted', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const client = await openClient(t, db, { cache: { maxEntries: 2 } })
  await until(() => client.stats().listener.state === 'listening', 'a listener')
  await client.getMany(id, ['grok_api_key', 'gemini_api_key', 'claude_api_key'])
  assert.deepEqual([client.stats().entries, client.stats().evictions, client.stats().misses], [2, 1, 3])
  await client.set(id, 'claude_api_key', 'x')
  assert.deepEqual([client.stats().entries, client.stats().invalidations], [1, 1])
})

test('every number is documented under its name', async (t) => {
  const client = await openClient(t, 'postgres://a:b@127.0.0.1:1/nothing')
  const text = readFileSync(`${root}docs/metrics.md`, 'utf8')
  const names = (object, prefix = '') =>
    Object.entries(object).flatMap(([name, value]) =>
      typeof value === 'object' ? names(value, `${prefix}${name}.`) : [`${prefix}${name}`],
    )
  for (const name of names(client.stats())) assert.ok(text.includes(`\`${name}\``), name)
})
