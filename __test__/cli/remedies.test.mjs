// No remedy that doctor, a hint or the documentation names loses a value, whatever it is used on. `npm test` does each kind of
// damage once and then what is named for it, after which doctor is content; APP_SECRETS_REMEDIES=all also applies each
// remedy, right or wrong, to a copy of each damaged database.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { addon } from '../support/addon.mjs'
import { cliEnds } from '../support/cli.mjs'
import { legacyNames, sealedNames } from '../support/secrets.mjs'
import { startCluster, TestCluster, TestDatabase, withClient } from '../support/servers.mjs'
import { damages } from './remedies-damage.mjs'
import { onlyDropped, remedies } from './remedies-steps.mjs'

// A server of this file's own, since its root key is changed.
let own
let cluster
let key
const bases = new Map()
const isWhole = process.env.APP_SECRETS_REMEDIES === 'all'
const folder = mkdtempSync(join(tmpdir(), 'app-secrets-remedies-'))
before(async () => {
  own = await startCluster(17)
  cluster = new TestCluster(own.description)
  key = readFileSync(own.server.vaultKeyFile)
})
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await own.stop()
})

for (const [what, damage] of Object.entries(damages)) {
  // On its own, the last of the bases: it has fewer copies of a value.
  for (const base of isWhole ? damage.base : damage.base.slice(-1)) {
    if (!isWhole && !damage.named) continue
    test(`${what} (${base})`, async (t) => {
      const harmed = await harm(t, base, damage)
      if (damage.named) await t.test(`named: ${damage.named.join(', ')}`, (t) => mends(t, harmed))
      if (isWhole) await t.test('each remedy on its own', (t) => eachAlone(t, harmed, base))
    })
  }
}

/** After the named remedies doctor is content with what it found before. */
async function mends(t, harmed) {
  const { damage } = harmed
  const given = await open(t, harmed)
  if (damage.check)
    assert.notEqual((await found(given.db))[damage.check]?.level, 'ok', 'doctor sees no damage')
  for (const name of damage.named) await losesNothing(given, name)
  const wrong = Object.values(await found(given.db)).filter(
    ({ id, level }) => level === 'fail' || (id === damage.check && level !== 'ok'),
  )
  assert.deepEqual(
    wrong.map(({ id, found }) => `${id}: ${found}`),
    [],
  )
}

async function eachAlone(t, harmed, base) {
  const failed = []
  let given
  let before
  for (const name of Object.keys(remedies)) {
    if (base === 'synced' && onlyDropped.has(name)) continue
    if (!given) {
      given = await open(t, harmed)
      before = await contents(given.db)
    }
    await losesNothing(given, name).catch((error) => failed.push(error.message))
    // What has changed nothing leaves the copy to the next.
    if (!failed.length && (await contents(given.db)) === before) continue
    await given.db.close()
    given = undefined
  }
  assert.deepEqual(failed, [])
}

/** A copy of the base with the damage done to it. */
async function harm(t, base, damage) {
  const db = await copyOf(t, await baseOf(base))
  const keyFile = join(folder, `${randomBytes(6).toString('hex')}.key`)
  const { backup } = await db.one(
    'select jsonb_agg(to_jsonb(s)) as backup from vault.secrets s',
    [],
    'supabase_admin',
  )
  for (const args of damage.rekey ? [damage.rekey] : []) {
    await cliEnds(0, db, ['rekey', ...args, '--file', keyFile])
  }
  await damage.harm(db)
  await db.close()
  return { db, keyFile, backup, damage }
}

/** A copy of a damaged database, and what remedies need. */
async function open(t, { db, keyFile, backup, damage }) {
  const oldKey = () => writeFileSync(own.server.vaultKeyFile, key)
  const copy = await copyOf(t, db)
  if (damage.key === 'other') {
    writeFileSync(own.server.vaultKeyFile, randomBytes(32))
    t.after(oldKey)
  }
  return { db: copy, backup, keyFile, oldKey, sealed: sealedNames, legacy: legacyNames }
}

/** Applies one remedy and compares what could be read before with what can be read then. */
async function losesNothing(given, name) {
  const first = await stateOf(given.db)
  await remedies[name](given)
  const then = await stateOf(given.db)
  const none = (what, found) => {
    const list = [...found].map(String)
    assert.equal(list.length, 0, `${name}: ${what}: ${list.slice(0, 5).join(', ')}, ${list.length} in all`)
  }
  const without = (some, others) => [...some].filter((one) => !others.has(one))
  // Only one earlier value is kept: a remedy that writes cells replaces it, as every write does, and so does a rollback, which
  // seals text that stands in a cell.
  const writes = /^(set|move|write) /.test(name)
  const wanted = writes || name === 'rollback' ? first.present : first.opens
  none('values that opened before do not any more', without(wanted, then.opens))
  const changed = [...first.reads].filter(([cell, value]) => then.reads.get(cell) !== value)
  const unread = changed.filter(([cell]) => !then.reads.has(cell))
  // That one says of a cell whose plaintext is rightly empty that it is cleared.
  if (name !== 'write the plaintext once more') none('cells that could be read cannot any more', unread)
  if (!writes) none('cells that read otherwise', changed)
  none('references that point to nothing now', without(then.dangling, first.dangling))
  if (name !== 'rollback') none('plaintext that was made', without(then.inClear, first.inClear))
}

/** What can be read, from where, and what stands in clear. */
async function stateOf(db) {
  const { state } = await db.one(
    `with cells as (
       select s.business_id::text || '/' || c.name as cell, to_jsonb(s) ->> c.name as stored, to_jsonb(d) ->> c.name as value
       from public.business_secrets s
       join public.decrypted_business_secrets d using (business_id)
       cross join unnest($1::text[]) as c(name)
     ), rows as (
       select split_part(v.name, '/', 2) || '/' || split_part(v.name, '/', 3) as cell,
         app_secrets.reveal(split_part(v.name, '/', 2)::uuid, substr(v.name, 55), v.id::text) as value,
         v.name like '%/previous' as earlier
       from vault.secrets v
       where v.name ~ '^business_secrets/[0-9a-f-]{36}/'
     ), plain as (
       select b.id::text || '/' || c.name as cell, 'owner' as place, to_jsonb(b) ->> c.name as value
       from public.businesses b cross join unnest($2::text[]) as c(name)
       union all
       select c.cell, 'cell', c.stored from cells c where c.stored !~ '^[0-9a-f-]{36}$'
     )
     select jsonb_build_object(
       'present', (select jsonb_agg(o.cell || '=' || o.value) from (
          select cell, value from rows where not earlier union select cell, btrim(value, E' \\n\\t') from plain) o
          where o.value <> ''),
       'earlier', (select jsonb_agg(r.cell || '=' || r.value) from rows r where r.earlier and r.value <> ''),
       'reads', (select jsonb_agg(jsonb_build_array(c.cell, c.value)) from cells c where c.value is not null),
       'dangling', (select jsonb_agg(c.cell) from cells c where c.value is null and c.stored is not null),
       'inClear', (select jsonb_agg(p.place || ' ' || p.cell) from plain p where btrim(p.value) <> '')) as state`,
    [sealedNames, legacyNames],
    'supabase_admin',
  )
  return {
    present: new Set(state.present),
    opens: new Set([...(state.present ?? []), ...(state.earlier ?? [])]),
    reads: new Map(state.reads),
    dangling: new Set(state.dangling),
    inClear: new Set(state.inClear),
  }
}

async function found(db) {
  const { checks } = await addon.doctor({ url: db.admin, serviceUrl: db.service, full: true })
  return Object.fromEntries(checks.map((check) => [check.id, check]))
}

/** Everything that a remedy could change, in short. */
async function contents(db) {
  const { hash } = await db.one(
    `select md5(concat_ws('|',
       ${[
         'vault.secrets',
         'public.businesses',
         'public.business_secrets',
         'app_secrets.vault_rows',
         'app_secrets.secret_versions',
         'app_secrets.catalogue',
         'app_secrets.settings',
         'app_secrets.rekey',
       ]
         .map(
           (table) =>
             `(select string_agg(t.ctid::text || t.xmin::text, ',' order by t.ctid) from ${table} t)`,
         )
         .join(', ')},
       (select string_agg(t.oid::text || t.tgenabled::text, ',' order by t.oid) from pg_catalog.pg_trigger t),
       (select string_agg(c.oid::text, ',' order by c.oid) from pg_catalog.pg_constraint c),
       (select string_agg(c.relacl::text, ',' order by c.oid) from pg_catalog.pg_class c))) as hash`,
    [],
    'supabase_admin',
  )
  return hash
}

/** A database with values, earlier values and versions, without and with the plaintext columns. */
function baseOf(base) {
  if (!bases.has(base)) {
    const made = (async () => {
      const db = await cluster.freshDatabase(
        { after: () => {} },
        {
          migratedTo: base === 'dropped' ? 5 : 4,
          legacyData: true,
        },
      )
      await db.query(
        `select public.set_business_secrets(b.id, '{"gemini_api_key": "gemini, the second", "google_access_token": "the second"}')
         from public.businesses b where b.name in ('Business 1', 'Business 2', 'Business 9')`,
      )
      await db.query(
        `select public.set_business_secrets(b.id, '{"grok_api_key": null}') from public.businesses b where b.name = 'Business 4'`,
      )
      await db.close()
      return db
    })()
    bases.set(base, made)
  }
  return bases.get(base)
}

let copies = 0
async function copyOf(t, { name: template }) {
  const name = `remedies_${++copies}`
  const maintain = (sql) =>
    withClient(cluster.urlFor('supabase_admin', 'template1'), (client) => client.query(sql))
  await maintain(`create database ${name} owner postgres template ${template}`)
  const db = new TestDatabase(cluster, name)
  t.after(async () => {
    await db.close()
    await maintain(`drop database if exists ${name} with (force)`)
  })
  return db
}
