// Why the addon did not load: the explanation finds the reason among the loader's attempts, and never throws itself.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/addon.mjs'

const explained = createRequire(import.meta.url)(join(root, 'lib/explain.js'))

/** As napi's loader leaves its attempts: the last one outermost. */
const chain = (...messages) =>
  messages.reduceRight((cause, message) => new Error(message, { cause }), undefined)

const general = 'Cannot find native binding. npm has a bug related to optional dependencies'
const missing = ["Cannot find module '@app/secrets-linux-x64-gnu'", "Cannot find module './x.node'"]

test('each reason has a remedy of its own', () => {
  for (const [reason, remedy] of [
    ['/lib/x.so: version `GLIBC_2.34` not found', /does not load: .*GLIBC_2\.34.*newer C library/],
    ['Cannot load native addon because loading addons is disabled.', /--allow-addons/],
    [
      'Requires ffi access to "x", run again with the --allow-ffi flag',
      /Deno .*\(--allow-ffi\).*--allow-env/,
    ],
    ['Access to this API has been restricted. Use --allow-fs-read', /--allow-fs-read/],
  ]) {
    const error = explained(chain(general, ...missing, reason))
    assert.equal(error.code, 'ERR_ADDON_NOT_LOADED')
    assert.match(error.message, remedy)
  }
  assert.match(explained(chain(general, ...missing)).message, /there is no native addon .*--include=optional/)
})

test('it explains whatever was thrown', () => {
  const circle = new Error('around')
  circle.cause = circle
  for (const thrown of [undefined, null, 'text', 7, {}, Object.create(null), circle, Symbol('s')]) {
    assert.equal(explained(thrown).code, 'ERR_ADDON_NOT_LOADED')
  }
})

test('it explains where the runtime refuses to report on itself', (t) => {
  t.mock.method(process.report, 'getReport', () => {
    throw new Error('refused')
  })
  assert.match(explained(chain(general, ...missing)).message, /for \w+-\w+ \(Node/)
  t.mock.restoreAll()
})
