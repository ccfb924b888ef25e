// What the pre-flight does not refuse works to the end.

import { after, before, describe, test } from 'node:test'
import { startShapes } from './preflight-server.mjs'
import { kinds } from './preflight-shapes.mjs'
import { walkToTheEnd } from './preflight-walk.mjs'

for (const major of [17, 15, 18]) {
  describe(`what works, to the end (PostgreSQL ${major})`, () => {
    let server
    before(async () => {
      server = await startShapes(major)
    })
    after(() => server?.stop())

    for (const { kind, root, works } of kinds) {
      // All of them on one version, and one of each kind on the others.
      for (const listed of major === 17 ? works : works.slice(0, 1)) {
        const shape = { root, ...listed }
        test(`${kind}: ${shape.what}`, () =>
          server.shaped(shape, (db) =>
            walkToTheEnd({ ...db, pairs: shape.pairs, dropFirst: shape.dropFirst }),
          ))
      }
    }
  })
}
