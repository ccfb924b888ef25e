// The remedies that doctor, the hints of errors and the documentation name, each as a person or a program carries it out.
// One that refuses does so in words; what it must never do is lose a value (see remedies.test.mjs).

import assert from 'node:assert/strict'
import { addon } from '../support/addon.mjs'
import { cli } from '../support/cli.mjs'

/** An operation that may refuse, with a code and words. */
async function orRefuses(work) {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof addon.SecretsError, String(error?.stack ?? error))
    assert.ok(error.message.length > 20, error.message)
  }
}

async function command(db, args, options) {
  const { code, stdout, stderr } = await cli(db, args, options)
  assert.notEqual(code, null, `app-secrets ${args.join(' ')} was killed`)
  if (code !== 0) assert.ok(`${stdout}${stderr}`.length > 20, `app-secrets ${args.join(' ')} says nothing`)
}

const reapply = ({ db }) => orRefuses(() => addon.migrate({ url: db.admin, reapply: true }))

/** Every sealed cell whose value does not open, from Vault's side or the cell's. */
const broken = (db, sealed) =>
  db.query(
    `select s.business_id as id, c.name
     from public.business_secrets s
     join public.decrypted_business_secrets d using (business_id)
     cross join unnest($1::text[]) as c(name)
     where to_jsonb(s) ->> c.name ~ '^[0-9a-f-]{36}$' and to_jsonb(d) ->> c.name is null`,
    [sealed],
  )

export const remedies = {
  migrate: ({ db }) => orRefuses(() => addon.migrate({ url: db.admin })),
  reapply,
  verify: ({ db }) => orRefuses(() => addon.verify({ url: db.admin })),
  'fix orphans': ({ db }) => command(db, ['verify', '--fix-orphans']),
  'put back': ({ db }) => command(db, ['verify', '--fix-orphans', '--put-back']),
  'a new probe': async ({ db }) => {
    const checks = await addon.doctor({ url: db.admin, serviceUrl: db.service })
    const { fix } = checks.checks.find(({ id }) => id === 'vault.key')
    const [, statement] = /(delete from vault\.secrets .*?), then `app-secrets migrate/.exec(fix ?? '') ?? [
      null,
      "delete from vault.secrets where name = 'app_secrets/canary'",
    ]
    await db.query(statement)
    await reapply({ db })
  },
  'set what is broken anew': async ({ db, sealed }) => {
    for (const { id, name } of await broken(db, sealed)) {
      await db
        .query('select public.set_business_secrets($1, jsonb_build_object($2::text, $3::text))', [
          id,
          name,
          `set anew ${id} ${name}`,
        ])
        .catch((error) => assert.match(error.code, /^AS00[0-9]$/, error.message))
    }
  },
  'restore Vault': async ({ db, backup }) => {
    // As its owner, from a backup: what is there stays.
    await db.query(
      `insert into vault.secrets select (jsonb_populate_record(null::vault.secrets, r)).* from jsonb_array_elements($1::jsonb) r
       on conflict do nothing`,
      [JSON.stringify(backup)],
      'supabase_admin',
    )
  },
  'enable the triggers': async ({ db }) => {
    const idle = await db.query(
      `select t.tgrelid::regclass::text as relation, quote_ident(t.tgname) as name
       from pg_catalog.pg_trigger t where t.tgenabled = 'D' and t.tgname like '%app\\_secrets%'`,
    )
    for (const { relation, name } of idle) await db.query(`alter table ${relation} enable trigger ${name}`)
    await orRefuses(() => addon.verify({ url: db.admin }))
  },
  'write the text in cells again': async ({ db, sealed }) => {
    const found = await db.query(
      `select s.business_id as id, c.name, to_jsonb(s) ->> c.name as text
       from public.business_secrets s cross join unnest($1::text[]) as c(name)
       where to_jsonb(s) ->> c.name !~ '^[0-9a-f-]{36}$'`,
      [sealed],
    )
    for (const { id, name, text } of found) {
      await command(db, ['set', id, name], { input: text })
    }
  },
  // As docs/operations.md has it where values differ and the plaintext is right.
  'write the plaintext once more': async ({ db, legacy }) => {
    const [{ synced }] = await db.query('select app_secrets.sync_is_on() as synced')
    if (!synced) return
    const differing = await db.query(
      `select b.id, c.name, to_jsonb(b) ->> c.name as value
       from public.businesses b
       left join public.decrypted_business_secrets d on d.business_id = b.id
       cross join unnest($1::text[]) as c(name)
       where app_secrets.normalize(to_jsonb(b) ->> c.name) is distinct from to_jsonb(d) ->> c.name`,
      [legacy],
    )
    for (const { id, name, value } of differing) {
      if (value === null) {
        await command(db, ['unset', id, name])
        continue
      }
      const write = `update public.businesses set ${name} = $2 where id = $1`
      await db.query('begin')
      try {
        await db.query(write, [id, null])
        await db.query(write, [id, value])
        await db.query('commit')
      } catch (error) {
        await db.query('rollback')
        assert.match(error.code, /^AS00[0-9]$/, error.message)
      }
    }
  },
  'move what came back': async ({ db, legacy }) => {
    const { owner } = await db.one('select owner_table as owner from app_secrets.settings')
    const back = await db.query(
      `select a.attname as name from pg_catalog.pg_attribute a
       join app_secrets.catalogue c on c.legacy_column = a.attname and c.legacy_state = 'dropped'
       where a.attrelid = '${owner}'::regclass and not a.attisdropped and a.attname = any ($1::text[])`,
      [legacy],
    )
    for (const { name } of back) {
      for (const { id, value } of await db.query(
        `select id, ${name} as value from ${owner} where ${name} is not null`,
      )) {
        await db.query('select public.set_business_secrets($1, jsonb_build_object($2::text, $3::text))', [
          id,
          name,
          value,
        ])
      }
      await db.query(`alter table ${owner} drop column ${name}`)
    }
  },
  rollback: ({ db }) => command(db, ['rollback']),
  'abort the change of the root key': ({ db }) => command(db, ['rekey', 'abort']),
  'finish the change of the root key': ({ db, keyFile }) =>
    command(db, ['rekey', 'finish', '--file', keyFile]),
  scrub: ({ db }) => command(db, ['scrub', '--yes-lock-tables', db.name]),
  "the pre-flight's own statements": async ({ db }) => {
    const { checks } = await addon.doctor({ url: db.admin, serviceUrl: db.service })
    for (const { id, level, fix } of checks) {
      if (
        id !== 'preflight' ||
        level === 'ok' ||
        !/^(delete|alter|revoke|grant|update|create|drop) /.test(fix)
      )
        continue
      await db.query(fix)
    }
  },
  'trim what is past its time': ({ db }) => db.query("select * from app_secrets.trim(interval '365 days')"),
  'the old root key': ({ oldKey }) => oldKey(),
}

/** What refuses, or has nothing to do, while there are plaintext columns. */
export const onlyDropped = new Set([
  'move what came back',
  'rollback',
  'abort the change of the root key',
  'finish the change of the root key',
  'scrub',
])
