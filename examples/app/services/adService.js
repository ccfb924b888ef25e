// Ad copy from every model that the business has an account with: Gemini, Grok, or both.

const secrets = require('@app/secrets')
const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/http.js')

const writers = {
  async gemini(key, prompt, fetch) {
    const answer = await callProvider(
      'gemini',
      'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent',
      { headers: { 'x-goog-api-key': key }, body: { contents: [{ parts: [{ text: prompt }] }] }, fetch },
    )
    return answer.candidates[0].content.parts[0].text
  },
  async grok(key, prompt, fetch) {
    const answer = await callProvider('grok', 'https://api.x.ai/v1/chat/completions', {
      headers: { authorization: `Bearer ${key}` },
      body: { model: 'grok-4', messages: [{ role: 'user', content: prompt }] },
      fetch,
    })
    return answer.choices[0].message.content
  },
}

/**
 * One proposal per model: `[{ provider, text }]`. One model's failure does not take the other's proposal along.
 *
 * @param {string} businessId
 * @param {string} product
 * @param {{ fetch?: typeof globalThis.fetch }} [options]
 */
async function propose(businessId, product, { fetch } = {}) {
  const keys = await secrets.getBusinessApiKeys(businessId)
  const configured = Object.keys(writers).filter((provider) => keys[provider])
  if (configured.length === 0) throw new NotConfigured('gemini or grok')

  const prompt = `Write a two-line advertisement for: ${product}`
  const outcomes = await Promise.allSettled(
    configured.map(async (provider) => ({
      provider,
      text: await writers[provider](keys[provider], prompt, fetch),
    })),
  )
  const proposals = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const [first] = outcomes
  if (proposals.length === 0 && first.status === 'rejected') throw first.reason
  return proposals
}

module.exports = { propose }
