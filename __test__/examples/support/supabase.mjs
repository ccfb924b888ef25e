// supabase-js as far as the examples use it, straight on a database: each call sends the SQL that PostgREST would, in a
// transaction as the role of the key and with the claims of the token. Nothing of the database is made up.

import pg from 'pg'
import { insert, remove, request, select, update } from '../../../dev/demo/postgrest.mjs'

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
  return { from: (table) => new Query(table, (statement) => send(url, caller, statement)) }
}

async function send(url, caller, statement) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows } = await request(client, caller, statement)
    return { data: rows, error: null }
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
  #make = select
  #argument = {}
  #where = {}
  #single = false

  constructor(table, send) {
    this.#table = table
    this.#send = send
  }

  select(columns = '*') {
    this.#argument = { columns: columns.split(',').map((name) => name.trim()) }
    return this
  }

  insert(rows) {
    return this.#write(insert, rows)
  }

  upsert(rows, { onConflict }) {
    return this.#write((table, values) => insert(table, values, { onConflict }), rows)
  }

  update(row) {
    return this.#write(update, row)
  }

  delete() {
    return this.#write((table, _none, options) => remove(table, options))
  }

  eq(column, value) {
    this.#where[column] = value
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

  #write(make, rows) {
    this.#make = make
    this.#argument = rows
    return this
  }

  async #run() {
    const statement =
      this.#make === select
        ? select(this.#table, { ...this.#argument, where: this.#where })
        : this.#make(this.#table, this.#argument, { where: this.#where })
    const { data, error } = await this.#send(statement)
    if (error) return { data: null, error }
    return { data: this.#make !== select ? null : this.#single ? (data[0] ?? null) : data, error: null }
  }
}
