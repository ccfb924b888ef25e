// The one statement that everybody sends.

export const NAME = 'gemini_api_key'
export const READ = 'select ord, value, version, status from public.get_business_secrets_batch($1, $2)'
