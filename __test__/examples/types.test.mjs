// The consumers, checked against index.d.ts: a call that the types refuse would be a wrong example, or a wrong type.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { app, installApp } from '../../dev/app-install.mjs'

const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')

const files = [
  'backend/lib/secrets.js',
  'backend/lib/validation.js',
  'backend/services/mayaService.js',
  'backend/services/adService.js',
  'frontend_source/electron/main/YouTubeService.ts',
  'frontend_source/src/pages/onboarding/store/useOnboardingStore.ts',
]
const options = [
  '--noEmit --allowJs --checkJs --strict --noImplicitAny false --useUnknownInCatchVariables false',
  '--module esnext --moduleResolution bundler --target es2023 --lib es2023,dom,dom.iterable --allowImportingTsExtensions',
  '--types node,vite/client --skipLibCheck --ignoreConfig --jsx react-jsx',
]

async function check(paths) {
  await installApp()
  const roots = ['--typeRoots', `${join(app, '../../node_modules/@types')},${join(app, 'node_modules')}`]
  const args = [tsc, ...options.join(' ').split(' '), ...roots, ...paths]
  return promisify(execFile)(process.execPath, args, { cwd: app })
}

test('the consumers use the package as its types say', async () => {
  await check(files).catch(({ stdout }) => assert.fail(stdout))
})

test('a provider or a name that does not exist is found', async (t) => {
  const folder = mkdtempSync(join(await installApp(), 'backend/wrong-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const wrong = join(folder, 'wrong.ts')
  writeFileSync(
    wrong,
    `import { get, getProviderKey } from '@app/secrets'
await getProviderKey('', 'mistral')
await get('', 'gemini_key')
export const key: string = await getProviderKey('', 'gemini')
`,
  )
  const { stdout } = await check([wrong]).then(assert.fail, (error) => error)
  for (const line of [2, 3, 4]) assert.match(stdout, new RegExp(`wrong\\.ts\\(${line},`))
})
