// The root key is replaced on a server of this test's own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { app, installApp } from '../../dev/app-install.mjs'
import { createLegacyTables, loadLegacyData } from '../../dev/legacy-data.mjs'
import { applyMigrations, createServiceLogin } from '../../dev/migrate.mjs'
import { startPostgres } from '../../dev/postgres.mjs'
import { cliEnds } from '../support/cli.mjs'

test('every secret is carried over to a new root key', async (t) => {
  const cluster = await startPostgres()
  t.after(() => cluster.stop())
  await createLegacyTables(cluster.urlFor('postgres'))
  await loadLegacyData(cluster.urlFor('supabase_admin'), { businesses: 60 })
  await applyMigrations(cluster.urlFor('postgres'), { to: 5 })
  const service = await createServiceLogin(cluster)
  const clear = async () => {
    const { rows } = await cluster.sql('select * from public.decrypted_business_secrets order by business_id')
    return rows.map(({ updated_at: _, ...values }) => values)
  }
  const before = await clear()

  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-reseal-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const ids = join(folder, 'ids.txt')
  writeFileSync(ids, before.map((row) => row.business_id).join('\n'))
  await installApp()
  const child = spawn(process.execPath, [join(app, 'scripts/reseal.js'), ids], {
    env: { ...process.env, APP_SECRETS_URL: service },
  })
  // Where this test fails it would wait for Enter for ever.
  t.after(() => child.kill())
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
  const ended = once(child, 'close')
  while (!output.includes('press Enter')) await Promise.race([once(child.stdout, 'data'), ended])
  const [, found] = output.match(/^(\d+) secrets of/)

  await cluster.stopImmediate()
  // Written over, not replaced: the file stays the server's own.
  writeFileSync(cluster.vaultKeyFile, randomBytes(32))
  await cluster.restart()
  const broken = await clear()
  assert.ok(broken.every((row) => row.gemini_api_key === null && row.google_refresh_token === null))

  child.stdin.end('\n')
  const [code] = await ended
  assert.equal(code, 0, output)
  assert.match(output, new RegExp(`${found} secrets are sealed under the new root key`))
  assert.doesNotMatch(output, /plaintext-marker/)
  assert.deepEqual(await clear(), before)
  // As docs/operations.md says: what tells a wrong root key from a broken row is made anew.
  const canary = "select decrypted_secret from vault.decrypted_secrets where name = 'app_secrets/canary'"
  await assert.rejects(cluster.sql(canary), /invalid ciphertext/)
  await cluster.sql("delete from vault.secrets where name = 'app_secrets/canary'", { role: 'postgres' })
  await cliEnds(0, { admin: cluster.urlFor('postgres'), service }, ['migrate', '--reapply'])
  assert.equal((await cluster.sql(canary)).rowCount, 1)
})
