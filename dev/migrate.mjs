// Applies the migration files as any SQL client would: each file as it is, in order. The command line does more (batches,
// progress, checks); this is for tests and tools that just want a migrated database.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { withClient } from './postgres.mjs'

const folder = new URL('../migrations/', import.meta.url)

/** The files in order: `{ version, name, sql }`. */
export function migrationFiles() {
  return readdirSync(folder)
    .filter((name) => /^\d{3}_.*\.sql$/.test(name))
    .sort()
    .map((name) => ({
      version: Number(name.slice(0, 3)),
      name,
      sql: readFileSync(new URL(name, folder), 'utf8'),
    }))
}

/**
 * Applies the files from `from` to `to`, both included: up to 004 unless told, because 005 drops the plaintext columns.
 * `url` is the migration role's. Returns the names applied.
 */
export async function applyMigrations(url, { from = 2, to = 4 } = {}) {
  const files = migrationFiles().filter(({ version }) => version >= from && version <= to)
  for (const { version, name, sql } of files) {
    await withClient(url, async (client) => {
      const checksum = createHash('sha256').update(sql).digest('hex')
      await client.query("select pg_catalog.set_config('app_secrets.migration_checksum', $1, false)", [
        checksum,
      ])
      try {
        await client.query(sql)
        // Sent as one transaction, 003 leaves more than 1,000 businesses to whoever can commit batches.
        if (version === 3 && (await fill(client))) await client.query(sql)
      } catch (error) {
        throw new Error(`${name}: ${error.message}`, { cause: error })
      }
    })
  }
  return files.map(({ name }) => name)
}

/** Fills what 003 left to fill, in batches; says whether there was anything. */
async function fill(client) {
  const left =
    "select from app_secrets.catalogue where legacy_state = 'synced' or in_place in ('pending', 'sealing')"
  if (!(await client.query(left)).rowCount) return false
  for (;;) {
    const { rows } = await client.query('select finished from app_secrets.backfill_batch(250)')
    if (rows[0].finished) return true
  }
}

/**
 * A login of its own for a service, in the group that may call the functions, with a scope of everything. Before 004 there are no
 * scopes yet: its comment tells 004 to make this one.
 */
export async function createServiceLogin(cluster, { role = 'app_service', database = 'postgres' } = {}) {
  // As the migration role, which then may administer the group as if 004 had made it.
  await cluster.sql(
    `do $$ begin
       if not exists (select from pg_catalog.pg_roles where rolname = 'app_secrets_service') then
         create role app_secrets_service nologin;
       end if;
     end $$`,
    { role: 'postgres', database },
  )
  const url = await cluster.createLogin(role, { memberOf: ['app_secrets_service'], database })
  await cluster.sql(`comment on role "${role}" is 'app-secrets: a scope of every secret'`)
  await cluster.sql(
    `do $$ begin
       if to_regprocedure('app_secrets.grant_scope(name, text[], boolean, boolean)') is not null then
         execute format('select app_secrets.grant_scope(%L, array[''*''], true, true)', '${role}');
       end if;
     end $$`,
    { role: 'postgres', database },
  )
  return url
}
