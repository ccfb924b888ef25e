// Runtimes that were given too few rights: the message says which flag is missing, and with it the package works.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { run, service } from '../support/packed.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { runtime } from './binaries.mjs'

const files = {
  'load.cjs': `try { require('@app/secrets'); console.log('loaded') }
    catch (error) { console.log(error.code, error.message) }`,
  'use.cjs': `require('./exercise.cjs')(require('@app/secrets'), process.argv[2]).then(console.log)`,
}

let folder
before(() => {
  folder = service({ files })
})

const load = async (name, args) => {
  const { code, output } = await run(runtime(name), [...args, 'load.cjs'], { cwd: folder, limit: 60_000 })
  assert.equal(code, 0, output)
  return output
}

for (const node of ['node-22', 'node-24', 'node-26']) {
  test(`under --permission on ${node} the message says which flag is missing`, async () => {
    const output = await load(node, ['--permission', `--allow-fs-read=${folder}`])
    assert.match(output, /^ERR_ADDON_NOT_LOADED .*--permission, add --allow-addons/)
    assert.match(await load(node, ['--no-addons']), /^ERR_ADDON_NOT_LOADED .*leave out --no-addons/)
  })

  test(`under --permission on ${node} the package works with the flags that it names`, async (t) => {
    const db = await freshDatabase(t, 17)
    const args = ['--permission', `--allow-fs-read=${folder}`, '--allow-addons', '--no-warnings', 'use.cjs']
    const { output } = await run(runtime(node), [...args, await addBusiness(db)], {
      cwd: folder,
      env: { APP_SECRETS_URL: db.service },
      limit: 60_000,
    })
    assert.equal(output, 'exercised\n')
  })
}

test('in Deno without rights the message names all three flags', async () => {
  const rights = ['--allow-read', '--allow-env', '--allow-ffi']
  for (const given of [['--allow-read'], ['--allow-read', '--allow-env'], ['--allow-read', '--allow-ffi']]) {
    const output = await load('deno', ['run', '--no-prompt', ...given])
    assert.match(output, /^ERR_ADDON_NOT_LOADED /, given.join())
    for (const right of rights) assert.ok(output.includes(right), `${right} is missing in: ${output}`)
  }
  assert.equal(await load('deno', ['run', '--no-prompt', ...rights]), 'loaded\n')
})
