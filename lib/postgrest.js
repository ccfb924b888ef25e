// A transport over PostgREST, with a user's own token: Row Level Security decides, and nobody holds a login to the
// database. Reads the decrypted view, and business_secret_status for all that needs no value; what those cannot do goes to
// the functions that services call, which refuse a user by themselves. Changes are found by asking for versions.

const { setTimeout: delay } = require('node:timers/promises')
const { rowsOf } = require('./answers.js')
const args = require('./arguments.js')
const { Polling } = require('./polling.js')
const { Requests } = require('./requests.js')
const { later, timestamp } = require('./times.js')
const {
  SecretsError,
  businessNotFound,
  closed,
  decryptFailed,
  unknownSecret,
  versionConflict,
} = require('./errors.js')

const STATUS = 'business_secret_status'
const VALUES = 'decrypted_business_secrets'

const shown = {
  name: 'name',
  label: 'label',
  sealed: 'sealed',
  is_set: 'isSet',
  last4: 'last4',
  version: 'version',
  updated_at: 'updatedAt',
  last_read_at: 'lastReadAt',
  last_checked_at: 'lastCheckedAt',
  check_result: 'checkResult',
  expires_at: 'expiresAt',
  can_undo: 'canUndo',
}

/** Whether a column of the status view, or of the list of names, holds a value of its kind. */
function fits(column, value) {
  if (column === 'version') return Number.isSafeInteger(value)
  if (['sealed', 'is_set', 'can_undo'].includes(column)) return typeof value === 'boolean'
  return typeof value === 'string' || (value === null && !['name', 'business_id'].includes(column))
}

/** A secret's name may be that of any column. */
const fitsSecret = (_, value) => value === null || typeof value === 'string'

class PostgrestTransport {
  #requests
  #polling
  #closed = false
  /** Business → name → the promises of this turn that want it. */
  #wanted = new Map()
  /** `{ name, sealed }` of every secret, in their order, once they were asked for. */
  #names = null
  #reads = 0
  #elements = 0

  constructor(options) {
    this.#requests = new Requests(options)
    this.#polling = new Polling(this, options)
  }

  /** The gets of one turn of a business are one request. */
  get(businessId, name) {
    if (this.#closed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      if (this.#wanted.size === 0) queueMicrotask(() => this.#readWanted())
      const names = this.#wanted.get(businessId) ?? new Map()
      this.#wanted.set(businessId, names)
      const waiting = names.get(name) ?? []
      names.set(name, waiting)
      waiting.push({ resolve, reject })
    })
  }

  #readWanted() {
    const wanted = this.#wanted
    this.#wanted = new Map()
    for (const [businessId, names] of wanted) this.#readFor(businessId, names)
  }

  async #readFor(businessId, names) {
    let cells
    try {
      cells = await this.#read(businessId, [...names.keys()])
    } catch (error) {
      if (error.code === 'UNKNOWN_SECRET' && names.size > 1) {
        // One column that there is not fails them all: each on its own then.
        for (const [name, waiting] of names) this.#readFor(businessId, new Map([[name, waiting]]))
        return
      }
      for (const waiting of names.values()) for (const { reject } of waiting) reject(error)
      return
    }
    for (const [name, waiting] of names) {
      const cell = cells.get(name)
      for (const { resolve, reject } of waiting) {
        if (cell.broken) reject(decryptFailed([name]))
        else resolve(cell.value)
      }
    }
  }

  async call(op, passed) {
    if (this.#closed) throw closed()
    return this[`_${op}`](passed)
  }

  /** Name → `{ value, broken }`. */
  async #read(businessId, names, isRepeated = false) {
    this.#reads++
    this.#elements += names.length
    const select = names.join(',')
    const filters = { select, business_id: `eq.${businessId}` }
    const [row = args.nothing] = await this.#requests.select(VALUES, filters, fitsSecret)
    const cells = new Map()
    for (const name of names) {
      cells.set(name, { value: await this.#normal(name, row[name] ?? null), broken: false })
    }
    const empty = names.filter((name) => cells.get(name).value === null)
    if (empty.length === 0) return cells
    // The view gives null for what is not set and for what cannot be opened, and no row for what is hidden.
    const status = await this.#status(businessId, empty, 'name,is_set')
    const set = status.filter((row) => row.is_set && cells.has(row.name))
    if (set.length && !isRepeated) return this.#read(businessId, names, true)
    for (const { name } of set) cells.get(name).broken = true
    return cells
  }

  /** Rows of the status view for these names, all of them, or the error that says why not. */
  async #status(businessId, names, select) {
    const filters = { select, business_id: `eq.${businessId}`, name: `in.(${names.join(',')})` }
    const rows = await this.#requests.select(STATUS, filters, fits)
    if (rows.length < names.length) throw await this.#missing(businessId, names)
    return rows
  }

  /** Why there is no row for one of these names. */
  async #missing(businessId, names) {
    const known = await this._names({})
    const unknown = names.find((name) => !known.includes(name))
    return unknown === undefined ? businessNotFound(businessId) : unknownSecret(unknown)
  }

  /** Times as the database's functions give them: to the microsecond, in UTC. */
  async #normal(name, value) {
    const time = value !== null && TIMESTAMP.test(value) ? timestamp(value) : null
    if (time === null) return value
    await this.#catalogue(name)
    return this.#names.find((entry) => entry.name === name)?.sealed === false ? time : value
  }

  async #catalogue(name) {
    if (!this.#names?.some((entry) => entry.name === name)) await this._names({})
    return this.#names
  }

  async _names() {
    this.#names = await this.#requests.select('business_secret_names', { select: 'name,sealed' }, fits)
    return this.#names.map(({ name }) => name)
  }

  async _getMany({ businessId, names }) {
    const cells = await this.#read(businessId, names)
    const broken = names.filter((name) => cells.get(name).broken)
    if (broken.length) throw decryptFailed(broken)
    return Object.fromEntries(names.map((name) => [name, cells.get(name).value]))
  }

  async _set({ businessId, values, expected, options }) {
    const names = Object.keys(values)
    if (options || (expected && names.length > 1)) {
      const passed = { p_business_id: businessId, p_values: values, p_expected: expected, p_options: options }
      const versions = (json) =>
        rowsOf([json], names, (_, version) => Number.isSafeInteger(version))?.[0] ?? null
      return this.#requests.rpc('set_business_secrets', passed, versions)
    }
    if (names.length > 1) return this.#upsert(businessId, values)
    const [name] = names
    const change = values[name] === null ? { is_set: false } : { value: values[name] }
    return { [name]: await this.#change(businessId, name, expected?.[name] ?? null, change) }
  }

  /** Changes one cell through the status view, which compares its version under a lock. Gives the new version. */
  async #change(businessId, name, expected, change) {
    const filters = { select: 'version', business_id: `eq.${businessId}`, name: `eq.${name}` }
    if (expected !== null) filters.version = `eq.${expected}`
    const [row] = await this.#requests.update(STATUS, filters, change, fits)
    if (row) return row.version
    const [{ version }] = await this.#status(businessId, [name], 'version')
    throw versionConflict(name, version, expected)
  }

  /** All or nothing: one statement on the table. Which versions it made is read afterwards. */
  async #upsert(businessId, values) {
    const names = Object.keys(values)
    try {
      await this.#requests.upsert('business_secrets', { business_id: businessId, ...values })
    } catch (error) {
      // A row that is hidden fails like one that may not be written, and a business that is missing by its foreign key.
      const hidden = ['PERMISSION_DENIED', 'REFUSED'].includes(error.code)
      if (hidden) await this.#status(businessId, names, 'name')
      throw error
    }
    const unread = (why) =>
      new SecretsError(
        'UNKNOWN_OUTCOME',
        `the write was carried out, and ${why}: read the versions before you repeat it`,
      )
    let rows
    let cells
    try {
      rows = await this.#status(businessId, names, 'name,version')
      cells = await this.#read(businessId, names)
    } catch ({ message }) {
      throw unread(`its versions could not be read (${message})`)
    }
    if (names.some((name) => !isSame(cells.get(name).value, values[name]))) {
      throw unread('somebody else wrote after it')
    }
    return Object.fromEntries(rows.map(({ name, version }) => [name, version]))
  }

  async _list({ businessId }) {
    const filters = { select: Object.keys(shown).join(','), business_id: `eq.${businessId}` }
    const rows = await this.#requests.select(STATUS, filters, fits)
    if (rows.length === 0) throw businessNotFound(businessId)
    let order = this.#names?.map(({ name }) => name) ?? []
    if (rows.some(({ name }) => !order.includes(name))) order = await this._names({})
    rows.sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
    return rows.map((row) => Object.fromEntries(Object.entries(shown).map(([from, to]) => [to, row[from]])))
  }

  async _undo({ businessId, name, expected }) {
    return this.#change(businessId, name, expected, { undo: true })
  }

  async _check({ businessId, name, version, result }) {
    const filters = { select: 'version', business_id: `eq.${businessId}`, name: `eq.${name}` }
    Object.assign(filters, { version: `eq.${version}`, is_set: 'eq.true' })
    // The time is the server's: naming one says that this is a check, also where it finds what the last one found.
    const change = { check_result: result, last_checked_at: new Date().toISOString() }
    const rows = await this.#requests.update(STATUS, filters, change, fits)
    if (rows.length === 0) await this.#status(businessId, [name], 'name')
    return rows.length > 0
  }

  async _lease({ businessId, name, ttlMs }) {
    const passed = { p_business_id: businessId, p_name: name, p_ttl: `${ttlMs} milliseconds` }
    const lease = await this.#requests.rpc('lease_business_secret', passed, (json) => {
      return rowsOf(json, ['token', 'version', 'expires_at'], fits)?.[0] ?? null
    })
    return { token: lease.token, version: lease.version, expiresAt: lease.expires_at }
  }

  _release({ businessId, name, token }) {
    const passed = { p_business_id: businessId, p_name: name, p_token: token }
    const given = (json) => (typeof json === 'boolean' ? json : null)
    return this.#requests.rpc('release_business_secret', passed, given)
  }

  async _due({ withinMs }) {
    const select = 'business_id,name,expires_at,rotate_every,updated_at'
    const rows = await this.#requests.select(STATUS, { select, is_set: 'eq.true' }, fits)
    const until = Date.now() + withinMs
    const due = []
    for (const { business_id: businessId, name, expires_at, rotate_every, updated_at } of rows) {
      const dates = [
        ['expires', expires_at && new Date(expires_at)],
        ['rotate', rotate_every && new Date(later(Date.parse(updated_at), rotate_every))],
      ]
      for (const [reason, dueAt] of dates) {
        if (dueAt && dueAt.getTime() <= until) due.push({ businessId, name, dueAt, reason })
      }
    }
    return due.sort((a, b) => a.dueAt - b.dueAt)
  }

  async _ping() {
    await this.#requests.select('business_secret_names', { select: 'name', limit: '1' }, fits)
  }

  /** Every version that the filter asks for: `{ business_id, name, version }`. */
  versions({ businessId, names }) {
    const filters = { select: 'business_id,name,version', version: 'gt.0' }
    if (businessId) filters.business_id = `eq.${businessId}`
    if (names) filters.name = `in.(${names.join(',')})`
    return this.#requests.select(STATUS, filters, fits)
  }

  watch(filter, callback) {
    if (this.#closed) throw closed()
    return this.#polling.add(filter, callback)
  }

  stats() {
    return {
      hits: 0,
      negativeHits: 0,
      misses: 0,
      entries: 0,
      staleServed: 0,
      evictions: 0,
      invalidations: 0,
      coalesced: 0,
      batches: this.#reads,
      elements: this.#elements,
      pool: { connections: 0, busy: 0, idle: 0, waiting: 0, opened: 0, lost: 0 },
      listener: this.#polling.stats(),
    }
  }

  async close() {
    this.#closed = true
    this.#polling.close()
    await this.#requests.idle()
    await delay(0)
  }
}

/** A timestamptz as JSON has it. */
const TIMESTAMP = /^\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?[+-]\d\d:\d\d$/

/** Whether a value reads as it was written: a time does so in another form. */
function isSame(read, written) {
  return read === written || (read !== null && written !== null && read === timestamp(written))
}

module.exports = { PostgrestTransport }
