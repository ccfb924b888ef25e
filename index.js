// What the package exports. Written out, so that ESM finds every name in it.

const { connect } = require('./lib/connect.js')
const { Secrets } = require('./lib/client.js')
const { SecretsError } = require('./lib/errors.js')
const { Watcher } = require('./lib/watcher.js')
const { doctor, migrate, status, verify } = require('./lib/admin.js')
const shared = require('./lib/shared.js')

// A service without its addon fails when it starts, not at its first read. Electron has no use for one.
if (!Object.hasOwn(process.versions, 'electron')) require('./lib/native.js')

const {
  check,
  close,
  delete: deleteSecret,
  get,
  getBusinessApiKeys,
  getGoogleTokens,
  getIntegrationStatus,
  getKlingCredentials,
  getMany,
  getProviderKey,
  getSmsApiKey,
  getWhatsAppApiKey,
  getYouTubeApiKey,
  list,
  ping,
  set,
  setGoogleTokens,
  setKlingCredentials,
  setMany,
  setProviderKey,
  setSmsApiKey,
  setWhatsAppApiKey,
  setYouTubeApiKey,
  stats,
  undo,
  watch,
  withGoogleAccessToken,
} = shared

module.exports = {
  Secrets,
  SecretsError,
  Watcher,
  check,
  close,
  connect,
  delete: deleteSecret,
  deleteSecret,
  doctor,
  get,
  getBusinessApiKeys,
  getGoogleTokens,
  getIntegrationStatus,
  getKlingCredentials,
  getMany,
  getProviderKey,
  getSmsApiKey,
  getWhatsAppApiKey,
  getYouTubeApiKey,
  list,
  migrate,
  ping,
  set,
  setGoogleTokens,
  setKlingCredentials,
  setMany,
  setProviderKey,
  setSmsApiKey,
  setWhatsAppApiKey,
  setYouTubeApiKey,
  stats,
  status,
  undo,
  verify,
  watch,
  withGoogleAccessToken,
}
