// npm run bench:migrate: how fast the migration is, what it needs, and how long a writer waits for it.
//
// node bench/migrate.mjs [--businesses N] [--batch N] [--json]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createLegacyTables, legacyKeys, loadLegacyData } from '../dev/legacy-data.mjs'
import { startPostgres, withClient } from '../dev/postgres.mjs'

const { values: options } = parseArgs({
  options: {
    businesses: { type: 'string', default: '100000' },
    batch: { type: 'string', default: '250' },
    json: { type: 'boolean', default: false },
  },
})
const businesses = Number(options.businesses)
const cli = fileURLToPath(new URL('../bin/app-secrets.js', import.meta.url))

const cluster = await startPostgres({ settings: { shared_buffers: '256MB' } })
try {
  const admin = cluster.urlFor('postgres')
  await createLegacyTables(admin)
  say(`loading ${businesses.toLocaleString('en')} businesses with ${legacyKeys.length} keys each`)
  await loadLegacyData(cluster.urlFor('supabase_admin'), { businesses, allKeys: true })

  say('migrating, beside a writer that changes a key every 5 ms')
  const writer = await startWriter(admin)
  const migration = await migrate(admin)
  const written = await writer.stop()
  const lost = await missing(admin, written.last)
  const backfill = await withClient(admin, (client) =>
    client.query(
      `select count(*)::integer as secrets, extract(epoch from max(at) - min(at))::float8 as seconds
       from app_secrets.audit_log where origin = 'backfill'`,
    ),
  )
  const verification = await withClient(admin, (client) =>
    client.query(
      'select sum(mismatched)::integer as mismatched, sum(sealed_values)::integer as sealed from app_secrets.verify_legacy()',
    ),
  )

  const result = {
    businesses,
    secrets: migration.report.secrets,
    seconds: migration.report.seconds,
    secretsPerSecond: Math.round(migration.report.secrets / migration.report.seconds),
    backfillPerSecond: Math.round(backfill.rows[0].secrets / backfill.rows[0].seconds),
    peakMemoryMb: Math.round(migration.peakKb / 1024),
    memoryMb: migration.series.map((kb) => Math.round(kb / 1024)),
    writer: {
      writes: written.waits.length,
      waitsMs: percentiles(written.waits),
      failed: written.failed,
      lost,
    },
    mismatched: verification.rows[0].mismatched,
    sealed: verification.rows[0].sealed,
  }
  console.log(options.json ? JSON.stringify({ version: 1, ...result }) : text(result))
  if (result.mismatched || lost || written.failed) process.exitCode = 1
} finally {
  await cluster.stop()
}

/** The command line, as an operator runs it: the time is all of 002 to 004, verification included. */
async function migrate(admin) {
  const child = spawn(process.execPath, [cli, 'migrate', '--json', '--batch', options.batch], {
    env: { ...process.env, ADMIN_DATABASE_URL: admin },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const series = []
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    out += chunk
  })
  const ended = once(child, 'exit')
  const timer = setInterval(() => series.push(residentKb(child.pid)), 500)
  const [code] = await ended
  clearInterval(timer)
  if (code !== 0) throw new Error(`migrate ended with ${code}`)
  const known = series.filter(Boolean)
  const tenth = Math.max(1, Math.floor(known.length / 10))
  return {
    report: JSON.parse(out),
    peakKb: Math.max(0, ...known),
    series: known.filter((_, i) => i % tenth === 0),
  }
}

/** Resident memory; 0 where the platform does not tell. */
function residentKb(pid) {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Old code at work: each write is one statement on `businesses`, timed until it is committed. */
async function startWriter(admin) {
  const waits = []
  const last = new Map()
  let failed = 0
  let stopped = false
  const done = withClient(admin, async (client) => {
    const { rows } = await client.query('select id from public.businesses order by id')
    for (let i = 0; !stopped; i++) {
      const { id } = rows[(i * 7919) % rows.length]
      const value = `written-meanwhile-${i}`
      const started = performance.now()
      try {
        await client.query('update public.businesses set grok_api_key = $2 where id = $1', [id, value])
        last.set(id, value)
      } catch {
        failed += 1
      }
      waits.push(performance.now() - started)
      await pause(5)
    }
  })
  return {
    async stop() {
      stopped = true
      await done
      return { waits, last, failed }
    },
  }
}

/** How many of the writer's values are not what the sealed side reveals. */
async function missing(admin, last) {
  const { rows } = await withClient(admin, (client) =>
    client.query(
      `select count(*)::integer as lost
       from unnest($1::uuid[], $2::text[]) as w(id, value)
       left join public.decrypted_business_secrets d on d.business_id = w.id
       where d.grok_api_key is distinct from w.value`,
      [[...last.keys()], [...last.values()]],
    ),
  )
  return rows[0].lost
}

function percentiles(waits) {
  const sorted = waits.toSorted((a, b) => a - b)
  const at = (q) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] * 10) / 10
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

function text(result) {
  const n = (value) => value.toLocaleString('en')
  return [
    '',
    `migrated      ${n(result.secrets)} secrets of ${n(result.businesses)} businesses in ${result.seconds.toFixed(1)} s`,
    `rate          ${n(result.secretsPerSecond)} secrets/s (aim: 5,000), 002 to 004 with verification; ${n(result.backfillPerSecond)} in the backfill`,
    `memory        peak ${result.peakMemoryMb} MB; over time ${result.memoryMb.join(', ')} MB`,
    `writer        ${n(result.writer.writes)} writes, waited p50 ${result.writer.waitsMs.p50}, p99 ${result.writer.waitsMs.p99}, max ${result.writer.waitsMs.max} ms (aim: under 1,000)`,
    `lost          ${result.writer.lost} of its values, ${result.writer.failed} of its writes failed`,
    `mismatched    ${result.mismatched} of ${n(result.sealed)} sealed values`,
  ].join('\n')
}

function say(line) {
  process.stderr.write(`${line}\n`)
}
