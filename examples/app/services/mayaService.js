// Maya, the assistant: answers with the business's own Gemini or Claude account.

const secrets = require('@app/secrets')
const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/http.js')

const providers = {
  gemini: {
    url: 'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent',
    headers: (key) => ({ 'x-goog-api-key': key }),
    body: (prompt) => ({ contents: [{ parts: [{ text: prompt }] }] }),
    text: (answer) => answer.candidates[0].content.parts.map((part) => part.text).join(''),
  },
  claude: {
    url: 'https://api.anthropic.com/v1/messages',
    headers: (key) => ({ 'x-api-key': key, 'anthropic-version': '2023-06-01' }),
    body: (prompt) => ({
      model: 'claude-sonnet-4-5',
      max_tokens: 1024,
      messages: [{ role: 'user', content: prompt }],
    }),
    text: (answer) => answer.content.map((part) => part.text).join(''),
  },
}

/**
 * @param {string} businessId
 * @param {string} prompt
 * @param {{ provider?: 'gemini' | 'claude', fetch?: typeof globalThis.fetch }} [options]
 */
async function reply(businessId, prompt, { provider = 'gemini', fetch } = {}) {
  const api = providers[provider]
  if (!api) throw new TypeError(`Maya speaks through ${Object.keys(providers).join(' or ')}`)
  const key = await secrets.getProviderKey(businessId, provider)
  if (!key) throw new NotConfigured(provider)
  const answer = await callProvider(provider, api.url, {
    headers: api.headers(key),
    body: api.body(prompt),
    fetch,
  })
  return api.text(answer)
}

module.exports = { reply }
