// Named checks of what the matrix cannot show. Each gets a superuser's client in a transaction that is rolled back, and
// throws an AssertionError where the protection that it is named after is gone.

import assert from 'node:assert/strict'
import { probes as callers } from './access-probes-callers.mjs'
import { probes as cells } from './access-probes-cells.mjs'
import { probes as shape } from './access-probes-shape.mjs'
import { probes as types } from './access-probes-types.mjs'

export const probes = { ...cells, ...shape, ...callers, ...types }

/** Runs a probe in the client's transaction and undoes it; gives what is wrong, or nothing. */
export async function runProbe(client, name) {
  assert.ok(probes[name], `no probe is called: ${name}`)
  await client.query('savepoint probe')
  try {
    await probes[name](client)
  } catch (error) {
    if (!(error instanceof assert.AssertionError))
      throw new Error(`${name}: ${error.message}`, { cause: error })
    return error.message
  } finally {
    await client.query('rollback to savepoint probe')
  }
}
