// Runs one cell of the access matrix, in a transaction that is rolled back, the way its actor really connects.

import { businesses } from './access-fixture.mjs'
import { actors, expectations, privateTables } from './access-matrix.mjs'

const { A, B, C, D } = Object.fromEntries(
  Object.entries(businesses).map(([letter, id]) => [letter, `'${id}'`]),
)
const table = 'public.business_secrets'
const view = 'public.decrypted_business_secrets'
const status = 'public.business_secret_status'
const secretNames = 'public.business_secret_names'

const onTable = {
  select: `select * from ${table}`,
  'select for update': `select * from ${table} for update`,
  'insert D': `insert into ${table} (business_id, gemini_api_key) values (${D}, 'new')`,
  'upsert A': upsert(table, A, 'gemini_api_key'),
  'upsert B': upsert(table, B, 'gemini_api_key'),
  'ignore A': `insert into ${table} (business_id, gemini_api_key) values (${A}, 'new') on conflict (business_id) do nothing`,
  // Neither reads a column, so that no policy for SELECT hides what the policy for the command lets through.
  update: `update ${table} set claude_api_key = 'new'`,
  delete: `delete from ${table}`,
  'delete A': `delete from ${table} where business_id = ${A}`,
  'update returning': `update ${table} set claude_api_key = 'new' returning *`,
  truncate: `truncate ${table}`,
}

const onView = {
  select: `select * from ${view}`,
  'insert D': `insert into ${view} (business_id, google_drive_folder_id) values (${D}, 'new')`,
  'upsert A': upsert(view, A, 'google_drive_folder_id'),
  update: `update ${view} set google_drive_folder_id = 'new'`,
  delete: `delete from ${view}`,
  truncate: `truncate ${view}`,
}

const onStatus = {
  select: `select * from ${status}`,
  update: `update ${status} set value = 'new' where name = 'claude_api_key'`,
  undo: `update ${status} set undo = true where name = 'claude_api_key'`,
}

const calls = {
  'public.get_business_secrets(uuid, text[])': `select public.get_business_secrets(${B})`,
  'public.get_business_secrets_batch(uuid[], text[])': `
    select * from public.get_business_secrets_batch(
      array[${A}, ${B}, ${C}]::uuid[], array['gemini_api_key', 'gemini_api_key', 'google_refresh_token'])`,
  'public.get_business_secrets_columns(uuid[], text[], boolean)': `
    select * from public.get_business_secrets_columns(
      array[${A}, ${B}, ${C}]::uuid[], array['gemini_api_key', 'gemini_api_key', 'google_refresh_token'], false)`,
  'public.undo_business_secret(uuid, text, bigint)': `select public.undo_business_secret(${A}, 'gemini_api_key')`,
  'public.lease_business_secret(uuid, text, interval)': `select * from public.lease_business_secret(${A}, 'gemini_api_key')`,
  'public.release_business_secret(uuid, text, uuid)': `select public.release_business_secret(${A}, 'gemini_api_key', ${A})`,
  'public.check_business_secret(uuid, text, bigint, text)': `select public.check_business_secret(${A}, 'gemini_api_key', 0, 'works')`,
  'public.due_business_secrets(interval)': "select * from public.due_business_secrets('1 day')",
  'public.set_business_secrets(uuid, jsonb, jsonb, jsonb)': `select public.set_business_secrets(${B}, '{"grok_api_key": "new"}')`,
  'public.list_business_secrets(uuid)': `select * from public.list_business_secrets(${B})`,
  'vault.create_secret': "explain select vault.create_secret('new')",
  'vault.update_secret': `explain select vault.update_secret(${A}, 'new')`,
  'vault._crypto_aead_det_decrypt':
    "explain select vault._crypto_aead_det_decrypt(''::bytea, ''::bytea, id) from generate_series(0, 0) id",
  'vault._crypto_aead_det_encrypt':
    "explain select vault._crypto_aead_det_encrypt(''::bytea, ''::bytea, id) from generate_series(0, 0) id",
  'vault._crypto_aead_det_noncegen': 'explain select vault._crypto_aead_det_noncegen()',
}

const onVault = (relation) => ({
  select: `select * from ${relation}`,
  insert: `insert into ${relation} (name, secret) values ('new', '')`,
  upsert: `insert into ${relation} (name, secret) values ('new', '') on conflict do nothing`,
  update: `update ${relation} set name = name`,
  delete: `delete from ${relation} where name like 'business_secrets/%'`,
  truncate: `truncate ${relation}`,
})

// EXPLAIN checks every privilege and changes nothing.
const onPrivateTable = (relation) => ({
  select: `explain select * from ${relation}`,
  insert: `explain insert into ${relation} default values`,
  upsert: `explain insert into ${relation} default values on conflict do nothing`,
  update: `explain update ${relation} set ${privateTables[relation]} = default`,
  delete: `explain delete from ${relation}`,
  truncate: `truncate ${relation}`,
})

function upsert(relation, business, column) {
  return `
    insert into ${relation} (business_id, ${column}) values (${business}, 'new')
    on conflict (business_id) do update set business_id = excluded.business_id, ${column} = excluded.${column}`
}

const privilegeKinds = {
  table: { a: 'insert', r: 'select', w: 'update', d: 'delete', D: 'truncate', x: 'references', t: 'trigger' },
  sequence: { r: 'select', w: 'update', U: 'usage' },
  function: { X: 'execute' },
  schema: { U: 'usage', C: 'create' },
}

function kindOf(object) {
  if (object.startsWith('schema ')) return 'schema'
  if (object.endsWith(')')) return 'function'
  return object.endsWith('_seq') || object === 'app_secrets.versions' ? 'sequence' : 'table'
}

function privileges(object) {
  const kind = kindOf(object)
  const name = kind === 'schema' ? `'${object.slice(7)}'::regnamespace` : oid(object)
  const has = (privilege) => `pg_catalog.has_${kind}_privilege(o.oid, '${privilege}')`
  const codes = Object.entries(privilegeKinds[kind]).map(
    ([code, privilege]) =>
      `case when ${has(`${privilege} with grant option`)} then '${code}*' when ${has(privilege)} then '${code}' end`,
  )
  if (kind === 'table') {
    const anyColumn = Object.entries({ r: 'select', a: 'insert', w: 'update', x: 'references' }).map(
      ([code, privilege]) => `
        case when not ${has(privilege)} and pg_catalog.has_any_column_privilege(o.oid, '${privilege}') then '(${code})' end`,
    )
    codes.push(...anyColumn)
  }
  return `select pg_catalog.concat(${codes.join(', ')}) as privileges from (select ${name} as oid) o`
}

/** By catalogue and not by name: an actor without USAGE on the schema cannot name what is in it. */
function oid(object) {
  const [schema, rest] = [object.slice(0, object.indexOf('.')), object.slice(object.indexOf('.') + 1)]
  const name = rest.split('(')[0]
  return rest.includes('(')
    ? `(select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname = '${schema}' and p.proname = '${name}'
        and pg_catalog.oidvectortypes(p.proargtypes) = '${rest.slice(name.length + 1, -1)}')`
    : `(select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = '${schema}' and c.relname = '${name}')`
}

function statement({ object, operation }) {
  if (operation === 'privileges') return privileges(object)
  if (object === table) return onTable[operation]
  if (object === view) return onView[operation]
  if (object === status) return onStatus[operation]
  if (object === secretNames) return `select * from ${secretNames}`
  if (calls[object]) return calls[object]
  if (object.startsWith('vault.')) return onVault(object)[operation]
  if (privateTables[object]) return onPrivateTable(object)[operation]
  const [name, types] = object.slice(0, -1).split('(')
  const nulls = types ? types.split(', ').map((type) => `null::${type}`) : []
  return `explain select ${name}(${nulls.join(', ')})`
}

/** All cells of a database that is migrated to `version`, each with the SQL that its actor sends. */
export function cells(version) {
  return expectations(version).map((cell) => {
    const sql = statement(cell)
    if (!sql) throw new Error(`no statement for ${cell.id}`)
    return { ...cell, sql }
  })
}

/** Statements that turn a session into an actor's until the transaction ends. */
export function become(name, { impersonate = false } = {}) {
  const { login, role, claims } = actors[name]
  return [
    ...(impersonate ? [`set local session authorization ${login}`] : []),
    ...(role
      ? [
          `select pg_catalog.set_config('role', '${role}', true),
            pg_catalog.set_config('request.jwt.claims', '${claims.replaceAll("'", "''")}', true)`,
        ]
      : []),
  ]
}

/**
 * Runs a cell and gives its outcome in the matrix's terms. Without `impersonate` the client is connected as the actor's
 * login and outside a transaction; with it, it is a superuser's, inside one.
 */
export async function outcome(client, cell, recognize, { impersonate = false } = {}) {
  const [open, undo] = impersonate ? ['savepoint cell', 'rollback to savepoint cell'] : ['begin', 'rollback']
  const script = [open, ...become(cell.actor, { impersonate }), cell.sql].join(';\n')
  try {
    return describe([await client.query(script)].flat().at(-1), recognize)
  } catch (error) {
    if (!error.code) throw error
    const { code, message, detail, hint, where } = error
    return (code === '42501' ? 'no' : code) + recognize(JSON.stringify({ message, detail, hint, where }))
  } finally {
    await client.query(undo)
  }
}

function describe({ command, rows, rowCount }, recognize) {
  if (command === 'EXPLAIN' || command === 'TRUNCATE') return 'ok'
  if (rows[0]?.privileges !== undefined) return rows[0].privileges || '-'
  const seen = recognize(JSON.stringify(rows))
  if (command === 'SELECT') return rows.length ? seen || 'ok' : '-'
  return rowCount ? `${rowCount}${seen}` : '-'
}

/** Whether an outcome is the expected one; `all` is every privilege of its kind, as an owner has them. */
export function matches(cell, actual) {
  if (cell.expected !== 'all') return actual === cell.expected
  const kind = kindOf(cell.object)
  return (
    actual ===
    Object.keys(privilegeKinds[kind])
      .map((code) => `${code}*`)
      .join('')
  )
}
