// The package as npm makes and installs it: what is in it, and that it works from there.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pack } from '../../dev/pack.mjs'
import { addon, exported, root } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runNode } from '../support/script.mjs'
import { addBusiness } from '../support/secrets.mjs'

let folder
let packed
let installed

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'app-secrets-package-'))
  const { path, listing } = pack(folder)
  packed = listing
  writeFileSync(join(folder, 'package.json'), '{ "name": "a-service", "private": true }')
  npm(folder, 'install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', path)
  installed = join(folder, 'node_modules', '@app', 'secrets')
})
after(() => rmSync(folder, { recursive: true, force: true }))

function npm(cwd, ...args) {
  const cli = process.env.npm_execpath
  const [command, first] = cli ? [process.execPath, [cli]] : ['npm', []]
  const env = { ...process.env, npm_config_cache: join(folder, '.npm'), npm_config_loglevel: 'error' }
  return execFileSync(command, [...first, ...args], {
    cwd,
    env,
    encoding: 'utf8',
    shell: !cli && process.platform === 'win32',
  })
}

/** Runs a file of the service. */
function runFile(name, text, env) {
  writeFileSync(join(folder, name), text)
  return runNode([join(folder, name)], { cwd: folder, env })
}

/** A copy of the installed package, to be damaged. Gives the folder of a service that has it. */
function damagedCopy(t, damage) {
  const service = mkdtempSync(join(tmpdir(), 'app-secrets-damaged-'))
  t.after(() => rmSync(service, { recursive: true, force: true }))
  const copy = join(service, 'node_modules', '@app', 'secrets')
  cpSync(installed, copy, { recursive: true })
  for (const name of readdirSync(copy)) if (name.endsWith('.node')) damage(join(copy, name))
  return service
}

/** The files of a folder that belong to the repository. */
const tracked = (path) =>
  execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', path], {
    cwd: root,
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .filter((name) => existsSync(join(root, name)))

const nodeFiles = (list) => list.filter((path) => path.endsWith('.node'))

test('the package holds exactly what it needs', () => {
  const files = packed.files.map(({ path }) => path)
  const migrations = readdirSync(join(root, 'migrations')).map((name) => `migrations/${name}`)
  const docs = readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)
  const lib = readdirSync(join(root, 'lib')).map((name) => `lib/${name}`)
  const examples = tracked('examples/app')
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'THIRD-PARTY-LICENSES.txt',
    'bin/app-secrets.js',
    'binding.js',
    'index.d.ts',
    'index.js',
    'package.json',
    'sbom.cdx.json',
    ...docs,
    ...lib,
    ...examples,
    'bench/RESULTS.md',
    'bench/results.json',
    ...migrations,
  ]
  assert.deepEqual(files.filter((path) => !path.endsWith('.node')).sort(), expected.sort())
  assert.equal(migrations.length, 5)
  assert.match(
    nodeFiles(files).join(),
    new RegExp(`^app-secrets\\.${process.platform}-${process.arch}[^,]*\\.node$`),
  )
})

test('it has no dependencies and runs nothing when it is installed', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  for (const kind of ['dependencies', 'optionalDependencies', 'bundleDependencies']) {
    assert.deepEqual(Object.keys(manifest[kind] ?? {}), [], kind)
  }
  for (const peer of Object.keys(manifest.peerDependencies ?? {})) {
    assert.equal(manifest.peerDependenciesMeta?.[peer]?.optional, true, `${peer} would be installed`)
  }
  for (const hook of [
    'preinstall',
    'install',
    'postinstall',
    'prepare',
    'prepublish',
    'preprepare',
    'postprepare',
  ]) {
    assert.equal(manifest.scripts?.[hook], undefined, hook)
  }
  assert.ok(!readdirSync(installed).includes('binding.gyp'), 'npm would run node-gyp')
  const everything = readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))
  assert.deepEqual(everything, ['@app'])
  assert.deepEqual(readdirSync(join(folder, 'node_modules', '@app')), ['secrets'])
})

test('everything that the manifest points to is there', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  const targets = [
    manifest.main,
    manifest.types,
    ...Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? entry : Object.values(entry),
    ),
    ...Object.values(manifest.bin),
  ]
  for (const target of targets) assert.ok(readFileSync(join(installed, target)).length, target)
  assert.deepEqual(Object.keys(manifest.exports), ['.', './otel', './testing', './package.json'])
})

test('require gives all of it', async () => {
  const { code, stdout, stderr } = await runFile(
    'cjs.js',
    `const secrets = require('@app/secrets')
     console.log(JSON.stringify(Object.keys(secrets).sort()))
     console.log(require('@app/secrets/package.json').name)
     try { require('@app/secrets/binding.js') } catch (error) { console.log(error.code) }`,
  )
  assert.equal(code, 0, stderr)
  const [names, name, deep] = stdout.trim().split('\n')
  assert.deepEqual(JSON.parse(names), Object.keys(addon).sort())
  assert.deepEqual([name, deep], ['@app/secrets', 'ERR_PACKAGE_PATH_NOT_EXPORTED'])
})

test('import gives the same by name', async () => {
  const { code, stdout, stderr } = await runFile(
    'esm.mjs',
    `import secrets, { ${exported.map((name) => `${name} as my_${name}`).join(', ')} } from '@app/secrets'
     import * as all from '@app/secrets'
     const named = { ${exported.map((name) => `${name}: my_${name}`).join(', ')} }
     const isSame = (name) => named[name] && named[name] === secrets[name] && named[name] === all[name]
     console.log(JSON.stringify(Object.keys(named).filter((name) => !isSame(name))), secrets === all.default)`,
  )
  assert.equal(code, 0, stderr)
  assert.equal(stdout, '[] true\n')
  assert.ok(exported.length > 20)
  assert.ok(exported.includes('delete'))
})

test('the installed package reads and writes, also beside a second copy of itself', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'a value' })
  const { code, stdout, stderr } = await runFile(
    'use.mjs',
    `import { get, setProviderKey } from '@app/secrets'
     import { createRequire } from 'node:module'
     const second = createRequire(import.meta.url)(${JSON.stringify(join(root, 'index.js'))})
     console.log(await get('${id}', 'grok_api_key'), await setProviderKey('${id}', 'claude', 'c'))
     console.log(await Promise.all([get('${id}', 'claude_api_key'), second.get('${id}', 'claude_api_key')]))`,
    { APP_SECRETS_URL: db.service },
  )
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^a value \d+\n\[ 'c', 'c' \]\n$/)
})

test('without the addon of this platform the error names the platform and every remedy', async (t) => {
  const service = damagedCopy(t, rmSync)
  const { glibcVersionRuntime } = process.report.getReport().header
  const libc =
    process.platform !== 'linux' ? '' : glibcVersionRuntime ? `(glibc ${glibcVersionRuntime})` : '(musl)'
  const load = () => createRequire(join(service, 'x.js'))('@app/secrets')
  assert.throws(load, (error) => {
    assert.equal(error.code, 'ERR_ADDON_NOT_LOADED')
    const words = [
      `${process.platform}-${process.arch}`,
      libc,
      process.version,
      '--include=optional',
      'npm run build',
    ]
    for (const word of words)
      assert.ok(error.message.includes(word), `${word} is missing in: ${error.message}`)
    assert.ok(error.cause)
    return true
  })
  writeFileSync(join(service, 'x.mjs'), `import { connect } from '@app/secrets'`)
  const { code, stderr } = await runNode([join(service, 'x.mjs')])
  assert.equal(code, 1)
  assert.match(stderr, /ERR_ADDON_NOT_LOADED/)
})

test('an addon that does not load is told apart from one that is missing', (t) => {
  const service = damagedCopy(t, (file) => writeFileSync(file, 'not a library'))
  assert.throws(
    () => createRequire(join(service, 'x.js'))('@app/secrets'),
    (error) => {
      assert.equal(error.code, 'ERR_ADDON_NOT_LOADED')
      assert.match(error.message, /does not load: /)
      return true
    },
  )
})

test('the command runs from where npm links it', async () => {
  const link = join(
    folder,
    'node_modules',
    '.bin',
    process.platform === 'win32' ? 'app-secrets.cmd' : 'app-secrets',
  )
  const run = (...args) =>
    execFileSync(link, args, { cwd: folder, encoding: 'utf8', shell: process.platform === 'win32' })
  assert.match(run('--help'), /app-secrets.*migrate/s)
  const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  assert.ok(run('--version').includes(version))
})
