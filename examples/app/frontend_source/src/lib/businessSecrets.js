// The pages' way to the secrets of a business: supabase-js, as the signed-in user. Row Level Security decides whose they are.
// What is read is what may be shown. A value is only ever sent, never fetched, so no page can leak one.

import { supabase } from './supabase.js'

const columns =
  'name, label, sealed, is_set, last4, version, updated_at, last_read_at, last_checked_at, check_result, can_undo'

/** How often a write is tried that met another one under way (HTTP 409), and how long to wait in between. */
const TRIES = 5
const PAUSE_MS = 100

/** Thrown where somebody else has changed the secret since the page read it. */
export class Conflict extends Error {
  name = 'Conflict'
}

/** A row for each secret there is, set or not. */
export async function fetchStatus(businessId) {
  const { data, error } = await supabase
    .from('business_secret_status')
    .select(columns)
    .eq('business_id', businessId)
  if (error) throw new Error(explain(error, 'loaded'))
  return data
}

/**
 * Changes a secret only where it still has the version that the page shows: `{ value }`, `{ is_set: false }` or
 * `{ undo: true }`. Rejects with Conflict otherwise.
 */
export async function changeSecret(businessId, { name, version }, change) {
  const { data } = await retried(() =>
    supabase
      .from('business_secret_status')
      .update(change)
      .eq('business_id', businessId)
      .eq('name', name)
      .eq('version', version)
      .select('name'),
  )
  if (data.length === 0) throw new Conflict('Somebody else has changed this key in the meantime.')
}

/** Writes `{ name: value }` whatever is there, and leaves the rest. */
export async function upsertSecrets(businessId, values) {
  await retried(() =>
    supabase
      .from('business_secrets')
      .upsert({ business_id: businessId, ...values }, { onConflict: 'business_id' }),
  )
}

async function retried(send) {
  for (let attempt = 1; ; attempt++) {
    const answer = await send()
    if (!answer.error) return answer
    if (answer.error.code === 'AS004')
      throw new Conflict('Somebody else has changed this key in the meantime.')
    if (answer.status !== 409 || attempt === TRIES) throw new Error(explain(answer.error, 'saved'))
    await new Promise((done) => setTimeout(done, PAUSE_MS * 2 ** attempt * (0.5 + Math.random() / 2)))
  }
}

/** In the page's words. What the database says is for developers, and a code is enough for them. */
function explain({ code, message = '' }, done) {
  if (code === '42501' || code === 'AS005') return `Your keys could not be ${done}: you may not do that here.`
  if (code === 'AS002')
    return 'That does not look like a key: it is too long or has characters that no key has.'
  if (code === 'AS008') return 'There is nothing to undo any more.'
  if (/fetch|network/i.test(message) && !code)
    return `Your keys could not be ${done}: the server cannot be reached.`
  return `Your keys could not be ${done}${code ? ` (${code})` : ''}. Please try again.`
}
