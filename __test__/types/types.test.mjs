// The declarations against the compiler, and against what is really exported.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { addon, codes, exported, root } from '../support/addon.mjs'

const require = createRequire(import.meta.url)
const here = dirname(fileURLToPath(import.meta.url))
const declarations = readFileSync(join(root, 'index.d.ts'), 'utf8')

/** Compiles files of this folder, or text; gives what the compiler says. */
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
  assert.equal(
    await compile([join(root, 'index.d.ts')], '--module', 'nodenext', '--skipLibCheck', 'false'),
    '',
  )
})

test('the compiler does find what is wrong', async (t) => {
  // Inside the package, which then finds itself by its own name.
  const folder = mkdtempSync(join(here, '.wrong-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'wrong.mts')
  writeFileSync(file, `import { get } from '@app/secrets'\nexport const x = get('…', 'grok')\n`)
  assert.match(await compile([file], '--module', 'nodenext'), /TS2345.*'"grok"'/)
})

const declared = (kind) =>
  [...declarations.matchAll(new RegExp(`^export declare ${kind} (\\w+)`, 'gm'))]
    .map(([, name]) => name)
    .sort()

test('every function and class that is exported is declared, and the other way round', () => {
  const [, original, alias] = declarations.match(/^export \{ (\w+) as (\w+) \}$/m)
  assert.equal(addon[original], addon[alias])
  assert.deepEqual([...declared('function'), ...declared('class'), alias].sort(), exported.toSorted())
})

test('nothing of the loader is declared', () => {
  assert.deepEqual([...declared('const'), ...declared('enum')], [])
  assert.doesNotMatch(declarations, /napiBinding|runCli/)
})

test('every method that a class has is declared, and the other way round', () => {
  for (const name of declared('class')) {
    const [, body] = declarations.match(new RegExp(`^export declare class ${name} {\n(.*?)^}`, 'ms'))
    const methods = [...body.matchAll(/^ {2}(?:get )?(\w+)(?:<[^(]*>)?\(/gm)].map(([, method]) => method)
    const own = Object.getOwnPropertyNames(addon[name].prototype)
    const wanted = methods.filter((method) => method !== 'constructor')
    assert.deepEqual([...new Set(wanted)].sort(), own.filter((method) => method !== 'constructor').sort())
  }
})

test('every declaration has words, and the unions are unions', () => {
  const bare = declarations
    .split('\n')
    .filter((line, i, all) => /^export (declare|interface|type)/.test(line) && !/\*\/$/.test(all[i - 1]))
  assert.deepEqual(bare, [])
  assert.ok(
    !/\b(any|Buffer|unknown\[\]|Function|object)\b(?=[;,)\n|>])/.test(
      declarations.replaceAll(/\/\*.*?\*\//gs, ''),
    ),
  )
  assert.ok(!/enum /.test(declarations), 'enums are of no use under isolatedModules')
})

test('the codes that are declared are those that tests know', () => {
  const [, union] = declarations.match(/export type ErrorCode = (.*)/)
  assert.deepEqual(
    union
      .split(' | ')
      .map((code) => code.slice(1, -1))
      .sort(),
    [...codes].sort(),
  )
})
