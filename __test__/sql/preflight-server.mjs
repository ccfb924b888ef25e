// A server of its own for the shapes of databases: some of them change roles, which belong to the whole server.

import { readFileSync } from 'node:fs'
import pg from 'pg'
import { startPostgres } from '../../dev/postgres.mjs'
import { legacyApp, legacyData } from '../support/legacy-app.mjs'

const text = readFileSync(
  new URL('../../migrations/002_expand_business_secrets.sql', import.meta.url),
  'utf8',
)
const between = (from, to) => text.slice(text.indexOf(from) + from.length, text.indexOf(to))

/** The pre-flight's query, as it stands in 002. */
export const preflight = between('-- app-secrets: pre-flight\n', '-- app-secrets: end of pre-flight')

const legacyNames = [
  'gemini_api_key',
  'grok_api_key',
  'claude_api_key',
  'youtube_api_key',
  'kling_access_key',
  'kling_secret_key',
  'global_sms_api_key',
  'whatsapp_api_key',
]
const secret = (name, more) => ({
  name,
  label: name,
  sealed: true,
  type: 'text',
  legacy_column: null,
  ...more,
})

/** The plan's catalogue, as a fresh object: shapes change it. */
export function plan() {
  return {
    owner_table: 'public.businesses',
    owner_key: 'id',
    access: { column: 'owner_id' },
    secrets: [
      ...legacyNames.map((name) => secret(name, { legacy_column: name })),
      secret('google_access_token'),
      secret('google_refresh_token'),
      secret('google_token_expiry', { sealed: false, type: 'timestamptz' }),
      secret('google_drive_folder_id', { sealed: false }),
    ],
  }
}

/** Starts a server with the legacy app's tables and data in a template. */
export async function startShapes(major) {
  const server = await startPostgres({ major })
  const template = await server.createDatabase('shapes')
  await withClient(template.superuser, async (client) => {
    await client.query('create extension citext with schema extensions')
    await client.query(`set session authorization postgres; ${legacyApp}`)
    await client.query(`reset session authorization; ${legacyData}`)
  })
  const trial = await server.createDatabase('trial', { template: template.name })

  return {
    major,
    stop: () => server.stop(),

    /** The shape in a transaction that is rolled back, for `work(database)`: quick, and roles are as they were too. */
    tried(shape, work) {
      return withClient(trial.superuser, async (client) => {
        const query = async (sql, values, role = 'postgres') => {
          await client.query(`set session authorization ${role}`)
          return (await client.query(sql, values)).rows
        }
        await client.query('begin')
        if (shape.sql) await query(shape.sql, undefined, owner(shape))
        return work({ query, wanted: wantedOf(shape), findings: () => findings(query, wantedOf(shape)) })
      })
    },

    /** A database of the shape, for the length of `work(database)`. */
    async shaped(shape, work) {
      const database = await server.createDatabase(undefined, { template: template.name })
      const open = new Map()
      const query = async (sql, values, role = 'postgres') => {
        if (!open.has(role)) open.set(role, connect(database.urlFor(role)))
        return (await (await open.get(role)).query(sql, values)).rows
      }
      try {
        if (shape.sql) await query(shape.sql, undefined, owner(shape))
        return await work({
          ...database,
          major,
          query,
          one: async (...call) => (await query(...call))[0],
          /** A fresh connection of the role the next time. */
          async reconnect(role = 'postgres') {
            await (await open.get(role))?.end()
            open.delete(role)
          },
          wanted: wantedOf(shape),
          findings: () =>
            withClient(database.admin, async (client) => {
              await client.query('begin read only')
              return findings(async (...call) => (await client.query(...call)).rows, wantedOf(shape))
            }),
        })
      } finally {
        if (shape.after) await query(shape.after, undefined, 'supabase_admin')
        for (const client of open.values()) await (await client).end()
        await server.dropDatabase(database.name)
      }
    },
  }
}

const owner = ({ root }) => (root ? 'supabase_admin' : 'postgres')

function wantedOf(shape) {
  const wanted = plan()
  shape.wanted?.(wanted)
  return wanted
}

/** What the pre-flight finds, as the migrating login. */
async function findings(query, wanted) {
  await query(
    "select pg_catalog.set_config('search_path', '', true), pg_catalog.set_config('app_secrets.wanted', $1, true)",
    [JSON.stringify(wanted)],
  )
  const found = await query(preflight)
  await query('reset search_path')
  return found
}

async function connect(connectionString) {
  const client = new pg.Client({ connectionString })
  // What ends a connection ends its queries too, which is enough.
  client.on('error', () => {})
  await client.connect()
  return client
}

async function withClient(connectionString, work) {
  const client = await connect(connectionString)
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
