// What PostgREST's answers mean: rows where there are some, and a SecretsError for everything else. Of an error's words only
// those of our own functions are passed on: others quote values. Only own properties count, here and in what is given out.

const args = require('./arguments.js')
const { SecretsError } = require('./errors.js')

/** The transaction met another and was undone: worth trying again. PT409 is what our functions raise for PostgREST. */
const MET_ANOTHER = ['PT409', '40001', '40P01']
const EXPIRED = ['PGRST301', 'PGRST302', 'PGRST303']

/** The JSON of a body; undefined where it is none, as a gateway's page is. */
function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The own properties of a JSON object, on no prototype; null where it is none. */
function ownOf(json) {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return null
  return args.record(Object.entries(json))
}

/** Rows that have these columns, with values that fit; null where the answer is something else. */
function rowsOf(json, columns, fits) {
  if (!Array.isArray(json)) return null
  const rows = json.map(ownOf)
  const isRow = (row) => row !== null && columns.every((column) => column in row && fits(column, row[column]))
  return rows.every(isRow) ? rows : null
}

/** `{ code, message }` of an error's body, as text; blank where there is none, or it is something else. */
function failureOf(json) {
  const { code, message } = ownOf(json) ?? args.nothing
  return {
    // A code is shown, so it must look like one of PostgreSQL's or PostgREST's.
    code: typeof code === 'string' && /^[A-Z0-9]{5,8}$/.test(code) ? code : '',
    message: typeof message === 'string' ? message : '',
  }
}

/** The answer was a success, and not PostgREST's: a gateway, a captive portal, another server. */
function unexpected({ status, type, text, json }, isWrite) {
  const media = /^[\w.+-]{1,40}\/[\w.+-]{1,40}/.exec(type)?.[0] ?? 'a body of no type'
  const body = text === '' ? 'an empty body' : json === undefined ? media : 'JSON of another shape'
  const what = `HTTP ${status} came with ${body} in place of the Data API's answer`
  const look = 'look at supabaseUrl, and at what stands between it and here'
  if (isWrite) {
    return new SecretsError(
      'UNKNOWN_OUTCOME',
      `the write may or may not have been carried out (${what}): read the version before you repeat it, and ${look}`,
    )
  }
  return new SecretsError('UNAVAILABLE', `the Data API is unavailable: ${what}: ${look}`)
}

/** Why the connection failed, where the error says that in a code. */
function causeOf(error) {
  const cause = Object.hasOwn(Object(error), 'cause') ? Object(error.cause) : args.nothing
  return Object.hasOwn(cause, 'code') ? String(cause.code) : undefined
}

/** No answer came. Whether a write was carried out is not known, unless it never left. */
function unanswered(error, isWrite, timeoutMs) {
  const code = causeOf(error)
  const isLate = error?.name === 'TimeoutError'
  const neverLeft = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)
  if (/^(?:CERT_|ERR_TLS|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET))/.test(code ?? '')) {
    return new SecretsError('UNSAFE_CONNECTION', `no verified TLS connection to supabaseUrl (${code})`)
  }
  const what = isLate ? `no answer within ${timeoutMs} ms` : (code ?? 'the connection failed')
  if (isWrite && !neverLeft) {
    return new SecretsError(
      'UNKNOWN_OUTCOME',
      `the write may or may not have been carried out (${what}): read the version before you repeat it`,
    )
  }
  if (isLate)
    return new SecretsError('TIMEOUT', `timed out: ${what}: raise timeoutMs, or look at the database's load`)
  return new SecretsError('UNAVAILABLE', `the Data API is unavailable: ${what}`)
}

/** What an answer's error means. `message` is passed on only where our own functions wrote it. */
function meaning({ status, json }, isWrite) {
  const { code, message: said } = failureOf(json)
  const message = said || `the database says no more (${code})`
  const error = (secretsCode, text) => new SecretsError(secretsCode, text)
  const ours = {
    AS001: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    AS002: ['INVALID_VALUE', message],
    AS003: ['BUSINESS_NOT_FOUND', `there is ${message}: check the id, or create the business first`],
    AS004: ['VERSION_CONFLICT', `${message}: read the versions again, then decide`],
    AS005: ['PERMISSION_DENIED', `permission denied (AS005): ${message}`],
    AS007: ['REFUSED', message],
    AS008: ['REFUSED', message],
    AS009: ['UNAVAILABLE', message],
    42703: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    PGRST204: ['UNKNOWN_SECRET', 'there is no secret of that name'],
    42501: [
      'PERMISSION_DENIED',
      'permission denied (42501): this user may not do that; services connect with a login of their own',
    ],
    57014: ['TIMEOUT', 'timed out: the server cancelled the statement (statement_timeout?)'],
    '55P03': ['TIMEOUT', 'timed out: another transaction held the lock for too long'],
  }
  if (Object.hasOwn(ours, code)) return error(...ours[code])
  if (MET_ANOTHER.includes(code)) {
    return error('UNAVAILABLE', `the database is unavailable: the transaction met another (${code})`)
  }
  if (['42P01', '42883', 'PGRST202', 'PGRST205'].includes(code) || code.startsWith('3F')) {
    return error(
      'NOT_MIGRATED',
      `the database is not migrated for this version (${code}): run \`app-secrets migrate\``,
    )
  }
  if (EXPIRED.includes(code)) {
    return error(
      'PERMISSION_DENIED',
      `the access token has expired or does not fit (${code}): sign in again, or pass accessToken as a function`,
    )
  }
  if (status === 401 || status === 403) {
    return error('PERMISSION_DENIED', `the Data API refuses supabaseKey or the token (HTTP ${status})`)
  }
  if (code.startsWith('22'))
    return error('INVALID_VALUE', `a value does not fit its column (SQLSTATE ${code})`)
  if (isWrite && [502, 504].includes(status)) {
    return error(
      'UNKNOWN_OUTCOME',
      `the write may or may not have been carried out (HTTP ${status}): read the version before you repeat it`,
    )
  }
  if (status === 429 || status >= 502 || /^(?:08|53|57|58|PGRST0)/.test(code)) {
    return error('UNAVAILABLE', `the Data API is unavailable: HTTP ${status}${code && ` (${code})`}`)
  }
  return error(
    'REFUSED',
    `the Data API refused with HTTP ${status}${code && ` (${code})`}: look for it in the server's log`,
  )
}

module.exports = {
  EXPIRED,
  MET_ANOTHER,
  causeOf,
  failureOf,
  meaning,
  ownOf,
  parsed,
  rowsOf,
  unanswered,
  unexpected,
}
