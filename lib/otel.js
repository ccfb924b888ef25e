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
const gauges = [
  ['app_secrets.cache.entries', '{secret}', 'Secrets in the cache', (stats) => stats.entries],
  ['db.client.connection.count', '{connection}', 'Open connections', (stats) => stats.pool.connections],
  ['db.client.connection.pending_requests', '{request}', 'Calls that wait', (stats) => stats.pool.waiting],
]

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

  const made = [
    ...counters.map(([name, unit, description, read]) => [
      meter.createObservableCounter(name, { unit, description }),
      read,
    ]),
    ...gauges.map(([name, unit, description, read]) => [
      meter.createObservableGauge(name, { unit, description }),
      read,
    ]),
  ]
  const report = (result) => {
    const stats = secrets.stats()
    for (const [instrument, read] of made) result.observe(instrument, read(stats))
  }
  const instruments = made.map(([instrument]) => instrument)
  meter.addBatchObservableCallback(report, instruments)

  return () => {
    endSpans()
    meter.removeBatchObservableCallback(report, instruments)
  }
}

module.exports = { instrument }
