// Micro-batching in JavaScript: the control that shows what of a result is the batching and what is the addon.

/** As many as the addon puts into one statement. */
const BATCH = 512

/**
 * Sends what waits as one batch whenever one of `connections` is free. Calls of one turn of the event loop travel
 * together, which costs nothing here: nothing could be sent before its end.
 */
export class Batcher {
  #waiting = []
  #busy = 0
  #scheduled = false

  /** `read(keys)` gives rows; `pick(rows, i)` gives the answer for key i. */
  constructor(connections, read, pick) {
    this.connections = connections
    this.read = read
    this.pick = pick
  }

  get(key) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject })
      if (this.#scheduled || this.#busy >= this.connections) return
      this.#scheduled = true
      queueMicrotask(() => {
        this.#scheduled = false
        this.#dispatch()
      })
    })
  }

  async #dispatch() {
    if (this.#busy >= this.connections) return
    this.#busy++
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH)
      // What one statement cannot hold goes out on another connection.
      if (this.#waiting.length > 0 && this.#busy < this.connections) this.#dispatch()
      try {
        const rows = await this.read(batch.map(({ key }) => key))
        for (let i = 0; i < batch.length; i++) batch[i].resolve(this.pick(rows, i))
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#busy--
  }
}

/** Gives each of several workers one call at a time; the others wait in line. */
export class Lanes {
  #waiting = []

  constructor(workers, call) {
    this.idle = [...workers]
    this.call = call
  }

  run(key) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject })
      this.#next()
    })
  }

  #next() {
    if (this.idle.length === 0 || this.#waiting.length === 0) return
    const worker = this.idle.pop()
    const { key, resolve, reject } = this.#waiting.shift()
    this.call(worker, key)
      .then(resolve, reject)
      .finally(() => {
        this.idle.push(worker)
        this.#next()
      })
  }
}
