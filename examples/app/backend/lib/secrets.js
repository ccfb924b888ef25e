// Each consumer reads secrets with a login of its own, which may read its names and no others: whoever breaks into one
// of them gets what that one needs. `app-secrets login add maya_service --read gemini_api_key,claude_api_key` makes one.

const { connect } = require('@app/secrets')

/**
 * Who reads which secrets, and under which login. The settings page shows those that have a label to owners.
 *
 * @type {Record<string, { label: string | null, login: string, reads: string[] }>}
 */
const consumers = {
  maya: { label: 'Maya', login: 'maya_service', reads: ['gemini_api_key', 'grok_api_key', 'claude_api_key'] },
  ads: { label: 'Advertisements', login: 'ad_service', reads: ['gemini_api_key', 'grok_api_key'] },
  kling: { label: 'Video maker', login: 'kling_routes', reads: ['kling_access_key', 'kling_secret_key'] },
  backend: {
    label: 'Messages',
    login: 'backend_server',
    reads: ['youtube_api_key', 'global_sms_api_key', 'whatsapp_api_key'],
  },
  system: {
    label: null,
    login: 'system_routes',
    reads: [
      'gemini_api_key',
      'grok_api_key',
      'claude_api_key',
      'youtube_api_key',
      'kling_access_key',
      'kling_secret_key',
      'global_sms_api_key',
      'whatsapp_api_key',
    ],
  },
}

const clients = new Map()

/**
 * The client of one consumer, made on first use from MAYA_SECRETS_URL, ADS_SECRETS_URL and so on.
 *
 * @param {keyof typeof consumers} consumer
 * @returns {Promise<import('@app/secrets').Secrets>}
 */
function secretsOf(consumer) {
  let client = clients.get(consumer)
  if (!client) {
    const url = process.env[`${consumer.toUpperCase()}_SECRETS_URL`]
    client = connect({ url, applicationName: consumers[consumer].login, actor: consumer })
    clients.set(consumer, client)
  }
  return client
}

/** Ends every connection. A process can also just exit. */
async function closeSecrets() {
  const open = [...clients.values()]
  clients.clear()
  for (const client of await Promise.allSettled(open)) {
    if (client.status === 'fulfilled') await client.value.close()
  }
}

module.exports = { consumers, secretsOf, closeSecrets }
