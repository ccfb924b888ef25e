// The addon, as a transport: everything that the addon gives becomes a value of this realm here. The addon's own exports
// are shared by all realms of the process and are never changed.

const { Batch } = require('./batch.js')
const { SecretsError, closed, unknownSecret } = require('./errors.js')
const explained = require('./explain.js')
const { callbackFailed } = require('./warnings.js')

let addon
try {
  addon = require('../binding.js')
} catch (error) {
  throw explained(error)
}

/** A promise of what `call` tells its callback. */
function promised(call) {
  return new Promise((resolve, reject) => {
    call((code, value) => (code === null ? resolve(value) : reject(new SecretsError(code, value))))
  })
}

/** Throws what the addon told a `failed` callback: for calls that have no promise. */
function orThrow(call) {
  let error
  const made = call((code, message) => {
    error = new SecretsError(code, message)
  })
  if (error) throw error
  return made
}

/** Operation → [what the addon takes, what it makes of the answer]. */
const operations = {
  getMany: [
    ({ businessId, names, fresh }) => [businessId, names, fresh === true],
    (values, { names }) => Object.fromEntries(names.map((name, at) => [name, values[at]])),
  ],
  set: [
    ({ businessId, values, expected, options }) => {
      const names = Object.keys(values)
      return [
        businessId,
        names,
        names.map((name) => values[name]),
        names.map((name) => expected?.[name] ?? null),
        options ? JSON.stringify(options) : null,
      ]
    },
    JSON.parse,
  ],
  list: [({ businessId }) => [businessId], JSON.parse],
  undo: [({ businessId, name, expected }) => [businessId, name, expected]],
  lease: [({ businessId, name, ttlMs }) => [businessId, name, ttlMs], JSON.parse],
  release: [({ businessId, name, token }) => [businessId, name, token]],
  check: [({ businessId, name, version, result }) => [businessId, name, version, result]],
  due: [({ withinMs }) => [withinMs], JSON.parse],
  names: [() => [], JSON.parse],
  ping: [() => []],
}

/** Name → its number in the addon. The same for every client of the process. */
const numbers = new Map()

function numberOf(name) {
  const number = addon.nameNumber(name)
  if (number !== undefined && number !== null) numbers.set(name, number)
  return numbers.get(name)
}

class NativeTransport {
  /** The addon reads each id as it goes by. */
  checksIds = true

  #client
  /** Looks into the cache; null where there is none. */
  #cached
  #batch = new Batch()
  #isClosed = false

  /** Throws where the options cannot work. Opens no connection. */
  constructor(options) {
    const batch = this.#batch
    this.#client = orThrow((failed) => addon.open(options, batch.slots, batch.settle, failed))
    const client = this.#client
    this.#cached = client.cachedReader()
    batch.start(
      (token, ids, names, count) => client.read(token, ids, names, count),
      (businessId, number) => this.#readAlone(businessId, number),
    )
  }

  get(businessId, name) {
    const number = numbers.get(name) ?? numberOf(name)
    if (number === undefined) return Promise.reject(unknownSecret(name))
    if (this.#cached !== null) {
      const value = this.#cached(businessId, number)
      if (value !== undefined) return Promise.resolve(value)
    }
    return this.#isClosed ? Promise.reject(closed()) : this.#batch.get(businessId, number)
  }

  async call(op, passed) {
    const [take, make] = operations[op]
    const value = await this.#call(op, take(passed))
    return make ? make(value, passed) : value
  }

  watch({ businessId, names }, callback) {
    const told = (event) => callback(JSON.parse(event))
    return orThrow((failed) => this.#client.watch(businessId, names, told, failed))
  }

  stats() {
    return JSON.parse(this.#client.stats())
  }

  /** What was asked for before is under way by then. */
  async close() {
    this.#batch.flush()
    this.#isClosed = true
    await this.#call('close', [])
  }

  #call(op, args) {
    return promised((callback) => this.#client.call(op, args, callback))
  }

  async #readAlone(businessId, number) {
    const [name] = [...numbers].find(([, known]) => known === number)
    const values = await this.call('getMany', { businessId, names: [name] })
    return values[name]
  }
}

/** Where an answer of the migration role's calls holds a time. */
const times = new Set(['appliedAt', 'lastAt'])

const withDates = (key, value) => (times.has(key) && value !== null ? new Date(value) : value)

/** `op` is `migrate`, `status`, `verify` or `doctor`; `onProgress` is told of each event of a migration. */
async function admin(op, options, onProgress) {
  const told = onProgress && ((event) => tell(onProgress, JSON.parse(event)))
  const json = await promised((callback) => addon.admin(op, options, callback, told))
  return JSON.parse(json, withDates)
}

/** What the callback throws, or its promise rejects with, has nobody to catch it, and must not end the migration. */
async function tell(onProgress, event) {
  try {
    await onProgress(event)
  } catch (thrown) {
    callbackFailed('migrate()', thrown)
  }
}

/** Runs the command line on this process's own streams. Resolves with the exit code. */
function runCli(args) {
  return promised((callback) => addon.runCli(args, callback))
}

module.exports = { NativeTransport, admin, runCli }
