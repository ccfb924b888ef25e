// npm run bench:migrate: what the migration and its checks cost at several sizes, how long a writer waits for the migration,
// and what reads, lists and writes cost then. Writes the section "At size" of RESULTS.md.
//
// node bench/migrate.mjs [--secrets 10000,100000] [--million] [--batch N] [--json] [--no-write]

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createLegacyTables, legacyKeys, loadLegacyData } from '../dev/legacy-data.mjs'
import { createServiceLogin } from '../dev/migrate.mjs'
import { startPostgres, withClient } from '../dev/postgres.mjs'
import { connect } from '../index.js'
import { machine } from './machine.mjs'
import { command } from './operator.mjs'
import { sizes, withSizes } from './size.mjs'
import { quantile } from './statistics.mjs'

const here = (name) => new URL(name, import.meta.url)

const { values: options } = parseArgs({
  options: {
    secrets: { type: 'string', default: '10000,100000' },
    million: { type: 'boolean', default: false },
    batch: { type: 'string', default: '250' },
    json: { type: 'boolean', default: false },
    'no-write': { type: 'boolean', default: false },
  },
})

const wanted = options.secrets.split(',').map(Number)
if (options.million) wanted.push(1_000_000)

const results = { sizes: { machine: undefined, measured: [] } }
for (const secrets of wanted) {
  const cluster = await startPostgres({ settings: { shared_buffers: '256MB' } })
  try {
    results.sizes.measured.push(await measured(cluster, Math.ceil(secrets / legacyKeys.length)))
    results.sizes.machine = await machine(cluster, cluster.urlFor('postgres'))
  } finally {
    await cluster.stop()
  }
}
console.log(options.json ? JSON.stringify({ version: 1, ...results.sizes }) : sizes(results))
if (!options['no-write']) {
  const known = JSON.parse(readFileSync(here('results.json'), 'utf8'))
  const all = { ...known, sizes: results.sizes }
  writeFileSync(here('results.json'), `${JSON.stringify(all, rounded)}\n`)
  writeFileSync(here('RESULTS.md'), withSizes(readFileSync(here('RESULTS.md'), 'utf8'), all))
}
if (results.sizes.measured.some(({ writer, mismatched }) => mismatched || writer.lost || writer.failed)) {
  process.exitCode = 1
}

/** Everything at one size, on a server of its own. */
async function measured(cluster, businesses) {
  const admin = cluster.urlFor('postgres')
  const operator = { ADMIN_DATABASE_URL: admin, APP_SECRETS_URL: undefined }
  await createLegacyTables(admin)
  say(`loading ${businesses.toLocaleString('en')} businesses with ${legacyKeys.length} keys each`)
  await loadLegacyData(cluster.urlFor('supabase_admin'), { businesses, allKeys: true })
  const commands = {}
  const run = async (name, args, expected) => {
    say(args.join(' '))
    const { report, ...measures } = await command(operator, args, expected)
    commands[name] = measures
    return report
  }

  const writer = await startWriter(admin)
  const migrated = await run('migrate', ['migrate', '--batch', options.batch])
  const written = await writer.stop()
  const [backfill] = await rows(
    admin,
    `select count(*)::integer as secrets, extract(epoch from max(at) - min(at))::float8 as seconds
     from app_secrets.audit_log where origin = 'backfill'`,
  )
  const [{ lost }] = await missing(admin, written.last)
  // Healthy or not is of no interest here: what is looked at is the time.
  await run('status', ['status'], [0, 2])
  await run('doctor', ['doctor'], [0, 2])
  await run('doctorFull', ['doctor', '--full'], [0, 2])
  const { mismatched } = await run('verify', ['verify'])
  await run('verifyAlone', ['verify', '--sessions', '1'])

  const url = await createServiceLogin(cluster)
  const calls = await called(
    url,
    await rows(admin, 'select id from public.businesses order by random() limit 2000'),
  )

  await run('dropLegacy', ['migrate', '--drop-legacy', '--yes-drop-plaintext', 'postgres'])
  await rekeyed(cluster, run)
  await run('rollback', ['rollback', '--batch', options.batch])
  return {
    secrets: migrated.secrets,
    businesses,
    commands,
    backfillPerSecond: backfill.secrets / backfill.seconds,
    writer: { writes: written.waits.length, ...spread(written.waits), failed: written.failed, lost },
    mismatched,
    ...calls,
  }
}

/** Every value under a new root key of Vault's, each of which is opened at the end. */
async function rekeyed(cluster, run) {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-bench-'))
  try {
    const file = join(folder, 'rekey.key')
    await run('rekeyBegin', ['rekey', 'begin', '--file', file])
    await run('rekeyFreeze', ['rekey', 'begin', '--freeze', '--file', file])
    await cluster.newRootKey()
    await run('rekeyFinish', ['rekey', 'finish', '--file', file])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What a service meets: reads, lists and writes, without a cache. */
async function called(url, found) {
  say('reads, lists and writes')
  const ids = found.map(({ id }) => id)
  const pick = (list, i) => list[(i * 7919) % list.length]
  const secrets = await connect({ url, cache: false })
  const read = (i) => secrets.get(pick(ids, i), pick(legacyKeys, i))
  const timed = async (count, call) => {
    const waits = []
    for (let i = 0; i < count; i++) {
      const started = performance.now()
      await call(i)
      waits.push(performance.now() - started)
    }
    return waits
  }
  try {
    await timed(200, read)
    const waits = await timed(1_000, read)
    const started = performance.now()
    const callers = Array.from({ length: 32 }, async (_, caller) => {
      for (let i = 0; i < 500; i++) await read(caller * 500 + i)
    })
    await Promise.all(callers)
    const perSecond = (32 * 500) / ((performance.now() - started) / 1000)
    return {
      reads: { perSecond, ...spread(waits) },
      lists: spread(await timed(300, (i) => secrets.list(pick(ids, i)))),
      writes: spread(
        await timed(300, (i) => secrets.set(pick(ids, i), pick(legacyKeys, i), `written later ${i}`)),
      ),
    }
  } finally {
    await secrets.close()
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
function missing(admin, last) {
  return rows(
    admin,
    `select count(*)::integer as lost
     from unnest($1::uuid[], $2::text[]) as w(id, value)
     left join public.decrypted_business_secrets d on d.business_id = w.id
     where d.grok_api_key is distinct from w.value`,
    [[...last.keys()], [...last.values()]],
  )
}

async function rows(url, text, values) {
  return (await withClient(url, (client) => client.query(text, values))).rows
}

function spread(waits) {
  return { p50: quantile(waits, 0.5), p99: quantile(waits, 0.99), max: quantile(waits, 1) }
}

function rounded(_, value) {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}

function say(line) {
  process.stderr.write(`${line}\n`)
}
