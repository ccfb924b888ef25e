// A server in PostgREST's place whose answers a test writes down, and a client of it.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { addon } from './addon.mjs'

export const key = 'sb_publishable_marker'
export const token = 'header.marker.signature'

/** A server that answers each request with the next of `answers`: `[status, body]`, or a function of the request. */
export async function scripted(t, answers, options) {
  const seen = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const { method, url, headers } = request
    seen.push({ method, url: decodeURIComponent(url), headers, body })
    // A watcher also asks what is due, at any time: that has an answer of its own.
    const isDue = url.includes('rotate_every') && url.startsWith('/rest/v1/business_secret_status')
    const answer = isDue ? [200, []] : answers.length > 1 ? answers.shift() : answers[0]
    if (typeof answer === 'function') return answer(request, response)
    response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const supabaseUrl = `http://127.0.0.1:${server.address().port}`
  const credentials = { supabaseUrl, supabaseKey: key, accessToken: token }
  const client = await addon.connect({ ...credentials, timeoutMs: 2000, ...options })
  t.after(() => client.close())
  return { client, seen, supabaseUrl }
}
