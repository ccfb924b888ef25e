// A process of google-tokens.test.mjs: many callers that want a Google access token at once.

import { createRequire } from 'node:module'

const { connect } = createRequire(import.meta.url)('../../index.js')
const { BUSINESS, GOOGLE } = process.env
const secrets = await connect({ timeoutMs: 30_000 })

async function refresh({ refreshToken }) {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken })
  const response = await fetch(GOOGLE, { method: 'POST', body })
  const answer = await response.json()
  if (!response.ok) throw Object.assign(new Error(answer.error), { code: answer.error })
  const expiresAt = new Date(Date.now() + answer.expires_in * 1000)
  return { accessToken: answer.access_token, refreshToken: answer.refresh_token, expiresAt }
}

process.on('message', async ({ count }) => {
  try {
    const asked = Array.from({ length: count }, () => secrets.withGoogleAccessToken(BUSINESS, refresh))
    process.send({ tokens: await Promise.all(asked) })
  } catch (error) {
    process.send({ error: `${error.code} ${error.message}` })
  }
})
