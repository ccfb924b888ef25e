// Runs suites against the packed package: node dev/test-packed.mjs FOLDER…, folders of __test__ whose *.suite.mjs it takes.
//
// Packs once, starts one server of each major version for the whole run, and fetches the runtimes before files run side by side.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { environment, majors, startCluster } from '../__test__/support/servers.mjs'
import { root } from './binaries.mjs'
import { installLocked } from './node.mjs'
import { pack } from './pack.mjs'

/** A file of tests that takes longer hangs. */
const LIMIT_MS = 900_000

const files = process.argv.slice(2).flatMap(suites)
const temporary = mkdtempSync(join(tmpdir(), 'app-secrets-tarball-'))
let child
let clusters = []
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // A terminal's Ctrl-C reaches the child by itself.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child?.kill(signal)
  })
}
try {
  installLocked(fileURLToPath(new URL('../__test__/runtimes/binaries/', import.meta.url)))
  const tarball = process.env.APP_SECRETS_TEST_TARBALL ?? pack(temporary).path
  // The contract is kept on every version that is supported.
  clusters = await Promise.all(majors.map((major) => startCluster(major)))
  const args = [
    '--test',
    `--test-timeout=${LIMIT_MS}`,
    '--test-concurrency=2',
    '--test-reporter=spec',
    ...files,
  ]
  const env = {
    ...process.env,
    APP_SECRETS_TEST_TARBALL: tarball,
    [environment]: JSON.stringify(clusters.map(({ description }) => description)),
  }
  child = spawn(process.execPath, args, { cwd: root, env, stdio: 'inherit' })
  const [code] = await once(child, 'exit')
  process.exitCode = code ?? 1
} finally {
  await Promise.all(clusters.map(({ stop }) => stop()))
  rmSync(temporary, { recursive: true, force: true })
}

function suites(name) {
  const found = readdirSync(join(root, '__test__', name)).filter((file) => file.endsWith('.suite.mjs'))
  if (!found.length) throw new Error(`__test__/${name} has no suite`)
  return found.map((file) => `__test__/${name}/${file}`)
}
