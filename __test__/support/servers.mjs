// A server as tests see it, and databases in it made from templates. Needs no test runner around it.

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { scramVerifier } from '../../dev/credentials.mjs'
import { adoptServer } from '../../dev/external.mjs'
import { startPostgres } from '../../dev/postgres.mjs'
import { legacyApp, legacyData } from './legacy-app.mjs'
import { migration } from './migrations.mjs'

const external = 'APP_SECRETS_TEST_POSTGRES'
/** What the suites run on. A server from outside is one, of 17. */
export const majors = process.env[external] ? [17] : [15, 17, 18]
export const environment = 'APP_SECRETS_TEST_CLUSTERS'

const SERVICE = 'app_service'
const TEMPLATE_LOCK = 715_001

/**
 * Starts a server and describes it so that another process can use it: `{ description, stop }`. Where no packaged server
 * runs, APP_SECRETS_TEST_POSTGRES names one (see dev/external.mjs), of which no data folder and no log are known.
 */
export async function startCluster(major, options = {}) {
  if (process.env[external] && !Object.keys(options).length) return adoptedCluster(major)
  const server = await startPostgres({ major, ...options })
  const service = new URL(server.urlFor('postgres'))
  service.username = SERVICE
  service.password = randomBytes(24).toString('base64url')
  const description = {
    major,
    dataDir: server.dataDir,
    logFile: server.logFile,
    urls: {
      supabase_admin: server.urlFor('supabase_admin'),
      postgres: server.urlFor('postgres'),
      authenticator: server.urlFor('authenticator'),
      [SERVICE]: service.href,
    },
  }
  return { description, server, stop: () => server.stop() }
}

async function adoptedCluster(major) {
  const server = await adoptServer(process.env[external])
  if (server.major !== major) {
    throw new Error(`PostgreSQL ${major} is wanted, and ${external} names one of ${server.major}`)
  }
  const urls = ['supabase_admin', 'postgres', 'authenticator', SERVICE].map((role) => [
    role,
    server.urlFor(role),
  ])
  return { description: { major, urls: Object.fromEntries(urls) }, server, stop: async () => {} }
}

export class TestCluster {
  #databases = 0
  #templates = new Map()

  constructor(description) {
    Object.assign(this, description)
  }

  /** The connection string of `postgres`, `supabase_admin`, `authenticator` or `app_service`, the service login. */
  urlFor(role = 'postgres', database = 'postgres') {
    const url = new URL(this.urls[role])
    url.pathname = `/${database}`
    return url.href
  }

  async freshDatabase(t, { migratedTo = 4, legacyData = false } = {}) {
    return this.#create(t, await this.#template(migratedTo, legacyData))
  }

  /** The legacy app's empty tables on a server that may never have seen a migration. */
  async bareDatabase(t) {
    const database = await this.#create(t, 'app_template')
    await database.query(legacyApp)
    return database
  }

  async #create(t, template) {
    const name = `test_${process.pid}_${++this.#databases}`
    await this.#maintain((client) =>
      client.query(`create database ${name} owner postgres template ${template}`),
    )
    const database = new TestDatabase(this, name)
    t.after(async () => {
      await database.close()
      await this.#maintain((client) => client.query(`drop database if exists ${name} with (force)`))
    })
    return database
  }

  /** Migrates once what many tests start from; a copy costs little. */
  #template(migratedTo, withData) {
    const name = `app_${migratedTo ? `migrated_${migratedTo}` : 'legacy'}${withData ? '_data' : ''}`
    if (!this.#templates.has(name)) this.#templates.set(name, this.#build(name, migratedTo, withData))
    return this.#templates.get(name)
  }

  async #build(name, migratedTo, withData) {
    // The role that the service login is in comes with 004, and belongs to the whole server.
    if (migratedTo !== 4 || withData) await this.#template(4, false)
    await this.#maintain(async (client) => {
      await client.query('select pg_catalog.pg_advisory_lock($1)', [TEMPLATE_LOCK])
      const { rows } = await client.query(
        'select from pg_catalog.pg_database where datname = $1 and datistemplate',
        [name],
      )
      if (rows.length) return
      await client.query(`drop database if exists ${name} with (force)`)
      await client.query(`create database ${name} owner postgres template app_template`)
      await withClient(this.urlFor('postgres', name), async (admin) => {
        await admin.query(legacyApp)
        if (withData) await admin.query(legacyData)
        for (let version = 2; version <= migratedTo; version++) await admin.query(migration(version))
        if (migratedTo >= 4) {
          await admin.query(
            `insert into app_secrets.scopes (login, name, may_read, may_write) values ('${SERVICE}', '*', true, true)
             on conflict do nothing`,
          )
        }
      })
      if (migratedTo === 4) await this.#createServiceLogin(client)
      await client.query(`alter database ${name} with is_template true allow_connections false`)
    })
    return name
  }

  async #createServiceLogin(client) {
    const { rows } = await client.query('select from pg_catalog.pg_roles where rolname = $1', [SERVICE])
    if (rows.length) return
    const { password } = new URL(this.urls[SERVICE])
    // One iteration: a debug build of the addon spends a tenth of a second on the usual 4096, at each connection.
    const verifier = client.escapeLiteral(scramVerifier(password, 1))
    await client.query(`create role ${SERVICE} login in role app_secrets_service password ${verifier}`)
    await client.query(`comment on role ${SERVICE} is 'app-secrets: a scope of every secret'`)
  }

  #maintain(work) {
    return withClient(this.urlFor('supabase_admin', 'template1'), work)
  }
}

export class TestDatabase {
  #clients = new Map()
  #open = new Set()

  constructor(cluster, name) {
    this.cluster = cluster
    this.major = cluster.major
    this.name = name
    this.admin = this.urlFor('postgres')
    this.superuser = this.urlFor('supabase_admin')
    this.service = this.urlFor(SERVICE)
  }

  urlFor(role) {
    return this.cluster.urlFor(role, this.name)
  }

  /** A new connection, closed with the database. */
  async connect(role = 'postgres', options = {}) {
    const client = new pg.Client({ connectionString: this.urlFor(role), ...options })
    // A test may kill it; its queries fail then, which is enough.
    client.on('error', () => {})
    await client.connect()
    this.#open.add(client)
    return client
  }

  /** Rows of a query by the migration role, or another, on a connection that is kept. */
  async query(text, values, role = 'postgres') {
    if (!this.#clients.has(role)) this.#clients.set(role, this.connect(role))
    const client = await this.#clients.get(role)
    return (await client.query(text, values)).rows
  }

  /** The only row of a query. */
  async one(text, values, role) {
    const rows = await this.query(text, values, role)
    if (rows.length !== 1) throw new Error(`${rows.length} rows from: ${text}`)
    return rows[0]
  }

  /**
   * A transaction as PostgREST runs it: as `anon`, `authenticated` or `service_role`, with the claims of a token.
   * It is committed unless `work` throws.
   */
  async as(role, claims, work) {
    const client = await this.connect('authenticator')
    try {
      await client.query('begin')
      await client.query(
        "select pg_catalog.set_config('role', $1, true), pg_catalog.set_config('request.jwt.claims', $2, true)",
        [role, JSON.stringify({ role, ...claims })],
      )
      const result = await work(client)
      await client.query('commit')
      return result
    } finally {
      await this.disconnect(client)
    }
  }

  async disconnect(client) {
    this.#open.delete(client)
    await client.end()
  }

  /** Ends the connections. May be repeated, and others may be made afterwards. */
  async close() {
    const open = [...this.#open]
    this.#open.clear()
    this.#clients.clear()
    await Promise.all(open.map((client) => client.end().catch(() => {})))
  }
}

/** Opens a connection for the length of `work`. */
export async function withClient(connectionString, work) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
