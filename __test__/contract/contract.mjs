// What a client does, whatever it stands on: one suite for the addon, PostgREST and the fake, so that they cannot drift.
//
// `makeHarness(t)` gives what the suite needs of one of them:
//   client, other                 two clients of the same secrets
//   addBusiness()                 an id that exists
//   missing                       an id that does not
//   rotate(id, name, interval)    says how often a value has to be replaced, in any words of PostgreSQL's
//   breakSecret(id, name)         makes a value undecryptable
//   withName(name)                { client, addBusiness } of a database that has this name too
//   resyncs                       which watchers begin with a resync: the 'first' of a client, or 'every' one
//   refused                       operations that this login may not do: they reject with PERMISSION_DENIED

import { test } from 'node:test'
import { consumers } from './consumers.mjs'
import { failures } from './failures.mjs'
import { names } from './names.mjs'
import { reads } from './reads.mjs'
import { watching } from './watching.mjs'
import { writes } from './writes.mjs'

export function contract(name, makeHarness) {
  test(`the contract, kept by ${name}`, async (t) => {
    const harness = await makeHarness(t)
    for (const part of [reads, writes, consumers, watching, names, failures]) {
      for (const [claim, body] of Object.entries(part)) {
        await t.test(claim, (t) => body({ t, ...harness }))
      }
    }
  })
}
