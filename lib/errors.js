// SecretsError, its codes, and the errors whose words several files share. No message holds what a caller sent.

/** Every code there is, in the order of the documentation. */
const codes = Object.freeze([
  'INVALID_ARGUMENT',
  'UNKNOWN_SECRET',
  'INVALID_VALUE',
  'BUSINESS_NOT_FOUND',
  'PERMISSION_DENIED',
  'VERSION_CONFLICT',
  'DECRYPT_FAILED',
  'NOT_MIGRATED',
  'UNSAFE_CONNECTION',
  'UNAVAILABLE',
  'TIMEOUT',
  'UNKNOWN_OUTCOME',
  'LOCK_TIMEOUT',
  'VERIFICATION_FAILED',
  'REFUSED',
  'CLOSED',
  'CONFIG',
])

/** What every promise of this package rejects with: an Error of the caller's realm with a stable `code`. */
class SecretsError extends Error {
  constructor(code, message, options) {
    super(message, options)
    this.code = code
  }
}
Object.defineProperty(SecretsError.prototype, 'name', {
  value: 'SecretsError',
  writable: true,
  configurable: true,
})

const invalid = (message) => new SecretsError('INVALID_ARGUMENT', message)
const invalidValue = (message) => new SecretsError('INVALID_VALUE', message)
const closed = () => new SecretsError('CLOSED', 'the client is closed: make a new one with connect()')
const businessNotFound = (id) =>
  new SecretsError(
    'BUSINESS_NOT_FOUND',
    `there is no business ${id}: check the id, or create the business first`,
  )
const decryptFailed = (names) =>
  new SecretsError(
    'DECRYPT_FAILED',
    `${names.join(', ')} cannot be decrypted: it refers to no row of Vault's, or Vault's key is another one (a restore ` +
      'without them?); `app-secrets verify` says which, and writing a new value heals it',
  )
const versionConflict = (name, actual, expected) =>
  new SecretsError(
    'VERSION_CONFLICT',
    `${name} is at version ${actual}, not ${expected}: read the versions again, then decide`,
  )

/** What was asked for, of errors of unknown names: for the hint, and never shown. */
const asked = new WeakMap()

/** `text` is what was asked for, which picks the hint and is never repeated; without `names` there is no hint. */
function unknownSecret(text, names) {
  const hint = names?.length
    ? nearMisses(text, names)
    : 'secrets are listed in public.business_secret_names, and by `app-secrets names list`'
  const error = new SecretsError('UNKNOWN_SECRET', `there is no secret of that name: ${hint}`)
  asked.set(error, text)
  return error
}

/** Says which names were likely meant. */
function nearMisses(text, names) {
  // A longer text cannot be a misspelt name, and comparing it would cost its length for every name.
  const folded = text
    .slice(0, 40)
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '')
  const near = []
  for (const name of names) {
    const plain = name.replaceAll('_', '')
    const distance = levenshtein(folded, plain)
    if (distance <= 3 || (folded.length >= 4 && plain.startsWith(folded))) near.push([distance, name])
  }
  near.sort(([a, one], [b, other]) => a - b || (one < other ? -1 : 1))
  const found = near.slice(0, 3).map(([, name]) => name)
  if (found.length === 0) return `the names are ${names.join(', ')}`
  return found.length === 1 ? `did you mean ${found[0]}?` : `did you mean one of ${found.join(', ')}?`
}

function levenshtein(left, right) {
  const row = Array.from({ length: right.length + 1 }, (_, i) => i)
  for (let i = 0; i < left.length; i++) {
    let diagonal = row[0]
    row[0] = i + 1
    for (let j = 0; j < right.length; j++) {
      const substituted = diagonal + (left[i] === right[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = Math.min(substituted, row[j] + 1, diagonal + 1)
    }
  }
  return row[right.length]
}

module.exports = {
  SecretsError,
  askedOf: (error) => asked.get(error),
  businessNotFound,
  closed,
  codes,
  decryptFailed,
  invalid,
  invalidValue,
  unknownSecret,
  versionConflict,
}
