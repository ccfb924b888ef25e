// Step 3: every consumer's getter and setter, through the addon, with a login that may do nothing else.

import { masked } from './report.mjs'

export async function consumersReadAndWrite(demo) {
  const { report } = demo
  report.step('Every consumer, through the addon, with the service’s login')
  const secrets = await demo.secrets()
  const { id, values } = demo.business(255)
  demo.main = { id }

  const kling = { accessKey: values.kling_access_key, secretKey: values.kling_secret_key }
  const connected = demo.business(6)
  const google = {
    accessToken: connected.values.google_access_token,
    refreshToken: connected.values.google_refresh_token,
    expiresAt: new Date(connected.values.google_token_expiry),
    driveFolderId: connected.values.google_drive_folder_id,
  }
  const getters = [
    [
      'mayaService',
      "getProviderKey(id, 'gemini')",
      () => secrets.getProviderKey(id, 'gemini'),
      values.gemini_api_key,
    ],
    [
      'mayaService',
      "getProviderKey(id, 'claude')",
      () => secrets.getProviderKey(id, 'claude'),
      values.claude_api_key,
    ],
    [
      'adService',
      'getBusinessApiKeys(id)',
      () => secrets.getBusinessApiKeys(id),
      { gemini: values.gemini_api_key, grok: values.grok_api_key },
    ],
    ['klingRoutes', 'getKlingCredentials(id)', () => secrets.getKlingCredentials(id), kling],
    [
      'backend_server, YouTubeService',
      'getYouTubeApiKey(id)',
      () => secrets.getYouTubeApiKey(id),
      values.youtube_api_key,
    ],
    ['backend_server', 'getSmsApiKey(id)', () => secrets.getSmsApiKey(id), values.global_sms_api_key],
    ['backend_server', 'getWhatsAppApiKey(id)', () => secrets.getWhatsAppApiKey(id), values.whatsapp_api_key],
    ['google-auth', 'getGoogleTokens(id)', () => secrets.getGoogleTokens(connected.id), google],
  ]
  for (const [consumer, call, read, expected] of getters) {
    const found = await read()
    report.claim(`${consumer}: ${call} gives the legacy value`, same(found, expected), show(found))
  }

  const status = await secrets.getIntegrationStatus(id)
  const listed = await secrets.list(id)
  report.claim(
    'systemRoutes, settings: getIntegrationStatus(id) says what is set, and no value',
    status.gemini.configured === (values.gemini_api_key !== null) &&
      !JSON.stringify(status).includes(demo.marker),
    Object.entries(status)
      .filter(([, { configured }]) => configured)
      .map(([name]) => name)
      .join(' '),
  )
  report.claim(
    'list(id) is masked too',
    listed.length === 12 && !JSON.stringify(listed).includes(demo.marker),
  )

  const fresh = (what) => `${demo.marker}-new-${what}-${id.slice(0, 4)}`
  const expiresAt = new Date('2027-03-01T09:30:00.000Z')
  const pair = { accessKey: fresh('access'), secretKey: fresh('secret') }
  const tokens = {
    accessToken: fresh('token'),
    refreshToken: fresh('refresh'),
    expiresAt,
    driveFolderId: 'folder-demo',
  }
  const setters = [
    ...['gemini', 'grok', 'claude'].map((provider) => [
      `setProviderKey(id, '${provider}', …)`,
      () => secrets.setProviderKey(id, provider, fresh(provider)),
      () => secrets.getProviderKey(id, provider),
      fresh(provider),
    ]),
    [
      'setKlingCredentials',
      () => secrets.setKlingCredentials(id, pair),
      () => secrets.getKlingCredentials(id),
      pair,
    ],
    [
      'setYouTubeApiKey',
      () => secrets.setYouTubeApiKey(id, fresh('yt')),
      () => secrets.getYouTubeApiKey(id),
      fresh('yt'),
    ],
    [
      'setSmsApiKey',
      () => secrets.setSmsApiKey(id, fresh('sms')),
      () => secrets.getSmsApiKey(id),
      fresh('sms'),
    ],
    [
      'setWhatsAppApiKey',
      () => secrets.setWhatsAppApiKey(id, fresh('wa')),
      () => secrets.getWhatsAppApiKey(id),
      fresh('wa'),
    ],
    ['setGoogleTokens', () => secrets.setGoogleTokens(id, tokens), () => secrets.getGoogleTokens(id), tokens],
  ]
  for (const [call, write, read, expected] of setters) {
    await write()
    report.claim(`${call}, and the next read sees it`, same(await read(), expected))
  }
  const audited = await demo.value(
    "select count(*)::int from app_secrets.audit_log where business_id = $1 and login = 'app_service' and actor = 'demo'",
    [id],
  )
  report.claim('the audit names the login and the actor of each write', audited >= 12, `${audited} entries`)
  await undoWhatWasWritten(demo, secrets, id)
  await loginOfOneConsumer(demo, id)
}

async function undoWhatWasWritten({ report, marker }, secrets, id) {
  const before = await secrets.getSmsApiKey(id)
  await secrets.setSmsApiKey(id, `${marker}-by-mistake`)
  await secrets.undo(id, 'global_sms_api_key')
  report.claim(
    "undo(id, 'global_sms_api_key') puts the previous value back",
    (await secrets.getSmsApiKey(id)) === before,
  )
}

/** klingRoutes has a login of its own, which may read its two names and do nothing else. */
async function loginOfOneConsumer(demo, id) {
  const { report, cluster, admin } = demo
  const names = ['kling_access_key', 'kling_secret_key']
  report.say(`a login as "app-secrets login add kling_routes --read ${names.join(',')}" makes it`)
  const url = await cluster.createLogin('kling_routes', { memberOf: ['app_secrets_service'] })
  await admin.query('select app_secrets.grant_scope($1, $2, true, false)', ['kling_routes', names])
  const kling = await demo.connect({ url, actor: 'demo' })
  report.claim('a login of its own reads what it is for', (await kling.getKlingCredentials(id)) !== null)
  const refused = async (work) => work().then(String, ({ code }) => code)
  const read = await refused(() => kling.getProviderKey(id, 'gemini'))
  report.claim('refused: it reads another consumer’s key', read === 'PERMISSION_DENIED', read)
  const written = await refused(() => kling.set(id, names[0], `${demo.marker}-by-kling`))
  report.claim('refused: it writes its own', written === 'PERMISSION_DENIED', written)
  const listed = (await kling.list(id)).map(({ name }) => name)
  report.claim('it learns of no other name', listed.join() === names.join(), listed.join(' '))
  const marks = await demo.rows("select name from app_secrets.access_of($1) where login = 'kling_routes'", [
    id,
  ])
  report.claim('and what it has read is on record', marks.length === 2, `${marks.length} marks`)
}

function same(found, expected) {
  if (expected instanceof Date) return found instanceof Date && found.getTime() === expected.getTime()
  if (expected === null || typeof expected !== 'object') return found === expected
  if (found === null || Object.keys(found).length !== Object.keys(expected).length) return false
  return Object.keys(expected).every((name) => same(found[name], expected[name]))
}

function show(found) {
  if (found === null || typeof found === 'string') return masked(found)
  return Object.entries(found)
    .map(([name, value]) => `${name} ${value instanceof Date ? value.toISOString() : masked(value)}`)
    .join(', ')
}
