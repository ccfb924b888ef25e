// What the operator's dashboard may know: what is set up, and whether the provider still takes the key. Never a key.

const secrets = require('@app/secrets')

/** The cheapest request that a key is needed for. */
const probes = {
  gemini: [
    'https://generativelanguage.googleapis.com/v1beta/models?pageSize=1',
    (key) => ({ 'x-goog-api-key': key }),
  ],
  grok: ['https://api.x.ai/v1/api-key', (key) => ({ authorization: `Bearer ${key}` })],
}

async function isAccepted(provider, key, fetch = globalThis.fetch) {
  const [url, headers] = probes[provider]
  try {
    const response = await fetch(url, { headers: headers(key), signal: AbortSignal.timeout(5_000) })
    // Anything but a clear no says nothing of the key.
    return response.ok ? true : [400, 401, 403].includes(response.status) ? false : null
  } catch {
    return null
  }
}

module.exports = {
  'GET /api/system/validate-integrations': async ({ businessId, fetch }) => {
    const [integrations, keys] = await Promise.all([
      secrets.getIntegrationStatus(businessId),
      secrets.getBusinessApiKeys(businessId),
    ])
    const accepted = await Promise.all(
      Object.keys(probes).map(async (provider) => [
        provider,
        keys[provider] ? await isAccepted(provider, keys[provider], fetch) : null,
      ]),
    )
    return { status: 200, body: { integrations, accepted: Object.fromEntries(accepted) } }
  },
}
