// A rollback under a root key that is not the one of the secrets changes nothing, and goes on once the right one is back.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { cliEnds } from '../support/cli.mjs'
import { schemaOf } from '../support/fingerprint.mjs'
import { startCluster, TestCluster } from '../support/servers.mjs'

test('a rollback under another root key is refused at its start, and in its middle', async (t) => {
  const own = await startCluster(17)
  const db = await new TestCluster(own.description).freshDatabase(t, { migratedTo: 5, legacyData: true })
  // After the database's own end, which wants the server.
  t.after(() => own.stop())
  const key = readFileSync(own.server.vaultKeyFile)
  const other = () => writeFileSync(own.server.vaultKeyFile, randomBytes(32))
  const refused = async () => {
    other()
    const { stderr } = await cliEnds(6, db, ['rollback'])
    assert.match(stderr, /root key is another one/)
    writeFileSync(own.server.vaultKeyFile, key)
  }
  const before = await schemaOf(db)
  await refused()
  assert.deepEqual(await schemaOf(db), before)

  await db.query('select app_secrets.begin_restore()')
  await db.query('select app_secrets.restore_batch(5)')
  await refused()
  const filled = () =>
    db.one('select count(gemini_api_key)::integer as keys, count(*)::integer as rows from public.businesses')
  assert.deepEqual(await filled(), { keys: 5, rows: 40 })
  await cliEnds(0, db, ['rollback'])
  assert.deepEqual(await filled(), { keys: 40, rows: 40 })
  await cliEnds(0, db, ['verify'])
})
