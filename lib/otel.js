// @app/secrets/otel: spans and metrics of a client, over @opentelemetry/api, which is an optional peer. Spans go by the
// conventions for databases; no attribute holds a name, an id or a value.

const api = require('@opentelemetry/api')
const { internals } = require('./client.js')

/** Of `stats()`, as docs/metrics.md has them: name, unit, what it is. */
const counters = {
  'cache.hit': ['{secret}', 'Secrets that the cache answered', (stats) => stats.hits],
  'cache.negative_hit': ['{secret}', 'Of these, how many were not set', (stats) => stats.negativeHits],
  'cache.miss': ['{secret}', 'Secrets that the cache could not answer', (stats) => stats.misses],
  'cache.stale': ['{secret}', 'Secrets answered from an expired entry', (stats) => stats.staleServed],
  'cache.eviction': ['{secret}', 'Secrets dropped to make room', (stats) => stats.evictions],
  'cache.invalidation': ['{secret}', 'Secrets dropped because they changed', (stats) => stats.invalidations],
  'read.coalesced': ['{read}', 'Reads that joined an identical one', (stats) => stats.coalesced],
  'read.batch': ['{statement}', 'Statements that read secrets', (stats) => stats.batches],
  'read.element': ['{secret}', 'Secrets that these asked for', (stats) => stats.elements],
  'connection.opened': ['{connection}', 'Connections opened so far', (stats) => stats.pool.opened],
  'connection.lost': ['{connection}', 'Connections lost so far', (stats) => stats.pool.lost],
  'listener.reconnect': [
    '{reconnect}',
    'How often the listener came back',
    (stats) => stats.listener.reconnects,
  ],
}
const gauges = {
  'cache.entry': ['{secret}', 'Secrets in the cache', (stats) => stats.entries],
  'connection.count': ['{connection}', 'Open connections', (stats) => stats.pool.connections],
  'connection.busy': ['{connection}', 'Of these, how many are at work', (stats) => stats.pool.busy],
  'connection.idle': ['{connection}', 'Of these, how many have none', (stats) => stats.pool.idle],
  'connection.waiting': ['{request}', 'Calls that wait for a connection', (stats) => stats.pool.waiting],
}
const states = ['off', 'connecting', 'listening', 'unavailable']

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

  const made = []
  for (const [kind, described] of [
    ['createObservableCounter', counters],
    ['createObservableGauge', gauges],
  ]) {
    for (const [short, [unit, description, read]] of Object.entries(described)) {
      made.push([meter[kind](`app_secrets.${short}`, { unit, description }), read])
    }
  }
  const listener = meter.createObservableGauge('app_secrets.listener.state', {
    unit: '1',
    description: '1 for the state that the attribute names',
  })
  const report = (result) => {
    const stats = secrets.stats()
    for (const [instrument, read] of made) result.observe(instrument, read(stats))
    for (const state of states) result.observe(listener, Number(stats.listener.state === state), { state })
  }
  const instruments = [...made.map(([instrument]) => instrument), listener]
  meter.addBatchObservableCallback(report, instruments)

  return () => {
    endSpans()
    meter.removeBatchObservableCallback(report, instruments)
  }
}

module.exports = { instrument }
