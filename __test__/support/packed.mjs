// Services that have the package installed from its tarball, as users get it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { npm } from '../../dev/node.mjs'
import { root } from './addon.mjs'

/** The day whose versions of indirect dependencies the fixtures get: direct ones are exact, and these do not move. */
const BEFORE = '2026-11-28'

const exercise = fileURLToPath(new URL('../runtimes/exercise.cjs', import.meta.url))
const temporary = mkdtempSync(join(tmpdir(), 'app-secrets-packed-'))
after(() => rmSync(temporary, { recursive: true, force: true }))

let packed
let services = 0

/** The tarball's path. APP_SECRETS_TEST_TARBALL names one that is there already, as a release does. */
export function tarball() {
  packed ??= process.env.APP_SECRETS_TEST_TARBALL ?? pack(temporary).path
  return packed
}

/** Packs the checkout into a folder. Gives the tarball's path and what npm says of it. */
export function pack(folder) {
  const [listing] = JSON.parse(npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder))
  return { path: join(folder, listing.filename), listing }
}

/**
 * Makes the folder of a service that has the package and `dependencies`, exact versions, installed. `fixture`: a folder
 * whose files it gets; `files`: more of them, as `{ name: text }`; `manifest`: more of its package.json.
 * exercise.cjs, which uses the package, is among its files.
 */
export function service({ dependencies = {}, fixture, files = {}, manifest = {} } = {}) {
  const folder = join(temporary, `service-${++services}`)
  if (fixture) cpSync(fixture, folder, { recursive: true })
  cpSync(exercise, join(folder, 'exercise.cjs'))
  const all = { ...dependencies, '@app/secrets': `file:${tarball()}` }
  const text = JSON.stringify({ name: 'a-service', private: true, ...manifest, dependencies: all }, null, 2)
  for (const [name, content] of Object.entries({ 'package.json': text, ...files })) {
    writeFileSync(join(folder, name), content)
  }
  npm(folder, 'install', '--ignore-scripts', '--prefer-offline', `--before=${BEFORE}`)
  return folder
}

/** Runs a command in a folder. Gives its exit code and what it wrote; after `limit` milliseconds it is killed. */
export async function run(command, args, { cwd, env = {}, limit = 300_000, input } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...environment(), ...env },
    stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  if (input) child.stdin.end(input)
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  return { code: code ?? signal, output }
}

/** The same for a program that a service's packages bring, started under our Node. */
export function runTool(folder, tool, args = [], options = {}) {
  return run(process.execPath, [join(folder, 'node_modules', tool), ...args], { cwd: folder, ...options })
}

/** Ours, without what would tell a program where a database is or that it runs in a test. */
function environment() {
  const hidden = /^(APP_SECRETS_|DATABASE_URL$|NODE_OPTIONS$|NODE_TEST_CONTEXT$|npm_)/
  const rest = Object.fromEntries(Object.entries(process.env).filter(([name]) => !hidden.test(name)))
  return { ...rest, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`, NO_COLOR: '1' }
}
