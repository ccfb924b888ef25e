// A server of its own that a test may stop and break, with a migrated database and one business.

import { createLegacyTables } from '../../dev/legacy-data.mjs'
import { applyMigrations, createServiceLogin } from '../../dev/migrate.mjs'
import { startPostgres } from '../../dev/postgres.mjs'

/** `{ cluster, service, addBusinesses }`; `service` is the service login's connection string. */
export async function startDatabase(options) {
  const cluster = await startPostgres(options)
  try {
    const admin = cluster.urlFor('postgres')
    await createLegacyTables(admin)
    const service = await createServiceLogin(cluster)
    await applyMigrations(admin)
    return { cluster, service, addBusinesses: (count) => addBusinesses(cluster, count) }
  } catch (error) {
    await cluster.stop()
    throw error
  }
}

async function addBusinesses(cluster, count) {
  const { rows } = await cluster.sql(
    "insert into public.businesses (name) select 'Business ' || i from generate_series(1, $1::integer) i returning id",
    { values: [count] },
  )
  return rows.map(({ id }) => id)
}

/** Ends every session of the service login, as an administrator would. */
export function terminateSessions(cluster) {
  return cluster.sql(
    "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where usename = 'app_service'",
  )
}
