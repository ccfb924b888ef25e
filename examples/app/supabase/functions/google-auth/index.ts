// Keeps a business's Google grant: takes the consent's code, and hands out an access token that is still good.
//
// POST { business_id, code }  after the consent screen: stores the grant
// POST { business_id }        gives { access_token, expires_at, drive_folder_id }
//
// Two clients: the caller's own decides whether the business is theirs, service_role reads and writes the tokens.

import { createClient } from '@supabase/supabase-js'

const env = (name: string): string => {
  const value = Deno.env.get(name)
  if (!value) throw new Error(`${name} is not set`)
  return value
}

/** Google's clocks and ours may differ, and a request takes its time. */
const MARGIN_MS = 60_000

interface Grant {
  access_token: string
  expires_in: number
  /** Only with the first consent, unless Google decides to rotate it. */
  refresh_token?: string
}

Deno.serve(async (request: Request): Promise<Response> => {
  if (request.method !== 'POST') return json(405, { error: 'METHOD_NOT_ALLOWED' })
  const { business_id: businessId, code } = await request.json().catch(() => ({}))
  if (typeof businessId !== 'string') return json(400, { error: 'business_id is missing' })

  const caller = createClient(env('SUPABASE_URL'), env('SUPABASE_ANON_KEY'), {
    global: { headers: { Authorization: request.headers.get('Authorization') ?? '' } },
  })
  const { data: business } = await caller.from('businesses').select('id').eq('id', businessId).maybeSingle()
  if (!business) return json(404, { error: 'BUSINESS_NOT_FOUND' })

  const admin = createClient(env('SUPABASE_URL'), env('SUPABASE_SERVICE_ROLE_KEY'))
  if (typeof code === 'string') {
    const grant = await askGoogle({
      grant_type: 'authorization_code',
      code,
      redirect_uri: env('GOOGLE_REDIRECT_URI'),
    })
    if (!grant) return json(409, { error: 'CONSENT_REJECTED' })
    return (await store(admin, businessId, grant)) ? json(204) : json(503, { error: 'UNAVAILABLE' })
  }

  const { data: tokens, error } = await admin
    .from('decrypted_business_secrets')
    .select('google_access_token, google_refresh_token, google_token_expiry, google_drive_folder_id')
    .eq('business_id', businessId)
    .maybeSingle()
  if (error) return json(503, { error: 'UNAVAILABLE' })
  if (tokens?.google_access_token && Date.parse(tokens.google_token_expiry) > Date.now() + MARGIN_MS) {
    return json(200, {
      access_token: tokens.google_access_token,
      expires_at: tokens.google_token_expiry,
      drive_folder_id: tokens.google_drive_folder_id,
    })
  }
  if (!tokens?.google_refresh_token) return json(409, { error: 'NOT_CONNECTED' })

  const grant = await askGoogle({ grant_type: 'refresh_token', refresh_token: tokens.google_refresh_token })
  if (!grant) return json(409, { error: 'GRANT_REVOKED' })
  const stored = await store(admin, businessId, grant)
  return stored
    ? json(200, {
        access_token: grant.access_token,
        expires_at: stored,
        drive_folder_id: tokens.google_drive_folder_id,
      })
    : json(503, { error: 'UNAVAILABLE' })
})

/** Null where Google says no; its answer may repeat what it got, so it goes no further. */
async function askGoogle(parameters: Record<string, string>): Promise<Grant | null> {
  const response = await fetch('https://oauth2.googleapis.com/token', {
    method: 'POST',
    body: new URLSearchParams({
      ...parameters,
      client_id: env('GOOGLE_CLIENT_ID'),
      client_secret: env('GOOGLE_CLIENT_SECRET'),
    }),
  })
  return response.ok ? response.json() : null
}

/** Gives when the access token expires, or null where it could not be stored. */
async function store(
  admin: ReturnType<typeof createClient>,
  businessId: string,
  grant: Grant,
): Promise<string | null> {
  const expiresAt = new Date(Date.now() + grant.expires_in * 1000).toISOString()
  const { error } = await admin.from('business_secrets').upsert(
    {
      business_id: businessId,
      google_access_token: grant.access_token,
      google_token_expiry: expiresAt,
      // A refresh token that Google did not send again is still good: leave it.
      ...(grant.refresh_token && { google_refresh_token: grant.refresh_token }),
    },
    { onConflict: 'business_id' },
  )
  return error ? null : expiresAt
}

function json(status: number, body?: unknown): Response {
  return new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })
}
