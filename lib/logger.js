// Structured events without values: `connect({ logger })`, or APP_SECRETS_LOG=debug, which writes them to stderr, a line of
// JSON each. A logger has the methods of pino, of winston's child or of console: `debug`, `info`, `warn`, `error`, each
// called with the event and a message.

const args = require('./arguments.js')
const { SecretsError } = require('./errors.js')
const { warn } = require('./warnings.js')

const levels = ['debug', 'info', 'warn', 'error']

/** A call that takes longer than this is worth a warning, in milliseconds. */
const SLOW_MS = 1000

/** What is the caller's fault or choice, and nobody's at three in the morning. */
const expected = ['INVALID_ARGUMENT', 'UNKNOWN_SECRET', 'INVALID_VALUE', 'VERSION_CONFLICT', 'CLOSED']

/** A function `(level, event, message)`, or null where nobody listens. */
function loggerOf(logger, variable) {
  if (!args.isAbsent(logger)) {
    if (typeof logger !== 'object' && typeof logger !== 'function') {
      throw args.wrong('logger', 'an object with debug, info, warn and error, such as console or pino()')
    }
    return guarded(logger)
  }
  const level = variable?.trim().toLowerCase() ?? 'off'
  if (level === 'off') return null
  const least = levels.indexOf(level)
  if (least < 0) {
    throw new SecretsError('CONFIG', `APP_SECRETS_LOG must be one of ${levels.join(', ')}, or off`)
  }
  return (level, event, message) => {
    if (levels.indexOf(level) < least) return
    const line = { time: new Date().toISOString(), level, ...event, message }
    process.stderr.write(`${JSON.stringify(line)}\n`)
  }
}

/** A logger that fails, at once or by the promise that it returns, is no reason for a read to fail: it is warned of, once. */
function guarded(logger) {
  let isWarned = false
  return async (level, event, message) => {
    try {
      await logger[level]?.(event, message)
    } catch (thrown) {
      if (!isWarned) warn('the logger failed, and goes on being called', 'LOGGER_FAILED', thrown)
      isWarned = true
    }
  }
}

/** Tells a logger of each call: the operation, how long it took and its code; never a name, an id or a value. */
function observeWithLogger(log) {
  return ({ op }) => {
    const started = performance.now()
    return (error) => {
      const ms = Math.round((performance.now() - started) * 1000) / 1000
      const code = error === null ? undefined : (error.code ?? 'UNKNOWN')
      const event = code === undefined ? { op, ms } : { op, ms, code }
      if (code !== undefined && !expected.includes(code)) log('error', event, `${op} failed`)
      else if (ms > SLOW_MS) log('warn', event, `${op} was slow`)
      else log('debug', event, op)
    }
  }
}

/** How often the counters are looked at, in milliseconds. */
const LOOK_EVERY_MS = 1000

/** What a counter that has grown is worth saying: the level, the event's name, and its words. */
const grown = [
  ['debug', 'batches', (stats) => stats.batches, 'statements that read secrets'],
  [
    'debug',
    'invalidations',
    (stats) => stats.invalidations,
    'cached secrets were dropped: they changed, or may have',
  ],
  ['debug', 'evictions', (stats) => stats.evictions, 'cached secrets were dropped to make room'],
  ['info', 'connections.opened', (stats) => stats.pool.opened, 'connections were opened'],
  ['warn', 'connections.lost', (stats) => stats.pool.lost, 'connections were lost'],
  [
    'info',
    'listener.reconnects',
    (stats) => stats.listener.reconnects,
    'the listener came back: everything cached was dropped',
  ],
  [
    'warn',
    'staleServed',
    (stats) => stats.staleServed,
    'stale secrets were served: the database is out of reach',
  ],
]

/** Tells a logger what has changed in a client's counters since they were looked at last. Gives a function that ends it. */
function observeStats(log, clock, read) {
  let before = null
  const look = () => {
    const stats = read()
    for (const [level, event, count, words] of grown) {
      const more = count(stats) - (before === null ? 0 : count(before))
      if (more > 0) log(level, { event, count: more }, words)
    }
    const { state, lastError } = stats.listener
    if (state !== (before?.listener.state ?? 'off')) {
      const event = {
        event: 'listener.state',
        state,
        ...(state !== 'listening' && lastError && { lastError }),
      }
      log(state === 'unavailable' ? 'warn' : 'info', event, `the listener is ${state}`)
    }
    before = stats
  }
  const end = clock.every(LOOK_EVERY_MS, look)
  return () => {
    end()
    look()
  }
}

module.exports = { loggerOf, observeStats, observeWithLogger }
