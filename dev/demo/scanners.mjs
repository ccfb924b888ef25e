// Counts a marker where plaintext may be left: in a dump, in the tables' files, in the log, in the WAL.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export function count(haystack, marker) {
  const needle = Buffer.from(marker)
  const bytes = Buffer.isBuffer(haystack) ? haystack : Buffer.from(haystack)
  let found = 0
  for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + needle.length)) found++
  return found
}

/**
 * Every file of every table, index and TOAST table in the schemas given, once what is in memory is written out.
 * `client` is a superuser's: a checkpoint takes one.
 */
export async function countInTables(client, dataDir, marker, schemas) {
  await client.query('checkpoint')
  const { rows } = await client.query(
    `select c.oid::regclass::text as name, pg_relation_filepath(c.oid) as path
     from pg_class c
     left join pg_class owner on owner.reltoastrelid = c.oid
     left join pg_index i on i.indexrelid = c.oid
     left join pg_class indexed on indexed.oid = i.indrelid
     left join pg_class indexed_owner on indexed_owner.reltoastrelid = indexed.oid
     join pg_namespace n on n.oid = coalesce(
       indexed_owner.relnamespace, owner.relnamespace, indexed.relnamespace, c.relnamespace)
     where n.nspname = any ($1) and pg_relation_filepath(c.oid) is not null`,
    [schemas],
  )
  const hits = new Map()
  for (const { name, path } of rows) {
    for (let segment = 0; ; segment++) {
      const file = join(dataDir, segment ? `${path}.${segment}` : path)
      if (!existsSync(file)) break
      const found = count(readFileSync(file), marker)
      if (found) hits.set(name, (hits.get(name) ?? 0) + found)
    }
  }
  return { files: rows.length, hits, total: [...hits.values()].reduce((sum, n) => sum + n, 0) }
}

export function countInWal(dataDir, marker) {
  const wal = join(dataDir, 'pg_wal')
  return readdirSync(wal)
    .map((name) => join(wal, name))
    .filter((file) => statSync(file).isFile())
    .reduce((sum, file) => sum + count(readFileSync(file), marker), 0)
}
