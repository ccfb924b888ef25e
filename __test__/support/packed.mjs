// Services that have the package installed from its tarball, as users get it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { npm } from '../../dev/node.mjs'
import { pack } from '../../dev/pack.mjs'
import { writeFiles } from './recipes.mjs'

/** The day whose versions of indirect dependencies the fixtures get: direct ones are exact, and these do not move. */
const BEFORE = '2026-11-28'

const exercise = readFileSync(fileURLToPath(new URL('../runtimes/exercise.cjs', import.meta.url)), 'utf8')
const exercises = {
  'exercise.cjs': exercise,
  // The same for tools that take ES modules only.
  'exercise.mjs': exercise
    .replace("const assert = require('node:assert/strict')", "import assert from 'node:assert/strict'")
    .replace('module.exports =', 'export default'),
}
const temporary = mkdtempSync(join(tmpdir(), 'app-secrets-packed-'))
after(() => rmSync(temporary, { recursive: true, force: true }))

let packed
let services = 0

/** The tarball's path. APP_SECRETS_TEST_TARBALL names one that is there already, as a release does. */
export function tarball() {
  packed ??= process.env.APP_SECRETS_TEST_TARBALL ?? pack(temporary).path
  return packed
}

/**
 * Makes the folder of a service that has the package and `dependencies`, exact versions, installed. `files`: what else it
 * has, as `{ name: text }`; `manifest`: more of its package.json. exercise.cjs and .mjs, which use the package, are there.
 */
export function service({ dependencies = {}, files = {}, manifest = {} } = {}) {
  const folder = join(temporary, `service-${++services}`)
  mkdirSync(folder)
  const all = { ...dependencies, '@app/secrets': `file:${tarball()}` }
  const text = JSON.stringify({ name: 'a-service', private: true, ...manifest, dependencies: all }, null, 2)
  writeFiles(folder, { 'package.json': text, ...exercises, ...files })
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

/** Runs lines of a shell, each after the one before has ended well; the last one too. Gives what the last one wrote. */
export async function runLines(folder, lines, options = {}) {
  let output
  for (const line of lines) {
    const ended = await run('sh', ['-c', line], { cwd: folder, ...options })
    if (ended.code !== 0) throw new Error(`${line}: ended with ${ended.code}\n${ended.output}`)
    output = ended.output
  }
  return output
}

/**
 * Starts lines of a shell, of which the last is a server that says `listening on PORT`. Gives its address and `stop()`,
 * which sends SIGTERM and gives the exit code and all that it wrote. It is stopped after the test in any case.
 */
export async function startServer(t, folder, lines, env) {
  await runLines(folder, lines.slice(0, -1), { env })
  const last = `exec ${lines.at(-1)}`
  const child = spawn('sh', ['-c', last], {
    cwd: folder,
    env: { ...environment(), PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const closed = once(child, 'close')
  let output = ''
  const port = await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
        const found = output.match(/listening on (\d+)|- Local: .*:(\d+)/)
        if (found) resolve(found[1] ?? found[2])
      })
    }
    child.once('close', () => reject(new Error(`${last} ended before it listened:\n${output}`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGTERM')
      const [code, signal] = await closed
      return { code: code ?? signal, output }
    },
  }
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
