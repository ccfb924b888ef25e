// Stand-ins for the providers' HTTP APIs, which check the keys they get as the real ones do and keep none of them. A key is
// good where it begins with its provider's name and "-live-"; Kling's secret key ends as its access key does.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'

export const providers = ['gemini', 'grok', 'claude', 'youtube', 'kling', 'sms', 'whatsapp']

/** A key that the stand-in takes; for Kling both. */
export function goodKey(provider, ending) {
  if (provider !== 'kling') return `${provider}-live-${ending}`
  return { accessKey: `kling-live-${ending}`, secretKey: `kling-secret-${ending}` }
}

const bearer = ({ authorization = '' }) => authorization.replace(/^Bearer /, '')

const keyOf = {
  gemini: (headers) => headers['x-goog-api-key'],
  youtube: (headers) => headers['x-goog-api-key'],
  claude: (headers) => headers['x-api-key'],
  grok: bearer,
  sms: bearer,
  whatsapp: bearer,
}

/** What each says no with: the statuses of the real ones. */
const refusal = { gemini: 400, youtube: 400, whatsapp: 401, grok: 400, claude: 401, kling: 401, sms: 401 }

const answers = {
  'POST gemini /v1beta/models/': (body) => ({
    candidates: [{ content: { parts: [{ text: `Gemini: ${body.contents[0].parts[0].text}` }] } }],
  }),
  'GET gemini /v1beta/models': () => ({ models: [] }),
  'POST grok /v1/chat/completions': (body) => ({
    choices: [{ message: { content: `Grok: ${body.messages[0].content}` } }],
  }),
  'GET grok /v1/api-key': () => ({ name: 'demo' }),
  'POST claude /v1/messages': (body) => ({ content: [{ text: `Claude: ${body.messages[0].content}` }] }),
  'GET claude /v1/models': () => ({ data: [] }),
  'GET youtube /youtube/v3/search': () => ({ items: [{ id: { videoId: 'v1' }, snippet: { title: 'Tea' } }] }),
  'GET youtube /youtube/v3/i18nLanguages': () => ({ items: [] }),
  'POST kling /v1/videos/text2video': () => ({ data: { task_id: 'task-1' } }),
  'GET kling /v1/videos/text2video/': () => ({
    data: { task_status: 'succeed', task_result: { videos: [{ url: 'https://videos.example.com/1' }] } },
  }),
  'GET kling /v1/videos/text2video': () => ({ data: [] }),
  'POST sms /v1/messages': () => ({ id: 'sms-1' }),
  'GET sms /v1/account': () => ({ balance: 1 }),
  'POST whatsapp /v23.0/': () => ({ messages: [{ id: 'wa-1' }] }),
  'GET whatsapp /v23.0/me': () => ({ id: '1' }),
}

/** Starts all of them on one free port: `{ env, down, calls, close }`. */
export async function startProviders() {
  /** Providers that answer 503 to everybody. */
  const down = new Set()
  /** `{ provider, path, accepted }` of each request. */
  const calls = []
  const server = createServer(async (request, response) => {
    const [, provider, path] = request.url.match(/^\/([a-z]+)(\/.*)$/) ?? []
    let text = ''
    for await (const chunk of request) text += chunk
    const answer = (status, body) => {
      calls.push({ provider, path: path?.replace(/\?.*/, ''), accepted: status < 300 })
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    if (!providers.includes(provider)) return answer(404, {})
    if (down.has(provider)) return answer(503, { error: 'overloaded' })
    if (!isGood(provider, request.headers)) return answer(refusal[provider], { error: 'invalid api key' })
    const [, make] =
      Object.entries(answers).find(([route]) => `${request.method} ${provider} ${path}`.startsWith(route)) ??
      []
    if (!make) return answer(404, {})
    answer(200, make(text ? JSON.parse(text) : {}))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const base = `http://127.0.0.1:${server.address().port}`
  return {
    env: Object.fromEntries(providers.map((name) => [`${name.toUpperCase()}_API_URL`, `${base}/${name}`])),
    down,
    calls,
    async close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function isGood(provider, headers) {
  if (provider === 'kling') return isSigned(bearer(headers))
  return keyOf[provider](headers)?.startsWith(`${provider}-live-`) ?? false
}

/** Whether the token names an access key, and the secret key that belongs to it has signed it. */
function isSigned(token) {
  const [head, claims, signature] = token.split('.')
  if (!signature) return false
  const { iss = '', exp = 0 } = JSON.parse(Buffer.from(claims, 'base64url'))
  const [, ending] = iss.match(/^kling-live-(.+)$/) ?? []
  if (!ending || exp < Date.now() / 1000) return false
  const expected = createHmac('sha256', `kling-secret-${ending}`).update(`${head}.${claims}`).digest()
  const found = Buffer.from(signature, 'base64url')
  return found.length === expected.length && timingSafeEqual(found, expected)
}
