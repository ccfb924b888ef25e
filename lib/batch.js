// Gathers the gets of one turn of the event loop: one call into the addon for all of them, and one call back for all that
// are answered together. The promises are JavaScript's own, so that whatever follows them (AsyncLocalStorage, stack
// traces, the caller's realm) is as it is with any other promise.
//
// The first get of a turn is not delayed by those that may follow: it goes out in the next microtask. Where there are
// several, callers that were answered together ask again within a few microtasks of each other, depending on how many
// async functions are in between; those are waited for, for as long as more keep coming.

const { SecretsError } = require('./errors.js')

/** The most gets of one turn that travel in one call. */
const MAX_GETS = 8192
/** How often the end of a turn is put off because more gets have come, in microtasks. */
const PATIENCE = 16
/** Marks a slot whose value is an error, `CODE message`. */
const FAILED = 0x80000000

// For all clients of this realm: they are filled and read within one call.
const names = new Uint16Array(MAX_GETS)
const slots = new Uint32Array(MAX_GETS)
const resolved = Promise.resolve()

// An executor that is no closure: one a get would cost as much as the rest of it.
let resolveNext
let rejectNext
function executor(resolve, reject) {
  resolveNext = resolve
  rejectNext = reject
}

class Batch {
  /** What the addon needs to answer: `NativeClient.read` tells what belongs where. */
  slots = slots
  settle = (token, ...values) => this.#settle(token, values)

  #read
  #alone
  #ids = []
  #numbers = []
  /** The `resolve` and the `reject` of each get, one after another. */
  #settlers = []
  #seen = 0
  #putOff = 0
  #endTurn = () => this.#end()
  /** Token → the gets that are under way. */
  #underWay = new Map()
  #token = 0

  /** `alone(businessId, number)` reads one where the addon does not take all of them: it says what is wrong with it. */
  start(read, alone) {
    this.#read = read
    this.#alone = alone
  }

  get(businessId, number) {
    const at = this.#ids.length
    if (at === MAX_GETS) this.flush()
    if (this.#ids.length === 0) resolved.then(this.#endTurn)
    this.#ids.push(businessId)
    this.#numbers.push(number)
    const promise = new Promise(executor)
    this.#settlers.push(resolveNext, rejectNext)
    return promise
  }

  #end() {
    const count = this.#ids.length
    const isAlone = this.#seen === 0 && count <= 1
    if (isAlone || count === this.#seen || this.#putOff === PATIENCE) {
      this.flush()
    } else {
      this.#seen = count
      this.#putOff++
      resolved.then(this.#endTurn)
    }
  }

  /** Sends what has been gathered. */
  flush() {
    const [ids, numbers, settlers] = [this.#ids, this.#numbers, this.#settlers]
    if (ids.length === 0) return
    this.#ids = []
    this.#numbers = []
    this.#settlers = []
    this.#seen = 0
    this.#putOff = 0
    const token = this.#token
    this.#token = (token + 1) >>> 0
    for (let at = 0; at < numbers.length; at++) names[at] = numbers[at]
    this.#underWay.set(token, { settlers, left: ids.length })
    if (this.#read(token, ids.length === 1 ? ids[0] : ids.join(''), names, ids.length)) return
    this.#underWay.delete(token)
    for (const [at, id] of ids.entries()) {
      this.#alone(id, numbers[at]).then(settlers[2 * at], settlers[2 * at + 1])
    }
  }

  #settle(token, values) {
    const turn = this.#underWay.get(token)
    const { settlers } = turn
    for (let at = 0; at < values.length; at++) {
      const slot = slots[at]
      if (slot < FAILED) settlers[2 * slot](values[at])
      else settlers[2 * (slot - FAILED) + 1](errorOf(values[at]))
    }
    turn.left -= values.length
    if (turn.left === 0) this.#underWay.delete(token)
  }
}

/** An error of this realm, from `CODE message`. */
function errorOf(text) {
  const end = text.indexOf(' ')
  return new SecretsError(text.slice(0, end), text.slice(end + 1))
}

module.exports = { Batch }
