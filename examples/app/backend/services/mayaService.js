// Maya, the assistant: answers with the business's own Gemini, Grok or Claude account.

const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/providers.js')
const { secretsOf } = require('../lib/secrets.js')

const providers = {
  gemini: {
    path: '/v1beta/models/gemini-2.5-flash:generateContent',
    body: (prompt) => ({ contents: [{ parts: [{ text: prompt }] }] }),
    text: (answer) => answer.candidates[0].content.parts.map((part) => part.text).join(''),
  },
  grok: {
    path: '/v1/chat/completions',
    body: (prompt) => ({ model: 'grok-4', messages: [{ role: 'user', content: prompt }] }),
    text: (answer) => answer.choices[0].message.content,
  },
  claude: {
    path: '/v1/messages',
    body: (prompt) => ({
      model: 'claude-sonnet-4-5',
      max_tokens: 1024,
      messages: [{ role: 'user', content: prompt }],
    }),
    text: (answer) => answer.content.map((part) => part.text).join(''),
  },
}

/**
 * The key of the business, or a NotConfigured that says which one is missing.
 *
 * @param {string} businessId
 * @param {'gemini' | 'grok' | 'claude'} provider
 */
async function getProviderKey(businessId, provider) {
  const secrets = await secretsOf('maya')
  const key = await secrets.getProviderKey(businessId, provider)
  if (!key) throw new NotConfigured(provider)
  return key
}

/**
 * @param {string} businessId
 * @param {string} prompt
 * @param {'gemini' | 'grok' | 'claude'} [provider]
 */
async function reply(businessId, prompt, provider = 'gemini') {
  if (!Object.hasOwn(providers, provider)) {
    throw new TypeError(`Maya speaks through ${Object.keys(providers).join(' or ')}`)
  }
  const { path, body, text } = providers[provider]
  return text(await callProvider(provider, await getProviderKey(businessId, provider), path, body(prompt)))
}

module.exports = { getProviderKey, reply }
