// connect(): checks the options, and picks the transport.

const args = require('./arguments.js')
const { internals } = require('./client.js')
const { SecretsError } = require('./errors.js')
const { loggerOf, observeStats, observeWithLogger } = require('./logger.js')

const isElectron = Object.hasOwn(process.versions, 'electron')

// A service without its addon fails when it starts, not at its first read. Electron has no use for one, as a rule.
const native = isElectron ? null : require('./native.js')

/** The addon's side. */
function addon() {
  return native ?? require('./native.js')
}

const config = (message) => new SecretsError('CONFIG', message)

const forDatabase = [
  'url',
  'listenUrl',
  'ca',
  'allowInsecure',
  'maxConnections',
  'timeoutMs',
  'pooler',
  'cache',
  'applicationName',
  'actor',
  'preset',
  'allowDatabaseLoginInElectron',
  'logger',
]
const forPostgrest = [
  'supabaseUrl',
  'supabaseKey',
  'accessToken',
  'allowInsecure',
  'timeoutMs',
  'pollMs',
  'logger',
]
const known = [...new Set([...forDatabase, ...forPostgrest])]

async function connect(options) {
  const secrets = connectNow(options)
  await internals.ready(secrets)
  return secrets
}

/** Makes a client. Opens nothing by itself, so that there is nothing to wait for. */
function connectNow(argument) {
  const options = args.object(argument, 'options', known, config) ?? args.record()
  const logger = loggerOf(options.logger, variable('APP_SECRETS_LOG'))
  const overPostgrest = forPostgrest.some(
    (name) => !forDatabase.includes(name) && !args.isAbsent(options[name]),
  )
  const secrets = internals.make(overPostgrest ? postgrest(options, logger) : database(options, logger))
  if (logger) {
    internals.observe(secrets, observeWithLogger(logger))
    internals.atClose(
      secrets,
      observeStats(logger, internals.clock(secrets), () => secrets.stats()),
    )
  }
  return secrets
}

function postgrest(options, logger) {
  // Loaded where it is used: a service needs none of it, and has its first secret sooner.
  const { PostgrestTransport } = require('./postgrest.js')
  only(options, forPostgrest, 'with supabaseUrl')
  const { accessToken } = options
  if (!args.isAbsent(accessToken) && typeof accessToken !== 'string' && typeof accessToken !== 'function') {
    throw args.wrong(
      'accessToken',
      'a string or a function that gives one, such as () => session.access_token',
    )
  }
  return new PostgrestTransport({
    supabaseUrl: args.text(options.supabaseUrl, 'supabaseUrl'),
    supabaseKey: args.text(options.supabaseKey, 'supabaseKey'),
    accessToken: accessToken ?? null,
    allowInsecure: args.flag(options.allowInsecure, 'allowInsecure'),
    timeoutMs: inRange(options.timeoutMs, 'timeoutMs', 5000, 3_600_000),
    pollMs: inRange(options.pollMs, 'pollMs', 5000, 3_600_000),
    logger,
  })
}

function database(options, logger) {
  only(options, forDatabase, 'without supabaseUrl')
  const url = args.text(options.url, 'url') ?? variable('APP_SECRETS_URL') ?? variable('DATABASE_URL')
  const checked = Object.assign(args.record(), {
    url,
    listenUrl: args.text(options.listenUrl, 'listenUrl'),
    ca: args.text(options.ca, 'ca'),
    allowInsecure: args.flag(options.allowInsecure, 'allowInsecure'),
    maxConnections: args.whole(options.maxConnections, 'maxConnections'),
    timeoutMs: args.whole(options.timeoutMs, 'timeoutMs'),
    pooler: choice(options.pooler, 'pooler', ['auto', 'transaction', 'none']),
    cache: cache(options.cache),
    applicationName: args.text(options.applicationName, 'applicationName'),
    actor: args.text(options.actor, 'actor'),
  })
  const allowed = args.flag(options.allowDatabaseLoginInElectron, 'allowDatabaseLoginInElectron')
  if (choice(options.preset, 'preset', ['serverless'])) serverless(checked)
  if (url === undefined) {
    throw config('no connection string: pass `url`, or set APP_SECRETS_URL (or DATABASE_URL)')
  }
  if (isElectron && !allowed) {
    throw config(
      'this is Electron, where a connection string would hand every user a login to the database: pass supabaseUrl, ' +
        "supabaseKey and the user's accessToken instead, or allowDatabaseLoginInElectron: true where nobody else gets the app",
    )
  }
  // Undefined is no own property of what the transport gets: it has its default.
  for (const name of Object.keys(checked)) if (checked[name] === undefined) delete checked[name]
  const { NativeTransport } = addon()
  return new NativeTransport(checked, logger)
}

/** One connection, no listener, and a cache that lives by its time alone: a frozen process hears of nothing. */
function serverless(options) {
  options.maxConnections ??= 1
  options.cache ??= Object.assign(args.record(), { ttlMs: 60_000 })
  options.listen = false
}

function cache(argument) {
  if (args.isAbsent(argument)) return undefined
  if (typeof argument === 'boolean') return argument
  const numbers = ['ttlMs', 'negativeTtlMs', 'maxEntries', 'maxStaleMs']
  if (typeof argument !== 'object') {
    throw args.wrong('cache', 'true, false or an object, such as { ttlMs: 60000 }')
  }
  const options = args.object(argument, 'cache', numbers, config)
  for (const name of Object.keys(options)) {
    options[name] = args.whole(options[name], name)
    if (options[name] === undefined) delete options[name]
  }
  return options
}

function choice(argument, name, choices) {
  if (args.isAbsent(argument)) return undefined
  if (choices.includes(argument)) return argument
  const last = choices.length > 1 ? ` or '${choices.at(-1)}'` : ''
  const others = choices.slice(0, last ? -1 : undefined).map((choice) => `'${choice}'`)
  throw args.wrong(name, `${others.join(', ')}${last}`)
}

function inRange(argument, name, otherwise, most) {
  const number = args.whole(argument, name) ?? otherwise
  if (number >= 1 && number <= most) return number
  throw config(`${name} must be from 1 to ${most}, not ${number}`)
}

function only(options, allowed, when) {
  const other = Object.keys(options).find((name) => !allowed.includes(name) && !args.isAbsent(options[name]))
  if (other) throw config(`${other} has no meaning ${when}; known are ${allowed.join(', ')}`)
}

/** A variable of this thread's environment that is not blank. */
function variable(name) {
  const value = Object.hasOwn(process.env, name) ? process.env[name] : ''
  return value.trim() === '' ? undefined : value
}

module.exports = { addon, connect, connectNow, variable }
