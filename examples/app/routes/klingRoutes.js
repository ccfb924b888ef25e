// Kling's two keys work only together: the access key names the account, the secret key signs a short-lived token.

const { createHmac } = require('node:crypto')
const secrets = require('@app/secrets')
const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/http.js')

const base = 'https://api.klingai.com/v1'

function token({ accessKey, secretKey }, now = Math.floor(Date.now() / 1000)) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const unsigned = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ iss: accessKey, exp: now + 1800, nbf: now - 5 })}`
  return `${unsigned}.${createHmac('sha256', secretKey).update(unsigned).digest('base64url')}`
}

async function authorization(businessId) {
  const credentials = await secrets.getKlingCredentials(businessId)
  if (!credentials) throw new NotConfigured('kling')
  return { authorization: `Bearer ${token(credentials)}` }
}

module.exports = {
  'POST /api/kling/videos': async ({ businessId, body, fetch }) => {
    const { data } = await callProvider('kling', `${base}/videos/text2video`, {
      headers: await authorization(businessId),
      body: { model_name: 'kling-v1', prompt: body.prompt },
      fetch,
    })
    return { status: 202, body: { taskId: data.task_id } }
  },

  'GET /api/kling/videos': async ({ businessId, query, fetch }) => {
    const task = encodeURIComponent(query.get('task'))
    const { data } = await callProvider('kling', `${base}/videos/text2video/${task}`, {
      method: 'GET',
      headers: await authorization(businessId),
      fetch,
    })
    return { status: 200, body: { status: data.task_status, videos: data.task_result?.videos ?? [] } }
  },

  'PUT /api/kling/credentials': async ({ businessId, body }) => {
    const { accessKey, secretKey } = body
    // Both or neither: half a pair is refused, and changes nothing.
    await secrets.setKlingCredentials(
      businessId,
      accessKey == null && secretKey == null ? null : { accessKey, secretKey },
    )
    return { status: 204 }
  },
}
