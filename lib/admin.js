// What the command line does, from code: migrate, status, verify, doctor. The addon does it; this checks the options and
// gives out errors and dates of the caller's realm.

const args = require('./arguments.js')
const { addon, variable } = require('./connect.js')
const { SecretsError } = require('./errors.js')

const connection = ['url', 'ca', 'allowInsecure', 'timeoutMs']
const known = {
  migrate: [...connection, 'config', 'to', 'batch', 'sessions', 'pauseMs', 'lockWaitMs', 'reapply'],
  status: [...connection, 'config'],
  verify: [...connection, 'sessions'],
  doctor: [...connection, 'config', 'serviceUrl', 'full'],
}

function migrate(options, onProgress) {
  return run('migrate', options, onProgress)
}

function status(options) {
  return run('status', options)
}

function verify(options) {
  return run('verify', options)
}

function doctor(options) {
  return run('doctor', options)
}

async function run(op, argument, onProgress) {
  const options = args.object(argument, 'options', known[op]) ?? Object.create(null)
  options.url ??= variable('ADMIN_DATABASE_URL')
  if (options.url === undefined) {
    throw new SecretsError(
      'CONFIG',
      'no connection for the migration role: pass `url`, or set ADMIN_DATABASE_URL',
    )
  }
  if (op === 'doctor') options.serviceUrl ??= variable('APP_SECRETS_URL')
  if (!args.isAbsent(onProgress)) args.callback(onProgress)
  return addon().admin(op, options, onProgress ?? undefined)
}

module.exports = { doctor, migrate, status, verify }
