// Step 8: what is dropped stays in the pages until they are rewritten. Then: is a value left anywhere?

import { pgDump } from '../pg-dump.mjs'
import { count, countInTables, countInWal } from './scanners.mjs'

const schemas = ['public', 'app_secrets', 'vault', 'auth', 'pg_catalog']

export async function scrubAndScan(demo) {
  const { report, superuser } = demo
  const { dataDir } = demo.cluster
  report.step('Scrub, and look for what is left')
  const dropped = await countInTables(superuser, dataDir, demo.marker, schemas)
  report.claim('dropped columns are still in the tables’ pages', dropped.total > 0, `${dropped.total} values`)

  const code = await demo.run(['scrub', '--yes-lock-tables=postgres'])
  report.claim('scrub rewrites the tables', code === 0, `exit code ${code}`)

  await plant(demo)
  const dump = await pgDump(demo.cluster.urlFor('postgres'))
  const tables = await countInTables(superuser, dataDir, demo.marker, schemas)
  const controlInTables = await countInTables(superuser, dataDir, demo.control, schemas)
  const places = [
    ['pg_dump', demo.before.dump, count(dump, demo.marker), count(dump, demo.control)],
    [`files of ${tables.files} tables and indexes`, demo.before.tables, tables.total, controlInTables.total],
    ['server log', '-', count(demo.cluster.log(), demo.marker), count(demo.cluster.log(), demo.control)],
    [
      'planner statistics',
      '-',
      await inStatistics(demo, demo.marker),
      await inStatistics(demo, demo.control),
    ],
  ]
  report.table([['looked for in', 'values before', 'values now', 'planted control'], ...places])
  for (const [place, , left, control] of places) {
    report.claim(`no value is left in: ${place}`, left === 0 && control > 0, `${left}; the control is found`)
  }
  const inWal = countInWal(dataDir, demo.marker)
  report.claim(
    'the WAL still has them, as backups and replicas would: rotate the keys',
    inWal > 0,
    `${inWal} times`,
  )
}

/** Puts the control where each scanner has to find it. */
async function plant({ admin, control }) {
  const literal = admin.escapeLiteral(control)
  await admin.query(
    `create table public.planted_control as select ${literal} || i as value from generate_series(1, 5) i`,
  )
  await admin.query('analyze public.planted_control')
  await admin.query(`do $$ begin raise log 'planted: ${control}'; end $$`)
}

/** ANALYZE keeps samples of what it reads. */
async function inStatistics({ superuser }, marker) {
  const { rows } = await superuser.query(
    `select count(*)::int as found from pg_stats
     where strpos(concat(most_common_vals, histogram_bounds), $1) > 0`,
    [marker],
  )
  return rows[0].found
}
