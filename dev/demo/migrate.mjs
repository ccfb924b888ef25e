// Step 2: expand, backfill, protect. The plaintext columns stay until step 7.

export async function migrate(demo) {
  const { report } = demo
  report.step('Migrate: seal every value into Vault, beside the plaintext')
  const code = await demo.run(['migrate'], { live: true })
  report.claim('the migration ends well', code === 0, `exit code ${code}`)

  const ledger = await demo.rows('select version, name from app_secrets.migrations order by version')
  report.claim('002 to 004 are recorded, 005 is not', ledger.map((row) => row.version).join() === '2,3,4')

  const compared = await demo.rows('select * from app_secrets.verify_legacy()')
  const sum = (column) => compared.reduce((total, row) => total + Number(row[column]), 0)
  report.claim(
    'every key is sealed',
    sum('sealed_values') === demo.counts.keys,
    `${sum('sealed_values')} values`,
  )
  report.claim('and decrypts to its plaintext', sum('mismatched') === 0, '0 differ')

  const [left] = await demo.rows(
    `select count(*) filter (where google_access_token like $1 or google_refresh_token like $1)::int as plaintext,
            count(google_access_token)::int + count(google_refresh_token)::int as sealed
     from public.business_secrets`,
    [`%${demo.marker}%`],
  )
  report.claim(
    'the Google tokens, in plaintext in business_secrets before, are sealed in place',
    left.plaintext === 0 && left.sealed > 0,
    `${left.sealed} sealed, 0 plaintext`,
  )
  const sampled = await demo.value(
    `select count(*)::int from pg_stats
     where tablename = 'business_secrets' and strpos(concat(most_common_vals, histogram_bounds), $1) > 0`,
    [demo.marker],
  )
  report.claim('the planner’s samples of them are gone too', sampled === 0)
  const orphans = await demo.value(
    `with cells as (
       select unnest(array[
         gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key, kling_secret_key,
         global_sms_api_key, whatsapp_api_key, google_access_token, google_refresh_token]) as reference
       from public.business_secrets)
     select count(*)::int from vault.secrets v
     where v.name like 'business\\_secrets/%'
       and not exists (select from cells c where c.reference = v.id::text)`,
  )
  report.claim('Vault holds no row that no cell refers to', orphans === 0)
}
