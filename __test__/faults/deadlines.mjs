// Every call ends by its deadline: the one bound on time that the contract gives, with what a busy machine may add.

import assert from 'node:assert/strict'

const GRACE_MS = 2_000

/** Asserts that `work()` settles by its deadline. Resolves with `{ value }` or `{ error }`, and the ms it took. */
export async function byDeadline(timeoutMs, work) {
  const started = performance.now()
  const outcome = await work().then(
    (value) => ({ value }),
    (error) => ({ error }),
  )
  const ms = performance.now() - started
  assert.ok(ms <= timeoutMs + GRACE_MS, `a call took ${Math.round(ms)} ms with a deadline of ${timeoutMs}`)
  return { ...outcome, ms }
}
