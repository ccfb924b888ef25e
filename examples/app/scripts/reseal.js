// Carries every secret over to a new Vault root key, through memory: docs/operations.md, "The root key".
//
// node reseal.js IDS.txt: business ids, one a line. APP_SECRETS_URL is a service's login.

const { readFileSync } = require('node:fs')
const { once } = require('node:events')
const { connect } = require('@app/secrets')

/** @type {import('@app/secrets').SecretName[]} */
const sealed = [
  'gemini_api_key',
  'grok_api_key',
  'claude_api_key',
  'youtube_api_key',
  'kling_access_key',
  'kling_secret_key',
  'global_sms_api_key',
  'whatsapp_api_key',
  'google_access_token',
  'google_refresh_token',
]

/** @param {string[]} args */
async function main([file]) {
  if (!file) throw new Error('usage: node reseal.js IDS.txt')
  const ids = readFileSync(file, 'utf8').split(/\s+/).filter(Boolean)
  let secrets = await connect({ actor: 'reseal' })
  const read = async (id) => {
    const values = await secrets.getMany(id, sealed)
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null))
  }

  const kept = new Map()
  for (const id of ids) kept.set(id, await read(id))
  const count = [...kept.values()].reduce((sum, values) => sum + Object.keys(values).length, 0)
  await secrets.close()
  console.log(`${count} secrets of ${ids.length} businesses are in memory.`)
  console.log('Stop the writers, change the root key, restart PostgreSQL, then press Enter.')
  await once(process.stdin, 'data')
  process.stdin.unref()

  secrets = await connect({ actor: 'reseal' })
  let done = 0
  for (const [id, values] of kept) {
    if (Object.keys(values).length) await secrets.setMany(id, values)
    const found = await read(id)
    const same = Object.keys(found).length === Object.keys(values).length
    if (!same || Object.keys(values).some((name) => found[name] !== values[name])) {
      throw new Error(`business ${id} does not read back what was written: run this again for it`)
    }
    done += Object.keys(values).length
  }
  await secrets.close()
  console.log(`${done} secrets are sealed under the new root key.`)
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`reseal: ${error.message}`)
  process.exitCode = 1
})
