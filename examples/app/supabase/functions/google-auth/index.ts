// Keeps a business's Google grant: takes the consent's code, and hands out an access token that is still good.
//
// POST { business_id, code }  after the consent screen: stores the grant
// POST { business_id }        gives { access_token, expires_at, drive_folder_id }
//
// Two clients: the caller's own decides whether the business is theirs, the one with the secret key reads and writes the
// tokens. Only one refresh runs at a time, here and in every other process that uses withGoogleAccessToken() of
// @app/secrets: both lease the same secret.

import { createClient, type SupabaseClient } from '@supabase/supabase-js'

const env = (name: string): string => {
  const value = Deno.env.get(name)
  if (!value) throw new Error(`${name} is not set`)
  return value
}

/** The platform gives its keys as JSON: `{ "default": "sb_secret_…" }`. Projects of before have one variable for each. */
const key = (dictionary: string, legacy: string): string => {
  const keys = Deno.env.get(dictionary)
  return keys ? JSON.parse(keys).default : env(legacy)
}

/** Google's clocks and ours may differ, and a request takes its time. */
const MARGIN_MS = 60_000
/** How long one refresh may take before somebody else may try. */
const LEASE = '30 seconds'
const PATIENCE_MS = 60_000
const PAUSE_MS = 150
const WRITES = 6
/** The secret whose version says whether somebody else has stored a grant meanwhile. */
const leased = 'google_access_token'

interface Grant {
  access_token: string
  expires_in: number
  /** Only with the first consent, unless Google decides to rotate it. */
  refresh_token?: string
}

interface Tokens {
  google_access_token: string | null
  google_refresh_token: string | null
  google_token_expiry: string | null
  google_drive_folder_id: string | null
}

/** What the caller is told, with its status. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code)
  }
}

Deno.serve(async (request: Request): Promise<Response> => {
  try {
    return await answer(request)
  } catch (error) {
    if (error instanceof Refusal) return json(error.status, { error: error.code })
    console.error('google-auth failed:', (error as Error).name)
    return json(500, { error: 'INTERNAL' })
  }
})

async function answer(request: Request): Promise<Response> {
  if (request.method !== 'POST') throw new Refusal(405, 'METHOD_NOT_ALLOWED')
  const { business_id: businessId, code } = await request.json().catch(() => ({}))
  if (typeof businessId !== 'string') throw new Refusal(400, 'BUSINESS_ID_IS_MISSING')

  const [, token] = (request.headers.get('Authorization') ?? '').match(/^Bearer (.+)$/) ?? []
  if (!token) throw new Refusal(401, 'UNAUTHENTICATED')
  const publishable = key('SUPABASE_PUBLISHABLE_KEYS', 'SUPABASE_ANON_KEY')
  const caller = createClient(env('SUPABASE_URL'), publishable, { accessToken: () => Promise.resolve(token) })
  const { data: business } = await caller.from('businesses').select('id').eq('id', businessId).maybeSingle()
  if (!business) throw new Refusal(404, 'BUSINESS_NOT_FOUND')

  const secret = key('SUPABASE_SECRET_KEYS', 'SUPABASE_SERVICE_ROLE_KEY')
  const admin = createClient(env('SUPABASE_URL'), secret, { auth: { persistSession: false } })
  if (typeof code === 'string') {
    const grant = await askGoogle({
      grant_type: 'authorization_code',
      code,
      redirect_uri: env('GOOGLE_REDIRECT_URI'),
    })
    if (!grant) throw new Refusal(409, 'CONSENT_REJECTED')
    // A consent is newer than whatever is there.
    await store(admin, businessId, grant)
    return json(204)
  }
  const tokens = await freshTokens(admin, businessId)
  return json(200, {
    access_token: tokens.google_access_token,
    expires_at: tokens.google_token_expiry,
    drive_folder_id: tokens.google_drive_folder_id,
  })
}

/** Tokens that are good for a while. Waits while another process refreshes them. */
async function freshTokens(admin: SupabaseClient, businessId: string): Promise<Tokens> {
  const patience = Date.now() + PATIENCE_MS
  for (;;) {
    const tokens = await read(admin, businessId)
    if (isGood(tokens)) return tokens
    const { data: lease, error } = await admin
      .rpc('lease_business_secret', { p_business_id: businessId, p_name: leased, p_ttl: LEASE })
      .single<{ token: string | null; version: number }>()
    if (error) throw new Refusal(503, 'UNAVAILABLE')
    if (lease.token) {
      try {
        const refreshed = await refresh(admin, businessId, lease.version)
        if (refreshed) return refreshed
      } finally {
        await admin.rpc('release_business_secret', {
          p_business_id: businessId,
          p_name: leased,
          p_token: lease.token,
        })
      }
    }
    if (Date.now() > patience) throw new Refusal(503, 'UNAVAILABLE')
    await new Promise((done) => setTimeout(done, PAUSE_MS * (0.5 + Math.random())))
  }
}

/** With the lease in hand. Null where the grant has changed under it, and everything is to be looked at anew. */
async function refresh(admin: SupabaseClient, businessId: string, version: number): Promise<Tokens | null> {
  // Whoever held the lease before may have refreshed already.
  const tokens = await read(admin, businessId)
  if (isGood(tokens)) return tokens
  if (!tokens.google_refresh_token) throw new Refusal(409, 'NOT_CONNECTED')
  const grant = await askGoogle({ grant_type: 'refresh_token', refresh_token: tokens.google_refresh_token })
  if (grant) {
    const expiry = await store(admin, businessId, grant, version)
    return expiry ? { ...tokens, google_access_token: grant.access_token, google_token_expiry: expiry } : null
  }
  // Google refuses a refresh token that a newer consent has replaced, too.
  const now = await read(admin, businessId)
  if (now.google_refresh_token === tokens.google_refresh_token) throw new Refusal(409, 'GRANT_REVOKED')
  return null
}

async function read(admin: SupabaseClient, businessId: string): Promise<Tokens> {
  const { data, error } = await admin
    .from('decrypted_business_secrets')
    .select('google_access_token, google_refresh_token, google_token_expiry, google_drive_folder_id')
    .eq('business_id', businessId)
    .maybeSingle<Tokens>()
  if (error) throw new Refusal(503, 'UNAVAILABLE')
  if (!data?.google_access_token && !data?.google_refresh_token) throw new Refusal(409, 'NOT_CONNECTED')
  return data
}

function isGood({ google_access_token: token, google_token_expiry: expiry }: Tokens): boolean {
  return token !== null && expiry !== null && Date.parse(expiry) > Date.now() + MARGIN_MS
}

/** Null where Google says no to what was sent; its answer may repeat that, so it goes no further. */
async function askGoogle(parameters: Record<string, string>): Promise<Grant | null> {
  const response = await fetch(Deno.env.get('GOOGLE_TOKEN_URL') ?? 'https://oauth2.googleapis.com/token', {
    method: 'POST',
    body: new URLSearchParams({
      ...parameters,
      client_id: env('GOOGLE_CLIENT_ID'),
      client_secret: env('GOOGLE_CLIENT_SECRET'),
    }),
    signal: AbortSignal.timeout(10_000),
  }).catch(() => {
    throw new Refusal(503, 'GOOGLE_UNAVAILABLE')
  })
  if (response.status >= 500 || response.status === 429) throw new Refusal(503, 'GOOGLE_UNAVAILABLE')
  return response.ok ? response.json() : null
}

/**
 * Gives when the access token expires, or null where it was not stored. With `version`, only where the access token still
 * has it, so that nobody overwrites a newer grant with an older one.
 */
async function store(
  admin: SupabaseClient,
  businessId: string,
  grant: Grant,
  version?: number,
): Promise<string | null> {
  const expiresAt = new Date(Date.now() + grant.expires_in * 1000).toISOString()
  const written = {
    p_business_id: businessId,
    p_values: {
      google_access_token: grant.access_token,
      google_token_expiry: expiresAt,
      // A refresh token that Google did not send again is still good: leave it.
      ...(grant.refresh_token && { google_refresh_token: grant.refresh_token }),
    },
    p_expected: version === undefined ? null : { [leased]: version },
  }
  // The only copy of a new refresh token is here: a database that is away for a moment must not lose it.
  for (let attempt = 1; ; attempt++) {
    const { error, status } = await admin.rpc('set_business_secrets', written)
    if (!error) return expiresAt
    if (error.code === 'AS004') return null
    const isTransient = status === 0 || status === 409 || status >= 500
    if (!isTransient || attempt === WRITES) throw new Refusal(503, 'UNAVAILABLE')
    await new Promise((done) => setTimeout(done, PAUSE_MS * 2 ** attempt))
  }
}

function json(status: number, body?: unknown): Response {
  return new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })
}
