// The SQL that PostgREST makes of a supabase-js call, and the transaction that it sends it in: as `authenticator`, with
// the role and the claims of the caller's token set for that transaction alone.

/** Columns that are not text; a request's JSON is read by type. */
const types = {
  id: 'uuid',
  business_id: 'uuid',
  owner_id: 'uuid',
  google_token_expiry: 'timestamptz',
  updated_at: 'timestamptz',
}

const identifier = (name) => `"${name.replaceAll('"', '""')}"`
const relation = (name) => `"public".${identifier(name)}`

/** `.from(table).select(columns).eq(…)` */
export function select(table, { columns = ['*'], where = {} } = {}) {
  const list = columns.map((name) => `${relation(table)}.${name === '*' ? '*' : identifier(name)}`).join(', ')
  const values = []
  const text = `select ${list} from ${relation(table)}${condition(table, where, values)}`
  return { text: answer(text), values }
}

/** `.from(table).insert(rows)`, and with `onConflict` `.upsert(rows, { onConflict, ignoreDuplicates })` */
export function insert(table, rows, { onConflict, ignoreDuplicates = false } = {}) {
  const { names, source } = body(rows)
  const list = names.map(identifier).join(', ')
  const assignments = names.map((name) => `${identifier(name)} = excluded.${identifier(name)}`).join(', ')
  const conflict = onConflict
    ? ` on conflict (${identifier(onConflict)}) do ${ignoreDuplicates ? 'nothing' : `update set ${assignments}`}`
    : ''
  const text = `insert into ${relation(table)} (${list}) select ${list} from ${source}${conflict} returning 1`
  return { text: answer(text), values: [JSON.stringify(rows)] }
}

/** `.from(table).update(row).eq(…)` */
export function update(table, row, { where }) {
  const { names, source } = body(row)
  const assignments = names.map((name) => `${identifier(name)} = pgrst_body.${identifier(name)}`).join(', ')
  const values = [JSON.stringify(row)]
  const text = `update ${relation(table)} set ${assignments} from ${source}${condition(table, where, values)} returning 1`
  return { text: answer(text), values }
}

/** `.from(table).delete().eq(…)` */
export function remove(table, { where }) {
  const values = []
  const text = `delete from ${relation(table)}${condition(table, where, values)} returning 1`
  return { text: answer(text), values }
}

/** Runs one statement as a request of `role` with the token's claims. Gives the rows of the answer's body and a count. */
export async function request(client, { role, claims = {} }, { text, values }) {
  await client.query('begin')
  try {
    await client.query(
      `select set_config('search_path', 'public', true), set_config('role', $1, true),
              set_config('request.jwt.claims', $2, true)`,
      [role, JSON.stringify({ role, ...claims })],
    )
    const { rows } = await client.query(text, values)
    await client.query('commit')
    return { rows: rows[0].body, count: Number(rows[0].page_total) }
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

function answer(source) {
  return `with pgrst_source as (${source})
select count(t) as page_total, coalesce(json_agg(t), '[]') as body from (select * from pgrst_source) t`
}

function condition(table, where, values) {
  const terms = Object.entries(where).map(([name, value]) => {
    values.push(value)
    return `${relation(table)}.${identifier(name)} = $${values.length}`
  })
  return terms.length ? ` where ${terms.join(' and ')}` : ''
}

function body(rows) {
  const names = Object.keys([rows].flat()[0])
  const columns = names.map((name) => `${identifier(name)} ${types[name] ?? 'text'}`).join(', ')
  const json = Array.isArray(rows) ? '$1::json' : 'json_build_array($1::json)'
  return { names, source: `json_to_recordset(${json}) as pgrst_body (${columns})` }
}
