// Values that are in memory already: the addon's cache against what a service would write itself.

import { createRequire } from 'node:module'
import { LRUCache } from 'lru-cache'
import { NAME } from './read.mjs'

const { connect } = createRequire(import.meta.url)('../index.js')

/** Fills a cache with what `read` gives. */
async function filled(url, businesses, set) {
  const secrets = await connect({ url })
  await Promise.all(businesses.map(async (business) => set(business, await secrets.get(business, NAME))))
  await secrets.close()
}

const everybody = {
  async 'ours, cached'(url, businesses) {
    const secrets = await connect({ url, cache: { ttlMs: 3_600_000, maxEntries: businesses.length * 2 } })
    const get = (business) => secrets.get(business, NAME)
    await Promise.all(businesses.map(get))
    return { get, close: () => secrets.close() }
  },

  async 'lru-cache'(url, businesses) {
    const cache = new LRUCache({ max: businesses.length * 2, ttl: 3_600_000 })
    await filled(url, businesses, (business, value) => cache.set(`${business}/${NAME}`, value))
    return { get: async (business) => cache.get(`${business}/${NAME}`), close() {} }
  },

  async 'Map + Promise.resolve'(url, businesses) {
    const cache = new Map()
    await filled(url, businesses, (business, value) => cache.set(`${business}/${NAME}`, value))
    return { get: (business) => Promise.resolve(cache.get(`${business}/${NAME}`)), close() {} }
  },
}

export async function cachedContenders() {
  return everybody
}
