// A Supabase project's HTTP side, in front of an embedded server: the Data API under /rest/v1, sign-in under /auth/v1, and
// edge functions under /functions/v1 where there are any. PostgREST is in no package registry, so this stands in for it:
// it speaks what the real supabase-js sends, verifies tokens, sets role and claims, and runs the SQL of postgrest.mjs.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import pg from 'pg'
import { Accounts } from './data-api-auth.mjs'
import { answerRest, toAnswer } from './data-api-rest.mjs'
import { SchemaCache } from './data-api-schema.mjs'
import { ApiError, identify, sign } from './data-api-tokens.mjs'

const MAX_BODY_BYTES = 10_000_000

/**
 * Starts on a free port of 127.0.0.1.
 *
 * @param {object} options
 * @param {string} options.url connection string of `authenticator`
 * @param {string} [options.jwtSecret] what tokens are signed with (HS256); made up unless given
 * @param {{ publishable: string, secret: string }} [options.keys] `sb_publishable_…` and `sb_secret_…`; made up unless given
 * @param {{ id: string, email: string, password: string }[]} [options.users] who may sign in
 * @param {Record<string, string>} [options.functions] edge functions by name: the addresses that they listen at
 * @param {number} [options.port]
 * @returns {Promise<DataApi>}
 */
export async function startDataApi(options) {
  const api = new DataApi(options)
  await api.listen(options.port ?? 0)
  return api
}

class DataApi {
  #pool
  #context
  #server
  #functions
  #accounts
  /** What tokens are signed with. */
  jwtSecret
  /** New-style keys, and the tokens that stood for them before. */
  keys
  /** `requests` that came; `repeated`: transactions that ended in 40001 and were run again. */
  counters = { requests: 0, repeated: 0 }

  constructor({ url, jwtSecret, keys, users = [], functions = {} }) {
    this.jwtSecret = jwtSecret ?? randomBytes(32).toString('base64url')
    this.keys = {
      publishable: `sb_publishable_${randomBytes(16).toString('base64url')}`,
      secret: `sb_secret_${randomBytes(16).toString('base64url')}`,
      ...keys,
    }
    const year = Math.floor(Date.now() / 1000) + 365 * 86_400
    this.keys.anon ??= this.sign({ role: 'anon', exp: year })
    this.keys.serviceRole ??= this.sign({ role: 'service_role', exp: year })
    this.#pool = new pg.Pool({ connectionString: url, max: 10, application_name: 'data-api' })
    // A connection that breaks while it is idle is replaced at the next request.
    this.#pool.on('error', () => {})
    this.#context = { pool: this.#pool, cache: new SchemaCache(this.#pool) }
    this.#functions = functions
    this.#accounts = new Accounts(this, users)
  }

  async listen(port) {
    this.#server = createServer((request, response) => this.#handle(request, response))
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    /** What supabase-js calls the project's URL. */
    this.url = `http://127.0.0.1:${this.#server.address().port}`
  }

  /** A token with these claims: `sub` is the user's id; role `authenticated` for an hour unless told. */
  sign(claims) {
    return sign(this.jwtSecret, claims)
  }

  async close() {
    this.#server.close()
    this.#server.closeAllConnections()
    await this.#pool.end()
  }

  async #handle(request, response) {
    this.counters.requests++
    let role
    let answer
    try {
      const { pathname, searchParams: query } = new URL(request.url, 'http://localhost')
      if (request.method === 'OPTIONS') answer = { status: 204, headers: preflight(request) }
      else {
        const text = await bodyOf(request)
        const details = { method: request.method, headers: request.headers, query, text }
        answer = await this.#route(details, pathname, request, (found) => {
          role = found
        })
      }
    } catch (error) {
      const { status, headers, body } = toAnswer(error, role)
      answer = { status, headers, body: JSON.stringify(body) }
    }
    if (response.destroyed) return
    response.writeHead(answer.status, {
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'Content-Range, Preference-Applied',
      ...(answer.body !== undefined && { 'content-type': 'application/json; charset=utf-8' }),
      ...answer.headers,
    })
    response.end(answer.body)
  }

  async #route(details, pathname, request, noteRole) {
    const [, area, version, name] = pathname.split('/')
    if (version !== 'v1') throw notFound()
    const path = pathname.slice(`/${area}/v1`.length)
    if (area === 'functions') return this.#forward(details, name)
    const caller = identify(this, details.headers, details.query)
    noteRole(caller.role)
    details.query.delete('apikey')
    if (area === 'auth') return this.#accounts.answer({ ...details, path, ...caller })
    if (area !== 'rest') throw notFound()
    const context = { ...this.#context, counters: this.counters, isOpen: () => !request.socket.destroyed }
    return answerRest(context, { ...details, path, ...caller })
  }

  /** Edge functions check their callers themselves, as they do with `verify_jwt = false`. */
  async #forward({ method, headers, text }, name) {
    const address = Object.hasOwn(this.#functions, name) ? this.#functions[name] : undefined
    if (!address) throw notFound()
    const { authorization = '', apikey = '' } = headers
    const response = await fetch(address, {
      method,
      headers: { authorization, apikey, 'content-type': headers['content-type'] ?? 'application/json' },
      body: ['GET', 'HEAD'].includes(method) ? undefined : text,
    })
    const body = await response.text()
    return { status: response.status, headers: {}, body: body || undefined }
  }
}

function preflight({ headers }) {
  return {
    'access-control-allow-methods': 'GET,HEAD,POST,PATCH,PUT,DELETE,OPTIONS',
    'access-control-allow-headers': headers['access-control-request-headers'] ?? '*',
    'access-control-max-age': '600',
  }
}

async function bodyOf(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new ApiError(413, { message: 'Payload too large' })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

const notFound = () => new ApiError(404, { message: 'no Route matched with those values' })
