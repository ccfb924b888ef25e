// What the operator's dashboard may know: what is set up, and whether the provider still takes the key. Never a key.

const secrets = require('@app/secrets')

/** The cheapest request that a key is needed for. */
const probes = {
  gemini: {
    url: 'https://generativelanguage.googleapis.com/v1beta/models?pageSize=1',
    headers: (key) => ({ 'x-goog-api-key': key }),
  },
  grok: {
    url: 'https://api.x.ai/v1/api-key',
    headers: (key) => ({ authorization: `Bearer ${key}` }),
  },
}

/**
 * Whether the provider takes the key; null where there is none, or where it cannot be told.
 *
 * @param {string} businessId
 * @param {'gemini' | 'grok'} provider
 */
async function isAccepted(businessId, provider, fetch = globalThis.fetch) {
  const { url, headers } = probes[provider]
  try {
    const key = await secrets.getProviderKey(businessId, provider)
    if (!key) return null
    const response = await fetch(url, { headers: headers(key), signal: AbortSignal.timeout(5_000) })
    if (response.ok) return true
    // Anything but a clear no says nothing of the key.
    return [400, 401, 403].includes(response.status) ? false : null
  } catch (error) {
    // There is one, but nobody can use it any more.
    return error.code === 'DECRYPT_FAILED' ? false : null
  }
}

module.exports = {
  'GET /api/system/validate-integrations': async ({ businessId, fetch }) => {
    const [integrations, gemini, grok] = await Promise.all([
      secrets.getIntegrationStatus(businessId),
      isAccepted(businessId, 'gemini', fetch),
      isAccepted(businessId, 'grok', fetch),
    ])
    return { status: 200, body: { integrations, accepted: { gemini, grok } } }
  },
}
