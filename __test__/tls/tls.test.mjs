// TLS against real servers with certificates of a private authority. 0.0.0.0 stands for a remote host: it leads to this
// machine, and is not a loopback address.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { createAuthority } from '../../dev/certificates.mjs'
import { createLegacyTables } from '../../dev/legacy-data.mjs'
import { applyMigrations, createServiceLogin } from '../../dev/migrate.mjs'
import { startPostgres } from '../../dev/postgres.mjs'
import { connect } from '../../index.js'

const DAY_MS = 24 * 60 * 60 * 1000
const REMOTE = '0.0.0.0'

const authority = createAuthority()
const stranger = createAuthority('Another authority')
const here = { hosts: ['localhost'], ips: ['127.0.0.1', REMOTE] }
const certificates = {
  good: authority.issue(here),
  'wrong-host': authority.issue({ hosts: ['db.example.com'], ips: ['192.0.2.1'] }),
  expired: authority.issue({ ...here, from: -3 * DAY_MS, to: -DAY_MS }),
  early: authority.issue({ ...here, from: 2 * DAY_MS, to: 3 * DAY_MS }),
  stranger: stranger.issue(here),
}

function certificateSettings(name) {
  return { ssl_cert_file: `${name}.crt`, ssl_key_file: `${name}.key` }
}

let cluster
let business
let folder
let presented = 'good'

before(async () => {
  const files = {}
  for (const [name, { cert, key }] of Object.entries(certificates)) {
    files[`${name}.crt`] = cert
    files[`${name}.key`] = key
  }
  const settings = { ssl: 'on', ...certificateSettings('good'), log_connections: 'on' }
  cluster = await startPostgres({ files, settings })
  const admin = cluster.urlFor('postgres')
  await createLegacyTables(admin)
  await createServiceLogin(cluster)
  await applyMigrations(admin)
  const { rows } = await cluster.sql(
    "insert into public.businesses (name) values ('A business') returning id",
  )
  business = rows[0].id
  await cluster.sql('select public.set_business_secrets($1, $2)', {
    values: [business, { grok_api_key: 'grok-over-tls' }],
  })
  folder = mkdtempSync(join(tmpdir(), 'app-secrets-tls-'))
})

after(async () => {
  await cluster?.stop()
  if (folder) rmSync(folder, { recursive: true })
})

/** Makes the server present a certificate, or none at all. */
async function present(name) {
  if (name === presented) return
  await cluster.restart({ settings: name ? { ssl: 'on', ...certificateSettings(name) } : { ssl: 'off' } })
  presented = name
}

function url(host, sslmode) {
  const address = new URL(cluster.urlFor('app_service'))
  address.hostname = host
  if (sslmode) address.searchParams.set('sslmode', sslmode)
  return address.href
}

async function read(options) {
  const secrets = await connect({ timeoutMs: 5000, ...options })
  try {
    return await secrets.get(business, 'grok_api_key')
  } finally {
    await secrets.close()
  }
}

/** Refused, with the remedy, and before the server was told who asks. */
async function assertUnverified(options, reason) {
  const logged = cluster.log().length
  await assert.rejects(read(options), (error) => {
    assert.equal(error.code, 'UNSAFE_CONNECTION', error.message)
    assert.match(error.message, reason)
    assert.match(error.message, /`ca`/)
    assert.ok(!error.message.includes(new URL(options.url).password))
    return true
  })
  assert.doesNotMatch(cluster.log().slice(logged), /user=app_service/)
}

describe('a server whose certificate a private authority signed', () => {
  test('is verified with the authority as PEM text', async () => {
    await present('good')
    for (const at of [url('localhost', 'verify-full'), url('127.0.0.1', 'verify-full'), url(REMOTE)]) {
      assert.equal(await read({ url: at, ca: authority.pem }), 'grok-over-tls')
    }
  })

  test('is verified with the authority as a path, in the options or in the connection string', async () => {
    await present('good')
    const path = join(folder, 'ca.pem')
    writeFileSync(path, `The authority of the tests\n${authority.pem}`)
    assert.equal(await read({ url: url(REMOTE), ca: path }), 'grok-over-tls')
    assert.equal(
      await read({ url: `${url('localhost', 'verify-full')}&sslrootcert=${encodeURIComponent(path)}` }),
      'grok-over-tls',
    )
  })

  test('is verified with one of several authorities', async () => {
    await present('good')
    assert.equal(await read({ url: url(REMOTE), ca: stranger.pem + authority.pem }), 'grok-over-tls')
  })

  test('is refused without the authority', async () => {
    await present('good')
    await assertUnverified({ url: url(REMOTE) }, /UnknownIssuer|unknown issuer/i)
    await assertUnverified({ url: url('localhost', 'verify-full') }, /UnknownIssuer|unknown issuer/i)
  })

  test('is refused by another authority', async () => {
    await present('stranger')
    await assertUnverified({ url: url(REMOTE), ca: authority.pem }, /UnknownIssuer|unknown issuer/i)
  })

  test('is refused under a name that the certificate does not hold', async () => {
    await present('wrong-host')
    for (const at of [url(REMOTE), url('localhost', 'verify-full')]) {
      await assertUnverified({ url: at, ca: authority.pem }, /not valid for name|NotValidForName/i)
    }
  })

  test('is refused once the certificate has expired, and before it is valid', async () => {
    await present('expired')
    await assertUnverified({ url: url(REMOTE), ca: authority.pem }, /expired/i)
    await present('early')
    await assertUnverified({ url: url(REMOTE), ca: authority.pem }, /not valid yet|NotValidYet/i)
  })

  test('is verified in full whatever weaker mode the connection string asks for', async () => {
    await present('wrong-host')
    for (const mode of ['allow', 'prefer', 'require', 'verify-ca', 'no-verify']) {
      await assertUnverified(
        { url: url(REMOTE, mode), ca: authority.pem },
        /not valid for name|NotValidForName/i,
      )
    }
  })
})

describe('clear text', () => {
  test('is refused to a remote host before anything is connected', async () => {
    await assert.rejects(connect({ url: 'postgres://a:b@db.example.com/app?sslmode=disable' }), {
      code: 'UNSAFE_CONNECTION',
    })
  })

  test('is refused to a remote server that offers nothing else', async () => {
    await present(null)
    await assertUnverified({ url: url(REMOTE), ca: authority.pem }, /TLS/)
  })

  test('is how this machine is spoken to, unless the connection string asks for more', async () => {
    await present(null)
    assert.equal(await read({ url: url('localhost') }), 'grok-over-tls')
    await assertUnverified({ url: url('localhost', 'verify-full'), ca: authority.pem }, /TLS/)
  })
})

describe('allowInsecure', () => {
  test('takes a remote server without TLS', async () => {
    await present(null)
    assert.equal(await read({ url: url(REMOTE), allowInsecure: true }), 'grok-over-tls')
    assert.equal(await read({ url: url(REMOTE, 'disable'), allowInsecure: true }), 'grok-over-tls')
  })

  test('takes any certificate, and still encrypts', async () => {
    await present('expired')
    const logged = cluster.log().length
    assert.equal(await read({ url: url(REMOTE, 'require'), allowInsecure: true }), 'grok-over-tls')
    assert.match(cluster.log().slice(logged), /connection authorized: user=app_service .*SSL enabled/)
    await present(null)
    await assert.rejects(read({ url: url(REMOTE, 'require'), allowInsecure: true }), {
      code: 'UNSAFE_CONNECTION',
    })
  })

  test('does not weaken what the connection string asks for', async () => {
    await present('expired')
    await assertUnverified(
      { url: url(REMOTE, 'verify-full'), ca: authority.pem, allowInsecure: true },
      /expired/i,
    )
  })
})

test('a private key in place of the authority is refused and not repeated', async () => {
  const { key } = certificates.good
  await assert.rejects(connect({ url: url(REMOTE), ca: key }), (error) => {
    assert.equal(error.code, 'CONFIG')
    assert.ok(!error.message.includes(key.split('\n')[1]))
    return true
  })
})
