// A watcher: calls back one event at a time, merges what comes meanwhile, and tells of dates that are due. Where events
// come from is the transport's affair.

const { callbackFailed } = require('./warnings.js')

/** What a slow callback is owed at the most, in businesses: beyond that anything may have changed. */
const MOST_PENDING = 1000
/** How often the database is asked what is due. Dates are days away, as a rule. */
const DUE_EVERY_MS = 3_600_000

const maker = Symbol('maker')

class Watcher {
  #callback
  #filter
  #source = null
  #endDue = null
  #ended
  #closed = false
  #busy = false
  #resync = false
  /** Business → name → version, in the order of the first change. */
  #changed = new Map()
  #due = []
  /** `business/name` → the date that was told. */
  #told = new Map()

  constructor(key, filter, callback, ended) {
    if (key !== maker) throw new TypeError('Watcher has no public constructor: watch() makes one')
    this.#filter = filter
    this.#callback = callback
    this.#ended = ended
  }

  /** Ends it: the callback is not called any more. May be repeated. */
  close() {
    if (this.#closed) return
    this.#closed = true
    this.#endDue?.()
    this.#source?.close()
    this.#ended()
  }

  static start(transport, clock, filter, callback, ended) {
    const watcher = new Watcher(maker, filter, callback, ended)
    watcher.#source = transport.watch(filter, (event) => watcher.#hear(event))
    const ask = () => watcher.#askWhatIsDue(transport)
    watcher.#endDue = clock.every(DUE_EVERY_MS, ask)
    ask()
    return watcher
  }

  #hear({ kind, businessId, names, versions }) {
    if (this.#closed) return
    if (kind === 'resync') {
      this.#resync = true
      // Whoever reads everything again has read these too.
      this.#changed.clear()
    } else if (!this.#resync && (this.#filter.businessId ?? businessId) === businessId) {
      const wanted = this.#filter.names ? names.filter((name) => this.#filter.names.includes(name)) : names
      if (wanted.length) this.#merge(businessId, wanted, versions)
    }
    this.#next()
  }

  #merge(businessId, names, versions) {
    const merged = this.#changed.get(businessId) ?? new Map()
    for (const name of names) {
      const version = Object.hasOwn(versions, name) ? versions[name] : 0
      merged.set(name, Math.max(merged.get(name) ?? 0, version))
    }
    this.#changed.set(businessId, merged)
    if (this.#changed.size > MOST_PENDING) {
      this.#resync = true
      this.#changed.clear()
    }
  }

  async #askWhatIsDue(transport) {
    let due
    try {
      due = await transport.call('due', { withinMs: this.#filter.dueWithinMs })
    } catch {
      // Asked again in an hour; whoever cannot read what is due has no dates to hear of.
      return
    }
    for (const { businessId, name, dueAt, reason } of due) {
      if ((this.#filter.businessId ?? businessId) !== businessId) continue
      if (this.#filter.names && !this.#filter.names.includes(name)) continue
      const at = new Date(dueAt)
      const cell = `${businessId}/${name}`
      if (Number.isNaN(at.getTime()) || this.#told.get(cell) === at.getTime()) continue
      this.#told.set(cell, at.getTime())
      this.#due.push({ kind: 'due', businessId, name, dueAt: at, reason })
    }
    this.#next()
  }

  /** One at a time: the next event waits for the promise that the callback returned. */
  async #next() {
    if (this.#busy) return
    this.#busy = true
    // The transport goes on with what it was doing before the callback runs.
    await null
    for (let event = this.#take(); event && !this.#closed; event = this.#take()) {
      try {
        await this.#callback.call(undefined, event)
      } catch (thrown) {
        callbackFailed('watch()', thrown)
      }
    }
    this.#busy = false
  }

  #take() {
    if (this.#resync) {
      this.#resync = false
      return { kind: 'resync' }
    }
    const [first] = this.#changed
    if (!first) return this.#due.shift()
    const [businessId, versions] = first
    this.#changed.delete(businessId)
    return {
      kind: 'changed',
      businessId,
      names: [...versions.keys()],
      versions: Object.fromEntries(versions),
    }
  }
}

module.exports = { Watcher }
