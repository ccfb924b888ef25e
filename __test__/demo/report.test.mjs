// What the demo says when a claim does not hold, and when it uses colour.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClaimFailed, masked, Report } from '../../dev/demo/report.mjs'
import { count } from '../../dev/demo/scanners.mjs'

function recorded(options) {
  let text = ''
  const report = new Report({ stream: { write: (part) => (text += part), isTTY: false }, ...options })
  return { report, text: () => text }
}

test('a claim that does not hold ends the demo', () => {
  const { report, text } = recorded()
  report.step('A step')
  report.claim('this holds', true)
  assert.throws(() => report.claim('this does not', false, '3 rows'), ClaimFailed)
  // Only `true` will do: a promise that nobody awaited is no proof.
  assert.throws(() => report.claim('nor does this', Promise.resolve(true)), ClaimFailed)
  assert.equal(report.claims, 1)
  assert.match(text(), /✓ this holds\n {3}✗ this does not \(3 rows\)/)
})

test('colour is for terminals, and not where NO_COLOR is set', (t) => {
  const coloured = (isTTY) => {
    let text = ''
    new Report({ stream: { write: (part) => (text += part), isTTY } }).step('A step')
    return text.includes('\u001b[')
  }
  const before = process.env.NO_COLOR
  t.after(() => {
    if (before === undefined) delete process.env.NO_COLOR
    else process.env.NO_COLOR = before
  })
  delete process.env.NO_COLOR
  assert.equal(coloured(true), true)
  assert.equal(coloured(false), false)
  process.env.NO_COLOR = '1'
  assert.equal(coloured(true), false)
})

test('a masked value shows four characters at most', () => {
  assert.equal(masked('sk-demo-secret-c0de'), '••••c0de')
  assert.equal(masked(null), 'not set')
})

test('the scanner counts every place, in text and in bytes', () => {
  assert.equal(count('a marker, a marker', 'marker'), 2)
  assert.equal(count(Buffer.from([0xff, ...Buffer.from('marker'), 0x00]), 'marker'), 1)
  assert.equal(count('none', 'marker'), 0)
})
