// Step 1: where it starts.

import { pgDump } from '../pg-dump.mjs'
import { count, countInTables } from './scanners.mjs'

export async function legacyPlaintext(demo) {
  const { report } = demo
  report.step('The legacy app: customers’ keys in plaintext')
  await demo.start()
  const version = await demo.value('show server_version')
  report.say(`PostgreSQL ${version} in Supabase’s shape on port ${demo.cluster.port}, in ${demo.folder}`)

  const { businesses, keys, googleRows } = demo.counts
  report.say(
    `${businesses} businesses, ${keys} API keys, ${googleRows} rows of Google tokens; all made up, such as`,
  )
  const samples = await demo.rows(
    `select name, gemini_api_key, claude_api_key from public.businesses
     where gemini_api_key ~ $1 and claude_api_key ~ $1 order by id limit 3`,
    [`^${demo.marker}-.*-[0-9a-f]{32}$`],
  )
  report.table([['name', 'gemini_api_key', 'claude_api_key'], ...samples.map(Object.values)])

  demo.before = {
    dump: count(await pgDump(demo.cluster.urlFor('postgres')), demo.marker),
    tables: (await countInTables(demo.superuser, demo.cluster.dataDir, demo.marker, ['public'])).total,
  }
  report.claim('a pg_dump holds them in plaintext', demo.before.dump > keys, `${demo.before.dump} values`)
  report.claim('so do the tables’ files', demo.before.tables > keys, `${demo.before.tables} values`)
}
