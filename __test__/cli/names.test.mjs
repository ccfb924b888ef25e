import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, get, set } from '../support/secrets.mjs'

test('a secret is added by one command, read and written at once, and retired by another', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const added = await cliEnds(0, db, ['names', 'add', 'stripe_secret_key', '--label', 'Stripe'])
  assert.match(added.stdout, /stripe_secret_key is known from now on/)
  await set(db, id, { stripe_secret_key: 'sk-marker-0123456789' })
  assert.equal((await get(db, id)).stripe_secret_key, 'sk-marker-0123456789')
  const again = await cliJson(db, ['names', 'add', 'stripe_secret_key', '--label', 'Stripe'])
  assert.equal(again.outcome, 'same')

  const { names } = await cliJson(db, ['names', 'list'])
  const entry = names.find(({ name }) => name === 'stripe_secret_key')
  assert.deepEqual(
    { ...entry },
    {
      name: 'stripe_secret_key',
      label: 'Stripe',
      sealed: true,
      type: 'text',
      legacyColumn: null,
      legacyState: 'none',
      inPlace: 'none',
      retired: false,
      set: 1,
    },
  )
  const { stdout } = await cliEnds(0, db, ['names', 'list'])
  assert.match(stdout, /^stripe_secret_key +Stripe +sealed +- +1$/m)
  assert.match(stdout, /^gemini_api_key +Google Gemini +sealed +gemini_api_key, kept equal +0$/m)

  const refused = await cliEnds(6, db, ['names', 'retire', 'stripe_secret_key'])
  assert.match(refused.stderr, /is set for 1 businesses/)
  assert.equal((await get(db, id)).stripe_secret_key, 'sk-marker-0123456789')
  await cliEnds(0, db, ['names', 'retire', 'stripe_secret_key', '--even-if-set'])
  assert.equal('stripe_secret_key' in (await get(db, id)), false)
  const kept = await db.one(
    `select count(*)::int as n from vault.secrets where name like '%/stripe_secret_key%'`,
  )
  assert.equal(kept.n, 0)
})

test('an addition that ended between its two tables writes to both, and the same command completes it', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  await db.query('alter table public.businesses add column mailgun text')
  await db.query("select app_secrets.add_secret('mailgun_key', 'Mailgun', 'mailgun', p_owner => false)")
  const legacy = async () =>
    (await db.one('select mailgun from public.businesses where id = $1', [id])).mailgun

  await set(db, id, { mailgun_key: 'from new code' })
  assert.equal(await legacy(), 'from new code')
  await db.query("update public.businesses set mailgun = 'from old code' where id = $1", [id])
  assert.equal((await get(db, id)).mailgun_key, 'from new code', 'the owner table does not write back yet')
  assert.match((await cliEnds(4, db, ['verify'])).stdout, /mailgun/)
  assert.match((await cliEnds(2, db, ['doctor'])).stdout, /the sync with the plaintext columns/)

  const add = ['names', 'add', 'mailgun_key', '--label', 'Mailgun', '--legacy-column', 'mailgun']
  assert.equal((await cliJson(db, add)).outcome, 'same')
  await db.query("update public.businesses set mailgun = 'from old code again' where id = $1", [id])
  assert.equal((await get(db, id)).mailgun_key, 'from old code again')
  await cliEnds(0, db, ['migrate'])
  await cliEnds(0, db, ['verify'])
  await cliEnds(0, db, ['doctor'])
})

test('names that are none, are taken or are unknown get a code and change nothing', async (t) => {
  const db = await freshDatabase(t, 17)
  const before = (await cliJson(db, ['names', 'list'])).names
  for (const [code, pattern, ...args] of [
    [1, /1 to 48 lower-case letters/, 'add', 'sk_LIVE_marker'],
    [1, /reserved/, 'add', 'updated_at'],
    [1, /missing: --not-sealed/, 'add', 'ends_at', '--time'],
    [6, /has no column/, 'add', 'stripe_secret_key', '--legacy-column', 'no_such_column'],
    [
      6,
      /a legacy column of its own for each secret/,
      'add',
      'another_key',
      '--legacy-column',
      'gemini_api_key',
    ],
    [6, /is there already as text, sealed/, 'add', 'gemini_api_key', '--not-sealed'],
    [1, /did you mean gemini_api_key\?/, 'retire', 'geminiApiKey'],
    [1, /there is no secret of that name/, 'retire', 'sk_live_marker_4711'],
    [6, /still stands in/, 'retire', 'gemini_api_key'],
  ]) {
    const { stdout, stderr } = await cliEnds(code, db, ['names', ...args])
    assert.match(stderr, pattern)
    assert.doesNotMatch(stdout + stderr, /marker/)
  }
  assert.deepEqual((await cliJson(db, ['names', 'list'])).names, before)
})

test('types are written for the names that the database knows, and checked', async (t) => {
  const db = await freshDatabase(t, 17)
  const file = join(folder(t), 'secrets.d.ts')
  // The service's login is enough.
  await cliEnds(0, db, ['types', '--out', file], { env: { ADMIN_DATABASE_URL: '' } })
  const text = readFileSync(file, 'utf8')
  assert.match(text, /declare module '@app\/secrets' \{\n {2}interface Register \{\n {4}secretName:\n/)
  assert.match(text, /\n {6}\| 'gemini_api_key'\n/)
  await cliEnds(0, db, ['types', '--out', file, '--check'])
  await cliEnds(0, db, ['names', 'add', 'openai_api_key'])
  await cliEnds(2, db, ['types', '--out', file, '--check'])
  assert.equal(readFileSync(file, 'utf8'), text)
  await cliEnds(0, db, ['types', '--out', file])
  assert.match(readFileSync(file, 'utf8'), /'openai_api_key'/)
  const { stdout } = await cliEnds(0, db, ['types'])
  assert.equal(stdout, readFileSync(file, 'utf8'))
})

test('init proposes what the plan has for the plan’s database, and changes nothing', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  const file = join(folder(t), 'app-secrets.json')
  const before = await db.one('select count(*)::int as n from pg_class')
  const { stdout } = await cliEnds(0, db, ['init', '--out', file])
  assert.match(stdout, /Owner table +public\.businesses, key id/)
  const proposed = JSON.parse(readFileSync(file, 'utf8'))
  assert.deepEqual(await db.one('select count(*)::int as n from pg_class'), before)

  const migrated = await freshDatabase(t, 17)
  const recorded = join(folder(t), 'app-secrets.json')
  await cliEnds(0, migrated, ['init', '--out', recorded])
  assert.deepEqual(proposed, JSON.parse(readFileSync(recorded, 'utf8')))

  writeFileSync(file, 'mine')
  await cliEnds(6, db, ['init', '--out', file])
  assert.equal(readFileSync(file, 'utf8'), 'mine')
  await cliEnds(0, db, ['init', '--out', file, '--force'])
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), proposed)
})

test('init finds another app’s owner, who may access it, and what is a secret', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query(`
    drop table public.business_secrets, public.businesses cascade;
    create table public.organizations (
      uid uuid primary key default gen_random_uuid(), admin_id uuid references auth.users (id), title text not null,
      "stripeSecretKey" text, sendgrid_api_key varchar(200), slack_bot_token text, smtp_password text,
      stripe_publishable_key text, api_key_created_at timestamptz, webhook_secret_hash text);
    create table public.members (id uuid primary key, organization uuid references public.organizations);
    create function public.my_organization_ids() returns setof uuid language sql stable security definer as
      $$ select uid from public.organizations where admin_id = auth.uid() $$;`)
  const file = join(folder(t), 'app-secrets.json')
  const { stdout } = await cliEnds(0, db, ['init', '--out', file])
  assert.match(stdout, /There is public\.my_organization_ids\(\) too/)
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), {
    owner_table: 'public.organizations',
    owner_key: 'uid',
    access: { column: 'admin_id' },
    secrets: [
      ['stripe_secret_key', 'Stripe secret key', 'stripeSecretKey'],
      ['sendgrid_api_key', 'Sendgrid API key', 'sendgrid_api_key'],
      ['slack_bot_token', 'Slack bot token', 'slack_bot_token'],
      ['smtp_password', 'SMTP password', 'smtp_password'],
    ].map(([name, label, legacy_column]) => ({ name, label, sealed: true, type: 'text', legacy_column })),
  })
})

test('init refuses what is not clear, and writes nothing', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query(`
    drop table public.business_secrets, public.businesses cascade;
    create table public.tenants (id uuid primary key, name text);
    create table public.numbers (id bigint primary key, api_key text)`)
  const file = join(folder(t), 'app-secrets.json')
  for (const [code, pattern, ...args] of [
    [6, /no column that looks like a secret/, '--table', 'tenants'],
    [6, /no ordinary table of that name with a primary key of type uuid/, '--table', 'public.numbers'],
    [1, /no column of type uuid of that name/, '--table', 'tenants', '--access-column', 'name'],
    [1, /1 to 48 lower-case/, '--table', 'tenants', '--names', 'Not a name'],
  ]) {
    const { stderr } = await cliEnds(code, db, ['init', '--out', file, ...args])
    assert.match(stderr, pattern)
    assert.equal(existsSync(file), false)
  }
  const { stdout } = await cliEnds(0, db, [
    'init',
    '--out',
    file,
    '--table',
    'tenants',
    '--names',
    'openai_api_key',
  ])
  assert.match(stdout, /signed-in users will read nothing/)
  assert.deepEqual(
    JSON.parse(readFileSync(file, 'utf8')).secrets.map(({ name, label }) => [name, label]),
    [['openai_api_key', 'OpenAI API key']],
  )
})

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

test('a property of app-secrets.json that nobody reads is refused, with its file, its path and the one that was meant', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'wanted.json')
  const wanted = (secret) => {
    const catalogue = {
      owner_table: 'public.businesses',
      owner_key: 'id',
      access: { column: 'owner_id' },
      secrets: [{ name: 'gemini_api_key', label: 'Gemini', ...secret }],
    }
    writeFileSync(file, `\ufeff${JSON.stringify(catalogue)}`)
  }
  wanted({ legacyColumn: 'gemini_api_key' })
  for (const args of [['migrate', '--dry-run'], ['migrate'], ['status'], ['doctor']]) {
    const { stderr } = await cliEnds(1, db, [...args, '--config', file])
    assert.ok(stderr.includes(`${file} has an unknown property`), stderr)
    assert.match(stderr, /secrets\[1\]\.legacyColumn: did you mean legacy_column\?/)
  }
  assert.equal((await db.one("select to_regclass('app_secrets.catalogue') as found")).found, null)
  wanted({ legacy_column: 'gemini_api_key' })
  await cliEnds(0, db, ['migrate', '--config', file])
})
