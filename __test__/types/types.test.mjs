// The declarations against the compiler, and against what is really exported.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { addon, codes, root } from '../support/addon.mjs'

const require = createRequire(import.meta.url)
const here = dirname(fileURLToPath(import.meta.url))
const files = ['index.d.ts', 'lib/admin.d.ts', 'lib/testing.d.ts', 'lib/otel.d.ts']
const declarations = Object.fromEntries(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]))
const entries = {
  '@app/secrets': addon,
  '@app/secrets/testing': load('testing'),
  '@app/secrets/otel': load('otel'),
}

function load(name) {
  return require(join(root, 'lib', `${name}.js`))
}

/** Compiles files; gives what the compiler says. */
function compile(files, ...options) {
  const manifest = require.resolve('typescript/package.json')
  const compiler = join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin.tsc)
  const strict = [
    '--noEmit',
    '--strict',
    '--isolatedModules',
    '--exactOptionalPropertyTypes',
    '--noUnusedLocals',
  ]
  const args = [compiler, ...strict, '--target', 'es2022', '--types', 'node', ...options, ...files]
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: root }, (_, stdout, stderr) => resolve((stdout + stderr).trim()))
  })
}

/** Compiles a text inside the package, which then finds itself by its own name. */
function compileText(t, text) {
  const folder = mkdtempSync(join(here, '.text-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'text.mts')
  writeFileSync(file, text)
  return compile([file], '--module', 'nodenext')
}

const esm = join(here, 'consumer.mts')
const commonJs = join(here, 'consumer.cts')

for (const [what, files, options] of [
  ['Node, as ESM and CommonJS', [esm, commonJs], ['--module', 'nodenext']],
  ['Node 20, as ESM and CommonJS', [esm, commonJs], ['--module', 'node20']],
  ['a bundler', [esm], ['--module', 'preserve', '--moduleResolution', 'bundler']],
]) {
  test(`a service compiles strictly for ${what}`, async () => {
    assert.equal(await compile(files, ...options), '')
  })
}

test('the declarations are sound by themselves, checked as a library is not', async () => {
  const options = ['--module', 'nodenext', '--skipLibCheck', 'false']
  assert.equal(
    await compile(
      files.map((file) => join(root, file)),
      ...options,
    ),
    '',
  )
})

test('the compiler does find what is wrong', async (t) => {
  const text = `import { get } from '@app/secrets'\nexport const x = get('…', 'grok')\n`
  assert.match(await compileText(t, text), /TS2345.*'"grok"'/)
})

test('what is exported is what is declared, class by class, both ways', async (t) => {
  const lines = [
    'type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false',
    'const same = <A, B>(_: Same<A, B>) => {}',
  ]
  const union = (names) => names.map((name) => JSON.stringify(name)).join(' | ') || 'never'
  for (const [i, [entry, exports]] of Object.entries(entries).entries()) {
    lines.push(`import * as all${i} from '${entry}'`)
    // What the compiler adds to every CommonJS module.
    const declared = `Exclude<keyof typeof all${i}, 'default' | 'module.exports'>`
    lines.push(`same<${declared}, ${union(Object.keys(exports))}>(true)`)
    for (const [name, value] of Object.entries(exports)) {
      assert.equal(typeof value, 'function', name)
      // Of a class the prototype cannot be replaced.
      if (Object.getOwnPropertyDescriptor(value, 'prototype')?.writable !== false) continue
      const methods = Object.getOwnPropertyNames(value.prototype).filter((method) => method !== 'constructor')
      const parent = Object.getPrototypeOf(value)
      if (parent === Error) continue
      const inherited = parent.prototype
        ? `Exclude<keyof all${i}.${name}, ${inheritedBy(value)}>`
        : `keyof all${i}.${name}`
      lines.push(`same<${inherited}, ${union(methods)}>(true)`)
    }
  }
  assert.equal(await compileText(t, lines.join('\n')), '')
})

/** The methods of the class that this one extends, as a union. */
function inheritedBy(Class) {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(Class).prototype)
  return methods.map((name) => JSON.stringify(name)).join(' | ')
}

test('names of a database of its own replace the default ones in every type', async (t) => {
  const text = `
    import { get, getMany, type SecretName } from '@app/secrets'
    import { createFakeSecrets } from '@app/secrets/testing'
    declare module '@app/secrets' {
      interface Register { secretName: 'stripe_key' | 'mail_key' }
    }
    const name: SecretName = 'stripe_key'
    export const one = get('…', name)
    export const many: Promise<Record<'mail_key', string | null>> = getMany('…', ['mail_key'])
    export const fake = createFakeSecrets({ names: ['stripe_key', { name: 'mail_key', label: 'Mail' }] })
    // @ts-expect-error it is one of another database's
    get('…', 'grok_api_key')
    // @ts-expect-error there is no such name
    fake.set('…', 'stripe', 'x')
  `
  assert.equal(await compileText(t, text), '')
})

test('every declaration has words, and the unions are unions', () => {
  for (const [file, text] of Object.entries(declarations)) {
    const bare = text
      .split('\n')
      .filter((line) => !line.startsWith('// biome-ignore'))
      .filter((line, i, all) => /^export (declare|interface|type) /.test(line) && !/\*\/$/.test(all[i - 1]))
    assert.deepEqual(bare, [], file)
    const code = text.replaceAll(/\/\*.*?\*\//gs, '')
    assert.doesNotMatch(code, /\b(any|Buffer|unknown\[\]|Function|object)\b(?=[;,)\n|>])/, file)
    assert.doesNotMatch(code, /\benum /, 'enums are of no use under isolatedModules')
  }
})

test('the codes that are declared are those that there are', () => {
  const [, union] = declarations['index.d.ts'].match(/export type ErrorCode =(.*?)\n\n/s)
  assert.deepEqual(
    [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code),
    codes,
  )
  assert.deepEqual(require(join(root, 'lib/errors.js')).codes, codes)
})
