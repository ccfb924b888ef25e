// Names that come after the migration, before 005 and after it: the same files, the same commands, the state of each name decides.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { assertIntact } from '../support/invariants.mjs'
import { addBusiness, get, legacyNames, set } from '../support/secrets.mjs'

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

test('a rollback brings back what names had that were dropped earlier, retired ones too', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query(`
    alter table public.businesses alter grok_api_key type varchar(300), alter claude_api_key set default 'none yet',
      add stripe text;
    create index by_youtube on public.businesses (youtube_api_key);
    comment on index public.by_youtube is 'of the app';
    alter table public.businesses add constraint short check (length(grok_api_key) < 200);
    comment on constraint short on public.businesses is 'of the app';
    alter table public.businesses alter grok_api_key set statistics 7, alter grok_api_key set storage external,
      alter grok_api_key set compression pglz, alter grok_api_key set (n_distinct = 5)`)
  await cliEnds(0, db, ['migrate'])
  const id = await addBusiness(db, { youtube_api_key: 'youtube', grok_api_key: 'grok' })
  const drop = (...args) =>
    cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name, ...args])
  await drop()
  await cliEnds(0, db, ['names', 'add', 'stripe_key', '--label', 'Stripe', '--legacy-column', 'stripe'])
  await cliEnds(0, db, ['migrate'])
  await drop()
  await cliEnds(0, db, ['names', 'retire', 'youtube_api_key', '--even-if-set'])
  await cliEnds(0, db, ['rollback'])
  const columns = await db.query(
    `select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, pg_get_expr(d.adbin, d.adrelid) as value
     from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = 'public.businesses'::regclass and a.attname in ('grok_api_key', 'claude_api_key') order by 1`,
  )
  assert.deepEqual(columns, [
    { name: 'claude_api_key', type: 'text', value: "'none yet'::text" },
    { name: 'grok_api_key', type: 'character varying(300)', value: null },
  ])
  const { comments, ...settings } = await db.one(`
    select attstattarget as statistics, attstorage as storage, attcompression as compression, attoptions as options,
      array[obj_description('public.by_youtube'::regclass, 'pg_class'),
        (select obj_description(oid, 'pg_constraint') from pg_constraint where conname = 'short')] as comments
    from pg_attribute where attrelid = 'public.businesses'::regclass and attname = 'grok_api_key'`)
  assert.deepEqual(settings, { statistics: 7, storage: 'e', compression: 'p', options: ['n_distinct=5'] })
  assert.deepEqual(comments, ['of the app', 'of the app'])

  // Old code writes the column of the name that was retired: it is in use again, and no plaintext stands alone.
  await db.query("update public.businesses set youtube_api_key = 'from old code' where id = $1", [id])
  assert.equal((await get(db, id)).youtube_api_key, 'from old code')
  await cliEnds(0, db, ['verify'])
  await drop()
  assert.equal((await get(db, id)).youtube_api_key, 'from old code')
})

test('columns that somebody else dropped are not brought back, in words; the last name stays', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  for (const name of legacyNames) await db.query(`alter table public.businesses drop column ${name} cascade`)
  const { stderr } = await cliEnds(0, db, ['migrate', '--reapply'])
  assert.match(stderr, /businesses\.gemini_api_key: no such column any more/)
  assert.match((await cliEnds(6, db, ['rollback'])).stderr, /somebody else dropped the plaintext columns/)
  const names = (await cliJson(db, ['names', 'list'])).names.map(({ name }) => name)
  for (const name of names.slice(1)) await cliEnds(0, db, ['names', 'retire', name, '--even-if-set'])
  assert.match((await cliEnds(6, db, ['names', 'retire', names[0]])).stderr, /the only secret there is/)
})

test('of two names that had one column after the other, rollback brings back the one in use', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  const id = await addBusiness(db, { gemini_api_key: 'first' })
  await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await cliEnds(0, db, ['names', 'retire', 'gemini_api_key', '--even-if-set'])
  await db.query('alter table public.businesses add gemini_api_key text')
  await cliEnds(0, db, ['names', 'add', 'gemini', '--label', 'Gemini', '--legacy-column', 'gemini_api_key'])
  await set(db, id, { gemini: 'second' })
  await cliEnds(0, db, ['rollback'])
  await db.query("update public.businesses set gemini_api_key = 'third' where id = $1", [id])
  const values = await get(db, id)
  assert.equal(values.gemini, 'third')
  assert.equal('gemini_api_key' in values, false)
})

test('what a rollback could not put back is kept through another drop', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query("alter table public.businesses add constraint long check (gemini_api_key like 'AIza%')")
  await cliEnds(0, db, ['migrate'])
  await addBusiness(db, { gemini_api_key: 'AIza-one' })
  const drop = () => cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  await drop()
  await db.query("update public.business_secrets set gemini_api_key = 'another'")
  await cliEnds(2, db, ['rollback'])
  await drop()
  await db.query("update public.business_secrets set gemini_api_key = 'AIza-two'")
  assert.match((await cliEnds(0, db, ['rollback'])).stdout, /Put back/)
  assert.equal((await db.query("select from pg_constraint where conname = 'long'")).length, 1)
})

test('a name whose columns the pre-flight would refuse is refused, and nothing is changed', async (t) => {
  const db = await freshDatabase(t, 17)
  await db.query(`
    alter table public.businesses add a text not null default 'none', add b varchar(20), add c text check (c is not null) default 'x';
    alter table public.business_secrets add d integer, add e text not null default 'x'`)
  for (const [name, pattern, ...args] of [
    ['a', /businesses\.a: NOT NULL/, '--legacy-column', 'a'],
    ['b', /businesses\.b: the type character varying\(20\)/, '--legacy-column', 'b'],
    ['c', /businesses\.c: the constraint/, '--legacy-column', 'c'],
    ['d', /business_secrets\.d: the type integer/],
    ['e', /business_secrets\.e: NOT NULL/],
  ]) {
    const { stderr } = await cliEnds(6, db, ['names', 'add', name, '--label', 'A name', ...args])
    assert.match(stderr, pattern)
  }
  assert.deepEqual(
    await db.query("select from app_secrets.catalogue where name in ('a', 'b', 'c', 'd', 'e')"),
    [],
  )
  await cliEnds(0, db, ['migrate', '--reapply'])
})

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
