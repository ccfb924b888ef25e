// Names are data: a secret, or a column of the app's, may have the name of a parameter, a variable or an alias of our own SQL.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { migrationFiles } from '../../dev/migrate.mjs'
import { cliEnds } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertIntact } from '../support/invariants.mjs'

/** What our functions call their parameters, variables and aliases, as far as it can be a secret's name. */
function identifiers() {
  const found = new Set('abcdefghijklmnopqrstuvwxyz')
  for (const { sql } of migrationFiles()) {
    for (const [, name] of sql.matchAll(/\b([pv]_[a-z_]{1,46})\b/g)) found.add(name)
    for (const [, list] of sql.matchAll(/\bas [a-z]\(([a-z_, ]+)\)/g)) {
      for (const name of list.split(', ')) found.add(name)
    }
    for (const [, name] of sql.matchAll(/\bout "?([a-z_]+)"? [a-z]/g)) found.add(name)
  }
  return [...found].sort()
}

/** What no secret may be called, and the key of the owner table here. */
const taken = ['business_id', 'updated_at', 'id']

test('the names are found', () => {
  const all = identifiers()
  for (const name of ['p_business_id', 'p_ids', 'v_token', 's', 'b', 'name', 'stored'])
    assert.ok(all.includes(name), name)
})

/** More than the 100 arguments that PostgreSQL lets a function have. */
const SIZE = 150
const usable = identifiers().filter((name) => !taken.includes(name))
for (let from = 0; from < usable.length; from += SIZE) {
  const names = usable.slice(from, from + SIZE)
  test(`secrets named ${names[0]} … ${names.at(-1)}`, async (t) => {
    const db = await freshDatabase(t, 17, { migratedTo: 0 })
    await db.query(`
      drop table public.business_secrets, public.businesses cascade;
      create table public.businesses (id uuid primary key, ${names.map((name) => `"${name}" text`).join(', ')})`)
    const id = '10000000-0000-4000-8000-000000000001'
    await db.query(
      `insert into public.businesses (id, ${names.map((name) => `"${name}"`).join(', ')}) values ($1, ${names.map((name) => `'of ${name}'`).join(', ')})`,
      [id],
    )
    const catalogue = {
      owner_table: 'public.businesses',
      owner_key: 'id',
      access: null,
      secrets: names.map((name) => ({ name, label: name, legacy_column: name })),
    }
    await db.query("select set_config('app_secrets.catalogue', $1, false)", [JSON.stringify(catalogue)])
    for (const { version, sql } of migrationFiles()) if (version < 5) await db.query(sql)

    const read = async () => {
      const { result } = await db.one('select public.get_business_secrets($1) as result', [id], 'app_service')
      return result
    }
    const expected = Object.fromEntries(names.map((name) => [name, `of ${name}`]))
    assert.deepEqual(await read(), expected)
    const write = async (values) => {
      await db.query(
        'select public.set_business_secrets($1, $2)',
        [id, JSON.stringify(values)],
        'app_service',
      )
      Object.assign(expected, values)
      assert.deepEqual(await read(), expected)
    }
    for (const name of names) await write({ [name]: `set ${name}` })
    await write(Object.fromEntries(names.map((name) => [name, `all ${name}`])))
    await db.query(
      `update public.businesses set ${names.map((name) => `"${name}" = 'old ${name}'`).join(', ')} where id = $1`,
      [id],
    )
    for (const name of names) expected[name] = `old ${name}`
    assert.deepEqual(await read(), expected)
    await db.query('delete from public.business_secrets')
    assert.deepEqual(
      Object.values(await read()).filter((value) => value !== null),
      [],
    )
    for (const name of names) expected[name] = null
    await write(Object.fromEntries(names.map((name) => [name, `new ${name}`])))
    await assertIntact(db)

    await cliEnds(0, db, ['verify', '--fix-orphans'])
    await cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
    assert.deepEqual(await read(), expected)
    await cliEnds(0, db, ['rollback'])
    const row = await db.one('select to_jsonb(b.*) - $1 as row from public.businesses b', ['id'])
    assert.deepEqual(row.row, expected)
    await write({ [names[0]]: 'after the rollback' })
    await cliEnds(0, db, ['migrate', '--reapply'])
    await db.query('delete from public.businesses')
    await assertIntact(db)
  })
}
