// What the probes of who may do what have in common.

import { become } from './access-cells.mjs'

const ours = "n.nspname = 'app_secrets' or (n.nspname = 'public' and %name like '%business_secret%')"
export const oursBy = (column) => ours.replace('%name', column)

export async function as(client, actor, sql, values) {
  await client.query(`savepoint actor;${become(actor, { impersonate: true }).join(';')}`)
  try {
    return (await client.query(sql, values)).rows
  } catch (error) {
    await client.query('rollback to savepoint actor')
    throw error
  } finally {
    // A role that is set in a subtransaction stays set when that is released.
    await client.query(
      "reset session authorization; reset role; select pg_catalog.set_config('request.jwt.claims', '', true)",
    )
  }
}

export async function attempt(client, work) {
  await client.query('savepoint attempt')
  try {
    await work()
    return 'ok'
  } catch (error) {
    if (!error.code) throw error
    await client.query('rollback to savepoint attempt')
    return error.code
  }
}

export const rowsOf = async (client, sql, values) => (await client.query(sql, values)).rows
export const listOf = async (client, sql, values) =>
  (await rowsOf(client, sql, values)).map((row) => Object.values(row).join(' ')).sort()

/** Puts a text into a cell around the triggers, as a restore or an attacker with that power would. */
export async function plant(client, business, column, text) {
  await client.query('set local session_replication_role = replica')
  await client.query(`update public.business_secrets set ${column} = $2 where business_id = $1`, [
    business,
    text,
  ])
  await client.query('set local session_replication_role = origin')
}

export async function referenceOf(client, business, column = 'gemini_api_key') {
  const [row] = await rowsOf(client, 'select * from public.business_secrets where business_id = $1', [
    business,
  ])
  return row[column]
}
