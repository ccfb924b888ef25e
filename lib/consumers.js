// The plan's getters and setters, by the names that the services use: all of it stands on get, getMany, setMany and list.
// This file and google.js are the only ones that know names of secrets.

const args = require('./arguments.js')
const { withGoogleAccessToken } = require('./google.js')

/** What each integration needs: all of its secrets, but for Google, whose either token is a grant. */
const integrations = {
  gemini: ['gemini_api_key'],
  grok: ['grok_api_key'],
  claude: ['claude_api_key'],
  youtube: ['youtube_api_key'],
  kling: ['kling_access_key', 'kling_secret_key'],
  sms: ['global_sms_api_key'],
  whatsapp: ['whatsapp_api_key'],
  google: ['google_refresh_token', 'google_access_token'],
}

const google = [
  'google_access_token',
  'google_refresh_token',
  'google_token_expiry',
  'google_drive_folder_id',
]

const consumers = {
  /** mayaService */
  getProviderKey(businessId, provider) {
    return attempt(() => this.get(args.businessId(businessId), args.provider(provider)))
  },
  setProviderKey(businessId, provider, key) {
    return attempt(() => this.set(args.businessId(businessId), args.provider(provider), key))
  },

  /** adService */
  async getBusinessApiKeys(businessId) {
    const keys = await this.getMany(businessId, ['gemini_api_key', 'grok_api_key'])
    return { gemini: keys.gemini_api_key, grok: keys.grok_api_key }
  },

  /** klingRoutes: both keys or nothing, of one moment. */
  async getKlingCredentials(businessId) {
    const keys = await this.getMany(businessId, integrations.kling)
    const { kling_access_key: accessKey, kling_secret_key: secretKey } = keys
    return accessKey === null || secretKey === null ? null : { accessKey, secretKey }
  },
  setKlingCredentials(businessId, credentials) {
    return attempt(() => this.setMany(args.businessId(businessId), args.klingCredentials(credentials)))
  },

  /** backend_server, YouTubeService */
  getYouTubeApiKey(businessId) {
    return this.get(businessId, 'youtube_api_key')
  },
  setYouTubeApiKey(businessId, key) {
    return this.set(businessId, 'youtube_api_key', key)
  },

  /** backend_server */
  getSmsApiKey(businessId) {
    return this.get(businessId, 'global_sms_api_key')
  },
  setSmsApiKey(businessId, key) {
    return this.set(businessId, 'global_sms_api_key', key)
  },
  getWhatsAppApiKey(businessId) {
    return this.get(businessId, 'whatsapp_api_key')
  },
  setWhatsAppApiKey(businessId, key) {
    return this.set(businessId, 'whatsapp_api_key', key)
  },

  /** google-auth */
  async getGoogleTokens(businessId) {
    return googleTokens(await this.getMany(businessId, google))
  },
  setGoogleTokens(businessId, tokens) {
    return attempt(() => this.setMany(args.businessId(businessId), args.googleTokens(tokens)))
  },
  withGoogleAccessToken(businessId, refresh) {
    return withGoogleAccessToken(this, businessId, refresh)
  },

  /** Settings pages and /api/system/validate-integrations: what is set, without any value. */
  async getIntegrationStatus(businessId) {
    const listed = await this.list(businessId)
    const status = {}
    for (const [integration, names] of Object.entries(integrations)) {
      const entries = names.map((name) => listed.find((entry) => entry.name === name)).filter(Boolean)
      status[integration] = statusOf(entries, integration === 'google' ? 1 : names.length)
    }
    return status
  },
}

function statusOf(entries, needed) {
  const configured = entries.filter(({ isSet }) => isSet).length >= needed
  const checked = entries.filter(({ lastCheckedAt }) => lastCheckedAt !== null)
  const lastChecked = checked.toSorted((a, b) => b.lastCheckedAt - a.lastCheckedAt)[0]
  return {
    configured,
    last4: (configured && entries.find(({ last4 }) => last4 !== null)?.last4) || null,
    updatedAt: latest(entries.map(({ updatedAt }) => updatedAt)),
    lastCheckedAt: lastChecked?.lastCheckedAt ?? null,
    checkResult: lastChecked?.checkResult ?? null,
  }
}

function latest(dates) {
  return dates.reduce(
    (latest, date) => (date !== null && (latest === null || date > latest) ? date : latest),
    null,
  )
}

/** null where neither token is set. */
function googleTokens(values) {
  const { google_access_token: accessToken, google_refresh_token: refreshToken } = values
  if (accessToken === null && refreshToken === null) return null
  return {
    accessToken,
    refreshToken,
    expiresAt: expiry(values.google_token_expiry),
    driveFolderId: values.google_drive_folder_id,
  }
}

/** Null where no Date can hold what is stored: the grant is still read, and the next refresh writes over it. */
function expiry(text) {
  if (text === null) return null
  // Date.parse wants years beyond 9999 with a sign and six digits.
  const date = new Date(text.replace(/^\d{5,6}(?=-)/, (year) => `+${year.padStart(6, '0')}`))
  return Number.isNaN(date.getTime()) ? null : date
}

/** What is wrong with an argument rejects, as it does in a client's own methods. */
function attempt(call) {
  try {
    return call()
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Gives a class the methods above. */
function addConsumers(Class) {
  for (const [name, value] of Object.entries(consumers)) {
    Object.defineProperty(Class.prototype, name, { value, writable: true, configurable: true })
  }
}

module.exports = { addConsumers }
