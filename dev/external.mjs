// A server that runs already, brought into Supabase's shape: for tests where no packaged one runs (musl, Windows on ARM).
//
// It has to be a fresh PostgreSQL 15 to 18 with `wal_level = logical`, and the connection string that of its superuser
// `supabase_admin`. Its passwords are derived from the superuser's, so that processes that find it prepared know them.

import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { scramVerifier } from './credentials.mjs'
import { withClient } from './postgres.mjs'

const LOCK = 715_002
const roles = ['postgres', 'authenticator']
const sqlFile = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')

/**
 * Prepares the server unless it is. Gives `{ major, urlFor(role, database) }` for `supabase_admin`, `postgres`,
 * `authenticator`, and for other roles what their connection strings will be once they exist.
 */
export async function adoptServer(connectionString) {
  const base = new URL(connectionString)
  if (base.username !== 'supabase_admin') {
    throw new Error('APP_SECRETS_TEST_POSTGRES has to be a connection string of the superuser supabase_admin')
  }
  const urlFor = (role, database = 'postgres') => {
    const url = new URL(base)
    url.pathname = `/${database}`
    if (role !== 'supabase_admin') [url.username, url.password] = [role, derivedPassword(base, role)]
    return url.href
  }
  // From `template1`, because a template is copied only while nobody is connected to it, and ours is `postgres`.
  const major = await withClient(urlFor('supabase_admin', 'template1'), async (client) => {
    const { rows } = await client.query(
      "select pg_catalog.current_setting('server_version_num')::integer / 10000 as major",
    )
    await client.query('select pg_catalog.pg_advisory_lock($1)', [LOCK])
    const { rowCount } = await client.query(
      "select from pg_catalog.pg_database where datname = 'app_template' and not datallowconn",
    )
    if (!rowCount) {
      await withClient(urlFor('supabase_admin'), (platform) =>
        installPlatform(platform, (role) => derivedPassword(base, role)),
      )
      await client.query('create database app_template owner postgres template postgres is_template true')
      await client.query('alter database app_template allow_connections false')
    }
    return rows[0].major
  })
  return { major, urlFor }
}

async function installPlatform(client, passwordOf) {
  await client.query(sqlFile('platform.sql'))
  // The stand-in for Vault keeps its root key in a file that only the server's user can read: beside its data.
  const { rows } = await client.query(
    "select pg_catalog.current_setting('data_directory') || '/vault-root.key' as file",
  )
  const key = await client.query(
    'select pg_catalog.lo_from_bytea(0, pg_catalog.sha256(pg_catalog.gen_random_uuid()::text::bytea)) as object',
  )
  await client.query('select pg_catalog.lo_export($1, $2)', [key.rows[0].object, rows[0].file])
  await client.query('select pg_catalog.lo_unlink($1)', [key.rows[0].object])
  await client.query("select pg_catalog.set_config('vault.root_key_file', $1, false)", [rows[0].file])
  await client.query(sqlFile('vault.sql'))
  await client.query(sqlFile('vault-grants.sql'))
  for (const role of roles) {
    const verifier = client.escapeLiteral(scramVerifier(passwordOf(role)))
    await client.query(`alter role ${client.escapeIdentifier(role)} login password ${verifier}`)
  }
}

function derivedPassword(base, role) {
  return createHmac('sha256', base.password).update(role).digest('base64url')
}
