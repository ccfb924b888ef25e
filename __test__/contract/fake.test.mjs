// The fake against the contract. It shares the client's own transport, as two clients share a database.

import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { contract } from './contract.mjs'

const { createFakeSecrets } = createRequire(import.meta.url)('../../lib/testing.js')

contract('the fake', () => {
  const client = createFakeSecrets({ businesses: [] })
  return {
    client,
    other: client.another(),
    missing: randomUUID(),
    refused: [],
    async addBusiness() {
      const id = randomUUID()
      client.addBusiness(id)
      return id
    },
    breakSecret: async (id, name) => client.breakSecret(id, name),
  }
})
