// Ad copy from every model that the business has an account with: Gemini, Grok, or both.

const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/providers.js')
const { secretsOf } = require('../lib/secrets.js')

const writers = {
  async gemini(key, prompt) {
    const body = { contents: [{ parts: [{ text: prompt }] }] }
    const answer = await callProvider('gemini', key, '/v1beta/models/gemini-2.5-flash:generateContent', body)
    return answer.candidates[0].content.parts[0].text
  },
  async grok(key, prompt) {
    const body = { model: 'grok-4', messages: [{ role: 'user', content: prompt }] }
    const answer = await callProvider('grok', key, '/v1/chat/completions', body)
    return answer.choices[0].message.content
  },
}

/**
 * Both keys, each null where the business has none.
 *
 * @param {string} businessId
 */
async function getBusinessApiKeys(businessId) {
  const secrets = await secretsOf('ads')
  return secrets.getBusinessApiKeys(businessId)
}

/**
 * One proposal per model: `[{ provider, text }]`. One model's failure does not take the other's proposal along.
 *
 * @param {string} businessId
 * @param {string} product
 */
async function propose(businessId, product) {
  const keys = await getBusinessApiKeys(businessId)
  const configured = Object.keys(writers).filter((provider) => keys[provider])
  if (configured.length === 0) throw new NotConfigured('gemini or grok')

  const prompt = `Write a two-line advertisement for: ${product}`
  const outcomes = await Promise.allSettled(
    configured.map(async (provider) => ({ provider, text: await writers[provider](keys[provider], prompt) })),
  )
  const proposals = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  const [first] = outcomes
  if (proposals.length === 0 && first.status === 'rejected') throw first.reason
  return proposals
}

module.exports = { getBusinessApiKeys, propose }
