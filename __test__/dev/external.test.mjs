// APP_SECRETS_TEST_POSTGRES: a server that runs already, in place of the packaged one.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startPostgres } from '../../dev/postgres.mjs'
import { openClient } from '../support/addon.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { startCluster, TestCluster } from '../support/servers.mjs'

let server
// After the test's own databases, which are dropped on it.
after(() => server?.stop())

test('a plain server gets the shape that tests need, once, also for several processes at a time', async (t) => {
  server = await startPostgres({ platform: false })
  process.env.APP_SECRETS_TEST_POSTGRES = server.urlFor('supabase_admin')
  t.after(() => {
    delete process.env.APP_SECRETS_TEST_POSTGRES
  })

  const adopted = await Promise.all([startCluster(17), startCluster(17)])
  assert.deepEqual(adopted[0].description, adopted[1].description)
  const db = await new TestCluster(adopted[1].description).freshDatabase(t)
  const id = await addBusiness(db)
  const client = await openClient(t, db)
  await client.set(id, 'grok_api_key', 'a value')
  assert.equal(await client.get(id, 'grok_api_key'), 'a value')
  await client.close()

  await assert.rejects(startCluster(15), /names one of 17/)
  process.env.APP_SECRETS_TEST_POSTGRES = 'postgres://postgres:x@127.0.0.1:1/postgres'
  await assert.rejects(startCluster(17), /superuser supabase_admin/)
})
