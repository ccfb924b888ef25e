// Starts throw-away PostgreSQL servers of Supabase's shape from the packaged binaries. Knows nothing of the migrations.

import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { nativeDir } from './binaries.mjs'
import { freePort, scramVerifier } from './credentials.mjs'
import { prepareFolder, ServerProcess } from './server-process.mjs'

const sqlFile = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')

const baseSettings = {
  listen_addresses: '127.0.0.1',
  wal_level: 'logical',
  max_connections: '200',
  password_encryption: 'scram-sha-256',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] %q%u@%d %a ',
  lc_messages: 'C',
}

/**
 * Starts a server on a free port of 127.0.0.1 (and a unix socket in its folder), in a temporary folder that is removed
 * when it is stopped or when this process ends in any way.
 *
 * @param {object} [options]
 * @param {15 | 17 | 18} [options.major] PostgreSQL's major version; 17 unless told
 * @param {boolean} [options.platform] install Supabase's roles, schemas and Vault; true unless told
 * @param {'2026' | 'legacy'} [options.dataApi] default privileges in `public`; '2026' unless told
 * @param {boolean} [options.durable] keep fsync on; false unless told
 * @param {Record<string, string | number>} [options.settings] server settings, as `-c name=value`
 * @param {Record<string, string>} [options.files] files for the data directory, owned by the server (mode 0600)
 * @param {number} [options.port]
 * @returns {Promise<Cluster>}
 */
export async function startPostgres(options = {}) {
  const {
    major = 17,
    platform = true,
    dataApi = '2026',
    durable = false,
    settings = {},
    files = {},
  } = options
  if (!['2026', 'legacy'].includes(dataApi)) throw new Error(`dataApi is '2026' or 'legacy', not ${dataApi}`)
  const folder = prepareFolder(nativeDir(major), `app-secrets-pg${major}-`)
  try {
    const passwords = new Map([['supabase_admin', randomPassword()]])
    await folder.initdb({ superuser: 'supabase_admin', password: passwords.get('supabase_admin') })
    for (const [name, content] of Object.entries(files)) folder.write(join('data', name), content)
    const vaultKeyFile = folder.write('vault-root.key', randomBytes(32))

    const server = new ServerProcess(folder, {
      ...baseSettings,
      fsync: durable ? 'on' : 'off',
      unix_socket_directories: folder.path,
      ...settings,
    })
    const cluster = new Cluster({ major, folder, server, passwords, vaultKeyFile })
    await server.start(options.port ?? freePort)
    if (platform) await cluster.installPlatform(dataApi)
    return cluster
  } catch (error) {
    await folder.remove()
    throw error
  }
}

export class Cluster {
  #folder
  #server
  #passwords
  #databases = 0

  constructor({ major, folder, server, passwords, vaultKeyFile }) {
    this.major = major
    this.dir = folder.path
    this.dataDir = join(folder.path, 'data')
    this.vaultKeyFile = vaultKeyFile
    this.logFile = join(folder.path, 'server.log')
    this.socketDir = folder.path
    this.host = '127.0.0.1'
    this.#folder = folder
    this.#server = server
    this.#passwords = passwords
  }

  get port() {
    return this.#server.port
  }

  get pid() {
    return this.#server.pid
  }

  /** The connection string of a role whose password this cluster made. */
  urlFor(role = 'postgres', database = 'postgres') {
    const password = this.#passwords.get(role)
    if (!password) throw new Error(`role ${role} has no password here: make it with createLogin()`)
    return `postgresql://${role}:${password}@${this.host}:${this.port}/${database}`
  }

  /** What the server has written to its log so far. */
  log() {
    return readFileSync(this.logFile, 'utf8')
  }

  /** Runs statements (one simple query) as the superuser, or as the role of `url`. */
  async sql(text, { database = 'postgres', role = 'supabase_admin', values } = {}) {
    return withClient(this.urlFor(role, database), (client) => client.query(text, values))
  }

  /** Makes a login with a random password, or gives an existing role one. Returns its connection string. */
  async createLogin(role, { memberOf = [], database = 'postgres' } = {}) {
    await withClient(this.urlFor('supabase_admin', 'postgres'), async (client) => {
      const { rowCount } = await client.query('select from pg_catalog.pg_roles where rolname = $1', [role])
      if (!rowCount) await client.query(`create role ${client.escapeIdentifier(role)} login`)
      await this.#setPassword(client, role)
      for (const group of memberOf) {
        await client.query(`grant ${client.escapeIdentifier(group)} to ${client.escapeIdentifier(role)}`)
      }
    })
    return this.urlFor(role, database)
  }

  /**
   * Makes a database owned by `postgres`; the default template has the platform installed and nothing else.
   * `admin` is the connection string of the migration role, `superuser` that of supabase_admin.
   */
  async createDatabase(name = `app_${process.pid}_${++this.#databases}`, { template = 'app_template' } = {}) {
    await withClient(this.urlFor('supabase_admin', 'template1'), (client) => {
      const [id, from] = [name, template].map((part) => client.escapeIdentifier(part))
      return client.query(`create database ${id} owner postgres template ${from}`)
    })
    return {
      name,
      admin: this.urlFor('postgres', name),
      superuser: this.urlFor('supabase_admin', name),
      urlFor: (role) => this.urlFor(role, name),
    }
  }

  async dropDatabase(name) {
    await withClient(this.urlFor('supabase_admin', 'template1'), (client) =>
      client.query(`drop database if exists ${client.escapeIdentifier(name)} with (force)`),
    )
  }

  /** Stops the server and removes its folder. */
  async stop() {
    await this.#server.stop('SIGINT')
    await this.#folder.remove()
  }

  /** Ends the server as a crash would. Its folder stays, so restart() brings it back, through crash recovery. */
  async stopImmediate() {
    await this.#server.stop('SIGQUIT')
  }

  /** Starts the server again on the same port, stopping it first if it runs. New settings are added to the old. */
  async restart({ settings = {} } = {}) {
    await this.#server.stop('SIGINT')
    Object.assign(this.#server.settings, settings)
    await this.#server.startAgain()
  }

  /** Gives Vault another root key, with which nothing opens that was sealed before; the server is down meanwhile. */
  async newRootKey() {
    await this.stopImmediate()
    // Written over, not replaced: the file stays the server's own.
    writeFileSync(this.vaultKeyFile, randomBytes(32))
    await this.restart()
  }

  async installPlatform(dataApi) {
    await withClient(this.urlFor('supabase_admin', 'postgres'), async (client) => {
      await client.query(sqlFile('platform.sql'))
      if (dataApi === 'legacy') await client.query(sqlFile('platform-legacy-grants.sql'))
      const { rowCount } = await client.query(
        "select from pg_catalog.pg_available_extensions where name = 'supabase_vault'",
      )
      if (rowCount) {
        await client.query('create schema vault; create extension supabase_vault with schema vault cascade')
      } else {
        await client.query("select pg_catalog.set_config('vault.root_key_file', $1, false)", [
          this.vaultKeyFile,
        ])
        await client.query(sqlFile('vault.sql'))
      }
      await client.query(sqlFile('vault-grants.sql'))
      for (const role of ['postgres', 'authenticator']) await this.#setPassword(client, role)
    })
    await withClient(this.urlFor('supabase_admin', 'template1'), async (client) => {
      await client.query('create database app_template owner postgres template postgres is_template true')
      await client.query('alter database app_template allow_connections false')
    })
  }

  /** Only a verifier goes to the server, so that a logged statement gives nothing away. */
  async #setPassword(client, role) {
    const password = randomPassword()
    await client.query(
      `alter role ${client.escapeIdentifier(role)} login password ${client.escapeLiteral(scramVerifier(password))}`,
    )
    this.#passwords.set(role, password)
  }
}

/** Opens a connection for the length of `work`. */
export async function withClient(url, work) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function randomPassword() {
  return randomBytes(24).toString('base64url')
}
