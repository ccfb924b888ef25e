// The client: checks arguments, hands them to a transport and gives out what it answers. Knows nothing of how a transport
// reaches the secrets: the addon, PostgREST, or memory.
//
// A transport has:
//   get(businessId, name)       → Promise<string | null>
//   call(op, args)              → Promise, where op is one of
//     getMany  { businessId, names, fresh }                → { name: string | null }; `fresh` passes by any cache
//     set      { businessId, values, expected, options }   → { name: version }
//     list     { businessId }                              → rows as `listed` reads them
//     undo     { businessId, name, expected }              → version
//     check    { businessId, name, version, result }       → boolean, false where the version is another
//     lease    { businessId, name, ttlMs }                 → { token: string | null, version, expiresAt }
//     release  { businessId, name, token }                 → boolean
//     due      { withinMs }                                → { businessId, name, dueAt, reason }[]
//     names    {}                                          → string[]
//     ping     {}
//   watch(filter, callback)     → { close() }; calls back with { kind: 'changed', businessId, names, versions } and
//                                 { kind: 'resync' }, and leaves merging and filtering to `Watcher`
//   stats(), close(), and, where its time is not the machine's, clock
//   checksIds                   whether `get` says itself what is no id: the check costs as much as a cached read
// Arguments reach it checked. What it rejects with is a SecretsError. Times are a Date, ISO 8601 or milliseconds.

const args = require('./arguments.js')
const { machineClock } = require('./clock.js')
const { askedOf, unknownSecret } = require('./errors.js')
const { Watcher } = require('./watcher.js')

/** Only what is in this package makes clients. */
const maker = Symbol('maker')
/** For the files of this package: what a client keeps to itself. */
let internals

class Secrets {
  #transport
  #isId
  #clock
  /** Names that were used without an error: a get of one of these needs no second look. */
  #used = new Set()
  /** The names there are, once one that there is not was asked for. */
  #names = null
  #watchers = new Set()
  /** Told of each call, by the logger and by OpenTelemetry. */
  #observers = []
  /** What goes on beside the calls, until the client is closed. */
  #atClose = []

  constructor(key, transport) {
    if (key !== maker) throw new TypeError('Secrets has no public constructor: connect() makes a client')
    this.#transport = transport
    this.#isId = transport.checksIds ? mayBeId : args.isBusinessId
    this.#clock = transport.clock ?? machineClock
  }

  get(businessId, name) {
    if (this.#used.has(name) && this.#observers.length === 0 && this.#isId(businessId)) {
      return this.#transport.get(businessId, name)
    }
    return this.#run('get', async (call) => {
      call.names = [name]
      const id = args.businessId(businessId)
      const value = await this.#transport.get(id, args.secretName(name))
      this.#used.add(name)
      return value
    })
  }

  getMany(businessId, names) {
    return this.#run('getMany', (call) => {
      const id = args.businessId(businessId)
      call.names = args.secretNames(names)
      return this.#getMany(id, call.names, false)
    })
  }

  set(businessId, name, value, options) {
    return this.#run('set', async (call) => {
      call.names = [name]
      const id = args.businessId(businessId)
      const values = args.record([[args.secretName(name), args.secretValue(value)]])
      const versions = await this.#write(id, values, args.setOptions(name, options))
      return versions[name]
    })
  }

  setMany(businessId, values, options) {
    return this.#run('setMany', (call) => {
      const id = args.businessId(businessId)
      const checked = args.secretValues(values)
      call.names = Object.keys(checked)
      return this.#write(id, checked, { expected: args.setManyOptions(options, checked), options: null })
    })
  }

  delete(businessId, name, options) {
    return this.#run('delete', async (call) => {
      call.names = [name]
      const id = args.businessId(businessId)
      const values = args.record([[args.secretName(name), null]])
      const versions = await this.#write(id, values, args.setOptions(name, options))
      return versions[name]
    })
  }

  undo(businessId, name, options) {
    return this.#run('undo', (call) => {
      call.names = [name]
      const id = args.businessId(businessId)
      const expected = args.undoOptions(options)
      return this.#transport.call('undo', { businessId: id, name: args.secretName(name), expected })
    })
  }

  check(businessId, name, version, result) {
    return this.#run('check', (call) => {
      call.names = [name]
      return this.#transport.call('check', {
        businessId: args.businessId(businessId),
        name: args.secretName(name),
        version: args.version(version),
        result: args.checkResult(result),
      })
    })
  }

  list(businessId) {
    return this.#run('list', async () => {
      const rows = await this.#transport.call('list', { businessId: args.businessId(businessId) })
      return rows.map(listed)
    })
  }

  /** Throws where an argument is wrong: there is no promise to reject. */
  watch(filter, callback) {
    const checked = args.watchFilter(filter)
    const watcher = Watcher.start(this.#transport, this.#clock, checked, args.callback(callback), () =>
      this.#watchers.delete(watcher),
    )
    this.#watchers.add(watcher)
    if (checked.names) this.#warnOfUnknown(checked.names)
    return watcher
  }

  stats() {
    return this.#transport.stats()
  }

  ping() {
    return this.#run('ping', async () => void (await this.#transport.call('ping', {})))
  }

  close() {
    for (const watcher of this.#watchers) watcher.close()
    for (const end of this.#atClose.splice(0)) end()
    return this.#run('close', async () => void (await this.#transport.close()))
  }

  #getMany(businessId, names, fresh) {
    return this.#transport.call('getMany', { businessId, names, fresh }).then((values) =>
      // In the order that was asked for, whatever a transport makes of it.
      Object.fromEntries(names.map((name) => [name, values[name]])),
    )
  }

  async #write(businessId, values, { expected, options }) {
    const versions = await this.#transport.call('set', { businessId, values, expected, options })
    return Object.fromEntries(Object.keys(values).map((name) => [name, versions[name]]))
  }

  /** Calls, tells the observers, and gives an unknown name its hint. Whatever `work` throws becomes a rejection. */
  async #run(op, work) {
    const call = { op, names: [] }
    const done = this.#observers.map((observe) => observe(call))
    try {
      const result = await work(call)
      for (const tell of done) tell?.(null)
      return result
    } catch (error) {
      const explained = await this.#explained(error, call.names)
      for (const tell of done) tell?.(explained)
      throw explained
    }
  }

  async #explained(error, asked) {
    if (error?.code !== 'UNKNOWN_SECRET') return error
    const text = askedOf(error)
    const names = await this.#knownNames(text === undefined ? asked : [text])
    const unknown = text ?? asked.find((name) => !names.includes(name))
    return unknown === undefined ? error : unknownSecret(unknown, names)
  }

  /** The names there are, or none where they cannot be asked for. Asked once, and again where a known name was refused. */
  async #knownNames(asked) {
    if (this.#names && !asked.every((name) => this.#names.includes(name))) return this.#names
    try {
      this.#names = await this.#transport.call('names', {})
    } catch {
      return []
    }
    return this.#names
  }

  /** A watcher of a name that there is not would wait without a word. */
  async #warnOfUnknown(names) {
    // One that was added since the names were asked for is no unknown one.
    if (this.#names && !names.every((name) => this.#names.includes(name))) this.#names = null
    const known = await this.#knownNames(names)
    const unknown = known.length ? names.find((name) => !known.includes(name)) : undefined
    if (unknown === undefined) return
    const { message } = unknownSecret(unknown, known)
    process.emitWarning(`watch(): ${message}`, { type: 'SecretsWatchWarning', code: 'UNKNOWN_SECRET' })
  }

  static {
    internals = {
      make: (transport, Class = Secrets, ...more) => new Class(maker, transport, ...more),
      ready: (secrets) => secrets.#transport.ready,
      call: (secrets, op, passed) => secrets.#transport.call(op, passed),
      getFresh: (secrets, businessId, names) => secrets.#getMany(businessId, names, true),
      run: (secrets, op, work) => secrets.#run(op, work),
      clock: (secrets) => secrets.#clock,
      atClose: (secrets, end) => secrets.#atClose.push(end),
      observe: (secrets, observer) => {
        secrets.#observers.push(observer)
        return () => {
          secrets.#observers = secrets.#observers.filter((other) => other !== observer)
        }
      },
    }
  }
}

/** What the transport looks at more closely. */
function mayBeId(argument) {
  return typeof argument === 'string' && argument.length === 36
}

/** What may be shown of one secret, from what a transport says of it. */
function listed(row) {
  return {
    name: row.name,
    label: row.label,
    sealed: row.sealed,
    isSet: row.isSet,
    last4: row.last4 ?? null,
    version: Number(row.version),
    updatedAt: date(row.updatedAt),
    lastReadAt: date(row.lastReadAt),
    lastCheckedAt: date(row.lastCheckedAt),
    checkResult: row.checkResult ?? null,
    expiresAt: date(row.expiresAt),
    canUndo: row.canUndo,
  }
}

/** A Date of this realm; null where there is none, or none that a Date can hold. */
function date(time) {
  const date = time === null || time === undefined ? null : new Date(time)
  return Number.isNaN(date?.getTime()) ? null : date
}

module.exports = { Secrets, internals }

// They need what is exported here.
require('./consumers.js').addConsumers(Secrets)
