// npm run bench: measures the addon against its peers on a server of its own, and writes RESULTS.md and results.json.
//
// node bench/run.mjs [--quick] [--processes N] [--rounds N] [--no-write]

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { createLegacyTables } from '../dev/legacy-data.mjs'
import { applyMigrations, createServiceLogin } from '../dev/migrate.mjs'
import { startPostgres, withClient } from '../dev/postgres.mjs'
import { UNSCOPED } from './contenders.mjs'
import { machine } from './machine.mjs'
import { pgbench } from './pgbench.mjs'
import { report } from './report.mjs'

const execute = promisify(execFile)
const here = (name) => new URL(name, import.meta.url)

const BUSINESSES = 1000

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    processes: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '7' },
    'no-write': { type: 'boolean', default: false },
  },
})
const processes = Number(options.processes)
const rounds = Number(options.rounds)
const { quick } = options

const cluster = await startPostgres({ settings: { shared_buffers: '256MB', autovacuum: 'off' } })
try {
  const { url, businesses } = await prepare(cluster)
  const results = {
    quick,
    machine: await machine(cluster, url),
    rounds: [],
    first: await firsts(url, businesses[0]),
    invalidation: await invalidations(url, businesses[0]),
    pgbench: await pgbench(url, businesses, quick),
  }
  for (let i = 1; i <= processes; i++) {
    say(`process ${i} of ${processes}`)
    results.rounds.push(await measured({ url, businesses, rounds, quick }))
  }
  // What `npm run bench:migrate` has measured stays.
  results.sizes = JSON.parse(readFileSync(here('results.json'), 'utf8')).sizes
  const text = report(results)
  console.log(text)
  if (!options['no-write']) {
    writeFileSync(here('RESULTS.md'), text)
    writeFileSync(here('results.json'), `${JSON.stringify(results, rounded)}\n`)
  }
} finally {
  await cluster.stop()
}

/** A migrated database with one sealed secret in each of its businesses. */
async function prepare(cluster) {
  say('preparing the database')
  const admin = cluster.urlFor('postgres')
  await createLegacyTables(admin)
  const url = await createServiceLogin(cluster)
  await applyMigrations(admin)
  const businesses = await withClient(cluster.urlFor('supabase_admin'), async (client) => {
    const { rows } = await client.query(
      "insert into public.businesses (name) select 'Business ' || i from generate_series(1, $1::int) i returning id",
      [BUSINESSES],
    )
    await client.query(
      `insert into public.business_secrets (business_id, gemini_api_key)
       select id, 'AIza' || replace(id::text, '-', '') from public.businesses`,
    )
    await client.query('vacuum analyze')
    return rows.map(({ id }) => id)
  })
  await copyWithoutScopesAndMarks(cluster, url)
  return { url, businesses }
}

/** What scopes and marks cost shows beside a copy that asks nobody who he is, and so has neither. */
async function copyWithoutScopesAndMarks(cluster, url) {
  const database = new URL(url).pathname.slice(1)
  await withClient(cluster.urlFor('supabase_admin', 'template1'), (client) => {
    const [from, copy] = [database, UNSCOPED].map((name) => client.escapeIdentifier(name))
    return client.query(`create database ${copy} template ${from}`)
  })
  await withClient(cluster.urlFor('supabase_admin', UNSCOPED), (client) =>
    client.query(
      `create or replace function app_secrets.admitted_caller() returns name
         language plpgsql stable security definer set search_path = pg_catalog, pg_temp as 'begin return null; end'`,
    ),
  )
}

async function measured(task) {
  return JSON.parse(await script('process.mjs', [], { BENCH_TASK: JSON.stringify(task) }))
}

/** What a script of this folder prints. Connection strings go through the environment, which no list of processes shows. */
async function script(name, args, variables) {
  const env = { ...process.env, ...variables }
  const { stdout } = await execute(process.execPath, [fileURLToPath(here(name)), ...args], {
    env,
    maxBuffer: 1 << 26,
  })
  return stdout
}

/** Each process on its own, by turns. */
async function firsts(url, business) {
  const times = { ours: [], pg: [], postgres: [] }
  for (let i = -1; i < (quick ? 3 : 15); i++) {
    for (const contender of Object.keys(times)) {
      const stdout = await script('first.mjs', [contender, business], { APP_SECRETS_URL: url })
      if (i >= 0) times[contender].push(Number(stdout))
    }
  }
  return times
}

async function invalidations(url, business) {
  return JSON.parse(
    await script('invalidation.mjs', [business, quick ? 100 : 1000], { APP_SECRETS_URL: url }),
  )
}

function rounded(_, value) {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}

function say(what) {
  process.stderr.write(`bench: ${what}\n`)
}
