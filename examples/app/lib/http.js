const { ProviderError } = require('./errors.js')

/**
 * Sends JSON to a provider and gives back what it answers. Keys go in headers: addresses end up in logs.
 *
 * @param {string} provider
 * @param {string} url
 * @param {{ method?: string, headers?: object, body?: object, fetch?: typeof globalThis.fetch }} [options]
 * @returns {Promise<any>}
 */
async function callProvider(
  provider,
  url,
  { method = 'POST', headers = {}, body, fetch = globalThis.fetch } = {},
) {
  const response = await fetch(url, {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  })
  if (!response.ok) throw new ProviderError(provider, response.status)
  return response.json()
}

module.exports = { callProvider }
