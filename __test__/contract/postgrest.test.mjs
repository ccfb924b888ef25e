// PostgREST's transport against the contract: with the token of a signed-in user, and with a key that may do everything.

import { randomUUID } from 'node:crypto'
import { startDataApi } from '../../dev/data-api.mjs'
import { addon, breakCipher } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, addName, rotate } from '../support/secrets.mjs'
import { contract } from './contract.mjs'

/** A database behind a Data API, and two clients of it. */
async function harness(t, { user }) {
  const db = await freshDatabase(t, 17)
  const api = await startDataApi({ url: db.urlFor('authenticator') })
  t.after(() => api.close())
  const owner = randomUUID()
  await db.query('insert into auth.users (id) values ($1)', [owner], 'supabase_admin')
  const credentials = user
    ? { supabaseKey: api.keys.publishable, accessToken: () => api.sign({ sub: owner }) }
    : { supabaseKey: api.keys.secret }
  const open = () => addon.connect({ supabaseUrl: api.url, pollMs: 20, timeoutMs: 30_000, ...credentials })
  const [client, other] = [await open(), await open()]
  t.after(() => client.close())
  return {
    client,
    other,
    missing: randomUUID(),
    resyncs: 'every',
    addBusiness: () => addBusiness(db, { owner_id: owner }),
    async withName(name) {
      await addName(db, name)
      return { client, addBusiness: () => addBusiness(db, { owner_id: owner }) }
    },
    rotate: (id, name, interval) => rotate(db, id, name, interval),
    breakSecret: (id, name) => breakCipher(db, id, name),
  }
}

contract("PostgREST's transport with a user's token", async (t) => ({
  ...(await harness(t, { user: true })),
  // The functions of services refuse a user.
  refused: ['setMany', 'options', 'lease'],
}))

contract("PostgREST's transport with a secret key", async (t) => ({
  ...(await harness(t, { user: false })),
  refused: [],
}))
