// The declarations of the installed package under the compilers that users have, strictly, in every way of resolving.

import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/addon.mjs'
import { runTool, service } from '../support/packed.mjs'

const versions = { 5: '5.9.3', 7: '7.0.2' }
const always = [
  '--noEmit',
  '--strict',
  '--exactOptionalPropertyTypes',
  '--noUncheckedIndexedAccess',
  '--target',
  'es2023',
]
const resolutions = {
  node16: ['--module', 'node16'],
  nodenext: ['--module', 'nodenext'],
  bundler: ['--module', 'esnext', '--moduleResolution', 'bundler'],
}

for (const [major, version] of Object.entries(versions)) {
  test(`TypeScript ${major} accepts what is right and refuses what is wrong`, async (t) => {
    const folder = service({ dependencies: { typescript: version, '@types/node': '22.20.7' } })
    for (const name of ['consumer.mts', 'consumer.cts'])
      cpSync(join(root, '__test__/types', name), join(folder, name))
    for (const [name, options] of Object.entries(resolutions)) {
      await t.test(name, async () => {
        // `import … = require` is for modules that are compiled to CommonJS.
        const files = name === 'bundler' ? ['consumer.mts'] : ['consumer.mts', 'consumer.cts']
        const { code, output } = await runTool(folder, 'typescript/bin/tsc', [
          ...always,
          ...options,
          '--types',
          'node',
          ...files,
        ])
        assert.equal(output, '')
        assert.equal(code, 0)
      })
    }
    await t.test('without skipLibCheck', async () => {
      const all = [...always, ...resolutions.nodenext, '--skipLibCheck', 'false', 'consumer.mts']
      assert.equal((await runTool(folder, 'typescript/bin/tsc', all)).output, '')
    })
  })
}
