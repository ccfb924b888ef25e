// The migration files as they are sent: whole, or statement by statement as psql does.

import { readdirSync, readFileSync } from 'node:fs'

const folder = new URL('../../migrations/', import.meta.url)
const files = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => [Number.parseInt(name, 10), readFileSync(new URL(name, folder), 'utf8')]),
)

export const versions = [...files.keys()].sort((a, b) => a - b)

export function migration(version) {
  const text = files.get(version)
  if (!text) throw new Error(`no migration ${version}`)
  return text
}

/** Sends a file as psql does: each statement on its own, with the comments before it. */
export async function applyAsPsql(client, version) {
  for (const statement of statements(migration(version))) await client.query(statement)
}

/** Splits SQL at the semicolons that are in no comment, string, quoted name or dollar quote. */
export function statements(sql) {
  const token =
    /--[^\n]*|\/\*.*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$(?:[a-z_]\w*)?\$).*?\1|;|[^-/'"$;]+|./gis
  const found = []
  let current = ''
  let code = false
  for (const [part] of sql.matchAll(token)) {
    current += part
    if (part === ';') {
      if (code) found.push(current)
      current = ''
      code = false
    } else if (!/^(--|\/\*)/.test(part) && part.trim()) {
      code = true
    }
  }
  if (code) found.push(current)
  return found
}
