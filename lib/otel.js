// @app/secrets/otel: spans and metrics of a client, over @opentelemetry/api, which is an optional peer. Spans go by the
// conventions for databases; no attribute holds a name, an id or a value.

const api = require('@opentelemetry/api')
const { internals } = require('./client.js')

/** What `stats()` counts: name, unit, what it is, and how it is read. */
const counters = [
  ['app_secrets.cache.hits', '{secret}', 'Secrets that the cache answered', (stats) => stats.hits],
  [
    'app_secrets.cache.misses',
    '{secret}',
    'Secrets that the cache could not answer',
    (stats) => stats.misses,
  ],
  [
    'app_secrets.cache.stale',
    '{secret}',
    'Secrets answered from an expired entry',
    (stats) => stats.staleServed,
  ],
  [
    'app_secrets.cache.invalidations',
    '{secret}',
    'Secrets dropped because they changed',
    (stats) => stats.invalidations,
  ],
  ['app_secrets.batches', '{statement}', 'Statements that read secrets', (stats) => stats.batches],
  ['app_secrets.connections.lost', '{connection}', 'Connections lost', (stats) => stats.pool.lost],
  [
    'app_secrets.listener.reconnects',
    '{connection}',
    'Listeners that came back',
    (stats) => stats.listener.reconnects,
  ],
]
const pool = { 'db.client.connection.pool.name': 'app-secrets' }
const connections = (state) => ({ ...pool, 'db.client.connection.state': state })

/** Makes a span of each call of a client, and metrics of its `stats()`. Gives a function that ends it. */
function instrument(secrets, options = {}) {
  const { tracerProvider = api.trace, meterProvider = api.metrics } = options
  const { name, version } = require('../package.json')
  const tracer = tracerProvider.getTracer(name, version)
  const meter = meterProvider.getMeter(name, version)

  const endSpans = internals.observe(secrets, ({ op }) => {
    const attributes = { 'db.system.name': 'postgresql', 'db.operation.name': op }
    const span = tracer.startSpan(`secrets.${op}`, { kind: api.SpanKind.CLIENT, attributes })
    return (error) => {
      if (error !== null) {
        const code = error.code ?? 'UNKNOWN'
        span.setAttribute('error.type', code)
        span.setStatus({ code: api.SpanStatusCode.ERROR, message: code })
      }
      span.end()
    }
  })

  const counted = counters.map(([name, unit, description, read]) => [
    meter.createObservableCounter(name, { unit, description }),
    read,
  ])
  const entries = meter.createObservableUpDownCounter('app_secrets.cache.entries', {
    unit: '{secret}',
    description: 'Secrets in the cache',
  })
  const open = meter.createObservableUpDownCounter('db.client.connection.count', {
    unit: '{connection}',
    description: 'Open connections by state',
  })
  const pending = meter.createObservableUpDownCounter('db.client.connection.pending_requests', {
    unit: '{request}',
    description: 'Calls that wait for a connection',
  })
  const report = (result) => {
    const stats = secrets.stats()
    for (const [instrument, read] of counted) result.observe(instrument, read(stats))
    result.observe(entries, stats.entries)
    result.observe(open, stats.pool.busy, connections('used'))
    result.observe(open, stats.pool.idle, connections('idle'))
    result.observe(pending, stats.pool.waiting, pool)
  }
  const instruments = [...counted.map(([instrument]) => instrument), entries, open, pending]
  meter.addBatchObservableCallback(report, instruments)

  return () => {
    endSpans()
    meter.removeBatchObservableCallback(report, instruments)
  }
}

module.exports = { instrument }
