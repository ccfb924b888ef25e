// The Node that scripts run under. The package supports Node 22 and later; a machine that has just an older one gets a
// newer one from the npm registry, for this checkout alone. Only Node's built-ins, because it runs before `npm ci` has,
// and only what Node 20 understands.

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The oldest major version that the package and its scripts support; `engines` says the same. */
const OLDEST = 22

const folder = fileURLToPath(new URL('./node/', import.meta.url))

export const isOldNode = Number.parseInt(process.versions.node, 10) < OLDEST

/** The path of a Node that is new enough: this one, or the pinned one, which `install(work)` may have to fetch. */
export function newNode(install) {
  if (!isOldNode) return process.execPath
  installLocked(folder, install)
  const found = pinnedNode()
  const { status, error } = found ? spawnSync(found, ['--version']) : {}
  if (status !== 0) {
    const why = found
      ? `the pinned one does not start here${error ? ` (${error.code})` : ''}`
      : 'none is pinned for it'
    throw new Error(
      `Node ${process.versions.node} is too old, and for ${process.platform}-${process.arch} ${why}: install Node ${OLDEST} or later`,
    )
  }
  return found
}

function pinnedNode() {
  const modules = join(folder, 'node_modules')
  // npm has installed the one whose `os` and `cpu` are ours.
  const name = readdirSync(modules).find((entry) => entry.startsWith('node-'))
  if (!name) return undefined
  return join(modules, name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
}

/** Installs what a folder's lock file says, without install scripts, unless that is there. `around` runs the work. */
export function installLocked(cwd, around = (work) => work()) {
  const stamp = join(cwd, 'node_modules', '.lock-hash')
  const hash = createHash('sha256')
    .update(readFileSync(join(cwd, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return
  around(() => npm(cwd, 'ci', '--ignore-scripts'))
  writeFileSync(stamp, hash)
}

/** Runs npm in a folder and gives what it prints. */
export function npm(cwd, ...args) {
  const [command, first, options] = npmCommand()
  const all = [...first, ...args, '--no-audit', '--no-fund', '--loglevel=error']
  const { status, error, stdout, stderr } = spawnSync(command, all, { cwd, encoding: 'utf8', ...options })
  if (error) throw error
  if (status !== 0) throw new Error(`npm ${args[0]} ended with ${status}:\n${stdout}${stderr}`.trimEnd())
  return stdout
}

/** How npm is started: the one that runs us, or else the one in the path. */
export function npmCommand() {
  const cli = process.env.npm_execpath
  return cli?.endsWith('.js')
    ? [process.execPath, [cli], {}]
    : ['npm', [], { shell: process.platform === 'win32' }]
}

/** The environment in which `node`, and whatever starts it by that name, is the Node of this path. */
export function environmentOf(node) {
  return { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` }
}

/** Runs Node with our own input and output, hands signals on, and takes over its exit code. */
export function becomeNode(node, args) {
  const child = spawn(node, args, { stdio: 'inherit', env: environmentOf(node) })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('error', (error) => {
    console.error(`setup: ${error.message}`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}
