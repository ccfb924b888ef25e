// The machine's shape: what a ratio depends on, and nothing that names the machine.

import { readdirSync, statSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { withClient } from '../dev/postgres.mjs'

export async function machine(cluster, url) {
  const { rows } = await withClient(url, (client) => client.query('show server_version'))
  const vault = await cluster.sql(
    "select count(*)::integer as n from pg_catalog.pg_extension where extname = 'supabase_vault'",
  )
  return {
    cpu: cpus()[0].model.trim(),
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    postgresql: rows[0].server_version,
    vault: vault.rows[0].n ? 'supabase_vault' : 'the stand-in of dev/vault.sql',
    addonBytes: addonBytes(),
  }
}

function addonBytes() {
  const root = new URL('../', import.meta.url)
  const addon = readdirSync(root).find((name) => name.endsWith('.node'))
  return statSync(new URL(addon, root)).size
}
