// Who is measured. Each gives `get(business)` over the same function, the same login and the same number of connections.

import { createRequire } from 'node:module'
import pg from 'pg'
import postgres from 'postgres'
import { Batcher, Lanes } from './batching.mjs'

import { NAME, READ, READ_COLUMNS } from './read.mjs'

const { connect } = createRequire(import.meta.url)('../index.js')

export const CONNECTIONS = 8

/** A copy of the database whose reads look up no scope and leave no mark. */
export const UNSCOPED = 'without_scopes_and_marks'

/** `{ name: async (url) => ({ get, close }) }`. */
export const contenders = {
  async ours(url) {
    const secrets = await connect({ url, maxConnections: CONNECTIONS })
    return { get: (business) => secrets.get(business, NAME), close: () => secrets.close() }
  },

  async 'ours, without scopes and marks'(url) {
    const copy = new URL(url)
    copy.pathname = `/${UNSCOPED}`
    return contenders.ours(copy.href)
  },

  /** The same client kept from batching: as many of one connection each, which are given one call at a time. */
  async 'ours, one get a query'(url) {
    const clients = []
    for (let i = 0; i < CONNECTIONS; i++) clients.push(await connect({ url, maxConnections: 1 }))
    const lanes = new Lanes(clients, (secrets, business) => secrets.get(business, NAME))
    return {
      get: (business) => lanes.run(business),
      close: () => Promise.all(clients.map((client) => client.close())),
    }
  },

  async pg(url) {
    const pool = pgPool(url)
    return {
      get: async (business) => value(await pgRead(pool, [business]), 0),
      close: () => pool.end(),
    }
  },

  async postgres(url) {
    const sql = postgresClient(url)
    return {
      get: async (business) => value(await postgresRead(sql, [business]), 0),
      close: () => sql.end(),
    }
  },

  async 'pg, batched in JS'(url) {
    const pool = pgPool(url)
    const batcher = new Batcher(CONNECTIONS, (businesses) => pgRead(pool, businesses), value)
    return { get: (business) => batcher.get(business), close: () => pool.end() }
  },

  async 'postgres, batched in JS'(url) {
    const sql = postgresClient(url)
    const batcher = new Batcher(CONNECTIONS, (businesses) => postgresRead(sql, businesses), value)
    return { get: (business) => batcher.get(business), close: () => sql.end() }
  },

  async 'pg, batched in JS, by columns'(url) {
    const pool = pgPool(url)
    const batcher = new Batcher(CONNECTIONS, (businesses) => pgReadColumns(pool, businesses), item)
    return { get: (business) => batcher.get(business), close: () => pool.end() }
  },

  async 'postgres, batched in JS, by columns'(url) {
    const sql = postgresClient(url)
    const batcher = new Batcher(CONNECTIONS, (businesses) => postgresReadColumns(sql, businesses), item)
    return { get: (business) => batcher.get(business), close: () => sql.end() }
  },
}

export const plainPeers = ['pg', 'postgres']
export const batchedPeers = ['pg, batched in JS', 'postgres, batched in JS']
/** The same batching over the function that ours reads through. */
export const columnPeers = ['pg, batched in JS, by columns', 'postgres, batched in JS, by columns']

// Arrays as literals and rows as arrays: the quickest form of both peers.

const list = (items) => `{${items.join(',')}}`
const nameLists = new Map()

/** `{name,name,…}`, made once for each length. */
function names(count) {
  if (!nameLists.has(count)) nameLists.set(count, list(Array(count).fill(NAME)))
  return nameLists.get(count)
}

const pgPool = (connectionString) => new pg.Pool({ connectionString, max: CONNECTIONS })

async function pgRead(pool, businesses) {
  const values = [list(businesses), names(businesses.length)]
  const { rows } = await pool.query({ name: 'read', text: READ, values, rowMode: 'array' })
  return rows
}

const postgresClient = (url) => postgres(url, { max: CONNECTIONS, fetch_types: false })

function postgresRead(sql, businesses) {
  return sql`select ord, value, version, status from public.get_business_secrets_batch(
    ${list(businesses)}::uuid[], ${names(businesses.length)}::text[])`.values()
}

/** The least that has to be checked: the answer is that of this element, and it is one. */
function value(rows, at) {
  const [ord, text, , status] = rows[at]
  if (ord !== at + 1 || (status !== 'ok' && status !== 'not_set')) throw new Error(`answer ${ord}: ${status}`)
  return text
}

// Arrays as text, split: what is measured holds nothing that would be quoted, and a real parser of arrays is slower.

const asText = { getTypeParser: () => (text) => text }
const split = (array) => array.slice(1, -1).split(',')

async function pgReadColumns(pool, businesses) {
  const values = [list(businesses), names(businesses.length)]
  const query = { name: 'columns', text: READ_COLUMNS, values, rowMode: 'array', types: asText }
  const { rows } = await pool.query(query)
  return rows[0].map(split)
}

async function postgresReadColumns(sql, businesses) {
  const [row] = await sql`select "values", statuses from public.get_business_secrets_columns(
    ${list(businesses)}::uuid[], ${names(businesses.length)}::text[], false)`.values()
  return row.map(split)
}

function item([values, statuses], at) {
  if (statuses[at] !== '0' && statuses[at] !== '1') throw new Error(`answer ${at}: ${statuses[at]}`)
  return values[at] === 'NULL' ? null : values[at]
}
