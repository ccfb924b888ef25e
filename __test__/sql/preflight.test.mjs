// The pre-flight of 002, over kinds of databases: what it refuses is named with the statement that mends it, and nothing
// has changed; what works draws no refusal. `preflight-walk.test.mjs` takes the latter to the end.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { everythingOf } from '../support/fingerprint.mjs'
import { migration } from '../support/migrations.mjs'
import { startShapes } from './preflight-server.mjs'
import { kinds } from './preflight-shapes.mjs'

const refusals = (findings) => findings.filter(({ severity }) => severity === 'refuse')
const lines = (findings) => findings.map((f) => `${f.severity} ${f.code} ${f.object}: ${f.found}`).join('\n')

function assertFound(findings, { severity = 'refuse', code, object, found }) {
  const match = findings.find(
    (f) =>
      f.severity === severity &&
      f.code === code &&
      (!object || f.object === object) &&
      (!found || found.test(f.found)),
  )
  assert.ok(match, `no ${severity} ${code} of ${object} ${found ?? ''} among:\n${lines(findings)}`)
  assert.ok(match.needed.length > 3)
  return match
}

for (const major of [17, 15, 18]) {
  describe(`pre-flight (PostgreSQL ${major})`, () => {
    let server
    before(async () => {
      server = await startShapes(major)
    })
    after(() => server?.stop())

    test("finds nothing in the plan's own database, without data and with it", async () => {
      await server.shaped({}, async (db) => assert.deepEqual(await db.findings(), []))
    })

    for (const { kind, root, refused, works } of kinds) {
      // All of them on one version, and one of each kind on the others; some exist on one version only.
      const some = (shapes) => shapes.filter(({ only = 17 }, i) => only === major || (i === 0 && only === 17))

      for (const [i, listed] of some(refused).entries()) {
        const shape = { root, ...listed }
        test(`${kind}: ${shape.what} is refused`, async () => {
          await server.tried(shape, async (db) => {
            const first = await db.findings()
            assertFound(first, shape)
            if (shape.hides) assert.ok(!JSON.stringify(first).includes(shape.hides))
            if (shape.fixes === false) return
            for (const { code, fix } of refusals(first)) {
              assert.ok(fix, `${code} has no statement that mends it`)
              await db.query(fix, undefined, shape.root ? 'supabase_admin' : 'postgres')
            }
            const mended = await db.findings()
            assert.deepEqual(refusals(mended), [], `after the fixes of:\n${lines(first)}`)
          })
          // The first of a kind in a database of its own, which 002 has to leave as it was.
          if (i === 0) await server.shaped(shape, assertRefused)
        })
      }

      for (const listed of some(works)) {
        const shape = { root, ...listed }
        test(`${kind}: ${shape.what} is not refused`, async () => {
          await server.tried(shape, async (db) => {
            const findings = await db.findings()
            assert.deepEqual(refusals(findings), [])
            if (shape.says) assertFound(findings, shape.says)
            if (shape.silent) assert.ok(!findings.some(({ code }) => code === shape.silent), lines(findings))
          })
        })
      }
    }
  })
}

/** 002 says the same, and leaves the database as it was. */
async function assertRefused(db) {
  const findings = refusals(await db.findings())
  const state = await everythingOf(db)
  await db.query("select pg_catalog.set_config('app_secrets.catalogue', $1, false)", [
    JSON.stringify(db.wanted),
  ])
  await assert.rejects(db.query(migration(2)), (error) => {
    assert.equal(error.code, 'AS007', error.message)
    for (const { object, fix } of findings) {
      assert.ok(error.message.includes(object), `${object} is not in: ${error.message}`)
      if (fix) assert.ok(error.hint?.includes(fix), `${fix} is not in: ${error.hint}`)
    }
    return true
  })
  await db.reconnect()
  assert.deepEqual(await everythingOf(db), state)
}
