// The API server of the app: text messages, WhatsApp, YouTube and the check of all integrations here, the rest in ../backend.

const express = require('express')
const { createClient } = require('@supabase/supabase-js')
const { klingRoutes } = require('../backend/api/klingRoutes.js')
const { systemRoutes } = require('../backend/api/systemRoutes.js')
const { NotConfigured, toResponse } = require('../backend/lib/errors.js')
const { callProvider } = require('../backend/lib/providers.js')
const { closeSecrets, secretsOf } = require('../backend/lib/secrets.js')
const { validateIntegrations } = require('../backend/lib/validation.js')
const adService = require('../backend/services/adService.js')
const mayaService = require('../backend/services/mayaService.js')

async function getYouTubeApiKey(businessId) {
  const secrets = await secretsOf('backend')
  const key = await secrets.getYouTubeApiKey(businessId)
  if (!key) throw new NotConfigured('youtube')
  return key
}

/**
 * `authenticate(request)` gives the id of the business that the request is for, or null. A service's login may read every
 * business's secrets, so this decision is the app's own, and it is the one that must be right.
 *
 * @param {{ authenticate?: (request: import('node:http').IncomingMessage) => Promise<string | null> }} [options]
 */
function createApp({ authenticate = supabaseSession } = {}) {
  const app = express()
  app.disable('x-powered-by')
  app.use((_request, response, next) => {
    response.set('cache-control', 'no-store')
    next()
  })
  app.use('/api', async (request, response, next) => {
    request.businessId = await authenticate(request)
    if (!request.businessId) return response.status(401).json({ error: 'UNAUTHENTICATED' })
    next()
  })
  app.use(express.json({ limit: '100kb' }))

  app.use('/api/kling', klingRoutes)
  app.use('/api/system', systemRoutes)

  app.post('/api/system/validate-integrations', async (request, response) => {
    response.json({ results: await validateIntegrations(request.businessId) })
  })

  app.post('/api/maya', async (request, response) => {
    const { prompt, provider } = request.body
    response.json({ text: await mayaService.reply(request.businessId, prompt, provider) })
  })

  app.post('/api/ads', async (request, response) => {
    response.json({ proposals: await adService.propose(request.businessId, request.body.product) })
  })

  app.get('/api/youtube/search', async (request, response) => {
    const q = encodeURIComponent(String(request.query.q ?? ''))
    const path = `/youtube/v3/search?part=snippet&type=video&q=${q}`
    const { items } = await callProvider('youtube', await getYouTubeApiKey(request.businessId), path)
    response.json({ videos: items.map(({ id, snippet }) => ({ id: id.videoId, title: snippet.title })) })
  })

  app.post('/api/sms/send', async (request, response) => {
    const secrets = await secretsOf('backend')
    const key = await secrets.getSmsApiKey(request.businessId)
    if (!key) throw new NotConfigured('sms')
    const { to, text } = request.body
    const { id } = await callProvider('sms', key, '/v1/messages', { to, text })
    response.status(202).json({ id })
  })

  app.post('/api/whatsapp/send', async (request, response) => {
    const secrets = await secretsOf('backend')
    const key = await secrets.getWhatsAppApiKey(request.businessId)
    if (!key) throw new NotConfigured('whatsapp')
    const { sender, to, text } = request.body
    const { messages } = await callProvider(
      'whatsapp',
      key,
      `/v23.0/${encodeURIComponent(sender)}/messages`,
      {
        messaging_product: 'whatsapp',
        to,
        type: 'text',
        text: { body: text },
      },
    )
    response.status(202).json({ id: messages[0].id })
  })

  app.use((_request, response) => response.status(404).json({ error: 'NOT_FOUND' }))
  // Express knows it by its four parameters.
  app.use((error, _request, response, _next) => {
    const { status, headers, body } = toResponse(error)
    response
      .status(status)
      .set(headers ?? {})
      .json(body)
  })
  return app
}

/**
 * The business in the `x-business-id` header, if it is one of the caller's: Row Level Security of `businesses` decides, with
 * the caller's own token, whose signature the Data API checks.
 */
async function supabaseSession(request) {
  const [, token] = (request.headers.authorization ?? '').match(/^Bearer (.+)$/) ?? []
  const asked = request.headers['x-business-id']
  if (!token || !asked) return null
  const supabase = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_PUBLISHABLE_KEY, {
    accessToken: async () => token,
  })
  const { data } = await supabase.from('businesses').select('id').eq('id', asked).maybeSingle()
  return data?.id ?? null
}

module.exports = { createApp, getYouTubeApiKey }

if (require.main === module) {
  const server = createApp().listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
    console.log(`backend: http://127.0.0.1:${port}`)
  })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      server.close()
      server.closeAllConnections()
      closeSecrets().finally(() => process.exit())
    })
  }
}
