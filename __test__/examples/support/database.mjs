// A migrated database with two businesses, as the examples' services see it: through the service's login.

import { freshDatabase } from '../../support/cluster.mjs'
import { addBusiness } from '../../support/secrets.mjs'

export const owner = '0a000000-0000-4000-8000-000000000001'
export const stranger = '0a000000-0000-4000-8000-000000000002'

export async function appDatabase(t) {
  const db = await freshDatabase(t, 17)
  process.env.APP_SECRETS_URL = db.service
  await db.query(
    "insert into auth.users (id, email) values ($1, 'owner@example.com'), ($2, 'stranger@example.com')",
    [owner, stranger],
  )
  // The app's own rule for businesses; who may read secrets is another one.
  await db.query('alter table public.businesses enable row level security')
  await db.query(
    'create policy own on public.businesses for select to authenticated using (owner_id = auth.uid())',
  )
  await db.query('grant select on public.businesses to authenticated')
  return {
    db,
    business: await addBusiness(db, { owner_id: owner }),
    other: await addBusiness(db, { owner_id: stranger }),
  }
}

/** Stands in for a provider's HTTP API: answers with `respond(url, request)` and remembers what it was asked. */
export function provider(respond) {
  const calls = []
  const fetch = async (url, request = {}) => {
    const headers = Object.fromEntries(new Headers(request.headers))
    const call = { url: String(url), method: request.method ?? 'GET', headers, body: request.body }
    calls.push(call)
    const { status = 200, body = {} } = respond(call)
    return Response.json(body, { status })
  }
  return { fetch, calls }
}
