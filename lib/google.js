// withGoogleAccessToken(): a token that is good for a minute, refreshed once across all processes. A lease keeps a second
// process from refreshing; a version that is compared keeps a late holder from overwriting what came after it.

const args = require('./arguments.js')
const { internals } = require('./client.js')
const { within } = require('./clock.js')
const { SecretsError, invalid } = require('./errors.js')

/** How much longer than now a token has to be good. */
const GOOD_FOR_MS = 60_000
/** How long a refresh may take before another process may try. */
const LEASE_MS = 30_000
/** How long a caller waits for others to refresh: two holders that are killed one after the other, and a third. */
const PATIENCE_MS = 3 * LEASE_MS
const [LEAST_WAIT_MS, MOST_WAIT_MS] = [50, 1000]
/** How often a refreshed token is written before it is given up: the refresh token it carries may be the only one. */
const WRITES = 8

const names = ['google_access_token', 'google_refresh_token', 'google_token_expiry', 'google_drive_folder_id']
/** The cell that is leased, and whose version is compared. */
const leased = 'google_access_token'

/** Client → business → the refresh under way in this process, which all callers share. */
const underWay = new WeakMap()

function withGoogleAccessToken(secrets, businessId, refresh) {
  return internals.run(secrets, 'withGoogleAccessToken', async () => {
    const id = args.businessId(businessId)
    if (typeof refresh !== 'function')
      throw invalid('refresh must be a function: pass async ({ refreshToken }) => …')
    const found = await secrets.getMany(id, names)
    const now = internals.clock(secrets).now()
    if (isGood(found, now)) return found.google_access_token
    if (isNone(found)) return null

    const refreshes = underWay.get(secrets) ?? new Map()
    underWay.set(secrets, refreshes)
    let shared = refreshes.get(id)
    if (!shared) {
      shared = new Refresh(secrets, id, refresh).run().finally(() => refreshes.delete(id))
      refreshes.set(id, shared)
    }
    return shared
  })
}

function isGood({ google_access_token: token, google_token_expiry: expiry }, now) {
  return token !== null && expiry !== null && Date.parse(expiry) > now + GOOD_FOR_MS
}

function isNone({ google_access_token: access, google_refresh_token: refresh }) {
  return access === null && refresh === null
}

class Refresh {
  constructor(secrets, businessId, refresh) {
    this.secrets = secrets
    this.businessId = businessId
    this.refresh = refresh
    this.clock = internals.clock(secrets)
  }

  async run() {
    const patience = this.clock.now() + PATIENCE_MS
    for (let pause = LEAST_WAIT_MS; ; pause = Math.min(pause * 2, MOST_WAIT_MS)) {
      const lease = await this.call('lease', { ttlMs: LEASE_MS })
      const done = lease.token === null ? await this.look() : await this.holding(lease, patience)
      if (done) return done.token
      if (this.clock.now() >= patience) throw late('while others held the lease')
      // Spread, so that those who wait do not all come back at once.
      await this.clock.wait(pause * (0.5 + Math.random() / 2))
    }
  }

  call(op, more) {
    return internals.call(this.secrets, op, { businessId: this.businessId, name: leased, ...more })
  }

  read() {
    return internals.getFresh(this.secrets, this.businessId, names)
  }

  /** `{ token }` where there is nothing left to do. */
  async look() {
    const found = await this.read()
    if (isNone(found)) return { token: null }
    return isGood(found, this.clock.now()) ? { token: found.google_access_token } : null
  }

  async holding(lease, patience) {
    try {
      // Whoever held it before may have refreshed already.
      const found = await this.read()
      if (isNone(found)) return { token: null }
      if (isGood(found, this.clock.now())) return { token: found.google_access_token }
      // What comes later than anybody waits is still stored: its refresh token may be the only one that is good.
      const stored = this.ask(found).then((fresh) => fresh && this.store(fresh, lease.version))
      const left = patience - this.clock.now()
      return await within(this.clock, left, stored, () => late('and `refresh` has not settled'))
    } finally {
      // It ends by itself: a lease that cannot be given back is no reason to fail.
      await this.call('release', { token: lease.token }).catch(() => {})
    }
  }

  /** What the caller's function gives, as values to write; null where the tokens have changed meanwhile. */
  async ask(found) {
    if (found.google_refresh_token === null) {
      throw new SecretsError(
        'REFUSED',
        'the Google access token has expired and there is no refresh token: connect the Google account again',
      )
    }
    try {
      return refreshed(
        await this.refresh({
          refreshToken: found.google_refresh_token,
          driveFolderId: found.google_drive_folder_id,
        }),
      )
    } catch (error) {
      if (!isInvalidGrant(error)) throw error
      // Somebody who connected the account again has made the old refresh token void.
      const now = await this.read()
      if (now.google_refresh_token === found.google_refresh_token) throw error
      return null
    }
  }

  /** Writes unless somebody else has written meanwhile; then theirs counts. */
  async store(values, version) {
    const passed = {
      businessId: this.businessId,
      values,
      expected: args.record([[leased, version]]),
      options: null,
    }
    for (let attempt = 1; ; attempt++) {
      try {
        await internals.call(this.secrets, 'set', passed)
        return { token: values.google_access_token }
      } catch (error) {
        // An answer that was cut off: the conflict, or this very token, is found by reading.
        if (error.code === 'VERSION_CONFLICT') return this.look()
        if (!['UNAVAILABLE', 'TIMEOUT', 'UNKNOWN_OUTCOME'].includes(error.code) || attempt === WRITES)
          throw error
        await this.clock.wait(LEAST_WAIT_MS * 2 ** attempt)
      }
    }
  }
}

function late(why) {
  return new SecretsError('TIMEOUT', `timed out: no refreshed Google token within ${PATIENCE_MS} ms, ${why}`)
}

/** `{ accessToken, expiresAt, refreshToken? }` of the caller's function. */
function refreshed(answer) {
  const isEmpty = args.isAbsent(answer) || Object.keys(answer).length === 0
  const values = isEmpty ? args.nothing : args.googleTokens(answer)
  if (!values.google_access_token || !values.google_token_expiry) {
    throw invalid('refresh must give { accessToken, expiresAt }, and refreshToken where Google gave another')
  }
  // Google names a refresh token only where it is another: none means that the old one stays.
  if (values.google_refresh_token === null) delete values.google_refresh_token
  return values
}

/** The error of RFC 6749, wherever an HTTP client puts it: `error`, `code`, `response.data.error`, or the message. */
function isInvalidGrant(error) {
  const said = [error?.error, error?.code, error?.response?.data?.error, error?.message]
  return said.some((text) => typeof text === 'string' && text.includes('invalid_grant'))
}

module.exports = { withGoogleAccessToken }
