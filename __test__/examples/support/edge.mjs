// The edge function google-auth in real Deno, and a stand-in for Google's token endpoint.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { app, installApp } from '../../../dev/app-install.mjs'

export const functionFolder = join(app, 'supabase/functions/google-auth')
/** Modules come from the app's own node_modules, so nothing is fetched. */
export const denoOptions = ['--node-modules-dir=manual', '--cached-only']

export async function denoPath() {
  await installApp()
  const folder = join(app, 'node_modules/@deno')
  const names = existsSync(folder) ? readdirSync(folder) : []
  const [found] = names.flatMap((name) =>
    ['deno', 'deno.exe'].map((file) => join(folder, name, file)).filter(existsSync),
  )
  if (!found) throw new Error(`Deno is not in ${folder}: npm has none for this platform`)
  return found
}

/** Serves the function: `{ url, output }`. */
export async function serveFunction(t, env) {
  const child = spawn(
    await denoPath(),
    ['run', '--allow-net', '--allow-env', ...denoOptions, join(functionFolder, 'index.ts')],
    { env: { ...process.env, DENO_SERVE_ADDRESS: 'tcp:127.0.0.1:0', NO_COLOR: '1', ...env }, stdio: 'pipe' },
  )
  const ended = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const served = { output: '' }
  served.url = await new Promise((resolve, reject) => {
    for (const input of [child.stdout, child.stderr]) {
      createInterface({ input }).on('line', (line) => {
        served.output += `${line}\n`
        const [, url] = line.match(/Listening on (http:\S+)/) ?? []
        if (url) resolve(url)
      })
    }
    ended.then(() => reject(new Error(`Deno ended:\n${served.output}`)))
  })
  return served
}

/**
 * Google as it hands out tokens: each refresh token is good once where `rotates`, and an old one is an invalid_grant.
 * `grants` has what was handed out, in order.
 */
export async function startGoogle(t) {
  const google = { grants: [], refused: 0, rotates: true, current: undefined, status: 200, lifetime: 3600 }
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const asked = new URLSearchParams(text)
    const answer = (status, body) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    if (google.status !== 200) return answer(google.status, { error: 'internal_failure' })
    const isRefresh = asked.get('grant_type') === 'refresh_token'
    const isGood = isRefresh
      ? asked.get('refresh_token') === google.current
      : asked.get('code') === 'consent' && asked.get('redirect_uri') !== null
    if (!isGood || asked.get('client_secret') !== 'client-secret') {
      google.refused++
      return answer(400, { error: 'invalid_grant' })
    }
    const number = google.grants.length + 1
    const grant = { access_token: `google-access-${number}`, expires_in: google.lifetime }
    if (!isRefresh || google.rotates) {
      google.current = `google-refresh-${number}`
      grant.refresh_token = google.current
    }
    google.grants.push(grant)
    answer(200, grant)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  google.url = `http://127.0.0.1:${server.address().port}/token`
  return google
}
