// Requests to PostgREST: the key, the user's token, a deadline, what is tried again, and what an answer's error means.
// Knows nothing of secrets. Of an error's words only those of our own functions are passed on: others quote values.

const { setTimeout: delay } = require('node:timers/promises')
const { SecretsError } = require('./errors.js')

/** The transaction met another and was undone: worth trying again. PT409 is what our functions raise for PostgREST. */
const MET_ANOTHER = ['PT409', '40001', '40P01']
const EXPIRED = ['PGRST301', 'PGRST302', 'PGRST303']
const [LEAST_PAUSE_MS, MOST_PAUSE_MS] = [20, 500]

class Requests {
  #base
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
    this.#base = baseOf(supabaseUrl, allowInsecure)
    this.#key = supabaseKey
    this.#accessToken = accessToken
    this.#timeoutMs = timeoutMs
    this.#log = logger ?? (() => {})
  }

  select(table, query) {
    return this.#send({ method: 'GET', path: table, query })
  }

  update(table, query, change) {
    const headers = { prefer: 'return=representation' }
    return this.#send({ method: 'PATCH', path: table, query, body: change, headers })
  }

  upsert(table, row) {
    const headers = { prefer: 'resolution=merge-duplicates,return=minimal' }
    return this.#send({
      method: 'POST',
      path: table,
      query: { on_conflict: 'business_id' },
      body: row,
      headers,
    })
  }

  rpc(name, passed) {
    return this.#send({ method: 'POST', path: `rpc/${name}`, query: {}, body: passed })
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
    let token = await this.#token()
    let isRefreshed = false
    for (let pause = LEAST_PAUSE_MS; ; ) {
      const answer = await this.#once(request, token, deadline)
      if (answer.ok) return answer.body
      const { code } = answer.body ?? {}
      if (
        answer.status === 401 &&
        EXPIRED.includes(code) &&
        typeof this.#accessToken === 'function' &&
        !isRefreshed
      ) {
        isRefreshed = true
        this.#log('info', { op: 'token' }, 'the access token has expired: asking for another one')
        token = await this.#refreshed(token)
      } else if (MET_ANOTHER.includes(code) && performance.now() + pause < deadline) {
        this.#log('debug', { op: 'retry', ms: pause, code }, 'the transaction met another: trying again')
        await delay(pause * (0.5 + Math.random() / 2))
        pause = Math.min(pause * 2, MOST_PAUSE_MS)
      } else throw meaning(answer, request)
    }
  }

  async #once({ method, path, query, body, headers }, token, deadline) {
    const url = new URL(path, this.#base)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const left = Math.max(1, Math.ceil(deadline - performance.now()))
    try {
      const response = await fetch(url, {
        method,
        headers: {
          apikey: this.#key,
          ...(token !== null && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          accept: 'application/json',
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(left),
        redirect: 'error',
      })
      const text = await response.text()
      return { ok: response.ok, status: response.status, body: parsed(text) }
    } catch (error) {
      throw unanswered(error, method !== 'GET', this.#timeoutMs)
    }
  }

  /** The user's token; null where the key stands for itself. */
  async #token() {
    if (typeof this.#accessToken !== 'function') return this.#accessToken ?? bearerOf(this.#key)
    return this.#ask(false)
  }

  /** Another token for one that has expired: asked for once, however many calls find it expired. */
  #refreshed(expired) {
    if (this.#replaced.expired === expired) return this.#replaced.token
    this.#refreshing ??= this.#ask(true)
      .then((token) => {
        this.#replaced = { expired, token }
        return token
      })
      .finally(() => {
        this.#refreshing = null
      })
    return this.#refreshing
  }

  async #ask(expired) {
    let token
    try {
      token = await this.#accessToken({ expired })
    } catch (error) {
      throw new SecretsError('PERMISSION_DENIED', 'accessToken failed to give a token: sign in again', {
        cause: error,
      })
    }
    if (typeof token === 'string' && /^[\w.+/=-]+$/.test(token)) return token
    throw new SecretsError('PERMISSION_DENIED', 'accessToken gave no token: nobody is signed in')
  }
}

/** New-style keys are no tokens; those before them were. */
function bearerOf(key) {
  return key.startsWith('sb_') ? null : key
}

function baseOf(text, allowInsecure) {
  let url
  try {
    url = new URL(text)
  } catch {
    throw new SecretsError('CONFIG', 'supabaseUrl must be a URL such as https://<ref>.supabase.co')
  }
  const isLoopback = /^(?:127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (isLoopback || allowInsecure))) {
    throw new SecretsError(
      'UNSAFE_CONNECTION',
      'supabaseUrl must be an https:// address: the keys and the token would travel in the clear',
    )
  }
  return new URL('rest/v1/', `${url.origin}${url.pathname.replace(/\/*$/, '/')}`)
}

function parsed(text) {
  if (text === '') return null
  try {
    return JSON.parse(text)
  } catch {
    // A gateway's page.
    return null
  }
}

/** No answer came. Whether a write was carried out is not known, unless it never left. */
function unanswered(error, isWrite, timeoutMs) {
  const code = error?.cause?.code
  const isLate = error?.name === 'TimeoutError'
  const neverLeft = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)
  if (/^(?:CERT_|ERR_TLS|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET))/.test(code ?? '')) {
    return new SecretsError('UNSAFE_CONNECTION', `no verified TLS connection to supabaseUrl (${code})`)
  }
  const what = isLate ? `no answer within ${timeoutMs} ms` : (code ?? 'the connection failed')
  if (isWrite && !neverLeft) {
    return new SecretsError(
      'UNKNOWN_OUTCOME',
      `the write may or may not have been carried out (${what}): read the version before you repeat it`,
    )
  }
  if (isLate)
    return new SecretsError('TIMEOUT', `timed out: ${what}: raise timeoutMs, or look at the database's load`)
  return new SecretsError('UNAVAILABLE', `the Data API is unavailable: ${what}`)
}

/** What an answer's error means. `message` is passed on only where our own functions wrote it. */
function meaning({ status, body }, { method, path }) {
  const { code = '', message = '' } = body ?? {}
  const error = (secretsCode, text) => new SecretsError(secretsCode, text)
  const isWrite = method !== 'GET' && !path.startsWith('rpc/get')
  const ours = {
    AS001: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    AS002: ['INVALID_VALUE', message],
    AS003: ['BUSINESS_NOT_FOUND', `there is ${message}: check the id, or create the business first`],
    AS004: ['VERSION_CONFLICT', `${message}: read the versions again, then decide`],
    AS005: ['PERMISSION_DENIED', `permission denied (AS005): ${message}`],
    AS007: ['REFUSED', message],
    AS008: ['REFUSED', message],
    AS009: ['UNAVAILABLE', message],
    42703: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    PGRST204: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    42501: [
      'PERMISSION_DENIED',
      'permission denied (42501): this user may not do that; services connect with a login of their own',
    ],
    57014: ['TIMEOUT', 'timed out: the server cancelled the statement (statement_timeout?)'],
    '55P03': ['TIMEOUT', 'timed out: another transaction held the lock for too long'],
  }
  if (Object.hasOwn(ours, code)) return error(...ours[code])
  if (MET_ANOTHER.includes(code)) {
    return error('UNAVAILABLE', `the database is unavailable: the transaction met another (${code})`)
  }
  if (['42P01', '42883', 'PGRST202', 'PGRST205'].includes(code) || code.startsWith('3F')) {
    return error(
      'NOT_MIGRATED',
      `the database is not migrated for this version (${code}): run \`app-secrets migrate\``,
    )
  }
  if (EXPIRED.includes(code)) {
    return error(
      'PERMISSION_DENIED',
      `the access token has expired or does not fit (${code}): sign in again, or pass accessToken as a function`,
    )
  }
  if (status === 401 || status === 403) {
    return error('PERMISSION_DENIED', `the Data API refuses supabaseKey or the token (HTTP ${status})`)
  }
  if (code.startsWith('22'))
    return error('INVALID_VALUE', `a value does not fit its column (SQLSTATE ${code})`)
  if (isWrite && [502, 504].includes(status)) {
    return error(
      'UNKNOWN_OUTCOME',
      `the write may or may not have been carried out (HTTP ${status}): read the version before you repeat it`,
    )
  }
  if (status === 429 || status >= 502 || /^(?:08|53|57|58|PGRST0)/.test(code)) {
    return error('UNAVAILABLE', `the Data API is unavailable: HTTP ${status}${code && ` (${code})`}`)
  }
  return error(
    'REFUSED',
    `the Data API refused with HTTP ${status}${code && ` (${code})`}: look for it in the server's log`,
  )
}

module.exports = { Requests }
