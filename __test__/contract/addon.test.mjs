// The addon against the contract, with and without a cache.

import { randomUUID } from 'node:crypto'
import { breakCipher, openClient } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { contract } from './contract.mjs'

for (const [name, options] of [
  ['the addon', {}],
  ['the addon with a cache', { cache: true }],
]) {
  contract(name, async (t) => {
    const db = await freshDatabase(t, 17)
    return {
      client: await openClient(t, db, options),
      other: await openClient(t, db, options),
      missing: randomUUID(),
      refused: [],
      addBusiness: () => addBusiness(db),
      breakSecret: (id, name) => breakCipher(db, id, name),
    }
  })
}
