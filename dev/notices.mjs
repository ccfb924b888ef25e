// What else is inside the addon: node dev/notices.mjs [FOLDER…]
//
// Writes THIRD-PARTY-LICENSES.txt and sbom.cdx.json into the checkout and into every folder given: the crates that are
// linked into the addon for any target, from `cargo metadata` and the files that each crate carries. The release puts
// both into every package; they are not committed.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './binaries.mjs'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const crates = linkedCrates()
const files = {
  'THIRD-PARTY-LICENSES.txt': licences(crates),
  'sbom.cdx.json': `${JSON.stringify(sbom(crates), null, 2)}\n`,
}
for (const folder of [root, ...process.argv.slice(2)]) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
}
console.log(`notices: ${crates.length} crates`)

/** The crates whose code is in the addon of some target: not those that only build or test it, nor macros. */
function linkedCrates() {
  const targets = manifest.napi.targets.flatMap((target) => ['--filter-platform', target])
  const output = execFileSync('cargo', ['metadata', '--format-version=1', '--locked', ...targets], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  const { packages, resolve } = JSON.parse(output)
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const byId = new Map(packages.map((one) => [one.id, one]))
  const linked = new Set()
  const queue = [resolve.root]
  while (queue.length) {
    for (const { pkg, dep_kinds: kinds } of nodes.get(queue.pop()).deps) {
      const isMacro = byId.get(pkg).targets.some(({ kind }) => kind.includes('proc-macro'))
      if (linked.has(pkg) || isMacro || !kinds.some(({ kind }) => kind === null)) continue
      linked.add(pkg)
      queue.push(pkg)
    }
  }
  const checksums = lockedChecksums()
  return [...linked]
    .map((id) => byId.get(id))
    .map((one) => ({
      name: one.name,
      version: one.version,
      license: one.license?.replaceAll('/', ' OR ') ?? null,
      description: one.description?.trim().replaceAll(/\s+/g, ' '),
      repository: one.repository,
      checksum: checksums.get(`${one.name} ${one.version}`),
      texts: licenceTexts(dirname(one.manifest_path)),
    }))
    .sort((a, b) => `${a.name} ${a.version}`.localeCompare(`${b.name} ${b.version}`, 'en'))
}

function lockedChecksums() {
  const lock = readFileSync(join(root, 'Cargo.lock'), 'utf8')
  const entries = lock.matchAll(/name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"/g)
  return new Map([...entries].map(([, name, version, checksum]) => [`${name} ${version}`, checksum]))
}

/** What a crate says about its licence in files of its own, a level deep: some keep them in a folder. */
function licenceTexts(folder) {
  const named = /^(licen[cs]e|copying|notice|copyright|unlicense)/i
  const found = readdirSync(folder).filter((name) => named.test(name))
  return found
    .flatMap((name) => {
      const path = join(folder, name)
      return statSync(path).isDirectory() ? readdirSync(path).map((inner) => join(path, inner)) : [path]
    })
    .filter((path) => existsSync(path) && statSync(path).isFile())
    .map((path) => readFileSync(path, 'utf8').replaceAll('\r\n', '\n').trim())
    .filter((text) => text.length > 100)
}

/** Every crate under each text that it carries; the same text only once. */
function licences(all) {
  const holders = new Map()
  for (const { name, version, texts } of all) {
    for (const text of texts) holders.set(text, [...(holders.get(text) ?? []), `${name} ${version}`])
  }
  const line = '-'.repeat(100)
  const compiler = execFileSync('rustc', ['--version'], { encoding: 'utf8' }).trim().split(' ')[1]
  const std = { name: 'the Rust standard library', version: compiler, license: 'MIT OR Apache-2.0' }
  const list = [...all, std].map(({ name, version, license, repository }) =>
    [`${name} ${version}`, license ?? 'see its licence file', repository].filter(Boolean).join(', '),
  )
  const sections = [...holders].map(([text, names]) => `${line}\n${names.join(', ')}\n\n${text}\n`)
  return [
    `The native addon of ${manifest.name} contains the following crates. Where a licence is a choice, any of those named`,
    `may be taken. Their texts follow, each under the crates that carry it.\n\n${list.join('\n')}\n\n${sections.join('\n')}`,
  ].join('\n')
}

/** CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/ */
function sbom(all) {
  const self = `pkg:npm/${encodeURIComponent(manifest.name).replace('%2F', '/')}@${manifest.version}`
  const components = all.map((one) => ({
    type: 'library',
    'bom-ref': purl(one),
    name: one.name,
    version: one.version,
    ...(one.description && { description: one.description }),
    // What Cargo.toml patches comes from this repository: no registry vouches for it.
    ...(one.checksum
      ? { hashes: [{ alg: 'SHA-256', content: one.checksum }] }
      : { pedigree: { notes: `Patched: built from vendor/${one.name} of this package's repository.` } }),
    ...(one.license && { licenses: [{ expression: one.license }] }),
    purl: purl(one),
    ...(one.repository && { externalReferences: [{ type: 'vcs', url: one.repository }] }),
  }))
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(components)}`,
    version: 1,
    metadata: {
      component: {
        type: 'library',
        'bom-ref': self,
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        licenses: [{ license: { id: manifest.license } }],
        purl: self,
      },
    },
    components,
    dependencies: [{ ref: self, dependsOn: components.map((component) => component['bom-ref']) }],
  }
}

/** The same for the same content, so that a build can be repeated to the byte. */
function uuidOf(content) {
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex')
  const parts = digest.match(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})/).slice(1)
  return `${parts[0]}-${parts[1]}-5${parts[2]}-8${parts[3]}-${parts[4]}`
}

function purl({ name, version }) {
  return `pkg:cargo/${name}@${encodeURIComponent(version)}`
}
