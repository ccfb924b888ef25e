// Fills the legacy tables with made-up businesses. The same seed gives the same data, on every machine.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { defaultCatalogue } from './default-catalogue.mjs'
import { withClient } from './postgres.mjs'

export const legacyKeys = defaultCatalogue.map(({ legacyColumn }) => legacyColumn).filter(Boolean)

const CHUNK = 5_000
const LONG_TOKEN_BYTES = 8 * 1024

const pads = [' ', '\t', '\n', '  \r\n', '\u00a0', '\u2003', '\u3000', '\ufeff', '\u2028 ']
const blanks = ['', ' ', '\t\n', '\u00a0', '\u2003\ufeff']
const oddities = [
  'ключ',
  '鍵',
  '🔑',
  'é\u0301',
  `"quoted" 'twice'`,
  'back\\slash',
  '{a,NULL,"b"}',
  '$1 $$ %s',
  'x y',
]

/** What the stored value is once it has been moved: trimmed, and null when nothing is left. */
export function normalised(value) {
  return value?.trim() || null
}

/**
 * Business number `index`. The first 256 have every combination of set and unset keys between them. Every key and
 * token that is not blank holds `marker`; names, dates and folder ids never do. With `allKeys` none is unset.
 */
export function legacyBusiness(index, { seed = 1, marker = 'plaintext-marker', allKeys = false } = {}) {
  const random = generator(seed, index)
  const pick = (list) => list[Math.floor(random() * list.length)]
  const mask = allKeys ? 255 : index < 256 ? index : Math.floor(random() * 256)

  const value = (label) => {
    const hex = Array.from({ length: 4 }, () =>
      Math.floor(random() * 2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    ).join('')
    const plain = `${marker}-${label}-${index}-${hex}`
    const kind = random()
    if (kind < 0.04) return pick(blanks)
    if (kind < 0.12) return `${pick(pads)}${plain}${pick(pads)}`
    if (kind < 0.16) return `${plain}-${pick(oddities)}-${pick(oddities)}`
    return plain
  }

  const keys = {}
  legacyKeys.forEach((name, bit) => {
    keys[name] = mask & (1 << bit) ? value(name.replace(/_(api_)?key$/, '')) : null
  })
  if (index % 1000 === 255) keys.youtube_api_key = `${marker}-long-${index}-`.padEnd(LONG_TOKEN_BYTES, 'y')

  // Business 0 has no key at all and 255 has all of them: both have a Google row, so that each case is there.
  const google =
    index === 0 || index === 255 || random() < 0.4
      ? {
          google_access_token: random() < 0.9 ? value('google-access') : null,
          google_refresh_token: random() < 0.9 ? value('google-refresh') : null,
          google_token_expiry: random() < 0.9 ? expiry(random) : null,
          google_drive_folder_id: random() < 0.7 ? `folder-${Math.floor(random() * 1e9)}` : null,
        }
      : null

  return {
    id: uuid(`${seed}/business/${index}`),
    ownerId: index % 50 === 49 ? null : uuid(`${seed}/owner/${Math.floor(index / 3)}`),
    name: `Business ${index}`,
    keys,
    google,
  }
}

/** Makes the legacy tables. `url` is the migration role's. */
export async function createLegacyTables(url) {
  const sql = readFileSync(new URL('legacy-app.sql', import.meta.url), 'utf8')
  await withClient(url, (client) => client.query(sql))
}

/**
 * Inserts businesses, their owners and their Google rows, in one transaction. `url` is a superuser's (auth.users is
 * Supabase's own table). Values go as parameters only, so no statement in a log holds one.
 *
 * @returns {Promise<{ businesses: number, owners: number, keys: number, googleRows: number }>} counts; `keys` is of
 *   values that are not blank
 */
export async function loadLegacyData(url, { businesses = 1000, ...options } = {}) {
  const counts = { businesses, owners: 0, keys: 0, googleRows: 0 }
  await withClient(url, async (client) => {
    await client.query('begin')
    for (let from = 0; from < businesses; from += CHUNK) {
      const length = Math.min(CHUNK, businesses - from)
      const chunk = Array.from({ length }, (_, i) => legacyBusiness(from + i, options))
      await insertChunk(client, chunk, counts)
    }
    await client.query('commit')
    await client.query('analyze public.businesses; analyze public.business_secrets')
  })
  return counts
}

async function insertChunk(client, chunk, counts) {
  const owners = [...new Set(chunk.map((business) => business.ownerId).filter(Boolean))]
  const inserted = await client.query(
    `insert into auth.users (id, email)
     select o.id, o.id || '@example.com' from unnest($1::uuid[]) as o (id) on conflict (id) do nothing`,
    [owners],
  )
  counts.owners += inserted.rowCount

  const columns = [
    ['id', 'uuid', (business) => business.id],
    ['owner_id', 'uuid', (business) => business.ownerId],
    ['name', 'text', (business) => business.name],
    ...legacyKeys.map((name) => [name, 'text', (business) => business.keys[name]]),
  ]
  await insertColumns(client, 'public.businesses', columns, chunk)

  const withGoogle = chunk.filter((business) => business.google)
  const googleColumn = (name, type) => [name, type, (business) => business.google[name]]
  await insertColumns(
    client,
    'public.business_secrets',
    [
      ['business_id', 'uuid', (business) => business.id],
      googleColumn('google_access_token', 'text'),
      googleColumn('google_refresh_token', 'text'),
      googleColumn('google_token_expiry', 'timestamptz'),
      googleColumn('google_drive_folder_id', 'text'),
    ],
    withGoogle,
  )
  counts.googleRows += withGoogle.length
  for (const { keys } of chunk) counts.keys += Object.values(keys).filter(normalised).length
}

async function insertColumns(client, table, columns, rows) {
  const names = columns.map(([name]) => name).join(', ')
  const arrays = columns.map(([, type], i) => `$${i + 1}::${type}[]`).join(', ')
  await client.query(
    `insert into ${table} (${names}) select * from unnest(${arrays})`,
    columns.map(([, , read]) => rows.map(read)),
  )
}

function expiry(random) {
  const start = Date.UTC(2026, 0, 1)
  const date = new Date(start + Math.floor(random() * 365 * 86_400_000)).toISOString()
  // Microseconds, which JavaScript's dates would lose.
  return date.replace(
    'Z',
    `${Math.floor(random() * 1000)
      .toString()
      .padStart(3, '0')}Z`,
  )
}

function uuid(text) {
  const hex = createHash('sha256').update(text).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** A small, fast generator (mulberry32) of its own for every business, so that each can be made alone. */
function generator(seed, index) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
