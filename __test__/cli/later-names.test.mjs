// Names that come after the migration, before 005 and after it: the same files, the same commands, the state of each name decides.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { assertIntact } from '../support/invariants.mjs'
import { addBusiness, get, set } from '../support/secrets.mjs'

for (const major of majors) {
  test(`a name that comes after 005, and a plaintext column that is found then, go the same way (PostgreSQL ${major})`, async (t) => {
    const db = await freshDatabase(t, major, { legacyData: true })
    const drop = () => cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
    const state = async (name) =>
      (await cliJson(db, ['names', 'list'])).names.find((entry) => entry.name === name).legacyState
    await drop()
    const id = await addBusiness(db)

    await db.query("select app_secrets.add_secret('openai_api_key', 'OpenAI')")
    await set(db, id, { openai_api_key: 'sk-openai' })
    assert.equal((await get(db, id)).openai_api_key, 'sk-openai')
    await cliEnds(0, db, ['status'])

    await db.query('alter table public.businesses add column mailgun text')
    await db.query("update public.businesses set mailgun = 'mg-' || name")
    await cliEnds(0, db, ['names', 'add', 'mailgun_key', '--label', 'Mailgun', '--legacy-column', 'mailgun'])
    // The sync stands at once; what was there already waits for the fill, and 005 for its proof.
    assert.equal(await state('mailgun_key'), 'synced')
    const { id: fresh } = await db.one(
      "insert into public.businesses (name, mailgun) values ('New', 'mg-new') returning id",
    )
    assert.equal((await get(db, fresh)).mailgun_key, 'mg-new')
    assert.equal((await cliJson(db, ['status'])).next, 'migrate')
    await cliEnds(0, db, ['migrate'])
    assert.equal(await state('mailgun_key'), 'filled')
    assert.equal((await get(db, id)).mailgun_key, 'mg-A business')
    await set(db, id, { mailgun_key: 'mg-by-new-code' })
    assert.equal(
      (await db.one('select mailgun from public.businesses where id = $1', [id])).mailgun,
      'mg-by-new-code',
    )
    await cliEnds(0, db, ['verify'])

    await drop()
    assert.equal(await state('mailgun_key'), 'dropped')
    assert.deepEqual((await cliJson(db, ['status'])).plaintextColumns, [])
    assert.equal((await get(db, id)).mailgun_key, 'mg-by-new-code')
    await cliEnds(0, db, ['migrate', '--reapply'])
    assert.equal((await get(db, id)).openai_api_key, 'sk-openai')
    await cliEnds(0, db, ['verify'])
    await assertIntact(db)
  })
}

test('migrate --reapply keeps the names that were added and retired, before 005 and after it', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const id = await addBusiness(db)
  await cliEnds(0, db, ['names', 'add', 'stripe_secret_key', '--label', 'Stripe'])
  await cliEnds(0, db, ['names', 'add', 'short_lived_key'])
  await set(db, id, { stripe_secret_key: 'sk-stripe', short_lived_key: 'x' })
  await cliEnds(0, db, ['names', 'retire', 'short_lived_key', '--even-if-set'])
  const known = async () => (await cliJson(db, ['names', 'list'])).names
  const before = await known()

  for (const dropped of [false, true]) {
    if (dropped) await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
    const then = dropped ? await known() : before
    await db.query('drop view public.decrypted_business_secrets')
    await db.query('drop function public.get_business_secrets(uuid, text[])')
    await cliEnds(0, db, ['migrate', '--reapply'])
    assert.deepEqual(await known(), then)
    assert.equal((await get(db, id)).stripe_secret_key, 'sk-stripe')
    const row = await db.one('select * from public.decrypted_business_secrets where business_id = $1', [id])
    assert.equal(row.stripe_secret_key, 'sk-stripe')
    assert.equal(row.short_lived_key, null)
    // Of new names no orphan, and the view keeps everybody in his own rows.
    const { orphans, verified } = await cliJson(db, ['verify'])
    assert.deepEqual([verified, orphans.count], [true, 0])
    const { options } = await db.one(
      "select reloptions as options from pg_class where oid = 'public.decrypted_business_secrets'::regclass",
    )
    assert.deepEqual(options.toSorted(), ['security_barrier=true', 'security_invoker=true'])
    await cliEnds(0, db, ['doctor'])
  }
})

test('where a project uses the Supabase CLI, add and retire say what is to be emitted next', async (t) => {
  const db = await freshDatabase(t, 17)
  const project = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(project, { recursive: true }))
  const folder = join('supabase', 'migrations')
  const { stdout } = await cliEnds(0, db, ['names', 'add', 'first_key'], { cwd: project })
  assert.match(stdout, /^For the Supabase CLI: app-secrets emit --dir /m)

  mkdirSync(join(project, folder), { recursive: true })
  const next = `Next: app-secrets emit --dir ${folder}`
  const added = await cliEnds(0, db, ['names', 'add', 'second_key'], { cwd: project })
  assert.ok(added.stdout.includes(next), added.stdout)
  const retired = await cliEnds(0, db, ['names', 'retire', 'first_key'], { cwd: project })
  assert.ok(retired.stdout.includes(next), retired.stdout)
  // Where nothing was changed there is nothing to emit.
  const again = await cliEnds(0, db, ['names', 'add', 'second_key'], { cwd: project })
  assert.doesNotMatch(again.stdout, /emit/)
})
