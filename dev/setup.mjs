// Brings a checkout to where everything runs: packages, PostgreSQL's links, the addon. Says one line for each thing it
// does and nothing when there is nothing to do. Only Node's built-ins, because it runs before `npm ci` has. Started with
// a Node that is too old, it goes on under a newer one (see node.mjs).
//
// node dev/setup.mjs [--no-build | --debug | --release] [OPTION…] [-- ARGUMENT…]
//   --no-build   leave the addon alone
//   --debug      build the addon, whether or not it looks up to date
//   --release    the same with optimisations, as it is published
//   OPTION…      goes to `napi build`: --target TRIPLE
//   ARGUMENT…    what Node runs afterwards: a script and its arguments

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasPackage, majors, makeLinks, packagedDir, root } from './binaries.mjs'
import { becomeNode, isOldNode, newNode, npmCommand } from './node.mjs'

const known = ['--no-build', '--debug', '--release']
const [own, afterwards] = splitArguments(process.argv.slice(2))
const flags = new Set(own.filter((argument) => known.includes(argument)))
const napiOptions = own.filter((argument) => !known.includes(argument))
const buildStamp = join(root, 'target', 'addon-stamp.json')

try {
  if (isOldNode) {
    const node = newNode((work) => step('fetching a newer Node than this one (npm ci in dev/node)', work))
    becomeNode(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)])
  } else {
    installPackages()
    linkLibraries()
    if (!flags.has('--no-build')) buildAddon()
    if (afterwards.length) becomeNode(process.execPath, afterwards)
  }
} catch (error) {
  console.error(`setup: ${error.message}`)
  process.exitCode = 1
}

function splitArguments(all) {
  const end = all.indexOf('--')
  return end < 0 ? [all, []] : [all.slice(0, end), all.slice(end + 1)]
}

function installPackages() {
  const [wanted, found] = ['package-lock.json', 'node_modules/.package-lock.json'].map(lockedPackages)
  // Optional ones are other platforms' binaries; of those, whatever is here has to be the one that is wanted.
  const current =
    found &&
    Object.entries(wanted).every(([path, entry]) => !path || entry.optional || found[path]) &&
    Object.entries(found).every(([path, entry]) => wanted[path]?.version === entry.version)
  if (current) return
  const [command, args, options] = npmCommand()
  step(found ? 'updating packages (npm ci)' : 'installing packages (npm ci)', () =>
    run(command, [...args, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], options),
  )
}

function lockedPackages(name) {
  const file = join(root, name)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : undefined
}

function linkLibraries() {
  for (const major of majors) {
    // There is none for musl and for Windows on ARM: whatever wants to start one says so.
    if (!hasPackage(major)) continue
    const made = makeLinks(packagedDir(major))
    if (made) console.error(`setup: made ${made} library links for PostgreSQL ${major}`)
  }
}

function buildAddon() {
  const release = flags.has('--release')
  const sources = addonSources()
  const hash = contentHash(sources)
  if (!release && !flags.has('--debug') && isBuilt(sources, hash)) return

  const env = { ...process.env, PATH: pathWithCargo() }
  const manifest = createRequire(import.meta.url).resolve('@napi-rs/cli/package.json')
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'))
  // index.js and index.d.ts are ours; what napi generates is for lib/native.js alone.
  const loader = ['--js', 'binding.js', '--dts', 'binding.d.ts']
  const args = [
    join(dirname(manifest), bin.napi),
    'build',
    '--platform',
    ...loader,
    ...(release ? ['--release'] : []),
    ...napiOptions,
  ]
  step(`building the addon (${release ? 'release' : 'debug'}; the first time takes minutes)`, () =>
    run(process.execPath, args, { env }),
  )
  // One for another platform says nothing of ours.
  if (!napiOptions.length) recordBuild(hash)
}

/** Built from this very content, or since the last change (somebody ran cargo or napi themselves). */
function isBuilt(sources, hash) {
  const addon = addonFile()
  if (!addon) return false
  const built = statSync(addon).mtimeMs
  if (existsSync(buildStamp)) {
    const stamp = JSON.parse(readFileSync(buildStamp, 'utf8'))
    if (stamp.hash === hash && stamp.built === built) return true
  }
  if (sources.some((file) => statSync(file).mtimeMs >= built)) return false
  recordBuild(hash)
  return true
}

function recordBuild(hash) {
  const addon = addonFile()
  if (!addon) throw new Error('the build ended well but left no .node file')
  mkdirSync(dirname(buildStamp), { recursive: true })
  writeFileSync(buildStamp, JSON.stringify({ hash, built: statSync(addon).mtimeMs }))
}

/** napi names the file after platform, architecture and C library. */
function addonFile() {
  const { binaryName } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi
  const prefix = `${binaryName}.${process.platform}-${process.arch}`
  const name = readdirSync(root).find((file) => file.startsWith(prefix) && file.endsWith('.node'))
  return name && join(root, name)
}

function addonSources() {
  const files = ['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo/config.toml'].map((name) => join(root, name))
  for (const folder of ['src', 'migrations']) {
    if (!existsSync(join(root, folder))) continue
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) files.push(join(entry.parentPath ?? entry.path, entry.name))
    }
  }
  return files.filter((file) => existsSync(file)).sort()
}

function contentHash(files) {
  const hash = createHash('sha256')
  for (const file of files) {
    const content = readFileSync(file)
    hash.update(`${file.slice(root.length)}\0${content.length}\0`).update(content)
  }
  return hash.digest('hex')
}

function pathWithCargo() {
  const path = `${process.env.PATH}${delimiter}${join(homedir(), '.cargo', 'bin')}`
  const { error } = spawnSync('cargo', ['--version'], { env: { ...process.env, PATH: path } })
  if (error) {
    throw new Error(
      'cargo was not found. The addon is written in Rust: install it from https://rustup.rs, then run this again',
    )
  }
  return path
}

function step(what, work) {
  const started = Date.now()
  process.stderr.write(`setup: ${what} … `)
  try {
    work()
  } catch (error) {
    process.stderr.write('failed\n')
    throw error
  }
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1)} s\n`)
}

/** Keeps the output to itself unless the command fails. */
function run(command, args, options) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  })
  if (error) throw error
  if (status !== 0)
    throw new Error(`the command ended with ${status ?? signal}:\n${stdout}${stderr}`.trimEnd())
}
