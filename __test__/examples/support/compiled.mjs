// Compiles the examples that Node cannot run as they are (JSX, Deno's TypeScript), and gives their imports stand-ins.

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

export const examples = fileURLToPath(new URL('../../../examples/app/', import.meta.url))

export const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const standIns = {
  react: 'react.mjs',
  'react/jsx-runtime': 'react.mjs',
  '@supabase/supabase-js': 'supabase.mjs',
}

/** Removed after the test. */
export function temporaryFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-examples-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Gives an `import(path)` for the compiled files; paths are those of the sources, ending in .js. */
export async function compile(t, files) {
  const folder = temporaryFolder(t)
  const args = [
    '--outDir',
    join(folder, 'out'),
    '--rootDir',
    examples,
    '--allowJs',
    '--noCheck',
    '--jsx',
    'react-jsx',
  ]
  args.push('--module', 'esnext', '--target', 'es2023', '--moduleResolution', 'bundler', '--ignoreConfig')
  await promisify(execFile)(process.execPath, [tsc, ...args, ...files.map((file) => join(examples, file))])

  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const [name, file] of Object.entries(standIns)) {
    const packaged = join(folder, 'node_modules', ...name.split('/'))
    mkdirSync(packaged, { recursive: true })
    writeFileSync(join(packaged, 'package.json'), '{ "type": "module", "exports": "./index.js" }')
    const source = new URL(file, import.meta.url).href
    writeFileSync(join(packaged, 'index.js'), `export * from ${JSON.stringify(source)}\n`)
  }
  // A subpath of a package is asked of the package itself.
  writeFileSync(
    join(folder, 'node_modules/react/package.json'),
    '{ "type": "module", "exports": { ".": "./index.js", "./jsx-runtime": "./index.js" } }',
  )
  return (path) => import(pathToFileURL(join(folder, 'out', path)).href)
}
