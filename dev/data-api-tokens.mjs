// Who asks: API keys as Supabase's gateway takes them, and tokens as PostgREST verifies them.

import { createHmac, timingSafeEqual } from 'node:crypto'

/** PostgREST allows clocks to differ by this much. */
const SKEW_SECONDS = 30

export class ApiError extends Error {
  constructor(status, body, headers = {}) {
    super(body.message)
    this.status = status
    this.body = body
    this.headers = headers
  }
}

const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url')
const hmac = (secret, text) => createHmac('sha256', secret).update(text).digest()

/** A token signed with HS256. `exp` is an hour from now unless it is given. */
export function sign(secret, claims) {
  const iat = Math.floor(Date.now() / 1000)
  const payload = { aud: 'authenticated', role: 'authenticated', iat, exp: iat + 3600, ...claims }
  const unsigned = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(payload)}`
  return `${unsigned}.${hmac(secret, unsigned).toString('base64url')}`
}

/** The claims of a token, or an ApiError as PostgREST 14 words it. */
export function verify(secret, token) {
  const parts = token.split('.')
  if (parts.length !== 3) throw invalid('PGRST301', `Expected 3 parts in JWT; got ${parts.length}`)
  const [header, claims] = parts.slice(0, 2).map(decode)
  if (header?.alg !== 'HS256' || !claims) throw invalid('PGRST301', 'No suitable key or wrong key type')
  const expected = hmac(secret, `${parts[0]}.${parts[1]}`)
  const found = Buffer.from(parts[2], 'base64url')
  if (found.length !== expected.length || !timingSafeEqual(found, expected)) {
    throw invalid('PGRST301', 'JWSError JWSInvalidSignature')
  }
  const now = Date.now() / 1000
  if (claims.exp !== undefined && claims.exp < now - SKEW_SECONDS) throw invalid('PGRST303', 'JWT expired')
  if (claims.nbf !== undefined && claims.nbf > now + SKEW_SECONDS)
    throw invalid('PGRST303', 'JWT not yet valid')
  if (claims.iat !== undefined && claims.iat > now + SKEW_SECONDS)
    throw invalid('PGRST303', 'JWT issued at future')
  return claims
}

/**
 * The role and the claims of a request: those of its bearer token, else those that its key stands for. A publishable
 * or secret key is no token: where it comes as one, as supabase-js sends it, it counts as the key.
 */
export function identify({ jwtSecret, keys }, headers, query) {
  const key = headers.apikey ?? query?.get('apikey')
  if (!key) {
    throw new ApiError(401, {
      message: 'No API key found in request',
      hint: 'No `apikey` request header or url param was found.',
    })
  }
  const [, bearer] = (headers.authorization ?? '').match(/^Bearer (.+)$/i) ?? []
  const ofKey = claimsOfKey({ jwtSecret, keys }, key)
  if (!ofKey) {
    throw new ApiError(401, {
      message: 'Invalid API key',
      hint: 'Double check your Supabase `anon` or `service_role` API key.',
    })
  }
  if (key === keys.secret && /^Mozilla\//.test(headers['user-agent'] ?? '')) {
    throw new ApiError(401, {
      message: 'Forbidden use of secret API key in browser',
      hint: 'Secret API keys can only be used in a protected environment and should never be used in a browser.',
    })
  }
  const claims = bearer && bearer !== key ? verify(jwtSecret, bearer) : ofKey
  return { role: claims.role ?? 'anon', claims }
}

function claimsOfKey({ jwtSecret, keys }, key) {
  if (key === keys.publishable) return { role: 'anon' }
  if (key === keys.secret) return { role: 'service_role' }
  try {
    // The keys that projects had before: tokens of the roles themselves.
    const claims = verify(jwtSecret, key)
    return ['anon', 'service_role'].includes(claims.role) ? claims : undefined
  } catch {
    return undefined
  }
}

function decode(part) {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString())
  } catch {
    return undefined
  }
}

function invalid(code, message) {
  return new ApiError(
    401,
    { code, details: null, hint: null, message },
    { 'www-authenticate': `Bearer error="invalid_token", error_description="${message}"` },
  )
}
