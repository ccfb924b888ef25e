// A database that is away, restarts, hangs or is cut off: what the caller hears, how soon, and what became of a write.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../../dev/credentials.mjs'
import { applyMigrations, createServiceLogin } from '../../dev/migrate.mjs'
import { startPostgres, withClient } from '../../dev/postgres.mjs'
import { openClient, refuses } from '../support/addon.mjs'
import { legacyApp } from '../support/legacy-app.mjs'
import { until } from '../support/wait.mjs'
import { wireProxy } from '../support/wire-proxy.mjs'

let server
let url
let id

// A server of our own: it is stopped and started all the time.
before(async () => {
  server = await startPostgres({ major: 17 })
  await server.sql(legacyApp, { role: 'postgres' })
  await applyMigrations(server.urlFor('postgres'))
  url = await createServiceLogin(server)
  const { rows } = await server.sql('insert into public.businesses (name) values (null) returning id', {
    role: 'postgres',
  })
  id = rows[0].id
})
after(() => server.stop())

const stored = async () => {
  const { rows } = await server.sql(`select grok_api_key as value from public.decrypted_business_secrets`)
  return rows[0]?.value ?? null
}

test('a client is made while its database is away, and serves as soon as it is there', async (t) => {
  const place = new URL(url)
  place.port = await freePort()
  const client = await openClient(t, place.href)
  const { message } = await refuses(() => client.ping(), 'UNAVAILABLE', {
    says: /connection refused.*is the server running/,
    hides: [place.password],
  })
  assert.ok(message.includes(`127.0.0.1:${place.port}`))

  const later = await startPostgres({ major: 17, port: Number(place.port), platform: false })
  t.after(() => later.stop())
  // That this is another server shows in what it says: there is no such login.
  await until(
    () =>
      client.ping().then(
        () => true,
        ({ code }) => code === 'PERMISSION_DENIED',
      ),
    'an answer of the server that came later',
  )
})

test('while the database is away calls fail soon, and say that it is', async (t) => {
  // Calls that held on until their deadline would outlast the test.
  const client = await openClient(t, url, { timeoutMs: 3_600_000 })
  await client.ping()
  await server.stopImmediate()
  t.after(() => server.restart())
  for (let i = 0; i < 5; i++) {
    await refuses(() => client.get(id, 'grok_api_key'), 'UNAVAILABLE', { says: /refused|closed/ })
  }
  await Promise.all(Array.from({ length: 200 }, () => refuses(() => client.ping(), 'UNAVAILABLE')))
})

test('after a restart the same client goes on, and no read notices', async (t) => {
  const client = await openClient(t, url)
  await client.set(id, 'grok_api_key', 'before the restart')
  for (const restart of [
    () => server.restart(),
    async () => {
      await server.stopImmediate()
      await server.restart()
    },
  ]) {
    await restart()
    assert.equal(await client.get(id, 'grok_api_key'), 'before the restart')
    await restart()
    // Left alone for a while, as clients are: then a write asks first whether its connection is still there.
    await delay(300)
    assert.ok((await client.set(id, 'grok_api_key', 'before the restart')) > 0)
    await restart()
    assert.equal((await client.list(id)).length, 12)
  }
})

test('reads that come during a restart wait for it', async (t) => {
  const client = await openClient(t, url, { timeoutMs: 10_000 })
  await client.set(id, 'grok_api_key', 'patience')
  const restart = server.restart()
  const reads = []
  for (let i = 0; i < 20; i++) {
    reads.push(client.get(id, 'grok_api_key').catch((error) => error))
    await delay(15)
  }
  await restart
  for (const outcome of await Promise.all(reads)) {
    // The patience for a server that is away is bounded: a slow machine may exceed it.
    if (outcome instanceof Error) assert.equal(outcome.code, 'UNAVAILABLE')
    else assert.equal(outcome, 'patience')
  }
  assert.equal(await client.get(id, 'grok_api_key'), 'patience')
})

test('a session that an administrator ends is replaced without a word', async (t) => {
  const client = await openClient(t, `${url}?application_name=ended`)
  await client.set(id, 'grok_api_key', 'still here')
  const end = () =>
    server.sql(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'ended'`,
    )
  await end()
  assert.equal(await client.get(id, 'grok_api_key'), 'still here')
  await end()
  await delay(300)
  assert.ok((await client.set(id, 'grok_api_key', 'written after it')) > 1)
})

test('every call ends by its deadline though nobody answers', async (t) => {
  const proxy = await wireProxy(t, url)
  const client = await openClient(t, proxy.url, { timeoutMs: 1500 })
  for (const call of [
    () => client.get(id, 'grok_api_key'),
    () => client.getMany(id, ['grok_api_key', 'claude_api_key']),
    () => client.list(id),
    () => client.ping(),
  ]) {
    await client.ping()
    proxy.hold()
    await refuses(call, 'TIMEOUT', { says: /1500 ms.*timeoutMs/ })
    proxy.release()
  }
})

test('a server that accepts connections and says nothing fails calls by their deadline', async (t) => {
  const proxy = await wireProxy(t, url)
  proxy.hold()
  const client = await openClient(t, proxy.url, { timeoutMs: 1500 })
  const { code, message } = await client.ping().catch((error) => error)
  // The deadlines of the call and of its connection fall together: either may tell.
  assert.ok(['UNAVAILABLE', 'TIMEOUT'].includes(code), code)
  assert.match(message, /no answer within 1500 ms/)
  proxy.release()
  await client.ping()
})

test('a write whose answer is lost is UNKNOWN_OUTCOME, carried out once, and not repeated', async (t) => {
  const proxy = await wireProxy(t, url)
  const client = await openClient(t, proxy.url, { timeoutMs: 1500 })
  await client.set(id, 'grok_api_key', 'to begin with')
  const changes = async () =>
    (await server.sql(`select from app_secrets.audit_log where name = 'grok_api_key'`)).rows.length
  const before = await changes()

  for (const [what, lose] of [
    ['cut off', () => proxy.cut()],
    ['held back until the deadline', () => {}],
  ]) {
    // A statement's first use on a connection takes one exchange more.
    await client.set(id, 'claude_api_key', `ready for ${what}`)
    proxy.hold()
    const write = refuses(() => client.set(id, 'grok_api_key', `sent, then ${what}`), 'UNKNOWN_OUTCOME', {
      says: /read the version/,
      hides: ['sent, then'],
    })
    await until(async () => (await stored()) === `sent, then ${what}`, 'the write to arrive')
    lose()
    await write
    proxy.release()
    assert.equal(await client.get(id, 'grok_api_key'), `sent, then ${what}`)
  }
  assert.equal(await changes(), before + 2)
})

test('a write that waits for a lock past its deadline is TIMEOUT, and is not carried out later', async (t) => {
  const client = await openClient(t, url, { timeoutMs: 1500 })
  await client.set(id, 'grok_api_key', 'before the lock')
  await withClient(server.urlFor('postgres'), async (other) => {
    await other.query('begin')
    await other.query("update public.business_secrets set grok_api_key = 'held by another'")
    // The lock is held until this has ended: a write that waited on would never end.
    await refuses(() => client.set(id, 'grok_api_key', 'too late'), 'TIMEOUT', { hides: ['too late'] })
    assert.equal(await client.get(id, 'grok_api_key'), 'before the lock')
    await other.query('commit')
  })
  await delay(100)
  assert.equal(await stored(), 'held by another')
  await client.set(id, 'grok_api_key', 'in time')
})

test('a write that waits for one lock after another ends by its deadline, and is not carried out', async (t) => {
  const client = await openClient(t, url, { timeoutMs: 10_000 })
  await client.set(id, 'grok_api_key', 'before both locks')
  await withClient(server.urlFor('postgres'), (owner) =>
    withClient(server.urlFor('postgres'), async (row) => {
      await owner.query('begin')
      await owner.query('select from public.businesses where id = $1 for update', [id])
      await row.query('begin')
      await row.query('select from public.business_secrets where business_id = $1 for update', [id])
      const write = refuses(() => client.set(id, 'grok_api_key', 'too late'), 'TIMEOUT', {
        hides: ['too late'],
      })
      // The first wait takes more than half of the time: a second one of the same length would end after the deadline.
      const waits = `select from pg_stat_activity where wait_event_type = 'Lock'
        and query like '%set_business_secrets%' and clock_timestamp() - query_start > interval '5.5 s'`
      await until(async () => (await server.sql(waits)).rows.length === 1, 'a long wait for the first lock')
      await owner.query('commit')
      await write
      await row.query('commit')
    }),
  )
  assert.equal(await stored(), 'before both locks')
  await client.set(id, 'grok_api_key', 'in time')
  assert.equal(await stored(), 'in time')
})

test('a deadline of a millisecond fails calls, not the client', async (t) => {
  const client = await openClient(t, url, { timeoutMs: 1 })
  const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => client.get(id, 'grok_api_key')))
  for (const { status, reason } of outcomes) {
    if (status === 'rejected') assert.ok(['TIMEOUT', 'UNAVAILABLE'].includes(reason.code), reason.code)
  }
})

test('closing does not wait for a server that hangs', async (t) => {
  const proxy = await wireProxy(t, url)
  const client = await openClient(t, proxy.url, { timeoutMs: 1500 })
  await client.ping()
  proxy.hold()
  const hanging = refuses(() => client.get(id, 'grok_api_key'), 'TIMEOUT')
  await delay(20)
  // Nothing is answered until this has ended.
  await client.close()
  await hanging
})

test('a server that speaks no PostgreSQL is refused with a code', async (t) => {
  for (const speech of ['HTTP/1.1 400 Bad Request\r\n\r\n', '\0'.repeat(64), 'S', '']) {
    const fake = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(speech)
    }).listen(0, '127.0.0.1')
    await once(fake, 'listening')
    const client = await openClient(t, `postgres://a:p4ss-w0rd-marker@127.0.0.1:${fake.address().port}/x`, {
      timeoutMs: 3000,
    })
    await refuses(() => client.ping(), 'UNAVAILABLE', { hides: ['p4ss-w0rd-marker'] })
    fake.close()
  }
})
