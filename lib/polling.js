// Changes, found by asking for versions again and again. Whatever was missed while nobody could be asked is in the next
// answer, so that nothing is lost.

const args = require('./arguments.js')

class Polling {
  #transport
  #pollMs
  #log
  #watchers = new Set()
  #reconnects = 0
  #lastError

  constructor(transport, { pollMs, logger }) {
    this.#transport = transport
    this.#pollMs = pollMs
    this.#log = logger ?? (() => {})
  }

  add(filter, callback) {
    const watcher = { filter, callback, versions: null, lost: false, timer: null, closed: false }
    this.#watchers.add(watcher)
    this.#poll(watcher)
    return { close: () => this.#end(watcher) }
  }

  #end(watcher) {
    watcher.closed = true
    clearTimeout(watcher.timer)
    this.#watchers.delete(watcher)
  }

  async #poll(watcher) {
    try {
      const rows = await this.#transport.versions(watcher.filter)
      if (watcher.closed) return
      if (watcher.lost) {
        watcher.lost = false
        this.#reconnects++
      }
      this.#compare(watcher, rows)
    } catch (error) {
      if (watcher.closed) return
      watcher.lost = true
      this.#lastError = error.message
      this.#log('warn', { op: 'watch', code: error.code }, 'no versions: asking again')
    }
    watcher.timer = setTimeout(() => this.#poll(watcher), this.#pollMs)
    watcher.timer.unref()
  }

  #compare(watcher, rows) {
    const before = watcher.versions
    watcher.versions = new Map(rows.map((row) => [`${row.business_id}/${row.name}`, row.version]))
    // What changed before the first answer is not known; what has gone was deleted with its business.
    if (before === null || [...before.keys()].some((cell) => !watcher.versions.has(cell))) {
      watcher.callback({ kind: 'resync' })
      return
    }
    const changed = new Map()
    for (const { business_id: businessId, name, version } of rows) {
      if (before.get(`${businessId}/${name}`) === version) continue
      const versions = changed.get(businessId) ?? args.record()
      changed.set(businessId, versions)
      versions[name] = version
    }
    for (const [businessId, versions] of changed) {
      watcher.callback({ kind: 'changed', businessId, names: Object.keys(versions), versions })
    }
  }

  stats() {
    const watchers = [...this.#watchers]
    const state =
      watchers.length === 0
        ? 'off'
        : watchers.every(({ versions, lost }) => versions && !lost)
          ? 'listening'
          : 'connecting'
    const error = this.#lastError === undefined ? {} : { lastError: this.#lastError }
    return { state, reconnects: this.#reconnects, ...error }
  }

  close() {
    for (const watcher of this.#watchers) this.#end(watcher)
  }
}

module.exports = { Polling }
