// The API server, on node:http alone. Reads APP_SECRETS_URL on the first request that needs a secret.

const { createServer } = require('node:http')
const secrets = require('@app/secrets')
const adService = require('./services/adService.js')
const mayaService = require('./services/mayaService.js')
const klingRoutes = require('./routes/klingRoutes.js')
const systemRoutes = require('./routes/systemRoutes.js')
const { NotConfigured, toResponse } = require('./lib/errors.js')
const { callProvider } = require('./lib/http.js')

const MAX_BODY_BYTES = 100_000

const routes = {
  ...klingRoutes,
  ...systemRoutes,

  'POST /api/maya': async ({ businessId, body, fetch }) => ({
    status: 200,
    body: { text: await mayaService.reply(businessId, body.prompt, { provider: body.provider, fetch }) },
  }),

  'POST /api/ads': async ({ businessId, body, fetch }) => ({
    status: 200,
    body: { proposals: await adService.propose(businessId, body.product, { fetch }) },
  }),

  'POST /api/sms': async ({ businessId, body, fetch }) => {
    const key = await secrets.getSmsApiKey(businessId)
    if (!key) throw new NotConfigured('sms')
    const url = process.env.SMS_API_URL ?? 'https://sms.example.com/v1/messages'
    const { id } = await callProvider('sms', url, {
      headers: { authorization: `Bearer ${key}` },
      body: { to: body.to, text: body.text },
      fetch,
    })
    return { status: 202, body: { id } }
  },

  'POST /api/whatsapp': async ({ businessId, body, fetch }) => {
    const key = await secrets.getWhatsAppApiKey(businessId)
    if (!key) throw new NotConfigured('whatsapp')
    const sender = encodeURIComponent(body.sender)
    const { messages } = await callProvider(
      'whatsapp',
      `https://graph.facebook.com/v23.0/${sender}/messages`,
      {
        headers: { authorization: `Bearer ${key}` },
        body: { messaging_product: 'whatsapp', to: body.to, type: 'text', text: { body: body.text } },
        fetch,
      },
    )
    return { status: 202, body: { id: messages[0].id } }
  },

  'GET /api/youtube/search': async ({ businessId, query, fetch }) => {
    const key = await secrets.getYouTubeApiKey(businessId)
    if (!key) throw new NotConfigured('youtube')
    const q = encodeURIComponent(query.get('q') ?? '')
    const url = `https://www.googleapis.com/youtube/v3/search?part=snippet&type=video&q=${q}`
    const { items } = await callProvider('youtube', url, {
      method: 'GET',
      headers: { 'x-goog-api-key': key },
      fetch,
    })
    return {
      status: 200,
      body: { videos: items.map(({ id, snippet }) => ({ id: id.videoId, title: snippet.title })) },
    }
  },
}

/**
 * `authenticate(request)` gives the id of the business that the request is for, or null. The service's login may read
 * every business's secrets, so this decision is the app's, and it is the one that must be right: take the id from the
 * session, never from the request's body or address.
 *
 * @param {object} options
 * @param {(request: import('node:http').IncomingMessage) => string | null | Promise<string | null>} options.authenticate
 * @param {typeof globalThis.fetch} [options.fetch]
 */
function createBackend({ authenticate, fetch }) {
  return createServer(async (request, response) => {
    const { status, headers, body } = await answer(request, { authenticate, fetch }).catch(toResponse)
    response.writeHead(status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      ...headers,
    })
    response.end(body && JSON.stringify(body))
  })
}

async function answer(request, { authenticate, fetch }) {
  const { pathname, searchParams: query } = new URL(request.url, 'http://localhost')
  const route = routes[`${request.method} ${pathname}`]
  if (!route) return { status: 404, body: { error: 'NOT_FOUND' } }
  const businessId = await authenticate(request)
  if (!businessId) return { status: 401, body: { error: 'UNAUTHENTICATED' } }
  const body = ['POST', 'PUT'].includes(request.method) ? await readJson(request) : {}
  return body ? route({ businessId, query, body, fetch }) : { status: 400, body: { error: 'MALFORMED_BODY' } }
}

/** The object in a request's body, or null. */
async function readJson(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return null
    chunks.push(chunk)
  }
  try {
    const value = JSON.parse(Buffer.concat(chunks).toString())
    return value !== null && typeof value === 'object' ? value : null
  } catch {
    return null
  }
}

module.exports = { createBackend }

if (require.main === module) {
  // Your session lookup goes here. This one trusts nobody.
  const server = createBackend({ authenticate: () => null })
  server.listen(process.env.PORT ?? 3000)
  process.once('SIGTERM', () => server.close())
}
