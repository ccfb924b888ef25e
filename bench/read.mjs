// The statements that peers send. Ours is the second.

export const NAME = 'gemini_api_key'
export const READ = 'select ord, value, version, status from public.get_business_secrets_batch($1, $2)'
export const READ_COLUMNS =
  'select "values", statuses from public.get_business_secrets_columns($1, $2, false)'
