// A transport in memory: what the database's functions do, without one. The contract suite holds it to them.

const { setImmediate: turn } = require('node:timers/promises')
const {
  SecretsError,
  businessNotFound,
  closed,
  decryptFailed,
  invalidValue,
  unknownSecret,
  versionConflict,
} = require('./errors.js')
const args = require('./arguments.js')
const { later, timestamp } = require('./times.js')

/** How long a previous value is kept, as `keep_previous` has it. */
const KEEP_PREVIOUS_MS = 7 * 86_400_000
/** Shorter values would be half shown by their last four characters. */
const MASKED_FROM = 12

/** What stands for the database: transports that share one see what the others write. */
class Store {
  /** `{ op, left, error }` of `fail()`. */
  fault = null
  /** Business → name → cell. */
  businesses = new Map()
  leases = new Map()
  watchers = new Set()
  versions = 0

  /** `isOpenToAll`: whether every id is a business. */
  constructor(clock, catalogue, isOpenToAll) {
    this.clock = clock
    this.isOpenToAll = isOpenToAll
    /** Name → `{ name, label, sealed, type }`, in their order. */
    this.catalogue = new Map(
      catalogue.map(({ name, label = name, sealed = true, type = 'text' }) => [
        name,
        { name, label, sealed, type },
      ]),
    )
  }

  resync() {
    for (const callback of this.watchers) callback({ kind: 'resync' })
  }

  tell(businessId, cells, names) {
    if (names.length === 0) return
    const versions = Object.fromEntries(names.map((name) => [name, cells.get(name).version]))
    for (const callback of this.watchers) callback({ kind: 'changed', businessId, names, versions })
  }

  business(businessId) {
    const cells = this.businesses.get(businessId)
    if (cells) return cells
    if (!this.isOpenToAll) throw businessNotFound(businessId)
    this.businesses.set(businessId, new Map())
    return this.businesses.get(businessId)
  }

  entry(name) {
    const entry = this.catalogue.get(name)
    if (!entry) throw unknownSecret(name)
    return entry
  }
}

class FakeTransport {
  #store
  #watchers = new Set()
  #closed = false
  #reads = 0

  constructor(store) {
    this.#store = store
    this.clock = store.clock
  }

  async get(businessId, name) {
    const values = await this.#answer('get', () => this.#read(businessId, [name]))
    return values[name]
  }

  call(op, passed) {
    return this.#answer(op, () => this[`_${op}`](passed))
  }

  watch(_filter, callback) {
    if (this.#closed) throw closed()
    const isFirst = this.#watchers.size === 0
    this.#store.watchers.add(callback)
    this.#watchers.add(callback)
    // A listener begins with the first watcher, and what changed before that is not known.
    if (isFirst) callback({ kind: 'resync' })
    return { close: () => this.#forget(callback) }
  }

  stats() {
    const [pool, none] = [{ connections: 0, busy: 0, idle: 0, waiting: 0, opened: 0, lost: 0 }, 0]
    return {
      hits: none,
      negativeHits: none,
      misses: none,
      entries: none,
      staleServed: none,
      evictions: none,
      invalidations: none,
      coalesced: none,
      batches: this.#reads,
      elements: this.#reads,
      pool,
      listener: { state: this.#watchers.size ? 'listening' : 'off', reconnects: 0 },
    }
  }

  async close() {
    this.#closed = true
    for (const callback of this.#watchers) this.#forget(callback)
  }

  #forget(callback) {
    this.#store.watchers.delete(callback)
    this.#watchers.delete(callback)
  }

  /** Answers in a later turn, as a database does. */
  async #answer(op, work) {
    if (this.#closed) throw closed()
    await turn()
    const { fault } = this.#store
    if (fault && (fault.op ?? op) === op && fault.left > 0) {
      fault.left--
      throw fault.error()
    }
    return work()
  }

  _ping() {}

  _names() {
    return [...this.#store.catalogue.keys()]
  }

  _getMany({ businessId, names }) {
    return this.#read(businessId, names)
  }

  #read(businessId, names) {
    const cells = this.#store.business(businessId)
    const entries = names.map((name) => this.#store.entry(name))
    const broken = names.filter((name) => cells.get(name)?.broken)
    if (broken.length) throw decryptFailed(broken)
    const at = this.clock.now()
    this.#reads++
    return Object.fromEntries(
      entries.map(({ name }) => {
        const cell = cells.get(name)
        if (cell) cell.readAt = at
        return [name, cell?.value ?? null]
      }),
    )
  }

  _set({ businessId, values, expected, options }) {
    const cells = this.#store.business(businessId)
    const written = Object.entries(values).map(([name, value]) => [
      name,
      this.#typed(this.#store.entry(name), value),
    ])
    for (const [name, version] of Object.entries(expected ?? args.nothing)) {
      const actual = cells.get(name)?.version ?? 0
      if (actual !== version) throw versionConflict(name, actual, version)
    }
    const changed = []
    for (const [name, value] of written) {
      if (this.#write(cells, name, value, options?.[name])) changed.push(name)
    }
    this.#store.tell(businessId, cells, changed)
    return Object.fromEntries(written.map(([name]) => [name, cells.get(name)?.version ?? 0]))
  }

  /** Whether anything has changed: writing what is there does not. */
  #write(cells, name, value, options = args.nothing) {
    let cell = cells.get(name)
    const isChange = cell ? cell.broken || cell.value !== value : value !== null
    if (!cell && isChange) {
      cell = { value: null, version: 0, readAt: null, previous: null, rotateEvery: null, expiresAt: null }
      cells.set(name, cell)
    }
    if (isChange) {
      // What is not sealed is no secret, and has no row of Vault's that would keep it.
      const keeps = this.#store.entry(name).sealed && cell.value !== null && !cell.broken && !options.purge
      const until = this.clock.now() + KEEP_PREVIOUS_MS
      cell.previous = keeps ? { value: cell.value, until } : null
      Object.assign(cell, { value, broken: false, checkedAt: null, checkResult: null, expiresAt: null })
      cell.version = ++this.#store.versions
      cell.updatedAt = this.clock.now()
    } else if (cell && options.purge) {
      cell.previous = null
    }
    if (cell && options.expires_at !== undefined) cell.expiresAt = options.expires_at
    if (cell && options.rotate_every !== undefined) cell.rotateEvery = options.rotate_every
    return isChange
  }

  /** What the column's type takes, and how it reads afterwards. */
  #typed({ name, type }, value) {
    if (type !== 'timestamptz' || value === null) return value
    const time = timestamp(value)
    if (time === null) throw invalidValue(`${name} must be a point in time, as 2026-01-31T12:00:00Z`)
    return time
  }

  _undo({ businessId, name, expected }) {
    const cells = this.#store.business(businessId)
    this.#store.entry(name)
    const cell = cells.get(name)
    if (expected !== null && expected !== (cell?.version ?? 0)) {
      throw versionConflict(name, cell?.version ?? 0, expected)
    }
    if (!this.#canUndo(cell)) {
      throw new SecretsError(
        'REFUSED',
        `${name} has no previous value to put back: none is kept, or no longer`,
      )
    }
    this.#write(cells, name, cell.previous.value)
    this.#store.tell(businessId, cells, [name])
    return cell.version
  }

  #canUndo(cell) {
    return Boolean(cell?.previous && cell.previous.until > this.clock.now())
  }

  _list({ businessId }) {
    const cells = this.#store.business(businessId)
    return [...this.#store.catalogue.values()].map(({ name, label, sealed }) => {
      const cell = cells.get(name)
      const value = cell?.value ?? null
      const letters = sealed && value !== null && !cell.broken ? [...value] : []
      return {
        name,
        label,
        sealed,
        isSet: value !== null,
        last4: letters.length >= MASKED_FROM ? letters.slice(-4).join('') : null,
        version: cell?.version ?? 0,
        updatedAt: cell?.updatedAt,
        lastReadAt: cell?.readAt,
        lastCheckedAt: cell?.checkedAt,
        checkResult: cell?.checkResult,
        expiresAt: cell?.expiresAt,
        canUndo: this.#canUndo(cell),
      }
    })
  }

  _check({ businessId, name, version, result }) {
    this.#store.entry(name)
    const cell = this.#store.businesses.get(businessId)?.get(name)
    if (!cell || cell.value === null || cell.version !== version) return false
    Object.assign(cell, { checkedAt: this.clock.now(), checkResult: result })
    return true
  }

  _lease({ businessId, name, ttlMs }) {
    const cells = this.#store.business(businessId)
    this.#store.entry(name)
    const key = `${businessId}/${name}`
    const version = cells.get(name)?.version ?? 0
    const held = this.#store.leases.get(key)
    const now = this.clock.now()
    if (held && held.expiresAt > now) return { token: null, version, expiresAt: held.expiresAt }
    const lease = { token: crypto.randomUUID(), version, expiresAt: now + ttlMs }
    this.#store.leases.set(key, lease)
    return lease
  }

  _release({ businessId, name, token }) {
    const key = `${businessId}/${name}`
    return this.#store.leases.get(key)?.token === token && this.#store.leases.delete(key)
  }

  _due({ withinMs }) {
    const until = this.clock.now() + withinMs
    const due = []
    for (const [businessId, cells] of this.#store.businesses) {
      for (const [name, cell] of cells) {
        if (cell.value === null) continue
        const dates = [
          ['expires', cell.expiresAt && Date.parse(cell.expiresAt)],
          ['rotate', cell.rotateEvery && later(cell.updatedAt, cell.rotateEvery)],
        ]
        for (const [reason, dueAt] of dates) {
          if (dueAt && dueAt <= until) due.push({ businessId, name, dueAt, reason })
        }
      }
    }
    return due.sort((a, b) => a.dueAt - b.dueAt)
  }

  add(businessId, values) {
    if (!this.#store.businesses.has(businessId)) this.#store.businesses.set(businessId, new Map())
    if (Object.keys(values).length) this._set({ businessId, values, expected: null, options: null })
  }

  remove(businessId) {
    this.#store.isOpenToAll = false
    const cells = this.#store.businesses.get(businessId)
    this.#store.businesses.delete(businessId)
    if (cells?.size) this.#store.resync()
  }

  break(businessId, name) {
    const cell = this.#store.business(businessId).get(this.#store.entry(name).name)
    if (!cell || cell.value === null)
      throw new SecretsError('REFUSED', 'only a value that is set can be broken')
    cell.broken = true
  }
}

module.exports = { FakeTransport, Store }
