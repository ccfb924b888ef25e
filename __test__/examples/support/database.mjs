// A migrated database with two businesses of two owners, and what stands in front of it.

import { startDataApi } from '../../../dev/data-api.mjs'
import { sign as signToken } from '../../../dev/data-api-tokens.mjs'
import { freshDatabase } from '../../support/cluster.mjs'
import { addBusiness } from '../../support/secrets.mjs'

export const owner = '0a000000-0000-4000-8000-000000000001'
export const stranger = '0a000000-0000-4000-8000-000000000002'

export async function appDatabase(t) {
  const db = await freshDatabase(t, 17)
  await db.query(
    "insert into auth.users (id, email) values ($1, 'owner@example.com'), ($2, 'stranger@example.com')",
    [owner, stranger],
  )
  return {
    db,
    business: await addBusiness(db, { owner_id: owner, name: 'The owner’s' }),
    other: await addBusiness(db, { owner_id: stranger, name: 'The stranger’s' }),
  }
}

/** The Data API in front of a test's database, with both owners' accounts. */
export async function dataApi(t, db, options) {
  const api = await startDataApi({
    url: db.urlFor('authenticator'),
    users: [
      { id: owner, email: 'owner@example.com', password: 'of-the-owner' },
      { id: stranger, email: 'stranger@example.com', password: 'of-the-stranger' },
    ],
    ...options,
  })
  t.after(() => api.close())
  return api
}

/** A token that is signed with another secret than the API's. */
export const forged = (claims) => signToken('somebody-elses-secret', claims)
