// The fake against the contract. It shares the client's own transport, as two clients share a database.

import { randomUUID } from 'node:crypto'
import { internals, testing } from '../support/addon.mjs'
import { contract } from './contract.mjs'

const { createFakeSecrets } = testing

contract('the fake', () => {
  const client = createFakeSecrets({ businesses: [] })
  return {
    client,
    other: client.another(),
    missing: randomUUID(),
    refused: [],
    resyncs: 'first',
    async addBusiness() {
      const id = randomUUID()
      client.addBusiness(id)
      return id
    },
    withName(name) {
      const client = createFakeSecrets({ names: ['grok_api_key', name] })
      return { client, addBusiness: async () => randomUUID() }
    },
    async rotate(businessId, name, interval) {
      // A client takes days and longer; the database takes any interval.
      const values = { [name]: await client.get(businessId, name) }
      const options = { [name]: { rotate_every: interval } }
      await internals.call(client, 'set', { businessId, values, expected: null, options })
    },
    breakSecret: async (id, name) => client.breakSecret(id, name),
  }
})
