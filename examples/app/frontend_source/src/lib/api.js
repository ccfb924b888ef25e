import { supabase } from './supabase.js'

/** Asks our own backend, for one business, as the signed-in user. */
export async function api(method, path, businessId, body) {
  const { data } = await supabase.auth.getSession()
  const response = await fetch(`/api${path}`, {
    method,
    headers: {
      authorization: `Bearer ${data.session?.access_token ?? ''}`,
      'x-business-id': businessId,
      ...(body && { 'content-type': 'application/json' }),
    },
    body: body && JSON.stringify(body),
  }).catch(() => {
    throw new Error('The server cannot be reached.')
  })
  if (!response.ok) {
    const { error, message } = await response.json().catch(() => ({}))
    throw Object.assign(new Error(message ?? `The server answered ${response.status}.`), { code: error })
  }
  return response.json()
}
