// The SQL that PostgREST 12.2 to 16 sends for a request of supabase-js: one statement for the request's settings, one for
// the request, in one transaction. The request's values travel as parameters. Written from how PostgREST behaves, for the
// shapes that matter to triggers and policies: the row source, the conflict clause, RETURNING and the CTE around them.

import { defaultCatalogue } from './default-catalogue.mjs'

const ident = (name) => (name === '*' ? '*' : `"${name}"`)
const qualified = (name) => `"public"."${name}"`

/**
 * Sends one request with the role and the claims of a token. Gives PostgREST's row: the body and what goes with it.
 * `accept` looks at that row before the transaction ends, and undoes it by throwing.
 */
export async function send(client, token, request, { readOnly = false, accept } = {}) {
  await client.query(`begin isolation level read committed read ${readOnly ? 'only' : 'write'}`)
  try {
    await client.query(preamble(token))
    const [row] = (await client.query(request)).rows
    accept?.(row)
    await client.query('commit')
    return { body: row.body, count: Number(row.page_total), inserted: row.response_inserted }
  } catch (error) {
    // Where the connection is lost there is nothing to roll back; the first error is the one that says why.
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/** Settings that PostgREST makes for each request. */
function preamble({ role, claims, schema = 'public', method = 'POST', path = '/', headers = {} }) {
  return {
    text: `select set_config('search_path', $1, true), set_config('role', $2, true),
      set_config('request.jwt.claims', $3, true), set_config('request.method', $4, true),
      set_config('request.path', $5, true), set_config('request.headers', $6, true)`,
    values: [
      `"${schema}", "public", "extensions"`,
      role,
      JSON.stringify({ ...claims, role }),
      method,
      path,
      JSON.stringify(headers),
    ],
  }
}

/** The rows of a JSON body; `defaults` fills in keys that are missing (`defaultToNull: false`). */
function body({ columns, types, json, defaults, limitOne = false }) {
  const isObject = json.trimStart().startsWith('{')
  const names = columns.map(ident).join(', ')
  const typed = columns.map((name) => `${ident(name)} ${types[name]}`).join(', ')
  const kind = defaults ? 'jsonb' : 'json'
  const filled = Object.entries(defaults ?? {})
    .filter(([name]) => columns.includes(name))
    .map(([name, expression]) => `'${name}', ${expression}`)
    .join(',')
  let fill = ''
  if (defaults) {
    fill = isObject
      ? `LATERAL (SELECT jsonb_build_object(${filled}) || pgrst_payload.json_data AS val) pgrst_json_defs, `
      : `LATERAL (SELECT jsonb_agg(jsonb_build_object(${filled}) || elem) AS val
          from jsonb_array_elements(pgrst_payload.json_data) elem) pgrst_json_defs, `
  }
  const source = defaults ? 'pgrst_json_defs.val' : 'pgrst_payload.json_data'
  const expand = `${kind}_to_record${isObject ? '' : 'set'}`
  return `FROM (SELECT $1::${kind} AS json_data) pgrst_payload, ${fill}
    LATERAL (SELECT ${names} FROM ${expand}(${source}) AS _(${typed}) ${limitOne ? 'LIMIT 1' : ''}) pgrst_body `
}

const operators = {
  eq: '=',
  neq: '<>',
  gt: '>',
  gte: '>=',
  lt: '<',
  lte: '<=',
  like: 'like',
  ilike: 'ilike',
  is: 'IS',
  in: '= ANY',
}
const truths = new Set(['null', 'not_null', 'true', 'false', 'unknown'])

/** Which filters `where` knows, by the names that they have in an address. */
export const filterOperators = Object.keys(operators)

/** A filter is a value, a list of them, or `{ operator, value, negated }`, as `business_id=in.(…)` and others are. */
function term(table, name, filter, bind) {
  const column = table ? `${qualified(table)}.${ident(name)}` : ident(name)
  const { operator, value, negated } =
    filter !== null && typeof filter === 'object' && !Array.isArray(filter)
      ? filter
      : { operator: Array.isArray(filter) ? 'in' : 'eq', value: filter }
  const sign = operators[operator]
  let right
  if (operator === 'is') {
    if (!truths.has(value)) throw new Error('is. takes null, not_null, true, false or unknown')
    right = value.replace('_', ' ')
  } else if (operator === 'in') {
    right = `(${bind(`{${value.map((one) => JSON.stringify(String(one))).join(',')}}`)})`
  } else {
    right = bind(value)
  }
  return `${negated ? 'NOT ' : ''}${column} ${sign} ${right}`
}

/** `filters` by column, or a list of `[column, filter]`. */
function where(table, filters, bind) {
  const terms = (Array.isArray(filters) ? filters : Object.entries(filters)).map(([name, filter]) =>
    term(table, name, filter, bind),
  )
  return terms.length ? ` WHERE ${terms.join(' AND ')}` : ''
}

/** What of the result is asked for: a name, or `{ column, cast, alias }`. */
function selected(prefix, item) {
  if (typeof item === 'string') return `${prefix}.${ident(item)}`
  const { column, cast, alias } = item
  const cell = `${prefix}.${ident(column)}`
  return `${cast ? `CAST(${cell} AS ${cast})` : cell}${alias || cast ? ` AS ${ident(alias ?? column)}` : ''}`
}

function page(table, { order = [], limit, offset }, bind) {
  const terms = order.map(
    ({ column, descending, nulls }) =>
      `${table ? `${qualified(table)}.` : ''}${ident(column)} ${descending ? 'DESC' : 'ASC'}${nulls ? ` NULLS ${nulls}` : ''}`,
  )
  return `${terms.length ? ` ORDER BY ${terms.join(', ')}` : ''}${limit === undefined ? '' : ` LIMIT ${bind(limit)}`}${
    offset ? ` OFFSET ${bind(offset)}` : ''
  }`
}

function returning(table, select) {
  return select
    ? `RETURNING ${[...new Set(select.map((item) => item.column ?? item))].map((name) => `${qualified(table)}.${ident(name)}`).join(', ')}`
    : 'RETURNING 1'
}

/** `select` empty is Prefer: return=minimal, which supabase-js sends unless `.select()` follows the write. */
function respond(mutation, select, values, inserted = "''") {
  const rows = select
    ? `SELECT ${select.map((item) => selected('"pgrst_source"', item)).join(', ')} FROM "pgrst_source"`
    : 'SELECT * FROM pgrst_source'
  const json = select ? "coalesce(json_agg(_postgrest_t), '[]')" : "''::text"
  return {
    text: `WITH pgrst_source AS (${mutation})
      SELECT '' AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, array[]::text[] AS header,
        ${json} AS body, nullif(current_setting('response.headers', true), '') AS response_headers,
        nullif(current_setting('response.status', true), '') AS response_status, ${inserted} AS response_inserted
      FROM (${rows}) _postgrest_t`,
    values,
  }
}

function binder(values) {
  return (value) => {
    values.push(value)
    return `$${values.length}`
  }
}

// PostgREST counts what was inserted and what was merged in a setting, from inside the statement.
const counted = (sign, never) =>
  `WHERE set_config('pgrst.inserted', (coalesce(nullif(current_setting('pgrst.inserted', true), '')::int, 0) ${sign} 1)::text, true) <> '${never}'`

export class Requests {
  /** `types` and `defaults` of a table's columns, as PostgREST's schema cache knows them. */
  constructor(schemaCache) {
    this.schemaCache = schemaCache
  }

  /** `order`: `[{ column, descending, nulls }]`. `count` also counts what the page leaves out (Prefer: count=exact). */
  select(table, { columns, filters = {}, order, limit, offset, count = false } = {}) {
    const values = []
    const bind = binder(values)
    const items = columns
      ? columns.map((item) => selected(qualified(table), item)).join(', ')
      : `${qualified(table)}.*`
    const rows = `FROM ${qualified(table)} ${where(table, filters, bind)}`
    const total = count ? '(SELECT pg_catalog.count(*) FROM pgrst_source_count)' : 'null::bigint'
    return {
      text: `WITH pgrst_source AS (SELECT ${items} ${rows}${page(table, { order, limit, offset }, bind)})
        ${count ? `, pgrst_source_count AS (SELECT 1 ${rows})` : ''}
        SELECT ${total} AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total,
          coalesce(json_agg(_postgrest_t), '[]') AS body,
          nullif(current_setting('response.headers', true), '') AS response_headers,
          nullif(current_setting('response.status', true), '') AS response_status, '' AS response_inserted
        FROM (SELECT * FROM pgrst_source) _postgrest_t`,
      values,
    }
  }

  /** `.insert(rows)`, and `.upsert(rows, { onConflict, ignoreDuplicates, defaultToNull })` where `resolution` is given. */
  insert(
    table,
    rows,
    { select, columns: given, resolution, onConflict = ['business_id'], defaultToNull = true } = {},
  ) {
    const { types, defaults } = this.schemaCache[table]
    const json = JSON.stringify(rows)
    // supabase-js sends the union of the rows' keys as `columns` for bulk writes; a single object has just its own.
    const columns = (given ?? [...new Set([rows].flat().flatMap(Object.keys))]).toSorted()
    const merge = resolution === 'merge-duplicates'
    const assignments = columns.map((name) => `${ident(name)} = EXCLUDED.${ident(name)}`).join(', ')
    const action = merge ? `DO UPDATE SET ${assignments}${counted('-', '-1')}` : 'DO NOTHING'
    const conflict = resolution ? ` ON CONFLICT(${onConflict.map(ident).join(', ')}) ${action}` : ''
    const mutation = `INSERT INTO ${qualified(table)}(${columns.map(ident).join(', ')})
      SELECT ${columns.map((name) => `"pgrst_body".${ident(name)}`).join(', ')}
      ${body({ columns, types, json, defaults: defaultToNull ? undefined : defaults })}
      ${merge ? counted('+', '0') : ''}${conflict} ${returning(table, select)}`
    return respond(
      mutation,
      select,
      [json],
      merge ? "nullif(current_setting('pgrst.inserted',true),'')::int" : "''",
    )
  }

  update(table, values, { filters = {}, select } = {}) {
    const json = JSON.stringify(values)
    const columns = Object.keys(values).sort()
    const parameters = [json]
    const assignments = columns.map((name) => `${ident(name)} = "pgrst_body".${ident(name)}`).join(', ')
    const mutation = `UPDATE ${qualified(table)} SET ${assignments}
      ${body({ columns, types: this.schemaCache[table].types, json })}
      ${where(table, filters, binder(parameters))} ${returning(table, select)}`
    return respond(mutation, select, parameters)
  }

  delete(table, { filters = {}, select } = {}) {
    const values = []
    const mutation = `DELETE FROM ${qualified(table)} ${where(table, filters, binder(values))} ${returning(table, select)}`
    return respond(mutation, select, values)
  }

  /**
   * `.rpc(name, arguments)`; `scalar` where the function does not return rows, `set` false where it returns one row.
   * `types`: of its arguments, where functions share the name.
   */
  rpc(
    name,
    parameters,
    { scalar = false, set = !scalar, types, select, filters = {}, order, limit, offset } = {},
  ) {
    const json = JSON.stringify(parameters)
    const columns = Object.keys(parameters).sort()
    const values = columns.length ? [json] : []
    const bind = binder(values)
    const passed = columns.map((column) => `${ident(column)} := pgrst_body.${ident(column)}`).join(', ')
    const call = scalar
      ? `LATERAL (SELECT ${qualified(name)}(${passed}) pgrst_scalar) pgrst_call`
      : `LATERAL ${qualified(name)}(${passed}) pgrst_call`
    const element = scalar ? '_postgrest_t.pgrst_scalar' : '_postgrest_t'
    const aggregate = set
      ? `coalesce(json_agg(${element}), '[]')`
      : `coalesce(json_agg(${element})->0, 'null')`
    const items = select
      ? select.map((item) => selected('"pgrst_source"', item)).join(', ')
      : '"pgrst_source".*'
    // Without an argument there is no record to take apart.
    const source = columns.length
      ? `${body({ columns, types: types ?? this.schemaCache[name].types, json, limitOne: true })}, ${call}`
      : `FROM ${call}`
    const rest = `${where(null, filters, bind)}${page(null, { order, limit, offset }, bind)}`
    return {
      text: `WITH pgrst_source AS (SELECT ${scalar ? 'pgrst_call.pgrst_scalar' : 'pgrst_call.*'}
          ${source})
        SELECT null::bigint AS total_result_set, ${scalar ? '1' : 'pg_catalog.count(_postgrest_t)'} AS page_total,
          ${aggregate} AS body, nullif(current_setting('response.headers', true), '') AS response_headers,
          nullif(current_setting('response.status', true), '') AS response_status, '' AS response_inserted
        FROM (SELECT ${items} FROM "pgrst_source"${rest}) _postgrest_t`,
      values,
    }
  }
}

export const secretColumns = defaultCatalogue.filter(({ sealed }) => sealed).map(({ name }) => name)

const columns = {
  types: {
    business_id: 'uuid',
    ...Object.fromEntries(
      defaultCatalogue.map(({ name, type }) => [name, type === 'text' ? type : 'timestamp with time zone']),
    ),
    updated_at: 'timestamp with time zone',
  },
  defaults: { updated_at: 'now()' },
}

export const requests = new Requests({
  business_secrets: columns,
  decrypted_business_secrets: columns,
  get_business_secrets: { types: { p_business_id: 'uuid', p_names: 'text[]' } },
  get_business_secrets_batch: { types: { p_business_ids: 'uuid[]', p_names: 'text[]' } },
  set_business_secrets: { types: { p_business_id: 'uuid', p_values: 'jsonb', p_expected: 'jsonb' } },
  list_business_secrets: { types: { p_business_id: 'uuid' } },
})
