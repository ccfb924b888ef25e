// Makes what is published, from the addons of all targets in artifacts/:
//
// node dev/release.mjs check      whether this checkout can be released: versions, changelog, no placeholders left
// node dev/release.mjs prepare    writes the platform packages to npm/ and their names into package.json
// node dev/release.mjs publish    publishes what `prepare` made, the package itself last
//
// In a workflow GITHUB_REF_NAME is the tag, which has to fit the version.

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { checkAddon, platformOf } from './addon-file.mjs'
import { root } from './binaries.mjs'
import { npm, npmCommand } from './node.mjs'

const read = (name) => readFileSync(join(root, name), 'utf8')
const manifest = JSON.parse(read('package.json'))
const platforms = manifest.napi.targets.map(platformOf)
const notices = ['LICENSE', 'THIRD-PARTY-LICENSES.txt', 'sbom.cdx.json']

const steps = { check, prepare, publish }
const step = steps[process.argv[2]]
try {
  if (!step) throw new Error(`say one of ${Object.keys(steps).join(', ')}`)
  step()
} catch (error) {
  console.error(`release: ${error.message}`)
  process.exitCode = 1
}

function check() {
  const problems = []
  const { version } = manifest
  const [, cargo] = read('Cargo.toml').match(/^version = "(.*)"$/m)
  if (cargo !== version) problems.push(`package.json says ${version}, Cargo.toml ${cargo}`)
  const tag = process.env.GITHUB_REF_NAME
  if (tag && tag !== `v${version}`) problems.push(`the tag is ${tag}, the version ${version}`)
  if (!read('CHANGELOG.md').includes(`## [${version}]`))
    problems.push(`CHANGELOG.md has no section [${version}]`)
  for (const name of ['package.json', 'SECURITY.md', '.github/ISSUE_TEMPLATE/config.yml']) {
    const found = read(name).match(/YOUR-ORGANISATION|security@example\.com/)
    if (found) problems.push(`${name} still has the placeholder ${found[0]}`)
  }
  if (problems.length) throw new Error(problems.join('; '))
  console.log(`release: ${manifest.name} ${version} can be released`)
}

function prepare() {
  const files = platforms.map((platform) => `${manifest.napi.binaryName}.${platform}.node`)
  const found = existsSync(join(root, 'artifacts')) ? readdirSync(join(root, 'artifacts')).sort() : []
  const missing = files.filter((name) => !found.includes(name))
  const unknown = found.filter((name) => !files.includes(name))
  if (missing.length) throw new Error(`artifacts/ has no ${missing.join(', ')}`)
  if (unknown.length) throw new Error(`artifacts/ has ${unknown.join(', ')}, of no target`)
  for (const name of files) console.log(`${name}: ${checkAddon(join(root, 'artifacts', name))}`)

  napi('create-npm-dirs')
  const folders = platforms.map((platform) => join(root, 'npm', platform))
  for (const [i, folder] of folders.entries())
    copyFileSync(join(root, 'artifacts', files[i]), join(folder, files[i]))
  // The package itself brings no addon: npm picks the platform package that fits.
  for (const name of readdirSync(root)) if (name.endsWith('.node')) rmSync(join(root, name))
  const optionalDependencies = Object.fromEntries(
    platforms.map((platform) => [`${manifest.name}-${platform}`, manifest.version]),
  )
  writeFileSync(
    join(root, 'package.json'),
    `${JSON.stringify({ ...manifest, optionalDependencies }, null, 2)}\n`,
  )
  run(process.execPath, [join(root, 'dev/notices.mjs'), ...folders])
  for (const folder of folders) finish(folder)
  checkPackages(folders)
}

/** What napi leaves out of a platform's package: licences and the list of what is inside. */
function finish(folder) {
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  const path = join(folder, 'package.json')
  const own = JSON.parse(readFileSync(path, 'utf8'))
  const { homepage, bugs, repository } = manifest
  const files = [...new Set([...own.files, ...notices])]
  writeFileSync(path, `${JSON.stringify({ ...own, homepage, bugs, repository, files }, null, 2)}\n`)
}

/** Every package as npm would pack it: each its one addon, the main one none, and nothing that `files` names missing. */
function checkPackages(folders) {
  for (const folder of [...folders, root]) {
    const own = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const [{ files }] = JSON.parse(npm(folder, 'pack', '--dry-run', '--json', '--ignore-scripts'))
    const paths = files.map(({ path }) => path)
    const addons = paths.filter((path) => path.endsWith('.node'))
    if (addons.length !== (folder === root ? 0 : 1)) throw new Error(`${own.name} has the addons ${addons}`)
    const isThere = (entry) => paths.some((path) => path === entry || path.startsWith(`${entry}/`))
    const lacking = own.files.filter((entry) => !entry.includes('*') && !isThere(entry))
    if (lacking.length) throw new Error(`${own.name} lacks ${lacking.join(', ')}`)
    if (own.version !== manifest.version) throw new Error(`${own.name} is ${own.version}`)
    console.log(`${own.name} ${own.version}: ${paths.length} files`)
  }
}

function publish() {
  for (const folder of [...platforms.map((platform) => join(root, 'npm', platform)), root]) {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    if (isPublished(name, version)) console.log(`${name} ${version} is there already`)
    else {
      const [command, first, options] = npmCommand()
      const args = [...first, 'publish', '--ignore-scripts', '--provenance', '--access', 'public']
      run(command, args, { cwd: folder, ...options })
    }
  }
}

/** A run that failed halfway is repeated: npm takes a version only once. */
function isPublished(name, version) {
  const [command, first, options] = npmCommand()
  const { status } = spawnSync(
    command,
    [...first, 'view', `${name}@${version}`, 'version', '--silent'],
    options,
  )
  return status === 0
}

function napi(...args) {
  const path = createRequire(import.meta.url).resolve('@napi-rs/cli/package.json')
  const { bin } = JSON.parse(readFileSync(path, 'utf8'))
  run(process.execPath, [join(dirname(path), bin.napi), ...args])
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...options,
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${status}`)
}
