// pg_dump, as other suites use it to look at what leaves the server in a backup.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pgDump } from '../../dev/pg-dump.mjs'
import { startPostgres, withClient } from '../../dev/postgres.mjs'

let cluster
let source

before(async () => {
  cluster = await startPostgres()
  source = await cluster.createDatabase()
  await withClient(source.admin, (client) =>
    client.query(`
      create table public.things (id int primary key, value text);
      insert into public.things select n, 'thing-' || n || repeat(' ключ', 100) from generate_series(1, 2000) n;
      select vault.create_secret('only-as-ciphertext', 'a secret')`),
  )
})
after(() => cluster?.stop())

test('a dump holds the rows, and of a secret only its ciphertext', async () => {
  const dump = await pgDump(source.superuser)
  assert.match(dump, /Dumped by pg_dump version/)
  assert.ok(dump.includes('thing-2000 '))
  assert.ok(dump.includes('a secret'))
  assert.ok(!dump.includes('only-as-ciphertext'))
})

test('a dump can be restored', async () => {
  const dump = await pgDump(source.admin, ['--table=public.things'])
  const target = await cluster.createDatabase()
  await withClient(target.admin, (client) => client.query(dump))
  const contents =
    'select count(*)::int as n, md5(string_agg(value, $1 order by id)) as hash from public.things'
  const read = (url) => withClient(url, async (client) => (await client.query(contents, [','])).rows)
  assert.deepEqual(await read(target.admin), await read(source.admin))
})

test('what pg_dump refuses is an error with its message', async () => {
  await assert.rejects(pgDump(source.admin, ['--table=public.none']), /no matching tables were found/)
})
