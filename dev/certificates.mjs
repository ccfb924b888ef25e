// A private certificate authority and what it issues, made in memory: for tests of TLS, which need wrong certificates too.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import forge from 'node-forge'

const DAY_MS = 24 * 60 * 60 * 1000

const [SAN_DNS, SAN_IP] = [2, 7]

/** An authority of its own. `pem` is its certificate, `issue` makes a server's. */
export function createAuthority(name = 'Test authority') {
  const keys = keyPair()
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = keys.public
  certificate.setSubject(subject(name))
  certificate.setIssuer(subject(name))
  describe(certificate, { from: -DAY_MS, to: 10 * DAY_MS })
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    { name: 'subjectKeyIdentifier' },
  ])
  certificate.sign(keys.private, forge.md.sha256.create())
  return {
    pem: forge.pki.certificateToPem(certificate),
    issue: (options) => issue(certificate, keys.private, options),
  }
}

/**
 * A server's certificate for host names and IP addresses: `{ cert, key }`, both PEM.
 * `from` and `to` bound its validity, in milliseconds from now.
 */
function issue(authority, authorityKey, { hosts = [], ips = [], from = -DAY_MS, to = DAY_MS } = {}) {
  const keys = keyPair()
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = keys.public
  certificate.setSubject(subject(hosts[0] ?? ips[0]))
  certificate.setIssuer(authority.subject.attributes)
  describe(certificate, { from, to })
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true },
    {
      name: 'subjectAltName',
      altNames: [
        ...hosts.map((value) => ({ type: SAN_DNS, value })),
        ...ips.map((ip) => ({ type: SAN_IP, ip })),
      ],
    },
  ])
  certificate.sign(authorityKey, forge.md.sha256.create())
  return { cert: forge.pki.certificateToPem(certificate), key: keys.pem }
}

function describe(certificate, { from, to }) {
  // A serial number is positive: its first bit is 0.
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`
  certificate.validity.notBefore = new Date(Date.now() + from)
  certificate.validity.notAfter = new Date(Date.now() + to)
}

const subject = (name) => [{ name: 'commonName', value: name }]

/** Node's own generator: the library's is in JavaScript and takes seconds. */
function keyPair() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
  const key = forge.pki.privateKeyFromPem(pem)
  return { pem, private: key, public: forge.pki.setRsaPublicKey(key.n, key.e) }
}
