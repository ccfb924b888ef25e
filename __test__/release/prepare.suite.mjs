// What a release would publish, made from stand-ins for the addons of other targets: `npm run test:release`.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { checkAddon, platformOf } from '../../dev/addon-file.mjs'
import { root } from '../../dev/binaries.mjs'
import { run } from '../support/packed.mjs'

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const platforms = manifest.napi.targets.map(platformOf)
const elf = (...symbols) => `\x7fELF\0${symbols.map((symbol) => `${symbol}\0`).join('')}`

/** A copy of the checkout as it is committed, to be changed. */
let folder
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'app-secrets-release-'))
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  })
  for (const file of files.trim().split('\n')) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(root, file), join(folder, file), { force: true, errorOnExist: false })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

beforeEach(() => {
  rmSync(join(folder, 'artifacts'), { recursive: true, force: true })
  mkdirSync(join(folder, 'artifacts'))
  for (const platform of platforms) {
    const text = platform.endsWith('-gnu')
      ? elf('GLIBC_2.2.5', 'GLIBC_2.28')
      : platform.endsWith('-musl')
        ? elf()
        : 'x'
    writeFileSync(join(folder, 'artifacts', `app-secrets.${platform}.node`), text, 'latin1')
  }
})

const release = (step, env = {}) =>
  run(process.execPath, ['dev/release.mjs', step], { cwd: folder, env: { GITHUB_REF_NAME: '', ...env } })

const json = (...path) => JSON.parse(readFileSync(join(folder, ...path), 'utf8'))

test('a checkout with placeholders is not released', async () => {
  const { code, output } = await release('check')
  assert.equal(code, 1)
  for (const name of ['package.json', 'SECURITY.md', 'config.yml'])
    assert.match(output, new RegExp(`${name} still has`))
})

test('a checkout without them is, under the tag of its version only', async () => {
  const files = ['package.json', 'SECURITY.md', '.github/ISSUE_TEMPLATE/config.yml']
  const texts = files.map((name) => readFileSync(join(folder, name), 'utf8'))
  for (const [i, name] of files.entries()) {
    const text = texts[i]
      .replaceAll('YOUR-ORGANISATION', 'an-owner')
      .replaceAll('security@example.com', 'security@an-owner.example')
    writeFileSync(join(folder, name), text)
  }
  try {
    const good = await release('check', { GITHUB_REF_NAME: `v${manifest.version}` })
    assert.equal(good.code, 0, good.output)
    const wrong = await release('check', { GITHUB_REF_NAME: 'v99.0.0' })
    assert.equal(wrong.code, 1)
    assert.match(wrong.output, /the tag is v99\.0\.0/)
  } finally {
    for (const [i, name] of files.entries()) writeFileSync(join(folder, name), texts[i])
  }
})

test('every target has a package of its own, with its addon, licences and what is inside', async () => {
  const { code, output } = await release('prepare')
  assert.equal(code, 0, output)
  assert.deepEqual(readdirSync(join(folder, 'npm')).sort(), platforms.toSorted())
  for (const platform of platforms) {
    const own = json('npm', platform, 'package.json')
    assert.equal(own.name, `@app/secrets-${platform}`)
    assert.deepEqual(
      [own.version, own.repository, own.engines],
      [manifest.version, manifest.repository, manifest.engines],
    )
    const files = readdirSync(join(folder, 'npm', platform))
    for (const name of [
      `app-secrets.${platform}.node`,
      'LICENSE',
      'THIRD-PARTY-LICENSES.txt',
      'sbom.cdx.json',
    ]) {
      assert.ok(files.includes(name) && own.files.includes(name), `${platform} lacks ${name}`)
    }
  }
  const { optionalDependencies } = json('package.json')
  const wanted = platforms.map((platform) => [`@app/secrets-${platform}`, manifest.version])
  assert.deepEqual(optionalDependencies, Object.fromEntries(wanted))
  assert.match(output, /@app\/secrets 0\.\d+\.\d+: \d+ files\n$/)
  writeFileSync(join(folder, 'package.json'), readFileSync(join(root, 'package.json')))
})

test('the loader asks for every package that is published', () => {
  const loader = readFileSync(join(root, 'binding.js'), 'utf8')
  for (const platform of platforms)
    assert.ok(loader.includes(`require('@app/secrets-${platform}')`), platform)
})

test('a target that is missing, or needs a newer glibc, stops the release', async () => {
  rmSync(join(folder, 'artifacts/app-secrets.win32-arm64-msvc.node'))
  const missing = await release('prepare')
  assert.equal(missing.code, 1)
  assert.match(missing.output, /artifacts\/ has no app-secrets\.win32-arm64-msvc\.node/)

  const file = join(folder, 'artifacts/app-secrets.linux-x64-gnu.node')
  writeFileSync(file, elf('GLIBC_2.9', 'GLIBC_2.34'), 'latin1')
  assert.throws(() => checkAddon(file), /needs glibc 2\.34; the ceiling is 2\.28/)
  writeFileSync(join(folder, 'artifacts/app-secrets.linux-x64-musl.node'), elf('GLIBC_2.9'), 'latin1')
  assert.throws(() => checkAddon(join(folder, 'artifacts/app-secrets.linux-x64-musl.node')), /for musl/)
})

test('the list of what is inside names every crate with its version, checksum and licence', async () => {
  const { code, output } = await run(process.execPath, ['dev/notices.mjs'], { cwd: folder })
  assert.equal(code, 0, output)
  const { bomFormat, specVersion, components, dependencies } = json('sbom.cdx.json')
  assert.deepEqual([bomFormat, specVersion], ['CycloneDX', '1.6'])
  const text = readFileSync(join(folder, 'THIRD-PARTY-LICENSES.txt'), 'utf8')
  const patches = readFileSync(join(folder, 'Cargo.toml'), 'utf8').matchAll(/path = "vendor\/(.*?)"/g)
  const vendored = [...patches].map(([, name]) => name)
  for (const { name, version, hashes, licenses, pedigree, purl } of components) {
    assert.equal(purl, `pkg:cargo/${name}@${encodeURIComponent(version)}`)
    // Cargo locks a checksum of whatever comes from a registry; a patched crate is built from this repository.
    if (vendored.includes(name)) assert.match(pedigree.notes, new RegExp(`vendor/${name} `))
    else assert.match(hashes[0].content, /^[0-9a-f]{64}$/)
    assert.ok(licenses[0].expression, name)
    assert.ok(text.includes(`${name} ${version}, `), name)
  }
  const names = components.map(({ name }) => name)
  for (const name of ['sqlx-postgres', 'rustls', 'ring', 'tokio', 'napi'])
    assert.ok(names.includes(name), name)
  for (const name of ['napi-derive', 'napi-build', 'syn'])
    assert.ok(!names.includes(name), `${name} only builds`)
  assert.equal(dependencies[0].dependsOn.length, components.length)
})
