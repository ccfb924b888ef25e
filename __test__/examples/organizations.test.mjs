// Another app than the plan's goes from plaintext to migrated to dropped to rolled back, from its app-secrets.json alone.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { pgDump } from '../../dev/pg-dump.mjs'
import { addon, openClient } from '../support/addon.mjs'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'

const folder = new URL('../../examples/organizations/', import.meta.url)
const config = fileURLToPath(new URL('app-secrets.json', folder))
const { secrets } = JSON.parse(readFileSync(config, 'utf8'))
const names = secrets.map(({ name }) => name)
/** The default catalogue's, none of which may be anywhere. */
const strangers = /gemini|grok|claude|youtube|kling|whatsapp|global_sms|google/i

const [admin, member, stranger] = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`)
const [ours, theirs] = [1, 2].map((n) => `70000000-0000-4000-8000-00000000000${n}`)

test('organizations: plaintext, migrated, dropped, rolled back, and dropped for good', async (t) => {
  const db = await organizations(t)
  const run = async (code, ...args) => {
    const result = await cliEnds(code, db, [...args, '--config', config])
    // Doctor names the logins of the whole cluster, those of the tests beside this one too.
    const said = (result.stdout + result.stderr).replace(/\w+_test_\d+_\d+/g, 'login')
    assert.doesNotMatch(said, strangers)
    return result
  }
  const before = await plaintext(db)

  await t.test('the dry run lists what would be done, and changes nothing', async () => {
    const { stdout } = await run(0, 'migrate', '--dry-run')
    assert.match(stdout, /5 values in plaintext, of 2 businesses/)
    const [{ schema }] = await db.query("select to_regnamespace('app_secrets') as schema")
    assert.equal(schema, null)
  })

  await run(0, 'migrate')
  await db.query("select app_secrets.grant_scope('app_service', array['*'], true, true)")
  const client = await openClient(t, db)

  await t.test('every value is in Vault, and both codes write', async () => {
    assert.deepEqual({ ...(await client.getMany(ours, names)) }, sealedOf(before.get(ours)))
    assert.deepEqual(await plaintext(db), before)
    await writesOfOldCode(db, client)
    await writesOfNewCode(db, client, { hasPlaintext: true })
    await signedIn(db)
    await nothingOfOthers(db)
    await run(0, 'verify')
    await run(0, 'status')
    await run(0, 'doctor')
  })

  await t.test('the columns go, and new code goes on', async () => {
    await run(0, 'migrate', '--drop-legacy', '--yes-drop-plaintext', db.name)
    assert.deepEqual(await columns(db), ['uid', 'title', 'plan'])
    await db.query("update public.organizations set title = 'New title' where uid = $1", [ours])
    await writesOfNewCode(db, client, { hasPlaintext: false })
    await signedIn(db)
    await nothingOfOthers(db)
    await run(0, 'verify')
    await run(0, 'status')
  })

  await t.test('the way back gives every column what the secrets hold now', async () => {
    const held = await client.getMany(ours, names)
    await run(0, 'rollback')
    assert.deepEqual(await columns(db), [
      'uid',
      'title',
      'plan',
      'stripeSecretKey',
      'sendgrid_key',
      'slack_bot_token',
      'smtp_password',
    ])
    assert.deepEqual(sealedOf((await plaintext(db)).get(ours)), { ...held })
    // As it was declared: NOT NULL with a blank default, for the organization that has none and for the next one.
    assert.equal((await plaintext(db)).get(theirs).smtp_password, '')
    await db.query("insert into public.organizations (title) values ('The next')")
    await writesOfOldCode(db, client)
    await writesOfNewCode(db, client, { hasPlaintext: true })
    await signedIn(db)
    await run(0, 'verify')
    await run(0, 'status')
  })

  await t.test('and it can be dropped again', async () => {
    await run(0, 'migrate', '--drop-legacy', '--yes-drop-plaintext', db.name)
    assert.deepEqual(await columns(db), ['uid', 'title', 'plan'])
    await writesOfNewCode(db, client, { hasPlaintext: false })
    await nothingOfOthers(db)
    await run(0, 'verify')
  })
})

test('from code, the same file makes the same', async (t) => {
  const db = await organizations(t)
  const { applied } = await addon.migrate({ url: db.admin, config })
  assert.deepEqual(applied, [2, 3, 4])
  assert.equal((await addon.status({ url: db.admin, config })).pending, false)
  assert.equal((await addon.doctor({ url: db.admin, config })).healthy, true)
  const known = await db.query('select name::text from app_secrets.catalogue order by position')
  assert.deepEqual(
    known.map(({ name }) => name),
    names,
  )
  await nothingOfOthers(db)
  // Once the database knows, the file is not asked any more.
  assert.deepEqual((await addon.migrate({ url: db.admin })).applied, [])
})

async function organizations(t) {
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query(
    'drop table public.business_secrets, public.businesses; drop function public.touch_updated_at()',
  )
  await db.query(readFileSync(new URL('schema.sql', folder), 'utf8'))
  await db.query('insert into auth.users (id) select unnest($1::uuid[])', [[admin, member, stranger]])
  await db.query(
    `insert into public.organizations (uid, title, "stripeSecretKey", sendgrid_key, slack_bot_token, smtp_password)
     values ($1, 'Ours', 'sk_live_ours', ' SG.ours ', null, 'mail-ours'), ($2, 'Theirs', 'sk_live_theirs', null, 'xoxb-theirs', '')`,
    [ours, theirs],
  )
  await db.query(
    `insert into public.members (organization_uid, user_id, is_admin)
     values ($1, $3, true), ($1, $4, false), ($2, $5, true)`,
    [ours, theirs, admin, member, stranger],
  )
  return db
}

/** What the plaintext columns hold, by organization. */
async function plaintext(db) {
  const rows = await db.query('select to_jsonb(o) as row from public.organizations o order by uid')
  return new Map(rows.map(({ row }) => [row.uid, row]))
}

/** The same as the secrets' names and values. */
function sealedOf(row) {
  return Object.fromEntries(
    secrets.map(({ name, legacy_column }) => [name, row[legacy_column]?.trim() || null]),
  )
}

async function columns(db) {
  const rows = await db.query(
    `select attname::text as name from pg_attribute
     where attrelid = 'public.organizations'::regclass and attnum > 0 and not attisdropped order by attnum`,
  )
  return rows.map(({ name }) => name)
}

async function writesOfOldCode(db, client) {
  await db.query(
    `update public.organizations set "stripeSecretKey" = 'sk_old_code', smtp_password = '' where uid = $1`,
    [ours],
  )
  assert.deepEqual(
    { ...(await client.getMany(ours, ['stripe_secret_key', 'smtp_password'])) },
    { stripe_secret_key: 'sk_old_code', smtp_password: null },
  )
  const { uid } = await db.one(
    `insert into public.organizations (title, slack_bot_token) values ('Signed up', 'xoxb-new') returning uid`,
  )
  assert.equal(await client.get(uid, 'slack_bot_token'), 'xoxb-new')
  await db.query('delete from public.organizations where uid = $1', [uid])
  const [{ left }] = await db.query(
    "select count(*)::int as left from vault.secrets where name like 'business_secrets/' || $1 || '/%'",
    [uid],
  )
  assert.equal(left, 0)
}

async function writesOfNewCode(db, client, { hasPlaintext }) {
  await client.setMany(ours, { sendgrid_api_key: 'SG.new', smtp_password: 'new mail', slack_bot_token: null })
  const held = { ...(await client.getMany(ours, names)) }
  assert.deepEqual(
    [held.sendgrid_api_key, held.smtp_password, held.slack_bot_token],
    ['SG.new', 'new mail', null],
  )
  if (hasPlaintext) assert.deepEqual(sealedOf((await plaintext(db)).get(ours)), held)
  await client.delete(ours, 'smtp_password')
  if (hasPlaintext) assert.equal((await plaintext(db)).get(ours).smtp_password, '')
  await client.undo(ours, 'smtp_password')
  assert.equal(await client.get(ours, 'smtp_password'), 'new mail')
}

/** An admin sees and writes the organization's secrets; a member who is none, and another's admin, do not. */
async function signedIn(db) {
  const read = (sub) =>
    db.as('authenticated', { sub }, async (session) => {
      const { rows } = await session.query(
        'select business_id, sendgrid_api_key from public.decrypted_business_secrets where business_id = $1',
        [ours],
      )
      return rows
    })
  await db.as('authenticated', { sub: admin }, (session) =>
    session.query(
      `insert into public.business_secrets (business_id, sendgrid_api_key) values ($1, 'SG.page')
       on conflict (business_id) do update set sendgrid_api_key = excluded.sendgrid_api_key`,
      [ours],
    ),
  )
  assert.deepEqual(await read(admin), [{ business_id: ours, sendgrid_api_key: 'SG.page' }])
  assert.deepEqual(await read(member), [])
  assert.deepEqual(await read(stranger), [])
  await assert.rejects(
    db.as('authenticated', { sub: member }, (session) =>
      session.query(
        "insert into public.business_secrets (business_id, sendgrid_api_key) values ($1, 'SG.x')",
        [ours],
      ),
    ),
    { code: '42501' },
  )
}

/** Neither the schema nor any list knows a name of the default catalogue. */
async function nothingOfOthers(db) {
  const dump = await pgDump(db.admin, ['--schema-only', '--schema=public', '--schema=app_secrets'])
  const found = dump.split('\n').filter((line) => strangers.test(line))
  assert.deepEqual(found, [])
  const { names: listed } = await cliJson(db, ['names', 'list'])
  assert.deepEqual(
    listed.map(({ name }) => name),
    names,
  )
  const shown = await db.query('select name::text from public.business_secret_names')
  assert.deepEqual(shown.map(({ name }) => name).toSorted(), names.toSorted())
}
