// withGoogleAccessToken() across processes: one refresh for each expiry, whoever asks, and no refresh token lost.
//
// A stand-in of Google rotates the refresh token at every refresh, and takes each one once: whoever loses one cannot go on.
// APP_SECRETS_GOOGLE=8,100,50 runs more: processes, callers in each, expiries.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openClient } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'

const [processes, callers, expiries] = (process.env.APP_SECRETS_GOOGLE ?? '3,20,6').split(',').map(Number)
const caller = fileURLToPath(new URL('google-caller.mjs', import.meta.url))

/** Google's token endpoint: counts refreshes, and takes a refresh token once. */
async function google(t) {
  const state = { refreshes: 0, refused: 0, valid: 'refresh 0', hold: null }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const given = new URLSearchParams(body).get('refresh_token')
    response.setHeader('content-type', 'application/json')
    if (given !== state.valid) {
      state.refused++
      return response.writeHead(400).end('{"error":"invalid_grant"}')
    }
    state.refreshes++
    // A holder that is killed has asked and has not stored.
    if (state.hold) return state.hold()
    state.valid = `refresh ${state.refreshes}`
    const answer = { access_token: `access ${state.refreshes}`, expires_in: 3599, refresh_token: state.valid }
    response.end(JSON.stringify(answer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return { state, url: `http://127.0.0.1:${server.address().port}` }
}

/** A process with a client of its own. `ask()` gives the tokens that its callers got. */
function startCaller(t, environment) {
  const child = fork(caller, [], { env: { ...process.env, NODE_TEST_CONTEXT: '', ...environment } })
  t.after(() => child.kill('SIGKILL'))
  return {
    child,
    async ask(count) {
      child.send({ count })
      const [message] = await once(child, 'message')
      assert.equal(message.error, undefined)
      return message.tokens
    },
  }
}

test('each expiry is refreshed once across processes, and a killed holder costs one more', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const { state, url } = await google(t)
  const secrets = await openClient(t, db)
  const environment = { APP_SECRETS_URL: db.service, BUSINESS: id, GOOGLE: url }
  const expire = () => secrets.setGoogleTokens(id, { expiresAt: new Date(Date.now() - 1000) })
  await secrets.setGoogleTokens(id, { accessToken: 'access 0', refreshToken: 'refresh 0' })
  await expire()

  const started = Array.from({ length: processes }, () => startCaller(t, environment))
  for (let expiry = 1; expiry <= expiries; expiry++) {
    const tokens = (await Promise.all(started.map(({ ask }) => ask(callers)))).flat()
    assert.equal(tokens.length, processes * callers)
    assert.deepEqual([...new Set(tokens)], [`access ${expiry}`])
    assert.equal(state.refreshes, expiry)
    assert.equal((await secrets.getGoogleTokens(id)).refreshToken, `refresh ${expiry}`)
    await expire()
  }
  assert.equal(state.refused, 0)

  // A holder that is killed before Google has answered.
  const asked = new Promise((resolve) => {
    state.hold = resolve
  })
  const victim = startCaller(t, environment)
  victim.child.send({ count: 1 })
  await asked
  victim.child.kill('SIGKILL')
  await once(victim.child, 'exit')
  state.hold = null
  // The rest of its lease, which nobody waits for here: it ends as it would by its time.
  await db.query(
    "update app_secrets.leases set expires_at = pg_catalog.clock_timestamp() - interval '1 second'",
  )
  const after = (await Promise.all(started.map(({ ask }) => ask(callers)))).flat()
  assert.deepEqual([...new Set(after)], [`access ${expiries + 2}`])
  assert.equal(state.refreshes, expiries + 2)
  assert.equal(state.refused, 0)
  t.diagnostic(
    `${processes} processes, ${callers} callers each, ${expiries} expiries: ${state.refreshes} refreshes`,
  )
})
