// The options of connect(): what is refused at once, before anything is opened, and what it takes to be safe.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { addon, openClient, refuses } from '../support/addon.mjs'
import * as bad from '../support/bad-values.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'

const password = 'p4ss-w0rd-marker'
const local = `postgres://someone:${password}@127.0.0.1:1/nothing`
// An address for documentation, which nobody has: https://www.rfc-editor.org/rfc/rfc5737
const remote = `postgres://someone:${password}@203.0.113.1:5432/nothing`
const hides = [password, bad.marker]

const connecting = (options) => () => addon.connect(options)

test('options that are no object are refused', async () => {
  // What has properties that there are not contradicts itself.
  const unknown = ['an unknown property', 'a key __proto__', 'a String object']
  for (const [what, value] of Object.entries(bad.noObjects())) {
    const code = unknown.includes(what) ? 'CONFIG' : 'INVALID_ARGUMENT'
    await refuses(connecting(value), code, { hides, says: /options|cannot be listed/ }).catch((error) => {
      error.message = `${what}: ${error.message}`
      throw error
    })
  }
})

test('each option refuses what is of another type, by its name', async () => {
  const wrong = {
    url: [1, {}, [], true, Symbol('x'), 1n, new String(local), '\ud800'],
    ca: [1, {}, Buffer.from('x'), true],
    allowInsecure: ['true', 1, 0, {}, 'yes'],
    maxConnections: ['8', 1.5, NaN, {}, true, -1, Infinity, 8n],
    timeoutMs: ['5000', 0.5, NaN, -1, Infinity, true],
    pooler: ['pgbouncer', 'AUTO', '', true, 1],
    applicationName: [1, {}, true],
    actor: [1, {}, () => 'x'],
  }
  for (const [option, values] of Object.entries(wrong)) {
    for (const value of values) {
      const says = new RegExp(`${option} must be`)
      await refuses(connecting({ url: local, [option]: value }), 'INVALID_ARGUMENT', { says, hides })
    }
  }
})

test('a misspelt option is refused, and those that there are are named', async () => {
  for (const name of ['maxconnections', 'timeout', 'connectionString', 'ssl', 'allowinsecure']) {
    await refuses(connecting({ url: local, [name]: 1 }), 'CONFIG', {
      says: /known are url.*allowInsecure/,
    })
  }
})

test('numbers and names out of bounds are refused with their bounds', async () => {
  const wrong = [
    [{ maxConnections: 0 }, /maxConnections must be from 1 to 1000/],
    [{ maxConnections: 1001 }, /from 1 to 1000/],
    [{ timeoutMs: 0 }, /timeoutMs must be from 1 to 3600000/],
    [{ timeoutMs: 3_600_001 }, /3600000/],
    [{ applicationName: 'x'.repeat(64) }, /at most 63 bytes/],
    [{ applicationName: 'a\nb' }, /without control characters/],
    [{ actor: 'é'.repeat(65) }, /actor must be at most 128 bytes/],
    [{ actor: 'a\0b' }, /control/],
  ]
  for (const [options, says] of wrong)
    await refuses(connecting({ url: local, ...options }), 'CONFIG', { says, hides })
})

test('undefined and null leave an option at its default', async (t) => {
  const db = await freshDatabase(t, 17)
  const names = ['ca', 'allowInsecure', 'maxConnections', 'timeoutMs', 'pooler', 'applicationName', 'actor']
  for (const nothing of [undefined, null]) {
    const client = await openClient(t, db, Object.fromEntries(names.map((name) => [name, nothing])))
    await client.ping()
  }
})

test('a connection string that cannot work is refused without a part of it being repeated', async () => {
  const wrong = {
    '': /begin with postgres:\/\//,
    ' ': /begin with postgres:\/\//,
    [password]: /begin with postgres:\/\//,
    [`host=localhost password=${password}`]: /keywords as such a URL/,
    [`mysql://someone:${password}@localhost/x`]: /postgres:\/\//,
    [`https://someone:${password}@localhost/x`]: /postgres:\/\//,
    [`postgres://someone:${password}@/x`]: /names no host/,
    [`postgres://:${password}@localhost/x`]: /names no user/,
    [`postgres://someone:${password}@localhost:99999/x`]: /its port is none/,
    [`postgres://someone:${password}@localhost/x?port=${password}`]: /its port is none/,
    [`postgres://someone:${password}@localhost/x?sslmode=${password}`]: /sslmode/,
    [`postgres://someone:#${password}@localhost/x`]: /percent-encode/,
    [`postgres://someone:a/${password}@localhost/x`]: /percent-encode/,
    [`postgres://someone:a?${password}@localhost/x`]: /percent-encode/,
    [`postgres://someone:%ff${password}@localhost/x`]: /UTF-8/,
    [`postgres://someone:${password}@localhost/x%00`]: /NUL/,
    [`postgres://someone:${password}@one,two/x`]: /several hosts/,
    [`postgres://someone:${password}@localhost/x?host=one,two`]: /several hosts/,
    [`postgres://someone:${password}@localhost/x?options=-c%20role=postgres`]: /not supported/,
    [`postgres://someone:${password}@localhost/x?hostaddr=203.0.113.1`]: /not supported/,
    [`postgres://someone:${password}@localhost/x?service=${password}`]: /not supported/,
  }
  for (const [url, says] of Object.entries(wrong)) {
    await refuses(connecting({ url }), 'CONFIG', { says, hides }).catch((error) => {
      error.message = `${url}: ${error.message}`
      throw error
    })
  }
})

test('a URL with escapes, white space around it and parameters of other clients connects', async (t) => {
  const db = await freshDatabase(t, 17)
  const url = new URL(db.service)
  const escaped = [...url.password].map((c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')
  const variants = [
    ` ${db.service}\n`,
    db.service.replace('postgresql://', 'postgres://'),
    db.service.replace(`:${url.password}@`, `:${escaped}@`),
    `${db.service}?connection_limit=5&pool_timeout=3&schema=public`,
    `${db.service}?application_name=from-the-url&sslmode=prefer`,
    db.service.replace('127.0.0.1', 'localhost'),
    `postgres://x:y@203.0.113.1/z?host=127.0.0.1&port=${url.port}&user=app_service&password=${escaped}&dbname=${db.name}`,
  ]
  for (const variant of variants) await (await openClient(t, variant)).ping()
})

test('clear text to a remote host is refused at once, without a packet', async (t) => {
  const contacted = t.mock.method(net.Socket.prototype, 'connect')
  for (const url of [
    `${remote}?sslmode=disable`,
    'postgres://a:b@database.example.com/x?sslmode=disable',
    'postgres://a:b@[2001:db8::1]/x?sslmode=disable',
    // Looks like this machine, and is none.
    'postgres://a:b@127.0.0.1.example.com/x?sslmode=disable',
    'postgres://a:b@localhost.example.com/x?sslmode=disable',
    `${local}?host=203.0.113.1&sslmode=disable`,
    'postgres://a:b@0.0.0.0/x?sslmode=disable',
    'postgres://a:b@10.0.0.1/x?sslmode=disable',
  ]) {
    await refuses(connecting({ url }), 'UNSAFE_CONNECTION', { says: /remove it.*allowInsecure/, hides })
  }
  assert.equal(contacted.mock.callCount(), 0)
})

// What a process has open stands in /proc.
if (process.platform === 'linux') {
  test('the refusal comes before any socket', async () => {
    const { code, stdout } = await runScript(`
    const { readdirSync, readFileSync, readlinkSync } = require('node:fs')
    const link = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd) } catch { return '' } }
    const internet = () => {
      const mine = new Set(readdirSync('/proc/self/fd').map(link))
      const tables = ['tcp', 'tcp6', 'udp', 'udp6'].map((name) => readFileSync('/proc/self/net/' + name, 'utf8'))
      return tables.join('').split('\\n').filter((line) => mine.has('socket:[' + line.trim().split(/ +/)[9] + ']')).length
    }
    const before = internet()
    addon.connect({ url: ${JSON.stringify(`${remote}?sslmode=disable`)} }).catch((error) => {
      console.log(error.code, internet() - before)
      // The count does count.
      const server = require('node:net').createServer().listen(0, '127.0.0.1', () => {
        console.log(internet() - before)
        server.close()
      })
    })
  `)
    assert.equal(code, 0)
    assert.equal(stdout, 'UNSAFE_CONNECTION 0\n1\n')
  })
}

test('weaker words than verify-full are lifted for remote hosts, and kept for this machine', async (t) => {
  // connect() opens nothing: that these resolve only says that they are no contradiction.
  for (const mode of ['allow', 'prefer', 'require', 'no-verify', 'verify-ca', 'verify-full']) {
    await openClient(t, `${remote}?sslmode=${mode}`)
  }
  await openClient(t, `${remote}?sslmode=disable`, { allowInsecure: true })

  const db = await freshDatabase(t, 17)
  for (const mode of ['disable', 'allow', 'prefer'])
    await (await openClient(t, `${db.service}?sslmode=${mode}`)).ping()
  // The test's server has no certificate.
  for (const mode of ['require', 'verify-ca', 'verify-full']) {
    const client = await openClient(t, `${db.service}?sslmode=${mode}`)
    await refuses(() => client.ping(), 'UNSAFE_CONNECTION', {
      says: /TLS/,
      hides: [new URL(db.service).password],
    })
  }
})

test('a ca that is missing or no certificate says which, and how to make it one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-ca-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = (name, content) => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const key = `-----BEGIN PRIVATE KEY-----\n${bad.marker}\n-----END PRIVATE KEY-----\n`
  const wrong = [
    [join(folder, 'missing.pem'), /readable file.*path/],
    [folder, /readable file.*path/],
    [file('der.crt', Buffer.from([0x30, 0x82, 0x01, 0x0a])), /no PEM certificate.*openssl/],
    [file('empty.pem', ''), /no PEM certificate/],
    [file('key.pem', key), /no PEM certificate/],
    [key, /certificate, not a key/],
    [bad.marker, /readable file/],
    ['', /readable file/],
  ]
  for (const [ca, says] of wrong) {
    await refuses(connecting({ url: remote, ca }), 'CONFIG', { says, hides })
    // A parameter that is empty is none, as for libpq: the system's authorities decide.
    if (ca === '') continue
    await refuses(connecting({ url: `${remote}?sslrootcert=${encodeURIComponent(ca)}` }), 'CONFIG', {
      says,
      hides,
    })
  }
})

test('a certificate of garbage fails the connection, not the process', async (t) => {
  const db = await freshDatabase(t, 17)
  const ca = '-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n'
  const outcome = await addon.connect({ url: `${db.service}?sslmode=verify-full`, ca }).then(
    async (client) => {
      t.after(() => client.close())
      return client.ping().catch((error) => error)
    },
    (error) => error,
  )
  assert.ok(['CONFIG', 'UNSAFE_CONNECTION'].includes(outcome.code), outcome)
})
