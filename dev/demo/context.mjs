// What the demo's steps share: the server, connections by role, the addon with the service's login, the command line.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createLegacyTables, legacyBusiness, loadLegacyData, normalised } from '../legacy-data.mjs'
import { createServiceLogin } from '../migrate.mjs'
import { startPostgres } from '../postgres.mjs'
import { send } from '../postgrest.mjs'

const cli = fileURLToPath(new URL('../../bin/app-secrets.js', import.meta.url))

export const BUSINESSES = 1000

export class Demo {
  /** Stands in every plaintext value, and nowhere else. */
  marker = 'sk-demo-7f3a91'
  /** What each scanner has to find where it was put on purpose. */
  control = 'control-5be2d04c'

  #clients = []
  #opened = []
  #child
  #closing

  constructor(report) {
    this.report = report
  }

  async start() {
    this.cluster = await startPostgres()
    this.folder = this.cluster.dir
    await createLegacyTables(this.cluster.urlFor('postgres'))
    this.counts = await loadLegacyData(this.cluster.urlFor('supabase_admin'), {
      businesses: BUSINESSES,
      marker: this.marker,
    })
    this.serviceUrl = await createServiceLogin(this.cluster)
    for (const [name, role] of [
      ['superuser', 'supabase_admin'],
      ['admin', 'postgres'],
      ['service', 'app_service'],
      ['api', 'authenticator'],
    ]) {
      this[name] = await this.#connect(role)
    }
  }

  /** A business as the legacy app knew it, with its values as they are after the move. */
  business(index) {
    const business = legacyBusiness(index, { marker: this.marker })
    const values = { ...business.keys, ...business.google }
    for (const name of Object.keys(values)) values[name] = normalised(values[name])
    return { ...business, values }
  }

  /** The public API, with the service's login. */
  async secrets() {
    this.addon ??= await this.connect({ url: this.serviceUrl, actor: 'demo' })
    return this.addon
  }

  /** A client of the package, closed with the demo. */
  async connect(options) {
    const { connect } = createRequire(import.meta.url)('../../index.js')
    const client = await connect(options)
    this.#opened.push(client)
    return client
  }

  /** A request as PostgREST sends it for a signed-in user, anon or service_role. */
  request(role, claims, request) {
    return send(this.api, { role, claims }, request)
  }

  /** Rows of the migration role's query. */
  async rows(text, values) {
    return (await this.admin.query(text, values)).rows
  }

  /** The only value of the migration role's query. */
  async value(text, values) {
    return Object.values((await this.rows(text, values))[0])[0]
  }

  /**
   * Runs `app-secrets` as somebody would who migrates. Shows the lines that `show` lets through as they come; on a
   * terminal a `live` command has it to itself, for its progress bar.
   */
  async run(args, { show = () => true, live = false } = {}) {
    this.report.say(`$ app-secrets ${args.join(' ')}`)
    const env = { ...process.env, ADMIN_DATABASE_URL: this.cluster.urlFor('postgres') }
    delete env.APP_SECRETS_URL
    const inherited = live && process.stdout.isTTY
    if (!inherited) env.NO_COLOR = '1'
    const stdio = inherited ? 'inherit' : ['ignore', 'pipe', 'pipe']
    const child = spawn(process.execPath, [cli, ...args], { stdio, env })
    this.#child = child
    for (const input of inherited ? [] : [child.stdout, child.stderr]) {
      createInterface({ input }).on('line', (line) => {
        if (line.trim() && show(line)) this.report.say(`  ${line.trimEnd()}`)
      })
    }
    const [code] = await once(child, 'close')
    this.#child = undefined
    return code
  }

  close() {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close() {
    this.#child?.kill('SIGTERM')
    await Promise.all(this.#opened.map((client) => client.close().catch(() => {})))
    await Promise.all(this.#clients.map((client) => client.end().catch(() => {})))
    await this.cluster?.stop()
  }

  async #connect(role) {
    const client = new pg.Client({ connectionString: this.cluster.urlFor(role) })
    // Ends with the server where the demo is interrupted.
    client.on('error', () => {})
    await client.connect()
    this.#clients.push(client)
    return client
  }
}

/** The SQLSTATE that a statement ends with, or its row count. Nothing of it stays. */
export async function outcome(client, text, values) {
  await client.query('begin')
  try {
    const { rowCount } = await client.query(text, values)
    return rowCount
  } catch (error) {
    if (!error.code) throw error
    return error.code
  } finally {
    await client.query('rollback')
  }
}
