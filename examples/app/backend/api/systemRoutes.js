// What an owner's dashboard may know: what is set up, who reads it, how far the migration is, and who did what. Never a key.

const { execFile } = require('node:child_process')
const { dirname, join } = require('node:path')
const { promisify } = require('node:util')
const { Router } = require('express')
const { consumers, secretsOf } = require('../lib/secrets.js')

const systemRoutes = Router()

systemRoutes.get('/integrations', async (request, response) => {
  const secrets = await secretsOf('system')
  const readers = Object.values(consumers)
    .filter(({ label }) => label)
    .map(({ label, reads }) => ({ label, reads }))
  response.json({ integrations: await secrets.getIntegrationStatus(request.businessId), readers })
})

// Both ask as the migration role. Where ADMIN_DATABASE_URL is not set, as on a server that customers reach, they are not there.
systemRoutes.get('/migration', async (_request, response) => {
  const { files, businesses, plaintextColumns, mismatches, next } = await appSecrets('status')
  response.json({ files, businesses, plaintextColumns, mismatches, next })
})

systemRoutes.get('/audit', async (request, response) => {
  const [{ changes }, { reads }] = await Promise.all([
    appSecrets('history', request.businessId),
    appSecrets('access', request.businessId),
  ])
  response.json({ changes, reads })
})

/** What `app-secrets COMMAND --json` prints: versioned, and without a value. */
async function appSecrets(...args) {
  if (!process.env.ADMIN_DATABASE_URL)
    throw Object.assign(new Error('not on this server'), { code: 'NOT_HERE' })
  const bin = join(dirname(require.resolve('@app/secrets/package.json')), 'bin/app-secrets.js')
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args, '--json']).catch((error) => {
    // 2: something is due, which the answer says.
    if (error.code === 2 && error.stdout) return error
    throw Object.assign(new Error('the database cannot be asked right now'), { code: 'UNAVAILABLE' })
  })
  return JSON.parse(stdout)
}

module.exports = { systemRoutes }
