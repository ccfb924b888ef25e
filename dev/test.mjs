// Runs every test: node dev/test.mjs [PART…]
//
// Starts one server per major version of PostgreSQL for the whole run, then cargo's tests of the core and the command
// line, without napi, then node's runner over __test__. With arguments only the test files whose path holds one of them,
// and cargo's only when one of them is `cargo`.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { environment, majors, startCluster, TestCluster } from '../__test__/support/servers.mjs'
import { root } from './binaries.mjs'

/** A file of tests that takes longer hangs: it fails, rather than holding up the whole run for ever. */
const LIMIT_MS = 600_000

const wanted = process.argv.slice(2)
const files = testFiles().filter((file) => !wanted.length || wanted.some((part) => file.includes(part)))
const withCargo = !wanted.length || wanted.includes('cargo')
if (!files.length && !withCargo) {
  console.error(`no test file holds ${wanted.join(' or ')} in its path`)
  process.exit(1)
}

let child
let interrupted
for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15, SIGHUP: 1 })) {
  process.on(signal, () => {
    interrupted = 128 + number
    // A terminal's Ctrl-C reaches the child by itself.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child?.kill(signal)
  })
}

const clusters = []
try {
  console.log(`PostgreSQL ${majors.join(', ')}: starting`)
  const outcomes = await Promise.allSettled(
    majors.map(async (major) => {
      clusters.push(await startCluster(major))
    }),
  )
  for (const { reason } of outcomes) if (reason) throw reason
  const env = {
    ...process.env,
    [environment]: JSON.stringify(clusters.map(({ description }) => description)),
  }

  let failed = 0
  if (withCargo) failed = (await cargo(env)) || failed
  if (files.length) {
    failed =
      (await run(
        process.execPath,
        ['--test', `--test-timeout=${LIMIT_MS}`, '--test-concurrency=2', '--test-reporter=spec', ...files],
        env,
      )) || failed
  }
  process.exitCode = failed
} finally {
  await Promise.all(clusters.map(({ stop }) => stop()))
  if (interrupted) process.exitCode = interrupted
}

/** The Rust tests find a fresh, migrated database of PostgreSQL 17 in the environment. */
async function cargo(env) {
  const { description } = clusters.find((cluster) => cluster.description.major === 17)
  const cleanups = []
  const database = await new TestCluster(description).freshDatabase({ after: (work) => cleanups.push(work) })
  try {
    return await run('cargo', ['test', '--no-default-features', '--features', 'cli'], {
      ...env,
      APP_SECRETS_URL: database.service,
      ADMIN_DATABASE_URL: database.admin,
    })
  } finally {
    for (const work of cleanups) await work()
  }
}

/** Runs a command with our own input and output. Gives its exit code. */
async function run(command, args, env) {
  if (interrupted) return interrupted
  console.log(`\n> ${[command === process.execPath ? 'node' : command, ...args].join(' ')}`)
  child = spawn(command, args, { cwd: root, env, stdio: 'inherit' })
  try {
    const [code] = await once(child, 'exit')
    return code ?? 1
  } finally {
    child = undefined
  }
}

function testFiles() {
  const folder = new URL('../__test__/', import.meta.url)
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.test.mjs'))
    .map((name) => `__test__/${name.replaceAll('\\', '/')}`)
    .sort()
}
