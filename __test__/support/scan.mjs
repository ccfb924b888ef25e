// Looks for text in a server's files, as somebody who got hold of the disk would.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'

/** The files below `folder` that hold `text`, as paths relative to it. */
export function filesWith(folder, text) {
  const wanted = Buffer.from(text)
  const found = []
  for (const path of walk(folder)) {
    let content
    try {
      content = readFileSync(path)
    } catch (error) {
      // The server removes files of its own as it goes.
      if (error.code === 'ENOENT') continue
      throw error
    }
    if (content.includes(wanted)) found.push(relative(folder, path))
  }
  return found
}

function* walk(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* walk(path)
    else if (entry.isFile() && statSync(path, { throwIfNoEntry: false })) yield path
  }
}

/** Which of some relations hold `text` in their files (heap, TOAST and indexes), with all that is in memory written out. */
export async function relationsWith(db, relations, text) {
  await db.query('checkpoint', [], 'supabase_admin')
  const files = await db.query(
    `with top as (select name, name::regclass::oid as oid from unnest($1::text[]) as r(name)),
     heaps as (
         select name, oid from top
         union all
         select t.name, c.reltoastrelid from top t join pg_class c on c.oid = t.oid where c.reltoastrelid <> 0
     ),
     everything as (
         select name, oid from heaps
         union all
         select h.name, i.indexrelid from heaps h join pg_index i on i.indrelid = h.oid
     )
     select name, pg_relation_filepath(oid) as path from everything`,
    [relations],
  )
  const wanted = Buffer.from(text)
  const holds = ({ path }) => readFileSync(join(db.cluster.dataDir, path)).includes(wanted)
  return [...new Set(files.filter(holds).map(({ name }) => name))].sort()
}
