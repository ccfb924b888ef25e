// The addon against the contract: on each major version of PostgreSQL, with and without a cache.

import { randomUUID } from 'node:crypto'
import { breakCipher, openClient } from '../support/addon.mjs'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { addBusiness, addName, rotate } from '../support/secrets.mjs'
import { contract } from './contract.mjs'

for (const [name, major, options] of [
  ['the addon', 17, {}],
  ['the addon with a cache', 17, { cache: true }],
  ['the addon on PostgreSQL 15', 15, {}],
  ['the addon on PostgreSQL 18', 18, {}],
].filter(([, major]) => majors.includes(major))) {
  contract(name, async (t) => {
    const db = await freshDatabase(t, major)
    const client = await openClient(t, db, options)
    return {
      client,
      other: await openClient(t, db, options),
      missing: randomUUID(),
      refused: [],
      resyncs: 'first',
      addBusiness: () => addBusiness(db),
      async withName(name) {
        await addName(db, name)
        return { client, addBusiness: () => addBusiness(db) }
      },
      rotate: (id, name, interval) => rotate(db, id, name, interval),
      breakSecret: (id, name) => breakCipher(db, id, name),
    }
  })
}
