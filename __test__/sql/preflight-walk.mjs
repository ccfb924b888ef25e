// What a database that the pre-flight lets pass has to stand: the migrations, old code's and new code's writes, the proof,
// the drop and the way back.

import assert from 'node:assert/strict'
import { migration } from '../support/migrations.mjs'

const existing = '10000000-0000-4000-8000-000000000014'
const [fresh, doomed] = [1, 2].map((n) => `90000000-0000-4000-8000-00000000000${n}`)
const id = (name) => `"${name.replaceAll('"', '""')}"`

export async function walkToTheEnd(db) {
  const { wanted } = db
  const owner = wanted.owner_table
  const key = id(wanted.owner_key)
  const columnsThere = async () =>
    (
      await db.query(
        `select a.attname as name, a.attnotnull as filled from pg_catalog.pg_attribute a
         where a.attrelid = $1::pg_catalog.regclass and a.attnum > 0 and not a.attisdropped`,
        [owner],
      )
    ).map(({ name, filled }) => [name, filled])
  const before = new Map(await columnsThere())
  const legacy = wanted.secrets.filter(({ legacy_column }) => before.has(legacy_column))
  const sealed = wanted.secrets.filter(({ sealed }) => sealed)

  const apply = async (version) => {
    await db.query("select pg_catalog.set_config('app_secrets.catalogue', $1, false)", [
      JSON.stringify(wanted),
    ])
    await db.query('set app_secrets.drop_also = \'["*"]\'')
    await db.query(migration(version))
    await db.reconnect()
  }
  const one = async (sql, values) => (await db.query(sql, values))[0]
  const values = async (business) => (await one('select public.get_business_secrets($1) as v', [business])).v
  const set = (business, patch) =>
    db.query('select public.set_business_secrets($1, $2)', [business, JSON.stringify(patch)])
  const plain = async (business, column) =>
    (await one(`select ${id(column)}::text as v from ${owner} where ${key} = $1`, [business])).v
  const insert = (business, more = {}) => {
    const columns = { [wanted.owner_key]: business, name: 'Walked', ...more }
    const names = Object.keys(columns).filter((name) => before.has(name))
    return db.query(
      `insert into ${owner} (${names.map(id)}) values (${names.map((_, i) => `$${i + 1}`)})`,
      names.map((name) => columns[name]),
    )
  }
  const differ = async () =>
    (await db.query('select name, mismatched::int as n from app_secrets.verify_legacy()')).filter(
      ({ n }) => n,
    )
  const clearedTo = (column) => (before.get(column) ? '' : null)

  // What old code wrote before.
  await insert(
    existing,
    Object.fromEntries(legacy.map(({ legacy_column }) => [legacy_column, `old ${legacy_column}`])),
  ).catch(async (error) => {
    if (error.code !== '23505') throw error
    for (const { legacy_column } of legacy) {
      await db.query(`update ${owner} set ${id(legacy_column)} = $2 where ${key} = $1`, [
        existing,
        `old ${legacy_column}`,
      ])
    }
  })

  for (const version of [2, 3, 4]) await apply(version)
  assert.deepEqual(
    (await db.findings()).filter(({ severity }) => severity === 'refuse'),
    [],
    'once it is installed',
  )
  await apply(2)
  assert.deepEqual(await differ(), [])
  const first = await values(existing)
  for (const { name, legacy_column } of legacy) assert.equal(first[name], `old ${legacy_column}`)

  // Old code goes on.
  await insert(
    doomed,
    Object.fromEntries(legacy.map(({ legacy_column }) => [legacy_column, `new ${legacy_column}`])),
  )
  for (const { name, legacy_column } of legacy) {
    const column = id(legacy_column)
    assert.equal((await values(doomed))[name], `new ${legacy_column}`)
    await db.query(`update ${owner} set ${column} = $2 where ${key} = $1`, [
      existing,
      `changed ${legacy_column}`,
    ])
    assert.equal((await values(existing))[name], `changed ${legacy_column}`)
    if (!db.pairs) {
      await db.query(
        `update ${owner} set ${column} = ${before.get(legacy_column) ? 'default' : 'null'} where ${key} = $1`,
        [existing],
      )
      assert.equal((await values(existing))[name], null)
    }
  }
  await db.query(`delete from ${owner} where ${key} = $1`, [doomed])

  // New code writes, to a business with a row and to one without.
  await insert(fresh)
  const long = 'k'.repeat(90)
  for (const business of [existing, fresh]) {
    const patch = Object.fromEntries(sealed.map(({ name }) => [name, `${long} ${name} ${business}`]))
    for (const { name, type } of wanted.secrets) {
      if (type === 'timestamptz') patch[name] = '2026-12-01T00:00:00Z'
      else patch[name] ??= 'folder'
    }
    await set(business, patch)
    const got = await values(business)
    for (const { name, type } of wanted.secrets) {
      if (type === 'text') assert.equal(got[name], patch[name])
    }
    for (const { name, legacy_column } of legacy)
      assert.equal(await plain(business, legacy_column), patch[name])
  }
  // As supabase-js does.
  const [{ name: upserted }] = sealed
  await db.query(
    `insert into public.business_secrets (business_id, ${id(upserted)}) values ($1, 'upserted')
     on conflict (business_id) do update set ${id(upserted)} = excluded.${id(upserted)}`,
    [fresh],
  )
  assert.equal((await values(fresh))[upserted], 'upserted')
  // Cleared, and set again for what follows.
  if (!db.pairs) {
    for (const { name, legacy_column } of legacy) {
      await set(fresh, { [name]: null })
      assert.equal((await values(fresh))[name], null)
      assert.equal(
        (await plain(fresh, legacy_column))?.trim() || clearedTo(legacy_column),
        clearedTo(legacy_column),
      )
      await set(fresh, { [name]: `kept ${name}` })
    }
  } else {
    await set(fresh, Object.fromEntries(legacy.map(({ name }) => [name, `kept ${name}`])))
  }
  assert.deepEqual(await differ(), [])

  if (db.dropFirst) await db.query(db.dropFirst)
  await apply(5)
  const without = new Map(await columnsThere())
  for (const { legacy_column } of legacy) assert.ok(!without.has(legacy_column))
  const dropped = await values(fresh)
  for (const { name } of legacy) assert.equal(dropped[name], `kept ${name}`)
  await db.query(`update ${owner} set ${key} = ${key}`)
  assert.deepEqual(
    (await db.findings()).filter(({ severity }) => severity === 'refuse'),
    [],
    'once the columns are gone',
  )

  await db.query('select app_secrets.begin_restore()')
  if (legacy.length) {
    for (let i = 0; i < 10; i++) {
      if ((await one('select finished from app_secrets.restore_batch(1000)')).finished) break
    }
    const lost = (await db.query('select * from app_secrets.finish_restore()')).filter(
      ({ restored }) => !restored,
    )
    assert.deepEqual(lost, [])
    for (const { name, legacy_column } of legacy)
      assert.equal(await plain(fresh, legacy_column), `kept ${name}`)
    for (const { legacy_column } of legacy) {
      await db.query(`update ${owner} set ${id(legacy_column)} = 'again' where ${key} = $1`, [existing])
    }
    assert.deepEqual(await differ(), [])
  }
  await db.query(`delete from ${owner} where ${key} = $1`, [fresh])
  const vault = await one(
    "select count(*)::int as n from vault.secrets where name like 'business\\_secrets/' || $1 || '/%'",
    [fresh],
  )
  assert.equal(vault.n, 0, 'a deleted business leaves nothing in Vault')
}
