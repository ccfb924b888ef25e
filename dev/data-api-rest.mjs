// From an HTTP request of supabase-js to the SQL of postgrest.mjs, and from its row back to an answer. What PostgREST can
// do and no client of ours asks for (embedded tables, `or`, full-text filters, CSV) is refused as such, not left out.

import { ApiError } from './data-api-tokens.mjs'
import { filterOperators, Requests, send } from './postgrest.mjs'

const refused = (status, code, message, details = null, hint = null) =>
  new ApiError(status, { code, details, hint, message })
const notHere = (what) => refused(501, 'STANDIN', `this stand-in for PostgREST does not know ${what}`)

const reserved = new Set(['select', 'order', 'limit', 'offset', 'columns', 'on_conflict', 'or', 'and'])
const single = 'application/vnd.pgrst.object+json'

/** Raw text of every column: JSON is passed on as the database wrote it. */
const rawTypes = { getTypeParser: () => (value) => value }

/**
 * Answers one request: `{ status, headers, body }`.
 *
 * @param {object} context `{ pool, cache, isOpen, counters }`
 * @param {object} request `{ method, path, query, headers, text, role, claims }`; `path` below `/rest/v1`
 */
export async function answerRest(context, request) {
  const { method, path } = request
  const [, first, second, rest] = path.split('/')
  if (rest !== undefined || !first) throw refused(404, 'PGRST125', 'Invalid path specified in request URL')
  const call = first === 'rpc' ? second : undefined
  if (call === undefined && second !== undefined) {
    throw refused(404, 'PGRST125', 'Invalid path specified in request URL')
  }
  const prefer = preferences(request.headers.prefer)
  const accept = accepted(request.headers.accept)
  const plan = call
    ? await planCall(context, request, call)
    : await planTable(context, request, first, prefer)
  if (!plan.statement) return { status: plan.status, headers: {}, body: plan.body }

  const row = await run(context, request, plan, (found) => {
    if (accept === single && !plan.minimal && plan.rows && found.page_total !== '1') {
      throw refused(
        406,
        'PGRST116',
        'Cannot coerce the result to a single JSON object',
        `The result contains ${found.page_total} rows`,
      )
    }
  })
  return respond({ method, prefer, accept, plan, row })
}

async function planTable({ cache }, { method, query, text }, table, prefer) {
  const known = await cache.find(({ tables }) => tables[table])
  if (!known) {
    throw refused(404, 'PGRST205', `Could not find the table 'public.${table}' in the schema cache`)
  }
  const requests = new Requests({ [table]: known })
  const select = selection(query.get('select'))
  const filters = filtersOf(query)
  if (method === 'GET' || method === 'HEAD') {
    const options = { columns: select, filters, ...pageOf(query), count: prefer.count === 'exact' }
    return { statement: requests.select(table, options), readOnly: true, rows: true, status: 200 }
  }
  // No row comes back unless it is asked for: `.select()` after a write does.
  const returned = prefer.return === 'representation' ? (select ?? Object.keys(known.types)) : undefined
  const minimal = !returned
  if (method === 'DELETE') {
    const statement = requests.delete(table, { filters, select: returned })
    return { statement, rows: true, minimal, status: minimal ? 204 : 200 }
  }
  const rows = json(text)
  const columns = await columnsOf(cache, table, rows, query)
  // Looking for a column may have read the schema again.
  const writes = new Requests({ [table]: cache.tables[table] })
  if (method === 'PATCH') {
    if (!columns.length) return { status: minimal ? 204 : 200, body: minimal ? undefined : '[]' }
    const statement = writes.update(table, pick(rows, columns), { filters, select: returned })
    return { statement, rows: true, minimal, status: minimal ? 204 : 200 }
  }
  if (method !== 'POST') throw refused(405, 'PGRST117', `Unsupported HTTP method: ${method}`)
  if (Array.isArray(rows) && !rows.length) return { status: 201, body: minimal ? undefined : '[]' }
  const statement = writes.insert(table, rows, {
    select: returned,
    columns,
    resolution: prefer.resolution,
    onConflict: query.get('on_conflict')?.split(',').map(name) ?? known.key,
    defaultToNull: prefer.missing !== 'default',
  })
  const merged = prefer.resolution === 'merge-duplicates'
  return {
    statement,
    rows: true,
    minimal,
    status: (row) => (merged && row.response_inserted === '0' ? 200 : 201),
  }
}

async function planCall({ cache }, { method, query, text }, called) {
  const isRead = method === 'GET' || method === 'HEAD'
  if (!isRead && method !== 'POST') throw refused(405, 'PGRST101', 'Cannot use the method on RPC')
  const parameters = isRead
    ? Object.fromEntries([...query].filter(([key]) => !reserved.has(key)))
    : text.trim()
      ? json(text)
      : {}
  if (Array.isArray(parameters) || parameters === null) throw notHere('a call with a list of arguments')
  const given = Object.keys(parameters)
  const fits = ({ types, required }) =>
    given.every((key) => key in types) && required.every((key) => given.includes(key))
  const known = await cache.find(({ functions }) => {
    const matching = functions[called]?.filter(fits) ?? []
    if (matching.length > 1) {
      throw refused(300, 'PGRST203', 'Could not choose the best candidate function')
    }
    return matching[0]
  })
  if (!known) {
    const signature = given.length ? `(${given.toSorted().join(', ')})` : ' without parameters'
    throw refused(
      404,
      'PGRST202',
      `Could not find the function public.${called}${signature} in the schema cache`,
    )
  }
  const statement = new Requests({}).rpc(called, parameters, {
    ...known,
    select: known.scalar ? undefined : selection(query.get('select')),
    filters: isRead ? [] : filtersOf(query),
    ...pageOf(query),
  })
  return {
    statement,
    // A function that is not volatile cannot write, whatever method it is called with.
    readOnly: isRead || known.readOnly,
    rows: known.set,
    isList: known.set,
    minimal: known.void,
    status: known.void ? 204 : 200,
  }
}

/** PostgREST repeats a transaction that ends in 40001, without end: until then, or until nobody waits any more. */
async function run({ pool, isOpen, counters }, request, { statement, readOnly }, accept) {
  const { method, path, headers, role, claims } = request
  for (;;) {
    const client = await pool.connect().catch((error) => {
      throw refused(503, 'PGRST000', 'Database connection error. Retrying the connection.', error.code)
    })
    let broken
    try {
      let row
      await send(
        client,
        { role, claims, method, path, headers },
        { ...statement, types: rawTypes },
        {
          readOnly,
          accept: (found) => {
            accept(found)
            row = found
          },
        },
      )
      return row
    } catch (error) {
      broken = endsSession(error) ? error : undefined
      if (error.code !== '40001' || !isOpen()) throw error
      counters.repeated++
    } finally {
      client.release(broken)
    }
  }
}

/** Whether the pool must not hand out the session again: its connection broke, or the server is ending it (57P…). */
function endsSession(error) {
  if (error instanceof ApiError) return false
  return !isSqlState(error.code) || error.code.startsWith('57P')
}

const isSqlState = (code) => /^[0-9A-Z]{5}$/.test(code ?? '')

function respond({ method, prefer, accept, plan, row }) {
  const status = Number(
    row.response_status ?? (typeof plan.status === 'function' ? plan.status(row) : plan.status),
  )
  const headers = {}
  for (const one of JSON.parse(row.response_headers ?? '[]')) Object.assign(headers, one)
  const applied = ['return', 'resolution', 'missing', 'count'].filter((key) => prefer[key])
  if (applied.length) headers['preference-applied'] = applied.map((key) => `${key}=${prefer[key]}`).join(', ')
  if (plan.minimal) return { status, headers, body: undefined }
  const count = Number(row.page_total)
  headers['content-range'] =
    `${plan.readOnly && count ? `0-${count - 1}` : '*'}/${row.total_result_set ?? '*'}`
  const isObject = accept === single && plan.rows
  headers['content-type'] = `${isObject ? single : 'application/json'}; charset=utf-8`
  // The one row, without the brackets around it.
  const body = isObject ? row.body.trim().slice(1, -1) : row.body
  return { status, headers, body: method === 'HEAD' ? undefined : body }
}

/** An error of the database, with the status that PostgREST gives it. */
export function toAnswer(error, role) {
  if (error instanceof ApiError) return error
  if (!isSqlState(error.code)) {
    return refused(503, 'PGRST001', 'Database client error. Retrying the connection.', error.code ?? null)
  }
  return refused(
    statusOf(error.code, role, error.message),
    error.code,
    error.message,
    error.detail ?? null,
    error.hint ?? null,
  )
}

const byCode = {
  25006: 405,
  42501: 403,
  42883: 404,
  '42P01': 404,
  '42P17': 500,
  P0001: 400,
  23503: 409,
  23505: 409,
  53400: 500,
  '57P01': 503,
}
const byClass = {
  '08': 503,
  '09': 500,
  '0L': 403,
  '0P': 403,
  25: 500,
  28: 403,
  '2D': 500,
  38: 500,
  39: 500,
  '3B': 500,
  40: 500,
  53: 503,
  54: 500,
  55: 500,
  57: 500,
  58: 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
}

function statusOf(code, role) {
  if (code === '42501' && role === 'anon') return 401
  if (/^PT\d{3}$/.test(code)) return Number(code.slice(2))
  return byCode[code] ?? byClass[code.slice(0, 2)] ?? 400
}

function preferences(header = '') {
  return Object.fromEntries(header.split(',').map((one) => one.trim().split('=')))
}

function accepted(header = '*/*') {
  const types = header.split(',').map((one) => one.split(';')[0].trim())
  if (types.includes(single)) return single
  if (types.some((type) => ['*/*', 'application/json', 'application/*'].includes(type)))
    return 'application/json'
  throw refused(406, 'PGRST107', 'None of these media types are available')
}

function json(text) {
  let value
  try {
    value = JSON.parse(text)
  } catch {
    throw refused(400, 'PGRST102', 'Empty or invalid json')
  }
  if (value === null || typeof value !== 'object') throw refused(400, 'PGRST102', 'Empty or invalid json')
  return value
}

/** The columns that a body writes: those in the address, else the keys, which all rows then have to share. */
async function columnsOf(cache, table, rows, query) {
  const asked = query.get('columns')?.split(',').map(name)
  const [first = {}, ...others] = [rows].flat()
  const columns = asked ?? Object.keys(first)
  if (!asked && others.some((row) => Object.keys(row).toSorted().join() !== columns.toSorted().join())) {
    throw refused(400, 'PGRST102', 'All object keys must match')
  }
  for (const column of columns) {
    if (!(await cache.find(({ tables }) => tables[table].types[column]))) {
      throw refused(
        400,
        'PGRST204',
        `Could not find the '${column}' column of '${table}' in the schema cache`,
      )
    }
  }
  return columns
}

const pick = (row, columns) => Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))

/** A name that may stand in double quotes in SQL. */
function name(text) {
  const plain = text.trim().replace(/^"(.*)"$/, '$1')
  if (!/^[A-Za-z_][A-Za-z0-9_$]*$/.test(plain)) throw notHere('names other than letters, digits, _ and $')
  return plain
}

/** `a,b:c::text`, or undefined for everything. */
function selection(text) {
  if (!text || text === '*') return undefined
  return text.split(',').map((item) => {
    if (/[()*]|->/.test(item)) throw notHere('embedded tables, aggregates and JSON paths')
    const [, alias, column, cast] = item.match(/^(?:([^:]+):(?!:))?([^:]+)(?:::(.+))?$/) ?? []
    if (!column) throw refused(400, 'PGRST100', `"failed to parse select parameter (${text})"`)
    return { column: name(column), alias: alias && name(alias), cast: cast && name(cast) }
  })
}

function filtersOf(query) {
  if (query.has('or') || query.has('and')) throw notHere('or= and and=')
  return [...query]
    .filter(([key]) => !reserved.has(key))
    .map(([column, text]) => {
      const [, not, operator, value] = text.match(/^(not\.)?([a-z]+)\.([\s\S]*)$/) ?? []
      if (!operator) throw refused(400, 'PGRST100', `"failed to parse filter (${text})"`)
      if (!filterOperators.includes(operator)) throw notHere(`the filter ${operator}`)
      const read = { in: listOf, like: pattern, ilike: pattern }[operator]
      return [name(column), { operator, value: read ? read(value) : value, negated: Boolean(not) }]
    })
}

const pattern = (text) => text.replaceAll('*', '%')

/** `(a,"b,c")`. */
function listOf(text) {
  if (!/^\([\s\S]*\)$/.test(text)) throw refused(400, 'PGRST100', '"failed to parse filter (in)"')
  const items = text.slice(1, -1).match(/"(?:[^"\\]|\\.)*"|[^,]+/g) ?? []
  return items.map((item) => (item.startsWith('"') ? item.slice(1, -1).replace(/\\(.)/g, '$1') : item))
}

function pageOf(query) {
  const order = query
    .get('order')
    ?.split(',')
    .map((item) => {
      const [column, ...how] = item.split('.')
      const nulls = how.includes('nullsfirst') ? 'FIRST' : how.includes('nullslast') ? 'LAST' : undefined
      return { column: name(column), descending: how.includes('desc'), nulls }
    })
  const number = (key) => (/^\d+$/.test(query.get(key) ?? '') ? Number(query.get(key)) : undefined)
  return { order, limit: number('limit'), offset: number('offset') }
}
