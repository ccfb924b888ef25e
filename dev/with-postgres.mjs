// Runs a command with a PostgreSQL of its own: see `usage`.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { majors } from './binaries.mjs'
import { createLegacyTables, loadLegacyData } from './legacy-data.mjs'
import { applyMigrations, createServiceLogin } from './migrate.mjs'
import { startPostgres } from './postgres.mjs'

const usage = `usage: npm run with-postgres -- [options] [--] COMMAND [ARGUMENT...]

Starts PostgreSQL in Supabase's shape in a temporary folder, runs COMMAND with
  APP_SECRETS_URL      the service login app_service (group app_secrets_service)
  ADMIN_DATABASE_URL   the migration role, postgres
set to a fresh, migrated, empty database, stops the server, and ends with COMMAND's exit code.

options:
  --legacy          the application's plaintext tables with made-up data, not migrated; the service login can read
                    nothing until \`npm run migrate\` has run in there
  --businesses N    how many businesses --legacy makes (1000)
  --major N         PostgreSQL's major version: ${majors.join(', ')} (17)
  --help            this text`

const options = parse(process.argv.slice(2))
if (options.help) {
  console.log(usage)
} else if (options.problem) {
  console.error(`with-postgres: ${options.problem}\n\n${usage}`)
  process.exitCode = 2
} else {
  process.exitCode = await main(options)
}

async function main({ major, legacy, businesses, command }) {
  const started = Date.now()
  let child
  let interrupted
  // Not to end here: the command ends, then the server is stopped.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      interrupted = signal
      // A terminal's Ctrl-C reaches the command by itself, and twice means "at once" to many.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child?.kill(signal)
    })
  }

  let cluster
  try {
    cluster = await startPostgres({ major })
    const admin = cluster.urlFor('postgres')
    await createLegacyTables(admin)
    const service = await createServiceLogin(cluster)
    if (legacy) await loadLegacyData(cluster.urlFor('supabase_admin'), { businesses })
    else await applyMigrations(admin)
    const state = legacy ? `${businesses} businesses in plaintext, not migrated` : 'migrated, empty'
    const seconds = ((Date.now() - started) / 1000).toFixed(1)
    console.error(`with-postgres: PostgreSQL ${major} on port ${cluster.port}, ${state} (${seconds} s)`)
    if (interrupted) return 128 + constants.signals[interrupted]

    const env = { ...process.env, APP_SECRETS_URL: service, ADMIN_DATABASE_URL: admin }
    child = spawn(command[0], command.slice(1), {
      stdio: 'inherit',
      env,
      shell: process.platform === 'win32',
    })
    const [code, signal] = await once(child, 'exit')
    return code ?? 128 + constants.signals[signal]
  } catch (error) {
    if (error.syscall?.startsWith('spawn')) {
      console.error(`with-postgres: cannot run ${command[0]}: ${error.code}`)
      return error.code === 'ENOENT' ? 127 : 126
    }
    console.error(`with-postgres: ${error.message}`)
    return 1
  } finally {
    await cluster?.stop()
  }
}

function parse(args) {
  const parsed = { major: 17, legacy: false, businesses: 1000 }
  const number = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : Number.NaN)
  while (args[0]?.startsWith('-')) {
    const option = args.shift()
    if (option === '--') break
    if (option === '--help') parsed.help = true
    else if (option === '--legacy') parsed.legacy = true
    else if (option === '--major') parsed.major = number(args.shift())
    else if (option === '--businesses') parsed.businesses = number(args.shift())
    else parsed.problem ??= `unknown option ${option}`
  }
  parsed.command = args
  if (!majors.includes(parsed.major)) parsed.problem ??= `--major is one of ${majors.join(', ')}`
  if (Number.isNaN(parsed.businesses)) parsed.problem ??= '--businesses is a number'
  if (args.length === 0) parsed.problem ??= 'no command to run'
  return parsed
}
