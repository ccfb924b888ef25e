// Short forms for what tests say about a business and its secrets.

import { defaultCatalogue } from '../../dev/default-catalogue.mjs'

export const legacyNames = defaultCatalogue.map(({ legacyColumn }) => legacyColumn).filter(Boolean)
export const sealedNames = defaultCatalogue.filter(({ sealed }) => sealed).map(({ name }) => name)
export const names = defaultCatalogue.map(({ name }) => name)

export const reference = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Makes a business, with plaintext keys or an owner where told. Returns its id. */
export async function addBusiness(db, columns = {}) {
  const list = { name: 'A business', ...columns }
  const parameters = Object.keys(list).map((_, i) => `$${i + 1}`)
  const { id } = await db.one(
    `insert into public.businesses (${Object.keys(list).join(', ')}) values (${parameters.join(', ')}) returning id`,
    Object.values(list),
  )
  return id
}

/** Adds a secret to the catalogue, as `app-secrets names add` does. */
export function addName(db, name) {
  return db.query('select app_secrets.add_secret($1, $2)', [name, `The key ${name}`])
}

/** Says how often a value has to be replaced, in any words of PostgreSQL's. */
export function rotate(db, business, name, interval) {
  return db.query(
    'update app_secrets.secret_versions set rotate_every = $3::interval where business_id = $1 and name = $2',
    [business, name, interval],
  )
}

/** Inserts a row of sealed cells from plaintext. */
export function insertSecrets(db, id, values, role) {
  const columns = Object.keys(values)
  const parameters = columns.map((_, i) => `, $${i + 2}`).join('')
  return db.query(
    `insert into public.business_secrets (business_id${columns.map((c) => `, ${c}`).join('')})
     values ($1${parameters})`,
    [id, ...Object.values(values)],
    role,
  )
}

/** Updates sealed cells. */
export function updateSecrets(db, id, values, role) {
  const assignments = Object.keys(values).map((column, i) => `${column} = $${i + 2}`)
  return db.query(
    `update public.business_secrets set ${assignments.join(', ')} where business_id = $1`,
    [id, ...Object.values(values)],
    role,
  )
}

/** Updates plaintext columns, as legacy code does. */
export function updateLegacy(db, id, values) {
  const assignments = Object.keys(values).map((column, i) => `${column} = $${i + 2}`)
  return db.query(`update public.businesses set ${assignments.join(', ')} where id = $1`, [
    id,
    ...Object.values(values),
  ])
}

/** What is set, in clear, read through the view. */
export function clear(db, id) {
  return readRow(db, 'decrypted_business_secrets', 'business_id', id)
}

/** What is set, as it is stored. */
export function stored(db, id) {
  return readRow(db, 'business_secrets', 'business_id', id)
}

/** What the plaintext columns hold. */
export function legacy(db, id) {
  return readRow(db, 'businesses', 'id', id)
}

async function readRow(db, relation, key, id) {
  const rows = await db.query(`select to_jsonb(r.*) as row from public.${relation} r where ${key} = $1`, [id])
  if (!rows.length) return null
  return Object.fromEntries(
    names.map((name) => [name, rows[0].row[name]]).filter(([, value]) => value != null),
  )
}

/**
 * Versions come from one sequence, so their numbers depend on everything that ran before. What tests say of them is which change of
 * its cell each is, from 1; 0 is a cell that was never written. The audit has one row for each change.
 */
async function changes(db, ids) {
  const rows = await db.query(
    `select business_id as id, name, version::integer, row_number() over (partition by business_id, name order by version)::integer as nth
     from app_secrets.audit_log where business_id = any ($1)`,
    [ids],
  )
  const nth = new Map(rows.map(({ id, name, version, nth }) => [`${id} ${name} ${version}`, nth]))
  const versions = new Map(rows.map(({ id, name, version, nth }) => [`${id} ${name} ${nth}`, version]))
  return {
    nth: (id, name, version) =>
      version === 0 ? 0 : (nth.get(`${id} ${name} ${version}`) ?? `${version}, not audited`),
    // One that is not there yet stays what it is: a version that nobody has.
    version: (id, name, which) =>
      which === 0 ? 0 : (versions.get(`${id} ${name} ${which}`) ?? 1e15 + which),
  }
}

/** {name: version} of every cell that was ever written, in the database's own numbers. */
export async function rawVersions(db, id) {
  const rows = await db.query(
    'select name, version::integer from app_secrets.secret_versions where business_id = $1',
    [id],
  )
  return Object.fromEntries(rows.map(({ name, version }) => [name, version]))
}

/** {name: which change} of every cell that was ever written. */
export async function versions(db, id) {
  const rows = await db.query(
    'select name, version::integer from app_secrets.secret_versions where business_id = $1 order by name',
    [id],
  )
  const { nth } = await changes(db, [id])
  return Object.fromEntries(rows.map(({ name, version }) => [name, nth(id, name, version)]))
}

/** What the audit says happened to a business, oldest first: `gemini_api_key set 1 sealed`. */
export async function history(db, id) {
  const rows = await db.query(
    'select name, action, version::integer, origin from app_secrets.audit_log where business_id = $1 order by id',
    [id],
  )
  const { nth } = await changes(db, [id])
  return rows.map(
    ({ name, action, version, origin }) => `${name} ${action} ${nth(id, name, version)} ${origin}`,
  )
}

/** Writes; `expected` says of each name which change was read. Gives which change each now is. */
export async function set(db, id, values, expected = null, role = 'app_service') {
  const { version } = expected ? await changes(db, [id]) : {}
  const guards =
    expected &&
    Object.fromEntries(Object.entries(expected).map(([name, which]) => [name, version(id, name, which)]))
  const { result } = await db.one(
    'select public.set_business_secrets($1, $2, $3) as result',
    [id, JSON.stringify(values), guards && JSON.stringify(guards)],
    role,
  )
  const { nth } = await changes(db, [id])
  return Object.fromEntries(Object.entries(result).map(([name, version]) => [name, nth(id, name, version)]))
}

export async function get(db, id, wanted = null, role = 'app_service') {
  const { result } = await db.one('select public.get_business_secrets($1, $2) as result', [id, wanted], role)
  return result
}

/** `[status, value, which change]` of each element. */
export async function batch(db, ids, wanted, role = 'app_service') {
  const rows = await db.query(
    'select ord, value, version::integer, status from public.get_business_secrets_batch($1, $2)',
    [ids, wanted],
    role,
  )
  const { nth } = await changes(db, ids.filter(Boolean))
  return rows.map(({ ord, status, value, version }) => [
    status,
    value,
    nth(ids[ord - 1], wanted[ord - 1], version),
  ])
}
