// Through a real PgBouncer in transaction mode: `npm run test:pooler`. Not part of `npm test`, which needs nothing that
// npm does not bring.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startPgbouncer } from '../../dev/pgbouncer.mjs'
import { withClient } from '../../dev/postgres.mjs'
import { connect } from '../../index.js'
import { startDatabase } from '../faults/database.mjs'
import { startProxy } from '../faults/proxy.mjs'

const NAME = 'youtube_api_key'
const BUSINESSES = 50

let database
let pgbouncer
let businesses
let url

before(async () => {
  database = await startDatabase()
  businesses = await database.addBusinesses(BUSINESSES)
  pgbouncer = await startPgbouncer(database.cluster, {
    urls: [database.service, database.cluster.urlFor('postgres')],
  })
  url = pgbouncer.through(database.service)
  const direct = await connect({ url: database.service })
  await Promise.all(businesses.map((business) => direct.set(business, NAME, `youtube of ${business}`)))
  await direct.close()
})
after(async () => {
  await pgbouncer?.stop()
  await database?.cluster.stop()
})

/** What the server's side of every pooled connection remembers. */
async function serverState() {
  // As many transactions at the same time as there are connections: each gets one of its own.
  const clients = []
  const states = []
  const step = async (client, text) => (await client.query(text)).rows
  await Promise.all(
    Array.from({ length: pgbouncer.poolSize }, () =>
      withClient(url, async (client) => {
        clients.push(client)
        await step(client, 'begin')
        const [{ pid }] = await step(client, 'select pg_catalog.pg_backend_pid() as pid')
        const rows = await step(
          client,
          `select (select count(*)::integer from pg_catalog.pg_prepared_statements) as statements,
             pg_catalog.current_setting('app_secrets.actor', true) as actor,
             pg_catalog.current_setting('lock_timeout') as lock_timeout,
             (select count(*)::integer from pg_catalog.pg_listening_channels()) as channels`,
        )
        states.push({ pid, ...rows[0] })
        // Nobody gives his connection back before everybody has one.
        while (states.length < pgbouncer.poolSize) await new Promise((resolve) => setTimeout(resolve, 5))
        await step(client, 'commit')
      }),
    ),
  )
  assert.equal(new Set(states.map(({ pid }) => pid)).size, pgbouncer.poolSize)
  return states
}

async function open(count, options) {
  return Promise.all(Array.from({ length: count }, () => connect({ url, timeoutMs: 20_000, ...options })))
}

const close = (clients) => Promise.all(clients.map((client) => client.close()))

test('hundreds of clients read what is theirs, over a handful of server connections', async () => {
  const clients = await open(200, { pooler: 'transaction', maxConnections: 2 })
  await Promise.all(
    clients.flatMap((client, i) =>
      [0, 1, 2].map(async (j) => {
        const business = businesses[(i + j * 7) % BUSINESSES]
        assert.equal(await client.get(business, NAME), `youtube of ${business}`)
      }),
    ),
  )
  const { rows } = await database.cluster.sql(
    "select count(*)::integer as n from pg_catalog.pg_stat_activity where usename = 'app_service'",
  )
  assert.ok(rows[0].n <= pgbouncer.poolSize, `${rows[0].n} server connections`)
  await close(clients)
})

test('nothing is left behind on a server connection: no statement, no setting, no channel', async () => {
  const clients = await open(20, { pooler: 'transaction', actor: 'somebody' })
  await Promise.all(
    clients.flatMap((client, i) => [
      client.get(businesses[i], NAME),
      client.getMany(businesses[i], [NAME, 'grok_api_key']),
      client.set(businesses[i], 'grok_api_key', `grok ${i}`),
      client.list(businesses[i]),
      client.ping(),
    ]),
  )
  await close(clients)
  for (const { statements, actor, lock_timeout, channels } of await serverState()) {
    assert.equal(statements, 0)
    assert.ok(!actor)
    assert.equal(lock_timeout, '0')
    assert.equal(channels, 0)
  }
})

test('a read is one round trip', async () => {
  const proxy = await startProxy(pgbouncer.port)
  const [client] = [await connect({ url: proxy.through(url), pooler: 'transaction', maxConnections: 1 })]
  await client.get(businesses[0], NAME)
  const reads = [
    () => client.get(businesses[0], NAME),
    () => client.getMany(businesses[1], [NAME, 'grok_api_key']),
    () => client.list(businesses[2]),
  ]
  for (const read of reads) {
    const before = proxy.turns
    await read()
    assert.equal(proxy.turns - before, 1)
  }
  await client.close()
  await proxy.close()
})

test('writes are whole, count, name their actor and respect the expected version', async () => {
  const business = businesses[BUSINESSES - 1]
  const clients = await open(20, { pooler: 'transaction', actor: 'the pooler suite' })
  const written = await Promise.allSettled(
    clients.map((client, i) =>
      client.set(business, 'claude_api_key', `claude ${i}`, i % 2 ? { expectedVersion: 0 } : {}),
    ),
  )
  for (const { status, reason } of written) {
    if (status === 'rejected') assert.equal(reason.code, 'VERSION_CONFLICT')
  }
  const versions = written.filter(({ status }) => status === 'fulfilled').map(({ value }) => value)
  assert.ok(versions.length > 0)
  assert.equal(new Set(versions).size, versions.length)
  const { rows } = await database.cluster.sql(
    "select actor from app_secrets.audit_log where business_id = $1 and name = 'claude_api_key'",
    { values: [business] },
  )
  assert.equal(rows.length, versions.length)
  assert.ok(rows.every(({ actor }) => actor === 'the pooler suite'))
  await close(clients)
})

test('a pooler is found out: mixed calls of many clients succeed without being told', async () => {
  for (let round = 0; round < 3; round++) {
    const clients = await open(30, { maxConnections: 2 })
    await Promise.all(
      clients.map(async (client, i) => {
        const business = businesses[i]
        for (let j = 0; j < 6; j++) {
          await Promise.all([
            client.list(business),
            client.set(business, 'kling_access_key', `kling ${round} ${i} ${j}`),
            client.get(businesses[(i + j) % BUSINESSES], NAME).then((value) => {
              assert.equal(value, `youtube of ${businesses[(i + j) % BUSINESSES]}`)
            }),
          ])
        }
        assert.equal(await client.get(business, 'kling_access_key'), `kling ${round} ${i} 5`)
      }),
    )
    await close(clients)
  }
})
