// supabase-js as far as the examples use it, straight on a database: each call sends the SQL that PostgREST would, in a
// transaction as the role of the key and with the claims of the token. Nothing of the database is made up.

import pg from 'pg'
import { requests, send } from '../../../dev/postgrest.mjs'

/** Test tokens: unsigned, since checking the signature is the API's part. */
export const tokenFor = (userId) =>
  `header.${Buffer.from(JSON.stringify({ sub: userId })).toString('base64url')}.none`

/**
 * `url` is the connection string of `authenticator`; `key` the role that it stands for, as the anon and service_role
 * keys do. A bearer token makes it a signed-in user's.
 */
export function createClient(url, key, { global: { headers = {} } = {} } = {}) {
  const token = headers.Authorization?.replace(/^Bearer /, '')
  const claims = token ? JSON.parse(Buffer.from(token.split('.')[1], 'base64url')) : {}
  const caller = { role: token ? 'authenticated' : key, claims }
  return { from: (table) => new Query(table, (request) => answer(url, caller, request)) }
}

async function answer(url, caller, request) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { body } = await send(client, caller, request)
    return { data: body, error: null }
  } catch (error) {
    if (!error.code) throw error
    return { data: null, error: { code: error.code, message: error.message } }
  } finally {
    await client.end()
  }
}

class Query {
  #table
  #send
  #make
  #isRead = false
  #filters = {}
  #single = false

  constructor(table, send) {
    this.#table = table
    this.#send = send
  }

  select(columns = '*') {
    this.#isRead = true
    const names = columns.split(',').map((name) => name.trim())
    return this.#as((filters) => requests.select(this.#table, { columns: names, filters }))
  }

  insert(rows) {
    return this.#as(() => requests.insert(this.#table, rows))
  }

  upsert(rows, { onConflict }) {
    const options = { resolution: 'merge-duplicates', onConflict: [onConflict] }
    return this.#as(() => requests.insert(this.#table, rows, options))
  }

  update(row) {
    return this.#as((filters) => requests.update(this.#table, row, { filters }))
  }

  delete() {
    return this.#as((filters) => requests.delete(this.#table, { filters }))
  }

  eq(column, value) {
    this.#filters[column] = value
    return this
  }

  maybeSingle() {
    this.#single = true
    return this
  }

  // biome-ignore lint/suspicious/noThenProperty: supabase-js' builders are awaited
  then(resolve, reject) {
    return this.#run().then(resolve, reject)
  }

  #as(make) {
    this.#make = make
    return this
  }

  async #run() {
    const { data, error } = await this.#send(this.#make(this.#filters))
    if (error) return { data: null, error }
    return { data: !this.#isRead ? null : this.#single ? (data[0] ?? null) : data, error: null }
  }
}
