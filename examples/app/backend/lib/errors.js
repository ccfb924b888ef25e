/** A business has not set up the integration that a request needs: a 409 for the client, not a fault of ours. */
class NotConfigured extends Error {
  constructor(provider) {
    super(`${provider} is not set up for this business: add its key in Settings`)
    this.name = 'NotConfigured'
    this.code = 'NOT_CONFIGURED'
  }
}

/** The provider answered, and said no. Its body may repeat the key that it got, so it is not kept. */
class ProviderError extends Error {
  constructor(provider, status) {
    super(`${provider} answered ${status}`)
    this.name = 'ProviderError'
    this.code = status === 401 || status === 403 ? 'KEY_REJECTED' : 'PROVIDER_ERROR'
  }
}

const statusOf = {
  NOT_CONFIGURED: 409,
  KEY_REJECTED: 409,
  PROVIDER_ERROR: 502,
  INVALID_ARGUMENT: 400,
  INVALID_VALUE: 400,
  BUSINESS_NOT_FOUND: 404,
  // Worth a retry, and the client is told so.
  UNAVAILABLE: 503,
  // A page that this server does not have.
  NOT_HERE: 404,
  TIMEOUT: 503,
  // The ciphertext is there and cannot be opened: the business has to enter the key again.
  DECRYPT_FAILED: 409,
}

/** What a failed request answers. Errors without a known code are bugs: they answer 500 and nothing more. */
function toResponse(error) {
  // What Express's own parser says of a body.
  if (error.expose && error.type) return { status: error.status, body: { error: 'MALFORMED_BODY' } }
  const status = statusOf[error.code]
  if (!status) return { status: 500, body: { error: 'INTERNAL' } }
  return {
    status,
    headers: status === 503 ? { 'retry-after': '1' } : {},
    body: { error: error.code, message: error.message },
  }
}

module.exports = { NotConfigured, ProviderError, toResponse }
