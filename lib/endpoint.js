// Where PostgREST is, and what requests to it carry: the address, the key and the token, looked at before anything is sent.
// No error shows a key or a token.

const dns = require('node:dns')
const { SecretsError } = require('./errors.js')

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|::1|\[::1\])$/

/** The Data API's address. Clear text goes to this machine alone, unless that is allowed. */
class Endpoint {
  #base
  /** Whether it is a name that may be used only where it stands for this machine. */
  #isToBeResolved
  #resolved = null

  constructor(text, allowInsecure) {
    let url
    try {
      url = new URL(text)
    } catch {
      throw new SecretsError('CONFIG', 'supabaseUrl must be a URL such as https://<ref>.supabase.co')
    }
    const isClear = url.protocol === 'http:' && !allowInsecure
    this.#isToBeResolved = isClear && url.hostname === 'localhost'
    const isRefused = isClear && !this.#isToBeResolved && !LOOPBACK.test(url.hostname)
    if (isRefused || !['http:', 'https:'].includes(url.protocol)) {
      throw new SecretsError(
        'UNSAFE_CONNECTION',
        'supabaseUrl must be an https:// address: the keys and the token would travel in the clear',
      )
    }
    this.#base = new URL('rest/v1/', `${url.origin}${url.pathname.replace(/\/*$/, '/')}`)
  }

  /** The bases to try one after the other. A name gives way to the addresses that were looked at: it may stand for others later. */
  async bases() {
    if (!this.#isToBeResolved) return [this.#base]
    this.#resolved ??= this.#resolve().catch((error) => {
      this.#resolved = null
      throw error
    })
    return this.#resolved
  }

  async #resolve() {
    let found
    try {
      found = await dns.promises.lookup(this.#base.hostname, { all: true })
    } catch (error) {
      const code = Object.hasOwn(error, 'code') ? error.code : 'no address'
      throw new SecretsError(
        'UNAVAILABLE',
        `the Data API is unavailable: localhost does not resolve (${code})`,
      )
    }
    if (found.length === 0 || !found.every(({ address }) => LOOPBACK.test(address))) {
      throw new SecretsError(
        'UNSAFE_CONNECTION',
        'supabaseUrl names localhost, which resolves to another machine here: the keys and the token would travel in the ' +
          'clear; mend the hosts file, or use https://',
      )
    }
    // A local stack listens on IPv4, as a rule.
    const addresses = found.toSorted((a, b) => a.family - b.family)
    return addresses.map(({ address, family }) => {
      const base = new URL(this.#base)
      base.hostname = family === 6 ? `[${address}]` : address
      return base
    })
  }
}

/** The key as it travels, without white space around it. */
function keyOf(text) {
  const key = text.trim()
  if (/^[\x21-\x7e]+$/.test(key)) return key
  throw new SecretsError(
    'CONFIG',
    'supabaseKey holds what no key does, such as a line break, a space or a letter beyond ASCII: copy it again from ' +
      'Project Settings, API Keys',
  )
}

/** The user's token as it travels, without white space around it; null where it is none at all. */
function tokenOf(given) {
  const token = typeof given === 'string' ? given.trim() : ''
  if (token === '') return null
  // RFC 6750. Anything else is refused on the way out, where it would look like an outage.
  if (/^[\w.~+/-]+=*$/.test(token)) return token
  throw new SecretsError(
    'CONFIG',
    'accessToken holds what no token does, such as a line break, a space or a letter beyond ASCII: nothing was sent',
  )
}

module.exports = { Endpoint, keyOf, tokenOf }
