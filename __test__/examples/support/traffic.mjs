// Old and new code of one app, at work without a pause: each reads and writes the same cells, and every answer is compared
// with what may stand there. One writer has a cell at a time; readers read any cell at any time.

import { appRequire } from '../../../dev/app-install.mjs'

/** A 409 says that another write was under way: clients try again. */
const TRIES = 10

export class Traffic {
  /** What was asked and answered. `failed` has the messages. */
  counts = { requests: 0, reads: 0, writes: 0, repeated: 0, wrong: 0 }
  failed = []
  /** By kind of reader or writer. */
  byKind = {}

  #cells
  #workers = new Map()
  #stopping = new Set()
  #waiting = []

  /** `cells`: `{ businessId, name, value }`; `value` is what stands there now. */
  constructor(cells) {
    this.#cells = cells.map(({ businessId, name, value }) => ({
      businessId,
      name,
      // Number 0 is what is there at the start; then every writer adds one.
      values: [value],
      stored: 0,
      busy: false,
    }))
  }

  /** Starts `count` workers of a kind, until stop(). `act` is `{ read }` or `{ write }`. */
  start(kind, act, count = 2) {
    const workers = Array.from({ length: count }, () => this.#work(kind, act))
    this.#workers.set(kind, Promise.all(workers))
  }

  /** Ends one kind, or all. What is under way is finished. */
  async stop(...kinds) {
    const ending = kinds.length ? kinds : [...this.#workers.keys()]
    for (const kind of ending) this.#stopping.add(kind)
    for (const kind of ending) {
      await this.#workers.get(kind)
      this.#workers.delete(kind)
      this.#stopping.delete(kind)
    }
  }

  /** Until every kind that is at work has had this many more answers. */
  async more(count) {
    const goals = [...this.#workers.keys()].map((kind) => [kind, (this.byKind[kind] ?? 0) + count])
    const isReached = () => goals.every(([kind, goal]) => (this.byKind[kind] ?? 0) >= goal)
    while (!isReached() && !this.failed.length) await new Promise((done) => this.#waiting.push(done))
  }

  async #work(kind, { read, write }) {
    while (!this.#stopping.has(kind) && !this.failed.length) {
      this.counts.requests++
      try {
        if (read) await this.#read(kind, read)
        else await this.#write(write)
      } catch (error) {
        this.failed.push(`${kind}: ${error.code ?? ''} ${error.message}`)
      }
      this.byKind[kind] = (this.byKind[kind] ?? 0) + 1
      for (const done of this.#waiting.splice(0)) done()
    }
  }

  async #read(kind, read) {
    const cell = this.#cells[Math.floor(Math.random() * this.#cells.length)]
    const oldest = cell.stored
    const found = await this.#repeated(() => read(cell.businessId, cell.name))
    this.counts.reads++
    const at = cell.values.lastIndexOf(found)
    // Not older than what was stored when it was asked for, and nobody else's.
    if (at < oldest) {
      this.counts.wrong++
      this.failed.push(
        `${kind}: a wrong key in ${cell.name}: ${at < 0 ? 'of nobody' : `${oldest - at} writes old`}`,
      )
    }
  }

  async #write(write) {
    const free = this.#cells.filter(({ busy }) => !busy)
    const cell = free[Math.floor(Math.random() * free.length)]
    cell.busy = true
    try {
      const number = cell.values.length
      const value = `${cell.name}-${cell.businessId.slice(0, 8)}-${number}`
      cell.values.push(value)
      await this.#repeated(() => write(cell.businessId, cell.name, value))
      cell.stored = number
      this.counts.writes++
    } finally {
      cell.busy = false
    }
  }

  async #repeated(send) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send()
      } catch (error) {
        if (error.status !== 409 || attempt === TRIES) throw error
        this.counts.repeated++
        await new Promise((done) => setTimeout(done, 10 * 2 ** attempt * Math.random()))
      }
    }
  }
}

/** supabase-js where a failure is an exception. */
export function supabaseClient(api, key, token) {
  const { createClient } = appRequire('@supabase/supabase-js')
  return createClient(
    api.url,
    key,
    token ? { accessToken: async () => token } : { auth: { persistSession: false } },
  )
}

export async function data(request) {
  const { data: found, error, status } = await request
  if (error) throw Object.assign(new Error(error.message), { code: error.code, status })
  return found
}
