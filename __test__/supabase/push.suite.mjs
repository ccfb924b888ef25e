// What `emit` writes, pushed by the real Supabase CLI: `npm run test:supabase`. Not part of `npm test`, because the CLI is a
// download of its own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { installLocked } from '../../dev/node.mjs'
import { pgDump } from '../../dev/pg-dump.mjs'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { legacyApp } from '../support/legacy-app.mjs'
import { clear, legacy } from '../support/secrets.mjs'

const ID = '10000000-0000-4000-8000-000000000006'

test('what the Supabase CLI pushes is what migrate makes, and our own status agrees', async (t) => {
  const project = supabaseProject(t)
  const pushed = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const migrated = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const before = await legacy(pushed, ID)
  const emit = async (db, ...args) => (await cliJson(db, ['emit', '--dir', project.folder, ...args])).files

  await t.test('the expanding files, and the data that they seal', async () => {
    assert.equal((await emit(pushed)).length, 3)
    await project.push(pushed)
    await cliEnds(0, migrated, ['migrate'])
    await assertSame(pushed, migrated)
    assert.deepEqual(await states(pushed), ['applied', 'applied', 'applied', 'pending'])
    await cliEnds(0, pushed, ['status'])
    await cliEnds(0, pushed, ['verify'])
    const after = await clear(pushed, ID)
    for (const [name, value] of Object.entries(before)) assert.equal(after[name], value.trim() || undefined)
    assert.ok(Object.keys(before).length > 2)
    // There is nothing left for either of them to do.
    assert.deepEqual(await emit(pushed), [])
    assert.deepEqual((await cliJson(pushed, ['migrate'])).applied, [])
  })

  await t.test('names that were added and retired since', async () => {
    await cliEnds(0, migrated, ['names', 'add', 'stripe_secret_key', '--label', "Stripe's"])
    await cliEnds(0, migrated, ['names', 'add', 'smtp_password'])
    assert.equal((await emit(migrated)).length, 1)
    await project.push(pushed)
    await assertSame(pushed, migrated)
    await cliEnds(0, migrated, ['names', 'retire', 'smtp_password'])
    assert.equal((await emit(migrated)).length, 1)
    await project.push(pushed)
    await assertSame(pushed, migrated)
    await cliEnds(0, pushed, ['status'])
  })

  await t.test('the drop is pushed only where it was asked for, and proves everything itself', async () => {
    assert.deepEqual(await emit(migrated), [])
    const [file, ...others] = await emit(migrated, '--drop-legacy')
    assert.match(file, /^\d{14}_app_secrets_005_drop_columns\.sql$/)
    assert.deepEqual(others, [])

    // A value that went around the triggers stops it, and nothing is dropped.
    const corrupt = async (key) => {
      await pushed.query('set session_replication_role = replica', [], 'supabase_admin')
      await pushed.query(
        'update public.businesses set gemini_api_key = $2 where id = $1',
        [ID, key],
        'supabase_admin',
      )
    }
    await corrupt('around the triggers')
    const refused = await project.run(pushed)
    assert.notEqual(refused.code, 0)
    assert.match(refused.output, /AS006/)
    assert.doesNotMatch(refused.output, /around the triggers/)
    assert.equal((await legacy(pushed, ID)).gemini_api_key, 'around the triggers')
    assert.deepEqual(await states(pushed), ['applied', 'applied', 'applied', 'pending'])
    await corrupt(before.gemini_api_key)

    await project.push(pushed)
    await cliEnds(0, migrated, ['migrate', '--drop-legacy', '--yes-drop-plaintext', migrated.name])
    await assertSame(pushed, migrated)
    assert.deepEqual(await states(pushed), ['applied', 'applied', 'applied', 'applied'])
    await cliEnds(0, pushed, ['status'])
    assert.deepEqual(Object.keys(await legacy(pushed, ID)), [])
    assert.equal((await clear(pushed, ID)).gemini_api_key, before.gemini_api_key)
  })

  await t.test('a branch that is made of the folder alone is whole', async () => {
    const branch = await freshDatabase(t, 17, { migratedTo: 0 })
    await branch.query(
      'drop table public.business_secrets, public.businesses; drop function public.touch_updated_at()',
    )
    writeFileSync(join(project.folder, '20240101000000_app.sql'), legacyApp)
    await project.push(branch)
    await assertSame(branch, pushed)
    assert.deepEqual(await states(branch), ['applied', 'applied', 'applied', 'applied'])
    await cliEnds(0, branch, ['status'])
    const { rows } = await listed(branch)
    assert.equal(rows, readdirSync(project.folder).length)
  })
})

test('the drop takes what nobody asked for only where the file says so by name', async (t) => {
  const project = supabaseProject(t)
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  await db.query('create index keys_by_gemini on public.businesses (gemini_api_key, name)')
  const emit = (...args) => cliEnds(0, db, ['emit', '--dir', project.folder, ...args])
  await emit()
  await project.push(db)
  await emit('--drop-legacy')
  const refused = await project.run(db)
  assert.notEqual(refused.code, 0)
  assert.match(refused.output, /keys_by_gemini/)
  assert.equal((await legacy(db, ID)).gemini_api_key, 'gemini-6')

  const [contract] = readdirSync(project.folder).filter((name) => name.includes('_005_'))
  rmSync(join(project.folder, contract))
  await emit('--drop-legacy', '--also-drop', 'public.keys_by_gemini')
  await project.push(db)
  assert.deepEqual(await states(db), ['applied', 'applied', 'applied', 'applied'])
})

/** Schema, catalogue, settings and ledger of both are the same, the times apart. */
async function assertSame(one, other) {
  const schema = async (db) =>
    (await pgDump(db.admin, ['--schema-only', '--exclude-schema=supabase_migrations'])).replace(
      /^\\(un)?restrict .*$/gm,
      '',
    )
  assert.equal(await schema(one), await schema(other))
  const known = async (db) =>
    db.one(
      `select (select jsonb_agg(to_jsonb(c) order by c.position) from app_secrets.catalogue c) as catalogue,
         (select jsonb_agg(to_jsonb(s)) from app_secrets.settings s) as settings,
         (select jsonb_agg(jsonb_build_array(m.version, m.checksum) order by m.version) from app_secrets.migrations m) as files`,
    )
  const times = ({ catalogue, ...rest }) => ({
    ...rest,
    catalogue: catalogue.map((entry) => ({
      ...entry,
      added_at: Boolean(entry.added_at),
      retired_at: Boolean(entry.retired_at),
    })),
  })
  assert.deepEqual(times(await known(one)), times(await known(other)))
}

async function states(db) {
  return (await cliJson(db, ['status'])).files.map(({ state }) => state)
}

function listed(db) {
  return db.one('select count(*)::int as rows from supabase_migrations.schema_migrations')
}

/** A project's folder with the CLI in it. `run` gives `{ code, output }`, `push` wants 0. */
function supabaseProject(t) {
  const cli = supabaseCli()
  const root = mkdtempSync(join(tmpdir(), 'app-secrets-project-'))
  t.after(() => rmSync(root, { recursive: true }))
  const folder = join(root, 'supabase', 'migrations')
  mkdirSync(folder, { recursive: true })
  const run = async (db) => {
    // Nothing of the person's own: no token, no settings, no statistics sent.
    const env = { PATH: process.env.PATH, HOME: root, SUPABASE_HOME: join(root, 'home'), DO_NOT_TRACK: '1' }
    const args = ['db', 'push', '--db-url', db.admin, '--workdir', root, '--yes']
    const child = spawn(cli, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    const [code] = await once(child, 'close')
    return { code, output }
  }
  const push = async (db) => {
    const { code, output } = await run(db)
    assert.equal(code, 0, output)
    return output
  }
  return { folder, run, push }
}

function supabaseCli() {
  const binaries = fileURLToPath(new URL('./binaries/', import.meta.url))
  installLocked(binaries)
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const folder = join(binaries, 'node_modules', '@supabase', `cli-${system}-${process.arch}`)
  return join(folder, 'bin', process.platform === 'win32' ? 'supabase.exe' : 'supabase')
}
