// PostgREST's transport against the contract, with the tokens of a signed-in user.

import { randomUUID } from 'node:crypto'
import { startDataApi } from '../../dev/data-api.mjs'
import { addon, breakCipher } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { contract } from './contract.mjs'

contract("PostgREST's transport", async (t) => {
  const db = await freshDatabase(t, 17)
  const api = await startDataApi({ url: db.urlFor('authenticator') })
  t.after(() => api.close())
  const owner = randomUUID()
  await db.query('insert into auth.users (id) values ($1)', [owner], 'supabase_admin')
  const open = () =>
    addon.connect({
      supabaseUrl: api.url,
      supabaseKey: api.keys.publishable,
      accessToken: () => api.sign({ sub: owner }),
      pollMs: 20,
      timeoutMs: 30_000,
    })
  const [client, other] = [await open(), await open()]
  t.after(() => client.close())
  return {
    client,
    other,
    missing: randomUUID(),
    refused: ['setMany', 'options', 'lease'],
    addBusiness: () => addBusiness(db, { owner_id: owner }),
    breakSecret: (id, name) => breakCipher(db, id, name),
  }
})
