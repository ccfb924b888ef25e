// Vault's root key is changed, on servers of this file's own: others share theirs.
//
// APP_SECRETS_REKEY_KILLS sets how often each step is killed; `npm test` does it a few times.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { createLegacyTables, loadLegacyData } from '../../dev/legacy-data.mjs'
import { applyMigrations, createServiceLogin } from '../../dev/migrate.mjs'
import { startPostgres } from '../../dev/postgres.mjs'
import { cliEnds, cliJson, startCli } from '../support/cli.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { filesWith } from '../support/scan.mjs'

const kills = Number(process.env.APP_SECRETS_REKEY_KILLS ?? 3)
const folder = mkdtempSync(join(tmpdir(), 'app-secrets-rekey-'))
after(() => rmSync(folder, { recursive: true, force: true }))

test('every secret, earlier ones too, is carried over to a new root key without a new version', async (t) => {
  const { cluster, db, state, id } = await migrated(t, { businesses: 60 })
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'first-plaintext-marker' })
  const before = await state()
  const file = join(folder, 'whole.key')
  const begun = await cliJson(db, ['rekey', 'begin', '--file', file])
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual([begun.frozen, begun.broken], [false, 0])

  // Written after it was wrapped: --freeze wraps it again.
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'between-plaintext-marker' })
  const frozen = await cliJson(db, ['rekey', 'begin', '--freeze', '--file', file])
  assert.equal(frozen.frozen, true)
  for (const args of [
    ['set', id, 'grok_api_key'],
    ['set', id, 'claude_api_key'],
    ['unset', id, 'grok_api_key'],
    ['undo', id, 'grok_api_key'],
  ]) {
    const { stderr } = await cliEnds(1, db, args, { input: 'refused-value' })
    assert.doesNotMatch(stderr, /refused-value/)
  }
  const whole = await state()
  assert.notDeepEqual(whole, before)

  await cluster.newRootKey()
  assert.equal(
    (await state()).every(({ gemini_api_key }) => gemini_api_key === null),
    true,
  )
  const { stdout } = await cliEnds(0, db, ['rekey', 'finish', '--file', file])
  assert.match(stdout, /every value opens/)
  assert.deepEqual(await state(), whole)
  const left = await cluster.sql(
    `select (select count(*) from app_secrets.rekey_wraps)::int as wraps,
       (select count(*) from app_secrets.settings where frozen_at is not null)::int as frozen,
       (select count(*) from vault.secrets s where not exists (select from app_secrets.vault_rows r
         where r.vault_id = s.id and r.role <> 'former'))::int as orphans`,
  )
  assert.deepEqual(left.rows, [{ wraps: 0, frozen: 0, orphans: 0 }])
  await cliEnds(0, db, ['undo', id, 'grok_api_key'])
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'after' })
  await cliEnds(6, db, ['rekey', 'begin', '--file', file])
})

test('it may be finished by a superuser, and by a login whose sessions are the owner of the tables', async (t) => {
  const { cluster, db, state } = await migrated(t, { businesses: 3 })
  const before = await state()
  await cluster.createLogin('deployer', { memberOf: ['postgres'] })
  await cluster.sql('alter role deployer set role = postgres')
  for (const role of ['supabase_admin', 'deployer']) {
    const own = { ...db, admin: cluster.urlFor(role) }
    const file = join(folder, `${role}.key`)
    await cliEnds(0, own, ['rekey', 'begin', '--file', file])
    await cliEnds(0, own, ['rekey', 'begin', '--freeze', '--file', file])
    await cluster.newRootKey()
    await cliEnds(0, own, ['rekey', 'finish', '--file', file])
    assert.deepEqual(await state(), before, role)
  }
})

test('what is not in order gets a code, and changes nothing', async (t) => {
  const { cluster, db, state } = await migrated(t, { businesses: 5 })
  const before = await state()
  const [file, other, wrong] = ['one.key', 'other.key', 'wrong.key'].map((name) => join(folder, name))
  writeFileSync(wrong, 'not a key')
  for (const args of [['finish', '--file', file], ['abort'], ['begin', '--file', wrong]]) {
    await cliEnds(6, db, ['rekey', ...args])
  }
  assert.equal(existsSync(file), false)
  await cliEnds(0, db, ['rekey', 'begin', '--freeze', '--file', file])
  await cliEnds(6, db, ['rekey', 'begin', '--file', other])
  assert.equal(existsSync(other), false)
  writeFileSync(other, readFileSync(file, 'utf8').replace(/\S{10}=\n$/, 'AAAAAAAAAA=\n'), { mode: 0o600 })
  await cliEnds(6, db, ['rekey', 'begin', '--file', other])
  // The root key is the same as before.
  assert.match((await cliEnds(6, db, ['rekey', 'finish', '--file', file])).stderr, /still the one/)
  await cliEnds(0, db, ['rekey', 'abort'])
  assert.deepEqual(await state(), before)

  await cliEnds(0, db, ['rekey', 'begin', '--freeze', '--file', other.replace('other', 'second')])
  await cluster.newRootKey()
  await cliEnds(6, db, ['rekey', 'abort'])
  await cliEnds(6, db, ['rekey', 'finish', '--file', file])
  await cliEnds(0, db, ['rekey', 'finish', '--file', other.replace('other', 'second')])
  assert.deepEqual(await state(), before)
})

test('it is refused while plaintext is kept equal', async (t) => {
  const { db } = await migrated(t, { businesses: 2, to: 4 })
  const file = join(folder, 'early.key')
  const { stderr } = await cliEnds(6, db, ['rekey', 'begin', '--file', file])
  assert.match(stderr, /plaintext/)
})

test(`killed ${kills} times in each step, it loses nothing, and no plaintext is on the disk`, async (t) => {
  const seed = randomSeed()
  t.diagnostic(`APP_SECRETS_TEST_SEED=${seed}`)
  const random = generator(seed)
  const { cluster, db, state } = await migrated(t, { businesses: 150 })
  const before = await state()
  // What only this change could put on the disk: the migration's own data was plaintext once.
  await cluster.sql(
    `update public.business_secrets s set grok_api_key = 'rekeyed-' || repeat('marker', 20) || s.business_id`,
    { role: 'postgres' },
  )
  const whole = await state()
  assert.notDeepEqual(whole, before)
  const file = join(folder, 'killed.key')
  const killed = async (args) => {
    for (let round = 0; round < kills; round++) {
      const run = startCli(db, args)
      await delay(random.next() * 2500)
      run.child.kill('SIGKILL')
      await run.ended
    }
    const { code, stdout, stderr } = await startCli(db, args).ended
    // Killed after its end, a step has nothing left to do.
    assert.ok(code === 0 || (code === 6 && /no change of the root key/.test(stderr)), stdout + stderr)
  }
  await killed(['rekey', 'begin', '--freeze', '--file', file])
  assert.deepEqual(await state(), whole)
  await cluster.newRootKey()
  await killed(['rekey', 'finish', '--file', file])
  assert.deepEqual(await state(), whole)

  await cluster.sql('checkpoint')
  const marker = `rekeyed-${'marker'.repeat(20)}`
  const found = () => filesWith(cluster.dataDir, marker)
  assert.deepEqual(found(), [])
  // The search finds what is there.
  await cluster.sql(`create table public.control as select '${marker}'::text as value`)
  await cluster.sql('checkpoint')
  assert.notDeepEqual(found(), [])
})

/** A migrated server of its own: `state()` is every value, in clear, with its version and the value before. */
async function migrated(t, { businesses, to = 5 }) {
  const cluster = await startPostgres()
  t.after(() => cluster.stop())
  await createLegacyTables(cluster.urlFor('postgres'))
  await loadLegacyData(cluster.urlFor('supabase_admin'), { businesses })
  await applyMigrations(cluster.urlFor('postgres'), { to })
  const db = { admin: cluster.urlFor('postgres'), service: await createServiceLogin(cluster) }
  const state = async () => {
    const { rows } = await cluster.sql(
      `select d.*, (select jsonb_object_agg(v.name, v.version) from app_secrets.secret_versions v
           where v.business_id = d.business_id) as versions,
         (select jsonb_object_agg(r.name, md5(app_secrets.reveal(d.business_id, r.name || '/previous', r.vault_id::text)))
           from app_secrets.vault_rows r where r.business_id = d.business_id and r.role = 'previous') as earlier
       from public.decrypted_business_secrets d order by d.business_id`,
    )
    return rows
  }
  const { rows } = await cluster.sql(
    'select business_id from public.business_secrets order by business_id limit 1',
  )
  return { cluster, db, state, id: rows[0]?.business_id }
}
