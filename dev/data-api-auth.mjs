// Sign-in, as far as supabase-js needs it: GoTrue's password and refresh-token grants, the user, sign-out. Refresh tokens
// are used once, as GoTrue's are; accounts live in memory.

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { ApiError } from './data-api-tokens.mjs'

const refused = (status, code, message) =>
  new ApiError(status, { code: status, error_code: code, msg: message })

export class Accounts {
  #api
  #users
  #refreshTokens = new Map()
  /** How long an access token is good, in seconds. */
  lifetime = 3600

  constructor(api, users) {
    this.#api = api
    this.#users = users
  }

  answer({ method, path, query, text, role, claims }) {
    const route = `${method} ${path}`
    if (route === 'POST /token') return this.#token(query.get('grant_type'), parse(text))
    if (route === 'GET /settings') return ok({ external: { email: true }, disable_signup: true })
    if (route === 'GET /.well-known/jwks.json') return ok({ keys: [] })
    if (role !== 'authenticated')
      throw refused(401, 'no_authorization', 'This endpoint requires a Bearer token')
    const user = this.#users.find(({ id }) => id === claims.sub)
    if (!user) throw refused(403, 'user_not_found', 'User from sub claim in JWT does not exist')
    if (route === 'GET /user') return ok(describe(user))
    if (route === 'POST /logout') {
      for (const [token, owner] of this.#refreshTokens) if (owner === user) this.#refreshTokens.delete(token)
      return { status: 204, headers: {} }
    }
    throw refused(404, 'not_found', 'no such route')
  }

  #token(grant, body) {
    if (grant === 'password') {
      const user = this.#users.find(({ email }) => email === String(body.email).toLowerCase())
      if (!user || !same(user.password, String(body.password))) {
        throw refused(400, 'invalid_credentials', 'Invalid login credentials')
      }
      return ok(this.#session(user))
    }
    if (grant === 'refresh_token') {
      const user = this.#refreshTokens.get(body.refresh_token)
      if (!user)
        throw refused(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
      this.#refreshTokens.delete(body.refresh_token)
      return ok(this.#session(user))
    }
    throw refused(400, 'validation_failed', 'unsupported_grant_type')
  }

  #session(user) {
    const now = Math.floor(Date.now() / 1000)
    const refreshToken = randomBytes(16).toString('base64url')
    this.#refreshTokens.set(refreshToken, user)
    return {
      access_token: this.#api.sign({ sub: user.id, email: user.email, exp: now + this.lifetime }),
      token_type: 'bearer',
      expires_in: this.lifetime,
      expires_at: now + this.lifetime,
      refresh_token: refreshToken,
      user: describe(user),
    }
  }
}

const ok = (body) => ({ status: 200, headers: { 'cache-control': 'no-store' }, body: JSON.stringify(body) })

function describe({ id, email }) {
  return {
    id,
    email,
    aud: 'authenticated',
    role: 'authenticated',
    app_metadata: { provider: 'email' },
    user_metadata: {},
    identities: [],
    created_at: '2026-01-01T00:00:00Z',
  }
}

function same(expected, given) {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function parse(text) {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    throw refused(400, 'bad_json', 'Could not parse request body as JSON')
  }
}
