// The providers' HTTP APIs: where they are, and how each wants its key. Keys go in headers: addresses end up in logs.

const { createHmac } = require('node:crypto')
const { ProviderError } = require('./errors.js')

/** GEMINI_API_URL and so on point somewhere else, as the tests and `npm run app` do. */
const bases = {
  gemini: 'https://generativelanguage.googleapis.com',
  grok: 'https://api.x.ai',
  claude: 'https://api.anthropic.com',
  youtube: 'https://www.googleapis.com',
  kling: 'https://api.klingai.com',
  sms: 'https://sms.example.com',
  whatsapp: 'https://graph.facebook.com',
}

const bearer = (key) => ({ authorization: `Bearer ${key}` })

/** @type {Record<string, (key: any) => Record<string, string>>} */
const credentials = {
  gemini: (key) => ({ 'x-goog-api-key': key }),
  grok: bearer,
  claude: (key) => ({ 'x-api-key': key, 'anthropic-version': '2023-06-01' }),
  youtube: (key) => ({ 'x-goog-api-key': key }),
  kling: (pair) => bearer(klingToken(pair)),
  sms: bearer,
  whatsapp: bearer,
}

/**
 * Kling's two keys work only together: the access key names the account, the secret key signs a short-lived token.
 *
 * @param {{ accessKey: string, secretKey: string }} pair
 */
function klingToken({ accessKey, secretKey }, now = Math.floor(Date.now() / 1000)) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const unsigned = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ iss: accessKey, exp: now + 1800, nbf: now - 5 })}`
  return `${unsigned}.${createHmac('sha256', secretKey).update(unsigned).digest('base64url')}`
}

/**
 * The response, whatever its status.
 *
 * @param {string} provider
 * @param {any} key a key, or Kling's pair
 * @param {string} path with its query
 * @param {{ method?: string, body?: object, timeoutMs?: number }} [options]
 */
function ask(provider, key, path, { method = 'GET', body, timeoutMs = 30_000 } = {}) {
  const base = process.env[`${provider.toUpperCase()}_API_URL`] ?? bases[provider]
  return fetch(`${base}${path}`, {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...credentials[provider](key) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  })
}

/**
 * Sends JSON, or asks with GET where there is no body, and gives back what the provider answers.
 *
 * @returns {Promise<any>}
 */
async function callProvider(provider, key, path, body) {
  const response = await ask(provider, key, path, body && { method: 'POST', body }).catch((error) => {
    throw new ProviderError(provider, error.name === 'TimeoutError' ? 'nothing in time' : 'no connection')
  })
  if (!response.ok) throw new ProviderError(provider, response.status)
  return response.json()
}

module.exports = { ask, callProvider }
