// The scripts of package.json, and the Node that they run under.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/addon.mjs'

const read = (name) => JSON.parse(readFileSync(join(root, name), 'utf8'))
const { engines, scripts } = read('package.json')
const oldest = Number(engines.node.match(/^>=(\d+)$/)[1])
const majorOf = (version) => Number.parseInt(version, 10)

test('every script sets up what it needs before it does anything', () => {
  for (const [name, script] of Object.entries(scripts)) {
    assert.match(script, /^(?:[A-Z_]+=\S+ )*node dev\/setup\.mjs(?: |$)/, name)
    assert.doesNotMatch(
      script,
      /&& (?:[A-Z_]+=\S+ )*node /,
      `${name} would run under the Node that setup has left`,
    )
  }
})

test('setup, which runs under an older Node, knows which one is too old', () => {
  const [, number] = readFileSync(join(root, 'dev/node.mjs'), 'utf8').match(/^const OLDEST = (\d+)$/m)
  assert.equal(Number(number), oldest)
})

test('the Node that setup fetches is one of the supported ones, pinned by version and checksum', () => {
  const { optionalDependencies } = read('dev/node/package.json')
  const locked = read('dev/node/package-lock.json').packages
  for (const [name, version] of Object.entries(optionalDependencies)) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name)
    assert.ok(majorOf(version) >= oldest, name)
    const entry = locked[`node_modules/${name}`]
    assert.equal(entry.version, version, name)
    assert.match(entry.integrity, /^sha512-/, name)
    assert.ok(entry.os && entry.cpu, `${name} would be installed everywhere`)
  }
})
