// Videos by Kling, with both of the business's keys, read in one snapshot: half of an old pair cannot be read.

const { Router } = require('express')
const { NotConfigured } = require('../lib/errors.js')
const { callProvider } = require('../lib/providers.js')
const { secretsOf } = require('../lib/secrets.js')

async function getKlingCredentials(businessId) {
  const secrets = await secretsOf('kling')
  const credentials = await secrets.getKlingCredentials(businessId)
  if (!credentials) throw new NotConfigured('kling')
  return credentials
}

const klingRoutes = Router()

klingRoutes.post('/videos', async (request, response) => {
  const { data } = await callProvider(
    'kling',
    await getKlingCredentials(request.businessId),
    '/v1/videos/text2video',
    { model_name: 'kling-v1', prompt: request.body.prompt },
  )
  response.status(202).json({ taskId: data.task_id })
})

klingRoutes.get('/videos/:task', async (request, response) => {
  const { data } = await callProvider(
    'kling',
    await getKlingCredentials(request.businessId),
    `/v1/videos/text2video/${encodeURIComponent(request.params.task)}`,
  )
  response.json({ status: data.task_status, videos: data.task_result?.videos ?? [] })
})

module.exports = { klingRoutes }
