// The consumers, checked against index.d.ts: a call that the types refuse would be a wrong example, or a wrong type.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { examples, temporaryFolder, tsc } from './support/compiled.mjs'

const files = [
  'backend_server.js',
  'services/mayaService.js',
  'services/adService.js',
  'routes/klingRoutes.js',
  'routes/systemRoutes.js',
  'electron/services/YouTubeService.mjs',
  'scripts/reseal.js',
]
const options = [
  '--noEmit --allowJs --checkJs --strict --noImplicitAny false --useUnknownInCatchVariables false',
  '--module nodenext --target es2023 --types node --skipLibCheck --ignoreConfig',
]

function check(paths) {
  const args = [tsc, ...options.join(' ').split(' '), ...paths]
  return promisify(execFile)(process.execPath, args, { cwd: examples })
}

test('the consumers use the package as its types say', async () => {
  await check(files).catch(({ stdout }) => assert.fail(stdout))
})

test('a provider or a name that does not exist is found', async (t) => {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'node_modules/@app'), { recursive: true })
  symlinkSync(join(examples, '../..'), join(folder, 'node_modules/@app/secrets'))
  const wrong = join(folder, 'wrong.mjs')
  writeFileSync(
    wrong,
    `import { get, getProviderKey } from '@app/secrets'
await getProviderKey('', 'mistral')
await get('', 'gemini_key')
/** @type {string} */ export const key = await getProviderKey('', 'gemini')
`,
  )
  const { stdout } = await check([wrong]).then(assert.fail, (error) => error)
  for (const line of [2, 3, 4]) assert.match(stdout, new RegExp(`wrong\\.mjs\\(${line},`))
})
