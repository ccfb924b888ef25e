// Requests to PostgREST: the key, the user's token, a deadline, and what is tried again. Knows nothing of secrets. What goes
// out stands on no prototype: what a polluted one holds is no part of a request.

const { setTimeout: delay } = require('node:timers/promises')
const answers = require('./answers.js')
const args = require('./arguments.js')
const { machineClock, within } = require('./clock.js')
const { Endpoint, keyOf, tokenOf } = require('./endpoint.js')
const { SecretsError } = require('./errors.js')

const [LEAST_PAUSE_MS, MOST_PAUSE_MS] = [20, 500]

class Requests {
  #endpoint
  #key
  #accessToken
  #timeoutMs
  #log
  #refreshing = null
  /** The token that had expired last, and the one that came for it. */
  #replaced = { expired: null, token: null }
  #underWay = new Set()

  constructor({ supabaseUrl, supabaseKey, accessToken, allowInsecure, timeoutMs, logger }) {
    if (!supabaseUrl || !supabaseKey) {
      throw new SecretsError('CONFIG', 'pass both supabaseUrl and supabaseKey: Project Settings, API Keys')
    }
    this.#endpoint = new Endpoint(supabaseUrl, allowInsecure)
    this.#key = keyOf(supabaseKey)
    this.#accessToken = typeof accessToken === 'string' ? textToken(accessToken) : accessToken
    this.#timeoutMs = timeoutMs
    this.#log = logger ?? (() => {})
  }

  /** Rows. `fits(column, value)` says whether a value is what such a column holds. */
  select(table, query, fits) {
    const take = (json) => answers.rowsOf(json, columnsOf(query), fits)
    return this.#send(request('GET', table, query, take))
  }

  /** The rows that were changed. */
  update(table, query, change, fits) {
    const take = (json) => answers.rowsOf(json, columnsOf(query), fits)
    return this.#send(request('PATCH', table, query, take, change, 'return=representation'))
  }

  async upsert(table, row) {
    const query = { on_conflict: 'business_id' }
    const take = (_, text) => (text === '' ? true : null)
    const prefer = 'resolution=merge-duplicates,return=minimal'
    await this.#send(request('POST', table, query, take, row, prefer))
  }

  /** `take(json)` gives what the function gave, or null where the answer is something else. */
  rpc(name, passed, take) {
    return this.#send(request('POST', `rpc/${name}`, {}, take, passed))
  }

  /** Resolves when what was sent has come back, by its deadline. */
  async idle() {
    await Promise.allSettled(this.#underWay)
  }

  #send(request) {
    const sent = this.#attempts(request)
    this.#underWay.add(sent)
    return sent.finally(() => this.#underWay.delete(sent))
  }

  async #attempts(request) {
    const deadline = performance.now() + this.#timeoutMs
    const bases = await this.#by(deadline, this.#endpoint.bases(), 'localhost was not resolved')
    let token = await this.#by(deadline, this.#token(), NO_TOKEN)
    let isNew = false
    for (let pause = LEAST_PAUSE_MS; ; ) {
      const answer = await this.#once(request, bases, token, deadline)
      if (answer.ok) {
        const taken = request.take(answer.json, answer.text)
        if (taken === null) throw answers.unexpected(answer, request.isWrite)
        return taken
      }
      const { code } = answers.failureOf(answer.json)
      if (
        answer.status === 401 &&
        answers.EXPIRED.includes(code) &&
        typeof this.#accessToken === 'function' &&
        !isNew
      ) {
        this.#log('info', { op: 'token' }, 'the access token has expired: asking for another one')
        const refreshed = await this.#refreshed(token, deadline)
        token = refreshed.token
        isNew = refreshed.isNew
      } else if (answers.MET_ANOTHER.includes(code) && performance.now() + pause < deadline) {
        this.#log('debug', { op: 'retry', ms: pause, code }, 'the transaction met another: trying again')
        await delay(pause * (0.5 + Math.random() / 2))
        pause = Math.min(pause * 2, MOST_PAUSE_MS)
      } else throw answers.meaning(answer, request.isWrite)
    }
  }

  /** Waits no longer than the call has: nothing was sent, or what was sent is undone. */
  #by(deadline, promise, what) {
    const late = () =>
      new SecretsError('TIMEOUT', `timed out: ${what} within ${this.#timeoutMs} ms, and nothing was done`)
    return within(machineClock, deadline - performance.now(), promise, late)
  }

  async #once(request, bases, token, deadline) {
    const init = args.record(Object.entries(request.init))
    const signed = token === null ? [] : [['authorization', `Bearer ${token}`]]
    init.headers = args.record([['apikey', this.#key], ...signed, ...request.headers])
    init.signal = AbortSignal.timeout(Math.max(1, Math.ceil(deadline - performance.now())))
    for (const [at, base] of bases.entries()) {
      const url = new URL(request.path, base)
      for (const [name, value] of request.query) url.searchParams.set(name, value)
      try {
        const response = await fetch(url, init)
        const text = await response.text()
        const { ok, status, headers } = response
        return { ok, status, type: headers.get('content-type') ?? '', text, json: answers.parsed(text) }
      } catch (error) {
        const isElsewhere = answers.causeOf(error) === 'ECONNREFUSED' && at + 1 < bases.length
        if (!isElsewhere) throw answers.unanswered(error, request.isWrite, this.#timeoutMs)
      }
    }
  }

  /** The user's token; null where the key stands for itself. */
  async #token() {
    if (typeof this.#accessToken !== 'function') return this.#accessToken ?? bearerOf(this.#key)
    return this.#ask(false)
  }

  /**
   * Another token for one that has expired: asked for once, however many calls find it expired. One that came before may have
   * expired by now too: only one that `isNew` is the last to try.
   */
  async #refreshed(expired, deadline) {
    const replaced = this.#replaced
    if (replaced.expired === expired) return { token: replaced.token, isNew: false }
    this.#refreshing ??= this.#ask(true).then((token) => {
      // What the function gives at first stays the same, as a rule, however often its replacement is replaced.
      this.#replaced = { expired: replaced.token === expired ? replaced.expired : expired, token }
      return { token, isNew: true }
    })
    const refreshing = this.#refreshing
    try {
      return await this.#by(deadline, refreshing, NO_TOKEN)
    } finally {
      // One that does not come in time is given up, so that the next call asks anew.
      if (this.#refreshing === refreshing) this.#refreshing = null
    }
  }

  async #ask(expired) {
    let given
    try {
      given = await this.#accessToken({ expired })
    } catch (error) {
      throw new SecretsError('PERMISSION_DENIED', 'accessToken failed to give a token: sign in again', {
        cause: error,
      })
    }
    const token = tokenOf(given)
    if (token !== null) return token
    throw new SecretsError('PERMISSION_DENIED', 'accessToken gave no token: nobody is signed in')
  }
}

const NO_TOKEN = 'accessToken gave no token'

/** All that is sent each time, and `take(json, text)`, which gives what came of it, or null for an answer of another shape. */
function request(method, path, query, take, body, prefer) {
  // No body is said in so many words: fetch would find that of a polluted prototype.
  const init = { method, redirect: 'error', body: null }
  const headers = [['accept', 'application/json']]
  if (body !== undefined) {
    init.body = JSON.stringify(args.record(Object.entries(body)))
    headers.push(['content-type', 'application/json'])
  }
  if (prefer !== undefined) headers.push(['prefer', prefer])
  return { path, query: Object.entries(query), init, headers, take, isWrite: method !== 'GET' }
}

const columnsOf = ({ select }) => select.split(',')

/** A token that is given once and for all. */
function textToken(text) {
  const token = tokenOf(text)
  if (token !== null) return token
  throw new SecretsError('CONFIG', 'accessToken is blank: leave it out where nobody is signed in')
}

/** New-style keys are no tokens; those before them were. */
function bearerOf(key) {
  return key.startsWith('sb_') ? null : key
}

module.exports = { Requests }
