// Asks each provider that a business has a key for whether it takes that key, and keeps what it said beside the secret.

const { ask } = require('./providers.js')
const { secretsOf } = require('./secrets.js')

/** One slow provider holds nobody up for longer than this. */
const DEADLINE_MS = 5_000

/**
 * The cheapest question that a key is needed for, and the statuses that are a clear no.
 *
 * @type {Record<string, { names: import('@app/secrets').SecretName[], path: string, no: number[], credentials?: (values: string[]) => unknown }>}
 */
const probes = {
  gemini: { names: ['gemini_api_key'], path: '/v1beta/models?pageSize=1', no: [400, 401, 403] },
  grok: { names: ['grok_api_key'], path: '/v1/api-key', no: [400, 401, 403] },
  claude: { names: ['claude_api_key'], path: '/v1/models?limit=1', no: [401, 403] },
  youtube: {
    names: ['youtube_api_key'],
    path: '/youtube/v3/i18nLanguages?part=snippet',
    no: [400, 401, 403],
  },
  kling: {
    names: ['kling_access_key', 'kling_secret_key'],
    path: '/v1/videos/text2video?pageNum=1&pageSize=1',
    no: [401, 403],
    credentials: ([accessKey, secretKey]) => ({ accessKey, secretKey }),
  },
  sms: { names: ['global_sms_api_key'], path: '/v1/account', no: [401, 403] },
  whatsapp: { names: ['whatsapp_api_key'], path: '/v23.0/me', no: [401, 403] },
}

/** Every name that is asked about. */
const names = Object.values(probes).flatMap((probe) => probe.names)

/**
 * `{ gemini: 'works' | 'refused' | 'not_checked' | 'not_set', … }`. Only a provider's own no is a refusal: a network that
 * fails, a deadline, or a provider that is overloaded says nothing of the key.
 *
 * @param {string} businessId
 */
async function validateIntegrations(businessId) {
  const secrets = await secretsOf('system')
  // Versions first: where a key changes in between, the check of its old version is not recorded.
  const listed = await secrets.list(businessId)
  const versions = new Map(listed.map(({ name, version }) => [name, version]))
  const results = await Promise.all(
    Object.entries(probes).map(async ([provider, probe]) => {
      const result = await validate(secrets, businessId, provider, probe)
      if (result !== 'not_set') {
        const checks = probe.names.map((name) =>
          secrets.check(businessId, name, versions.get(name) ?? 0, result),
        )
        await Promise.all(checks)
      }
      return [provider, result]
    }),
  )
  return Object.fromEntries(results)
}

async function validate(secrets, businessId, provider, { names, path, no, credentials = ([key]) => key }) {
  let values
  try {
    values = Object.values(await secrets.getMany(businessId, names))
  } catch (error) {
    // There is one, and nobody can use it any more.
    if (error.code === 'DECRYPT_FAILED') return 'refused'
    throw error
  }
  if (values.includes(null)) return 'not_set'
  try {
    const response = await ask(provider, credentials(values), path, { timeoutMs: DEADLINE_MS })
    await response.body?.cancel()
    if (response.ok) return 'works'
    return no.includes(response.status) ? 'refused' : 'not_checked'
  } catch {
    return 'not_checked'
  }
}

module.exports = { names, validateIntegrations }
