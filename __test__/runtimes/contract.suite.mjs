// The contract suite on every runtime, against the installed package: on each under its own test runner.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { root } from '../../dev/binaries.mjs'
import { clusters } from '../support/cluster.mjs'
import { run, service } from '../support/packed.mjs'
import { environment } from '../support/servers.mjs'
import { runtime } from './binaries.mjs'

const files = readdirSync(join(root, '__test__/contract'))
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => `./__test__/contract/${name}`)

const node = ['--test', '--test-concurrency=1']
const runners = {
  'node-22': node,
  'node-24': node,
  'node-26': node,
  bun: ['test', '--timeout=120000'],
  deno: ['test', '--allow-all', '--no-check', '--no-lock'],
}

let installed
before(() => {
  installed = join(service(), 'node_modules/@app/secrets')
})

for (const [name, args] of Object.entries(runners)) {
  test(`${name} keeps the contract`, async () => {
    // Ours: the embedded servers are started by Node alone.
    const servers = (await clusters()).map(({ major, urls }) => ({ major, urls }))
    const { code, output } = await run(runtime(name), [...args, ...files], {
      cwd: root,
      env: { APP_SECRETS_TEST_PACKAGE: installed, [environment]: JSON.stringify(servers) },
    })
    assert.equal(code, 0, output)
    assert.match(output, /\bpass(ed)?\b/)
  })
}
