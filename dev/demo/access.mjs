// Step 4: what must be refused, each with what the database answered: an SQLSTATE, or how many rows it let go.

import { requests, send } from '../postgrest.mjs'
import { outcome } from './context.mjs'

const DENIED = '42501'

export async function accessIsRefused(demo) {
  const { report } = demo
  report.step('What must be refused')
  const victim = demo.business(255)
  const attacker = demo.business(300)
  await otherTenants(demo, victim, attacker)
  await anonymous(demo, victim)
  await stolenReference(demo, victim, attacker)
  await serviceLogin(demo, victim)

  const bypassed = await asReplica(demo, victim)
  report.claim('plaintext written around the triggers stops at a CHECK', bypassed === '23514', bypassed)
  const own = await demo.request(
    'authenticated',
    { sub: victim.ownerId },
    mine('decrypted_business_secrets', victim),
  )
  report.claim('while the owner reads the own row as ever', own.count === 1, '1 row')
}

const upsert = { resolution: 'merge-duplicates' }
const mine = (table, { id }) => requests.select(table, { filters: { business_id: id } })

async function otherTenants(demo, victim, attacker) {
  const filters = { business_id: victim.id }
  const stolen = { gemini_api_key: 'overwritten-by-a-stranger' }
  const attempts = [
    ['selects from the table', mine('business_secrets', victim), 0],
    ['selects from the view', mine('decrypted_business_secrets', victim), 0],
    ['updates', requests.update('business_secrets', stolen, { filters }), 0],
    ['deletes', requests.delete('business_secrets', { filters }), 0],
    ['inserts', requests.insert('business_secrets', { ...filters, ...stolen }), DENIED],
    ['upserts', requests.insert('business_secrets', { ...filters, ...stolen }, upsert), DENIED],
  ]
  for (const [what, statement, expected] of attempts) {
    const found = await answer(demo, 'authenticated', { sub: attacker.ownerId }, statement)
    claimRefused(demo, `another tenant ${what}`, found, expected)
  }
  const everything = await demo.request(
    'authenticated',
    { sub: attacker.ownerId },
    requests.select('decrypted_business_secrets'),
  )
  const foreign = everything.body.filter(({ business_id: id }) => !ownedBy(demo, attacker.ownerId).has(id))
  demo.report.claim(
    'another tenant who asks for all rows gets the own ones',
    foreign.length === 0,
    rows(everything.count),
  )

  const rpc = await attempt(demo, 'authenticated', 'select public.get_business_secrets($1)', [victim.id])
  claimRefused(demo, 'a signed-in user calls the services’ function', rpc, DENIED)
  const vault = await attempt(demo, 'authenticated', 'select decrypted_secret from vault.decrypted_secrets')
  claimRefused(demo, 'a signed-in user opens Vault', vault, DENIED)
}

async function anonymous(demo, victim) {
  for (const table of ['business_secrets', 'decrypted_business_secrets']) {
    const found = await answer(demo, 'anon', {}, mine(table, victim))
    claimRefused(demo, `anon selects from ${table}`, found, DENIED)
  }
  const rpc = await attempt(demo, 'anon', 'select public.get_business_secrets($1)', [victim.id])
  claimRefused(demo, 'anon calls the services’ function', rpc, DENIED)
  const truncate = await attempt(demo, 'anon', 'truncate public.business_secrets')
  claimRefused(demo, 'anon truncates, which Row Level Security would not stop', truncate, DENIED)
}

/** A reference is worth nothing outside of its own cell, known or guessed. */
async function stolenReference(demo, victim, attacker) {
  const reference = await demo.value(
    'select gemini_api_key from public.business_secrets where business_id = $1',
    [victim.id],
  )
  const secret = await demo.value(
    'select gemini_api_key from public.decrypted_business_secrets where business_id = $1',
    [victim.id],
  )
  const statements = {
    'a stolen reference in the thief’s own row': { grok_api_key: reference },
    'a forged one, of a random uuid': { grok_api_key: '7d3f6f0e-1d1f-4b0a-9c55-1f2e3d4c5b6a' },
  }
  for (const [what, row] of Object.entries(statements)) {
    const claims = { sub: attacker.ownerId }
    await demo.request(
      'authenticated',
      claims,
      requests.insert('business_secrets', { business_id: attacker.id, ...row }, upsert),
    )
    const { body: found } = await demo.request(
      'authenticated',
      claims,
      mine('decrypted_business_secrets', attacker),
    )
    const read = found[0].grok_api_key
    demo.report.claim(`${what} reads as the text it is`, read === row.grok_api_key && read !== secret)
  }
  // Not the thief's to keep: back to what the legacy app had.
  await demo.admin.query('update public.businesses set grok_api_key = $2 where id = $1', [
    attacker.id,
    attacker.values.grok_api_key,
  ])
}

async function serviceLogin(demo, victim) {
  const attempts = [
    ['reads the plaintext columns', 'select gemini_api_key from public.businesses'],
    ['reads the sealed table', 'select * from public.business_secrets'],
    ['reads the view', 'select * from public.decrypted_business_secrets'],
    ['writes the table', 'delete from public.business_secrets'],
    ['opens Vault', 'select decrypted_secret from vault.decrypted_secrets'],
    ['makes a Vault row', "select vault.create_secret('x')"],
    ['reads the audit', 'select * from app_secrets.audit_log'],
    ['calls a private function', `select app_secrets.reveal('${victim.id}', 'gemini_api_key', null)`],
    ['becomes service_role', 'set role service_role'],
  ]
  for (const [what, text] of attempts) {
    claimRefused(demo, `the service’s login ${what}`, await outcome(demo.service, text), DENIED)
  }
}

/** postgres may skip ordinary triggers, on Supabase too. */
async function asReplica({ admin }, { id }) {
  await admin.query('set session_replication_role = replica')
  try {
    return await outcome(
      admin,
      "update public.business_secrets set gemini_api_key = 'plain' where business_id = $1",
      [id],
    )
  } finally {
    await admin.query('reset session_replication_role')
  }
}

async function answer(demo, role, claims, statement) {
  try {
    return (await send(demo.api, { role, claims }, statement)).count
  } catch (error) {
    if (!error.code) throw error
    return error.code
  }
}

/** A statement that no supabase-js call makes, as `role`. */
async function attempt({ api }, role, text, values) {
  await api.query('begin')
  try {
    await api.query(`set local role ${role}`)
    return (await api.query(text, values)).rowCount
  } catch (error) {
    if (!error.code) throw error
    return error.code
  } finally {
    await api.query('rollback')
  }
}

function claimRefused({ report }, text, found, expected) {
  report.claim(
    `refused: ${text}`,
    found === expected,
    typeof found === 'number' ? rows(found) : `SQLSTATE ${found}`,
  )
}

function ownedBy(demo, ownerId) {
  // Three in a row have one owner.
  return new Set(
    [300, 301, 302]
      .map((i) => demo.business(i))
      .filter((b) => b.ownerId === ownerId)
      .map((b) => b.id),
  )
}

function rows(count) {
  return `${count} row${count === 1 ? '' : 's'}`
}
