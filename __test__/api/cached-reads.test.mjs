// The quick way to what is cached: it gives what the long way gives, for every name, and nothing where that refuses.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, names } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

async function cachedClient(t) {
  const db = await freshDatabase(t, 17)
  const ids = [await addBusiness(db), await addBusiness(db)]
  const client = await openClient(t, db, { cache: true })
  await until(() => client.stats().listener.state === 'listening', 'a listener')
  return { client, ids }
}

/** One of each name, none like another; every second one outside ASCII. */
const valuesOf = (id) =>
  Object.fromEntries(
    names.map((name, i) => [
      name,
      name === 'google_token_expiry'
        ? '2031-01-31T12:00:00.123456Z'
        : `${name} of ${id}${i % 2 ? ' — ключ 🔑' : ''}`,
    ]),
  )

test('every name of every business gives its own value from the cache, as a promise', async (t) => {
  const { client, ids } = await cachedClient(t)
  for (const id of ids) await client.setMany(id, valuesOf(id))
  for (const id of ids) await client.getMany(id, names)
  const { hits } = client.stats()
  for (const id of ids) {
    for (const name of names) {
      const promise = client.get(id, name)
      assert.ok(promise instanceof Promise)
      assert.equal(await promise, valuesOf(id)[name])
      assert.equal(await client.get(id.toUpperCase(), name), valuesOf(id)[name])
    }
  }
  assert.equal(client.stats().hits - hits, ids.length * names.length * 2)
})

test('what is cached as not set is null', async (t) => {
  const { client, ids } = await cachedClient(t)
  for (const name of names) assert.equal(await client.get(ids[0], name), null)
  const { negativeHits } = client.stats()
  for (const name of names) assert.equal(await client.get(ids[0], name), null)
  assert.equal(client.stats().negativeHits - negativeHits, names.length)
})

test('what is no id or no name is refused by a rejection, cached or not', async (t) => {
  const { client, ids } = await cachedClient(t)
  await client.get(ids[0], 'grok_api_key')
  const wrong = [undefined, null, 1, {}, Symbol('id'), '', 'x'.repeat(36), `${ids[0]} `, `{${ids[0]}}`]
  for (const id of wrong) await refuses(() => client.get(id, 'grok_api_key'), 'INVALID_ARGUMENT')
  for (const name of [undefined, null, 1, {}, Symbol('name')]) {
    await refuses(() => client.get(ids[0], name), 'INVALID_ARGUMENT')
  }
  for (const name of ['', 'grok', '1', 'constructor', 'Grok_API_key']) {
    await refuses(() => client.get(ids[0], name), 'UNKNOWN_SECRET')
  }
})

test('a closed client gives nothing from its cache', async (t) => {
  const { client, ids } = await cachedClient(t)
  await client.set(ids[0], 'grok_api_key', 'xai-1')
  assert.equal(await client.get(ids[0], 'grok_api_key'), 'xai-1')
  await client.close()
  await refuses(() => client.get(ids[0], 'grok_api_key'), 'CLOSED')
})

test('the quick way is nobody’s to take: a client shows nothing of it', async (t) => {
  const { client } = await cachedClient(t)
  assert.deepEqual(Object.keys(client), [])
  assert.deepEqual(Object.getOwnPropertyNames(client), [])
  assert.deepEqual(Object.getOwnPropertySymbols(client), [])
})
