// Steps 5 and 6: writes by those who do not use the addon.

import { isDeepStrictEqual } from 'node:util'
import { requests } from '../postgrest.mjs'

/** Step 5. */
export async function upsertFromTheBrowser(demo) {
  const { report } = demo
  report.step('The settings page saves with supabase-js')
  const [withRow, alsoWithRow, without] = await threeOfOneOwner(demo)
  const claims = { sub: withRow.owner_id }
  const rows = [withRow, alsoWithRow, without].map(({ id }, i) => ({
    business_id: id,
    gemini_api_key: ` ${demo.marker}-from-the-browser-${i} `,
    claude_api_key: i === 1 ? null : `${demo.marker}-claude-${i}`,
  }))
  const before = await vaultRows(demo)
  report.say(".from('business_secrets').upsert([…3 rows…], { onConflict: 'business_id' })")
  const { count } = await demo.request(
    'authenticated',
    claims,
    requests.insert('business_secrets', rows, { resolution: 'merge-duplicates' }),
  )
  report.claim('two rows are updated and a new one is inserted, in one request', count === 3, `${count} rows`)

  const { body: sealed } = await demo.request('authenticated', claims, requests.select('business_secrets'))
  const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
  const written = sealed.filter(({ business_id: id }) => rows.some((row) => row.business_id === id))
  report.claim(
    'the table holds references',
    written.length === 3 && written.every((row) => uuid.test(row.gemini_api_key)),
  )

  const { body: clear } = await demo.request(
    'authenticated',
    claims,
    requests.select('decrypted_business_secrets'),
  )
  const value = (row, name) => clear.find(({ business_id: id }) => id === row.business_id)[name]
  report.claim(
    'the view gives the owner the values, trimmed; null cleared one',
    rows.every((row) => value(row, 'gemini_api_key') === row.gemini_api_key.trim()) &&
      value(rows[1], 'claude_api_key') === null,
  )

  await demo.request(
    'authenticated',
    claims,
    requests.insert('business_secrets', written, { resolution: 'merge-duplicates' }),
  )
  const { body: again } = await demo.request('authenticated', claims, requests.select('business_secrets'))
  // A table gives its rows in no order of their own.
  const ordered = (found) => found.toSorted((one, other) => (one.business_id < other.business_id ? -1 : 1))
  report.claim(
    'rows that were read and are written back change nothing',
    isDeepStrictEqual(ordered(again), ordered(sealed)),
  )
  const after = await vaultRows(demo)
  report.claim(
    'and no upsert left an orphan in Vault: a row for each cell, and the previous values for undo',
    after.current === after.cells && after.unknown === 0,
    `${before.current} → ${after.current} rows, ${after.previous} previous`,
  )
}

/** Step 6. */
export async function bothSides(demo) {
  const { report } = demo
  report.step('Old and new code write at the same time')
  const secrets = await demo.secrets()
  const { id } = demo.business(7)
  const legacy = () => demo.value('select gemini_api_key from public.businesses where id = $1', [id])

  await demo.admin.query('update public.businesses set gemini_api_key = $2 where id = $1', [
    id,
    `${demo.marker}-by-old-code`,
  ])
  report.claim(
    'old code updates businesses; the addon reads it',
    (await secrets.getProviderKey(id, 'gemini')) === `${demo.marker}-by-old-code`,
  )
  await secrets.setProviderKey(id, 'gemini', `${demo.marker}-by-new-code`)
  report.claim(
    'the addon writes; old code reads it in businesses',
    (await legacy()) === `${demo.marker}-by-new-code`,
  )
  await secrets.delete(id, 'gemini_api_key')
  report.claim('cleared on one side is cleared on the other', (await legacy()) === null)

  const created = await demo.value(
    'insert into public.businesses (name, grok_api_key) values ($1, $2) returning id',
    ['made by old code', `${demo.marker}-of-a-new-business`],
  )
  report.claim(
    'a business that old code creates is sealed at once',
    (await secrets.get(created, 'grok_api_key')) === `${demo.marker}-of-a-new-business`,
  )
  await raceBothSides(demo, secrets, id)
}

/** Both sides lock the other's row: without the sync's own lock this deadlocks. */
async function raceBothSides({ report, admin, ...demo }, secrets, id) {
  const rounds = 100
  const byOldCode = async () => {
    for (let i = 0; i < rounds; i++) {
      await admin.query('update public.businesses set whatsapp_api_key = $2 where id = $1', [
        id,
        `${demo.marker}-old-${i}`,
      ])
    }
  }
  const byNewCode = async () => {
    for (let i = 0; i < rounds; i++) await secrets.setWhatsAppApiKey(id, `${demo.marker}-new-${i}`)
  }
  const outcomes = await Promise.allSettled([byOldCode(), byNewCode(), byNewCode()])
  const failed = outcomes.filter(({ status }) => status === 'rejected')
  report.claim(
    `${rounds * 3} racing writes to one cell: none fails`,
    failed.length === 0,
    `${failed.length} failed`,
  )
  const { rows } = await admin.query('select whatsapp_api_key from public.businesses where id = $1', [id])
  const sealed = await secrets.getWhatsAppApiKey(id)
  report.claim('and both sides end equal', rows[0].whatsapp_api_key === sealed)
}

/** Of one owner: two businesses with a row in business_secrets, one without. */
async function threeOfOneOwner(demo) {
  return demo.rows(
    `select b.id, b.owner_id, s.business_id is not null as has_row
     from public.businesses b left join public.business_secrets s on s.business_id = b.id
     where b.owner_id = (
       select b.owner_id from public.businesses b left join public.business_secrets s on s.business_id = b.id
       where b.owner_id is not null
       group by b.owner_id having count(s) = 2 and count(*) = 3
       order by b.owner_id limit 1)
     order by has_row desc, b.id`,
  )
}

/** Vault's rows of ours by what they are for, those that nobody knows, and the cells that refer to one. */
async function vaultRows(demo) {
  const [counts] = await demo.rows(
    `select (select count(*)::int from app_secrets.vault_rows where role = 'current') as current,
            (select count(*)::int from app_secrets.vault_rows where role = 'previous') as previous,
            (select count(*)::int from vault.secrets v where v.name like 'business\\_secrets/%'
               and not exists (select from app_secrets.vault_rows r where r.vault_id = v.id)) as unknown,
            (select sum(num_nonnulls(
               gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key, kling_secret_key,
               global_sms_api_key, whatsapp_api_key, google_access_token, google_refresh_token))::int
             from public.business_secrets) as cells`,
  )
  return counts
}
