// Doctor tells what is wrong with Vault from what is wrong with a row.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { breakCipher } from '../support/addon.mjs'
import { cliEnds } from '../support/cli.mjs'
import { breaks, examine, superuser } from '../support/doctor.mjs'
import { addBusiness, set } from '../support/secrets.mjs'
import { startCluster, TestCluster } from '../support/servers.mjs'

breaks(
  'vault.provider',
  'fail',
  /there is none/,
  async function noVault(db) {
    await db.query('drop schema vault cascade', [], superuser)
  },
  { migratedTo: 0 },
)
breaks('vault.key', 'fail', /does not give back/, async function vaultRefuses(db) {
  await db.query('revoke execute on function vault.create_secret from postgres, service_role', [], superuser)
})
breaks('vault.key', 'fail', /the probe that 002 sealed is gone/, async function theCanaryIsGone(db) {
  await db.query("delete from vault.secrets where name = 'app_secrets/canary'")
})

test('a wrong root key is told from a broken row', async (t) => {
  const own = await startCluster(17)
  const db = await new TestCluster(own.description).freshDatabase(t)
  t.after(() => own.stop())
  const [one, other] = [await addBusiness(db), await addBusiness(db)]
  await set(db, one, { grok_api_key: 'one' })
  await set(db, other, { grok_api_key: 'other', claude_api_key: 'another' })

  await breakCipher(db, one, 'grok_api_key')
  const broken = await examine(db)
  assert.equal(broken['vault.key'].level, 'ok')
  assert.equal(broken['cells.decrypt'].level, 'fail')
  assert.match(
    broken['cells.decrypt'].found,
    new RegExp(`values that do not decrypt: 1 \\(grok_api_key of ${one}\\)`),
  )

  writeFileSync(own.server.vaultKeyFile, randomBytes(32))
  // A session keeps the key that it began with.
  await db.close()
  const wrong = await examine(db)
  assert.equal(wrong['vault.key'].level, 'fail')
  assert.match(wrong['vault.key'].found, /not with the root key that the secrets were sealed under/)
  assert.match(wrong['cells.decrypt'].found, /values that do not decrypt: 3/)
  assert.match(wrong['vault.key'].fix, /by a restore: bring back the old root key/)
  assert.match(
    wrong['vault.key'].fix,
    /on purpose: write every value anew \(docs\/operations\.md, "The root key"\)/,
  )

  // On purpose, and every value written anew: what is left to do is the last half of the fix.
  await set(db, one, { grok_api_key: 'one' })
  await set(db, other, { grok_api_key: 'other', claude_api_key: 'another' })
  const resealed = await examine(db)
  assert.equal(resealed['cells.decrypt'].level, 'ok', resealed['cells.decrypt'].found)
  assert.equal(resealed['vault.key'].level, 'warn')
  assert.match(resealed['vault.key'].found, /all of 3 values open, but the probe that 002 sealed does not/)
  const [, statement] = resealed['vault.key'].fix.match(
    /: (delete from .*), then `app-secrets migrate --reapply`/,
  )
  await db.query(statement)
  await cliEnds(0, db, ['migrate', '--reapply'])
  assert.equal((await examine(db))['vault.key'].level, 'ok')
})
