// Arguments, checked before anything is sent. Every transport gets them from here, checked and in one form. Only own
// properties count: what a polluted prototype holds is nobody's option. No error repeats an argument: swapped
// arguments would put a value there.

const { isDate } = require('node:util/types')
const { invalid, invalidValue, unknownSecret } = require('./errors.js')

/** The longest value, in bytes of UTF-8 after trimming. */
const MAX_BYTES = 65_536
/** The longest that is looked at, white space included, in UTF-16 units: padding never decides. */
const MAX_UNTRIMMED = 1_048_576
/** More than an app has names: an array or object beyond it is a mistake. */
const MAX_ELEMENTS = 1000

/** An object on no prototype, so that what a polluted one holds is never found in it. */
function record(entries = []) {
  const record = Object.create(null)
  for (const [name, value] of entries) record[name] = value
  return record
}

const nothing = Object.freeze(record())

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NAME = /^[a-z][a-z0-9_]{0,47}$/

/** Whether it is a business's id in the form that transports get. */
const isBusinessId = (argument) =>
  typeof argument === 'string' && argument.length === 36 && UUID.test(argument)

function businessId(argument) {
  if (isBusinessId(argument)) return argument
  const lower = typeof argument === 'string' && argument.length === 36 ? argument.toLowerCase() : ''
  // Lower-casing maps some letters that are no digits (K, İ) to those that are none either, and never changes a digit.
  if (UUID.test(lower)) return lower
  throw invalid('businessId must be a UUID such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301: pass businesses.id')
}

/** Checks the form alone: which names there are the database knows. */
function secretName(argument) {
  if (typeof argument !== 'string') throw invalid("name must be a string, such as 'gemini_api_key'")
  if (!NAME.test(argument)) throw unknownSecret(argument)
  return argument
}

/** At least one name, each once. */
function secretNames(argument) {
  if (!isArray(argument)) throw invalid("names must be an array of names, such as ['gemini_api_key']")
  const names = elements(argument).map(secretName)
  if (names.length === 0) throw invalid('names is empty: pass at least one name')
  return [...new Set(names)]
}

/** A trimmed value, or null to clear. `what` names it in errors. */
function secretValue(argument, what = 'the value') {
  if (argument === null) return null
  if (typeof argument !== 'string') throw invalidValue(`${what} must be a string, or null to clear it`)
  if (argument.length > MAX_UNTRIMMED) {
    throw invalidValue(
      `${what} is longer than 1,048,576 characters, white space included; a key has at most 65,536 bytes of UTF-8`,
    )
  }
  if (!argument.isWellFormed()) throw invalidValue(`${what} is not Unicode: it holds half a surrogate pair`)
  const trimmed = argument.trim()
  if (Buffer.byteLength(trimmed) > MAX_BYTES) {
    throw invalidValue(`${what} is longer than 65,536 bytes of UTF-8, more than any provider's key`)
  }
  if (trimmed.includes('\0')) {
    throw invalidValue(`${what} contains a NUL character, which PostgreSQL cannot store`)
  }
  return trimmed === '' ? null : trimmed
}

/** `{ name: value }`, at least one. */
function secretValues(argument) {
  const refusal = "values must be an object, such as { grok_api_key: 'xai-…' }"
  const entries = named(argument, refusal).map(([name, value]) => [name, secretValue(value)])
  if (entries.length === 0) throw invalid('values is empty: pass at least one name and value')
  return record(entries)
}

/** `{ expectedVersion, expiresAt, rotateEvery, purge }`, as the transports take them for this name. */
function setOptions(name, argument) {
  const options = object(argument, 'options', ['expectedVersion', 'expiresAt', 'rotateEvery', 'purge'])
  const { expectedVersion, expiresAt, rotateEvery, purge } = options ?? nothing
  const kept = record()
  if (expiresAt !== undefined) kept.expires_at = time(expiresAt, 'expiresAt')
  if (rotateEvery !== undefined) kept.rotate_every = interval(rotateEvery)
  if (flag(purge, 'purge')) kept.purge = true
  return {
    expected: isAbsent(expectedVersion) ? null : record([[name, version(expectedVersion)]]),
    options: Object.keys(kept).length ? record([[name, kept]]) : null,
  }
}

/** `{ expectedVersions: { name: version } }` of names that are written. */
function setManyOptions(argument, written) {
  const expected = object(argument, 'options', ['expectedVersions'])?.expectedVersions
  if (isAbsent(expected)) return null
  const entries = named(expected, 'expectedVersions must be an object, such as { grok_api_key: 3 }')
  for (const [name] of entries) {
    if (!Object.hasOwn(written, name)) {
      throw invalid('expectedVersions names a secret that is not written: leave its version out')
    }
  }
  const versions = entries.map(([name, expected]) => [name, version(expected)])
  return versions.length ? record(versions) : null
}

/** `{ expectedVersion }`, or null. */
function undoOptions(argument) {
  const expected = object(argument, 'options', ['expectedVersion'])?.expectedVersion
  return isAbsent(expected) ? null : version(expected)
}

function version(argument) {
  if (Number.isSafeInteger(argument) && argument >= 0) return argument
  throw invalid('an expected version must be a whole number from 0, which stands for never set')
}

function checkResult(argument) {
  if (['works', 'refused', 'not_checked'].includes(argument)) return argument
  throw invalid("result must be 'works', 'refused' or 'not_checked'")
}

/** The intervals that SQL and people read the same way. */
function interval(argument) {
  if (argument === null) return null
  const [, count, unit] =
    (typeof argument === 'string' && /^([1-9]\d{0,3}) (day|week|month|year)s?$/.exec(argument)) || []
  if (count) return `${count} ${unit}s`
  throw invalidValue("rotateEvery must be a time such as '90 days', '6 months' or '1 year', or null for none")
}

// Years of four digits with a time and an offset: what `Date.prototype.toISOString` writes, and its like.
const ISO =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?(?:Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)$/
const EARLIEST = Date.parse('0001-01-01T00:00:00.000Z')
const LATEST = Date.parse('9999-12-31T23:59:59.999Z')

/** Milliseconds of an ISO 8601 time, or NaN. */
function parseTime(text) {
  const [, year, month, day] = ISO.exec(text) ?? []
  if (!year) return Number.NaN
  // Date.parse takes the 30th of February for the 2nd of March.
  const midnight = new Date(`${year}-${month}-${day}T00:00:00Z`)
  return midnight.getUTCDate() === Number(day) ? Date.parse(text) : Number.NaN
}

/** A Date or an ISO 8601 text, as ISO 8601 in UTC; null clears. */
function time(argument, what) {
  if (argument === null) return null
  let ms = Number.NaN
  if (typeof argument === 'string') ms = parseTime(argument)
  else if (isDate(argument)) ms = Date.prototype.getTime.call(argument)
  if (ms >= EARLIEST && ms <= LATEST) return new Date(ms).toISOString()
  throw invalidValue(
    `${what} must be a valid Date or an ISO 8601 time such as '2031-01-31T12:00:00Z', of the years 1 to 9999, ` +
      'or null to clear it',
  )
}

const providers = Object.freeze({
  gemini: 'gemini_api_key',
  grok: 'grok_api_key',
  claude: 'claude_api_key',
})

/** The name of a provider's secret. */
function provider(argument) {
  if (typeof argument === 'string' && Object.hasOwn(providers, argument)) return providers[argument]
  throw invalid("provider must be 'gemini', 'grok' or 'claude'")
}

/** `{ accessKey, secretKey }`, or null to clear both; as values to write. */
function klingCredentials(argument) {
  if (argument === null) return { kling_access_key: null, kling_secret_key: null }
  const shape = 'credentials must be { accessKey, secretKey }, or null to clear both'
  const keys = object(argument, 'credentials', ['accessKey', 'secretKey'])
  if (!keys) throw invalid(shape)
  const key = (name) => {
    // A half that is left out would leave a pair that does not belong together.
    const value = secretValue(keys[name] ?? null, name)
    if (value === null) throw invalidValue(`${name} is missing or blank: ${shape}`)
    return value
  }
  return { kling_access_key: key('accessKey'), kling_secret_key: key('secretKey') }
}

/** What of Google's tokens is given, as values to write; what is undefined stays as it is. */
function googleTokens(argument) {
  const tokens = object(argument, 'tokens', ['accessToken', 'refreshToken', 'expiresAt', 'driveFolderId'])
  if (!tokens) throw invalid('tokens must be an object, such as { accessToken, refreshToken, expiresAt }')
  const { accessToken, refreshToken, expiresAt, driveFolderId } = tokens
  const values = record()
  if (accessToken !== undefined) values.google_access_token = secretValue(accessToken, 'accessToken')
  if (refreshToken !== undefined) values.google_refresh_token = secretValue(refreshToken, 'refreshToken')
  if (expiresAt !== undefined) values.google_token_expiry = time(expiresAt, 'expiresAt')
  if (driveFolderId !== undefined) values.google_drive_folder_id = secretValue(driveFolderId, 'driveFolderId')
  if (Object.keys(values).length === 0) throw invalid('tokens is empty: pass at least one property')
  return values
}

/** How long before a date `due` tells of it, unless told otherwise. */
const WEEK_MS = 604_800_000
const YEAR_MS = 31_622_400_000

/** `{ businessId?, names?, dueWithinMs? }` */
function watchFilter(argument) {
  const filter = object(argument, 'filter', ['businessId', 'names', 'dueWithinMs']) ?? nothing
  const given = isAbsent(filter.names) ? null : filter.names
  // None of the names would be all of them, which nobody means by it.
  if (isArray(given) && given.length === 0) {
    throw invalid('names is empty: leave it out to hear of every secret')
  }
  const dueWithinMs = filter.dueWithinMs ?? WEEK_MS
  if (!Number.isSafeInteger(dueWithinMs) || dueWithinMs < 0 || dueWithinMs > YEAR_MS) {
    throw invalid('dueWithinMs must be a whole number of milliseconds, at most those of a year')
  }
  return {
    businessId: isAbsent(filter.businessId) ? null : businessId(filter.businessId),
    names: given === null ? null : secretNames(given),
    dueWithinMs,
  }
}

function callback(argument) {
  if (typeof argument === 'function') return argument
  throw invalid('callback must be a function: pass (event) => …')
}

/**
 * The own properties of an object that has no others than those known, on no prototype; or null where it is absent.
 * `refuse` makes the error for an unknown one.
 */
function object(argument, what, known, refuse = invalid) {
  if (isAbsent(argument)) return null
  if (typeof argument !== 'object' || isArray(argument)) throw invalid(`${what} must be an object`)
  const copy = record()
  for (const key of keys(argument)) {
    // A misspelt option would be ignored in silence.
    if (!known.includes(key)) throw refuse(`${what} has an unknown property; known are ${known.join(', ')}`)
    copy[key] = property(argument, key)
  }
  return copy
}

/** The entries of an object by names of secrets. */
function named(argument, refusal) {
  if (typeof argument !== 'object' || argument === null || isArray(argument)) throw invalid(refusal)
  return keys(argument).map((key) => [secretName(key), property(argument, key)])
}

/** The names of the enumerable properties of the object itself. */
function keys(object) {
  let found
  try {
    found = Object.keys(object)
  } catch {
    throw invalid('the properties of the object cannot be listed')
  }
  if (found.length > MAX_ELEMENTS) throw invalid('the object has more than 1000 elements')
  return found
}

/** A property, which may be a getter of the caller's, and throw whatever it likes. */
function property(object, name) {
  try {
    return object[name]
  } catch {
    throw invalid('a property of the object cannot be read')
  }
}

function elements(array) {
  let length
  try {
    length = array.length
  } catch {
    throw invalid('the array cannot be read')
  }
  if (length > MAX_ELEMENTS) throw invalid('the array has more than 1000 elements')
  return Array.from({ length }, (_, i) => {
    try {
      return array[i]
    } catch {
      throw invalid(`element ${i} cannot be read`)
    }
  })
}

/** `Array.isArray` throws for a revoked Proxy. */
function isArray(argument) {
  try {
    return Array.isArray(argument)
  } catch {
    throw invalid('the properties of the object cannot be listed')
  }
}

function isAbsent(argument) {
  return argument === undefined || argument === null
}

function flag(argument, name) {
  if (isAbsent(argument)) return false
  if (typeof argument === 'boolean') return argument
  throw invalid(`${name} must be true or false`)
}

function text(argument, name) {
  if (isAbsent(argument)) return undefined
  if (typeof argument === 'string' && argument.isWellFormed()) return argument
  throw invalid(`${name} must be a string`)
}

function whole(argument, name) {
  if (isAbsent(argument)) return undefined
  if (Number.isInteger(argument) && argument >= 0 && argument <= 4_294_967_295) return argument
  throw invalid(`${name} must be a whole number`)
}

/** The error for an option of another type. */
function wrong(name, wanted) {
  return invalid(`${name} must be ${wanted}`)
}

module.exports = {
  nothing,
  record,
  businessId,
  callback,
  checkResult,
  flag,
  googleTokens,
  isAbsent,
  isBusinessId,
  klingCredentials,
  object,
  parseTime,
  provider,
  secretName,
  secretNames,
  secretValue,
  secretValues,
  setManyOptions,
  setOptions,
  text,
  time,
  undoOptions,
  watchFilter,
  version,
  whole,
  wrong,
}
