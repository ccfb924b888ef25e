// Doctor finds what is wrong with the wire, the clock and the logins.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { addRole, breaks, examine, finds, superuser } from '../support/doctor.mjs'
import { transactionPooler } from '../support/transaction-pooler.mjs'

test('connection.tls: another machine without encryption', async (t) => {
  const db = await freshDatabase(t, 17)
  // Resolves to this machine, and is not known for it.
  const admin = db.admin.replace('127.0.0.1', '127.1')
  await finds({ admin, service: db.service }, 'connection.tls', 'fail', /to another machine/, {
    allowInsecure: true,
  })
})

test('connection.pooler: a transaction pooler, told or found out', async (t) => {
  const db = await freshDatabase(t, 17)
  const pooled = { admin: await transactionPooler(t, db.admin), service: db.service }
  const checks = await examine(pooled)
  assert.equal(checks['connection.pooler'].level, 'fail')
  assert.deepEqual(Object.keys(checks), ['connection.tls', 'connection.pooler'])
  await finds(
    { ...db, admin: `${db.admin}?pgbouncer=true`, service: db.service },
    'connection.pooler',
    'fail',
    /transaction mode/,
  )
})

breaks('connection.clock', 'warn', /3[56]\d\d s ahead of/, async function anHourApart(db) {
  const client = await db.connect(superuser)
  await client.query('set allow_system_table_mods = on')
  await client.query(
    `create or replace function pg_catalog.clock_timestamp() returns timestamptz language sql volatile
     return pg_catalog.now() + interval '1 hour'`,
  )
})

test('login.admin: a superuser, and a login that may not look', async (t) => {
  const db = await freshDatabase(t, 17)
  await finds(
    { admin: db.superuser, service: db.service },
    'login.admin',
    'warn',
    /supabase_admin is a superuser/,
  )
  const checks = await examine({ admin: db.service, service: db.service })
  assert.equal(checks['login.admin'].level, 'fail')
  assert.match(checks['login.admin'].found, /no other check was made/)
})

test('login.service: too mighty, too weak, in other roles, not given, or deaf', async (t) => {
  const db = await freshDatabase(t, 17)
  const login = async (attributes) => {
    const name = await addRole(t, `login password 'pw' ${attributes}`)
    const url = new URL(db.service)
    url.username = name
    url.password = 'pw'
    return { admin: db.admin, service: url.href }
  }
  await finds(
    { admin: db.admin, service: db.superuser },
    'login.service',
    'fail',
    /supabase_admin is a superuser, bypasses/,
  )
  await finds(
    await login('bypassrls in role app_secrets_service'),
    'login.service',
    'fail',
    /bypasses Row Level Security/,
  )
  await finds(
    await login('createrole createdb in role app_secrets_service'),
    'login.service',
    'fail',
    /may make roles, may make databases/,
  )
  await finds(await login(''), 'login.service', 'fail', /is not in app_secrets_service/)
  await finds(
    await login('in role app_secrets_service, pg_read_all_data'),
    'login.service',
    'warn',
    /other roles too: pg_read_all_data/,
  )
  await finds(
    { admin: db.admin, service: `${db.service}?pgbouncer=true` },
    'login.service',
    'warn',
    /nobody can LISTEN/,
  )
  await finds({ admin: db.admin, service: undefined }, 'login.service', 'warn', /APP_SECRETS_URL is not set/)
  const remote = db.service.replace('127.0.0.1', '127.1')
  await finds({ admin: db.admin, service: remote }, 'login.service', 'fail', /without encryption/, {
    allowInsecure: true,
  })
})
