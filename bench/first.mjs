// The first secret of a process: from `require` to the value, in ms.
//
// APP_SECRETS_URL=… node bench/first.mjs CONTENDER BUSINESS

import { createRequire } from 'node:module'
import { NAME, READ } from './read.mjs'

const require = createRequire(import.meta.url)
const [contender, business] = process.argv.slice(2)
const url = process.env.APP_SECRETS_URL

const firsts = {
  async ours() {
    const { connect } = require('../index.js')
    const secrets = await connect({ url })
    const value = await secrets.get(business, NAME)
    return { value, close: () => secrets.close() }
  },
  async pg() {
    const { Pool } = require('pg')
    const pool = new Pool({ connectionString: url })
    const { rows } = await pool.query(READ, [[business], [NAME]])
    return { value: rows[0].value, close: () => pool.end() }
  },
  async postgres() {
    const sql = require('postgres')(url)
    const rows = await sql.unsafe(READ, [[business], [NAME]])
    return { value: rows[0].value, close: () => sql.end() }
  },
}

const started = performance.now()
const { value, close } = await firsts[contender]()
const ms = performance.now() - started
if (typeof value !== 'string') throw new Error(`${contender} read nothing`)
await close()
process.stdout.write(String(ms))
