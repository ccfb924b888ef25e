// @app/secrets/testing: the client's whole interface in memory, for the tests of whoever uses it. The same argument checks,
// codes, versions, compare-and-set, undo, masks, leases and events; faults on demand, and a clock that can be moved.
// Never loads the addon, opens nothing and keeps no process alive.

const args = require('./arguments.js')
const { internals, Secrets } = require('./client.js')
const { FakeClock } = require('./fake-clock.js')
const { FakeTransport, Store } = require('./fake-transport.js')
const { SecretsError, codes, invalid } = require('./errors.js')

/** The plan's names, which a database has unless told otherwise. */
const planned = [
  ['gemini_api_key', 'Google Gemini'],
  ['grok_api_key', 'xAI Grok'],
  ['claude_api_key', 'Anthropic Claude'],
  ['youtube_api_key', 'YouTube Data API'],
  ['kling_access_key', 'Kling access key'],
  ['kling_secret_key', 'Kling secret key'],
  ['global_sms_api_key', 'Global SMS'],
  ['whatsapp_api_key', 'WhatsApp'],
  ['google_access_token', 'Google OAuth access token'],
  ['google_refresh_token', 'Google OAuth refresh token'],
  { name: 'google_token_expiry', label: 'Google OAuth token expiry', sealed: false, type: 'timestamptz' },
  { name: 'google_drive_folder_id', label: 'Google Drive folder', sealed: false },
].map((entry) => (Array.isArray(entry) ? { name: entry[0], label: entry[1] } : entry))

/** A client in memory, and what a test does to it. */
class FakeSecrets extends Secrets {
  #fake
  #store

  constructor(key, transport, store) {
    super(key, transport)
    this.#fake = transport
    this.#store = store
  }

  /** Another client of the same secrets, as another process has one. */
  another() {
    return internals.make(new FakeTransport(this.#store), FakeSecrets, this.#store)
  }

  /** Lets calls fail with this code until `recover()`: all of them, those of `op`, or the next `times`. */
  fail(code, options) {
    if (!codes.includes(code)) throw invalid(`code must be one of ${codes.join(', ')}`)
    const { op, times, message } = args.object(options, 'options', ['op', 'times', 'message']) ?? args.nothing
    this.#store.fault = {
      op: args.text(op, 'op'),
      left: args.whole(times, 'times') ?? Number.POSITIVE_INFINITY,
      error: () =>
        new SecretsError(code, args.text(message, 'message') ?? `a fault of the test's own: ${code}`),
    }
  }

  /** Ends what `fail` began. */
  recover() {
    this.#store.fault = null
  }

  /** Adds a business, with values that are there already. */
  addBusiness(businessId, values) {
    this.#fake.add(
      args.businessId(businessId),
      values === undefined ? args.nothing : args.secretValues(values),
    )
  }

  /** Removes a business and its secrets. */
  removeBusiness(businessId) {
    this.#fake.remove(args.businessId(businessId))
  }

  /** Makes a value undecryptable, as a restore without Vault's key does; writing a new one heals it. */
  breakSecret(businessId, name) {
    this.#fake.break(args.businessId(businessId), args.secretName(name))
  }

  /** Tells every watcher that anything may have changed, as a lost listener does. */
  loseListener() {
    this.#store.resync()
  }

  /** The time here. */
  now() {
    return new Date(this.#store.clock.now())
  }

  /** Moves the clock forward, and lets what was waiting for it happen. */
  advance(ms) {
    this.#store.clock.advance(args.whole(ms, 'ms') ?? 0)
  }
}

/**
 * Makes a client in memory. `businesses`: the ids there are; where it is left out, with no `values` either, every id is a
 * business. `values`: `{ [businessId]: { [name]: value } }`. `names`: the names, or `{ name, label, sealed, type }` of
 * each; else the plan's. `now`: when it is; the clock then stands still until `advance`.
 */
function createFakeSecrets(options) {
  const known = ['businesses', 'values', 'names', 'now']
  const { businesses, values, names, now } = args.object(options, 'options', known) ?? args.nothing
  const clock = new FakeClock(args.isAbsent(now) ? null : Date.parse(args.time(now, 'now')))
  const catalogue = args.isAbsent(names) ? planned : names.map((entry) => catalogued(entry))
  const store = new Store(clock, catalogue, args.isAbsent(businesses) && args.isAbsent(values))
  const secrets = internals.make(new FakeTransport(store), FakeSecrets, store)
  for (const businessId of businesses ?? []) secrets.addBusiness(businessId)
  for (const [businessId, of] of Object.entries(values ?? {})) secrets.addBusiness(businessId, of)
  return secrets
}

function catalogued(entry) {
  if (typeof entry === 'string') return { name: args.secretName(entry) }
  const { name, label, sealed, type } =
    args.object(entry, 'a name', ['name', 'label', 'sealed', 'type']) ?? args.nothing
  return { name: args.secretName(name), label, sealed, type }
}

module.exports = { FakeSecrets, SecretsError, createFakeSecrets }
