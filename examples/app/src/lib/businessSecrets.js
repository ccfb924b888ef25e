// The settings and onboarding pages' way to the sealed table: supabase-js, as the signed-in user. Row Level Security
// decides whose row it is; triggers seal what is written.

/** What a page may write, in the order in which it shows it. */
export const integrations = [
  { name: 'gemini_api_key', label: 'Google Gemini' },
  { name: 'grok_api_key', label: 'xAI Grok' },
  { name: 'claude_api_key', label: 'Anthropic Claude' },
  { name: 'youtube_api_key', label: 'YouTube' },
  { name: 'kling_access_key', label: 'Kling access key' },
  { name: 'kling_secret_key', label: 'Kling secret key' },
  { name: 'global_sms_api_key', label: 'Global SMS' },
  { name: 'whatsapp_api_key', label: 'WhatsApp' },
]

const columns = integrations.map(({ name }) => name).join(', ')

/** `{ gemini_api_key: '••••••••c0de', grok_api_key: null, … }`: values are masked here and get no further. */
export async function loadMasked(supabase, businessId) {
  const { data, error } = await supabase
    .from('decrypted_business_secrets')
    .select(columns)
    .eq('business_id', businessId)
    .maybeSingle()
  if (error) throw new Error(`Your keys could not be loaded (${error.code})`)
  return Object.fromEntries(integrations.map(({ name }) => [name, mask(data?.[name])]))
}

/** Names of what is set. Asks the sealed table, so nothing is decrypted. */
export async function loadConfigured(supabase, businessId) {
  const { data, error } = await supabase
    .from('business_secrets')
    .select(columns)
    .eq('business_id', businessId)
    .maybeSingle()
  if (error) throw new Error(`Your keys could not be loaded (${error.code})`)
  return integrations.map(({ name }) => name).filter((name) => data?.[name] != null)
}

/** Writes `{ name: value }` and leaves the rest. Blank or null clears. */
export async function save(supabase, businessId, values) {
  const { error } = await supabase
    .from('business_secrets')
    .upsert({ business_id: businessId, ...values }, { onConflict: 'business_id' })
  if (error) throw new Error(`Your keys could not be saved (${error.code})`)
}

/** The last four characters of what is long enough to show them. */
export function mask(value) {
  if (value == null) return null
  return value.length >= 12 ? `••••••••${value.slice(-4)}` : '••••••••'
}
