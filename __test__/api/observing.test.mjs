// What a client tells of itself: a logger's events, lines on stderr, OpenTelemetry's spans and metrics. Never a value.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { SpanKind, SpanStatusCode } from '@opentelemetry/api'
import {
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { addon, openClient, refuses, root } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

const require = createRequire(import.meta.url)
const { createFakeSecrets } = require('../../lib/testing.js')
const { instrument } = require('../../lib/otel.js')

const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const marker = 'sk_live_marker_4711'
const nowhere = `postgres://someone:${marker}@127.0.0.1:1/nothing`

test('a logger is told of calls and failures, with code and time, and of nothing secret', async (t) => {
  const events = []
  const logger = Object.fromEntries(
    ['debug', 'info', 'warn', 'error'].map((level) => [
      level,
      (event, message) => events.push({ level, message, ...event }),
    ]),
  )
  const client = await addon.connect({ url: nowhere, logger, timeoutMs: 2000 })
  t.after(() => client.close())
  await refuses(() => client.set(id, 'grok_api_key', marker), 'UNAVAILABLE')
  await refuses(() => client.get(marker, 'grok_api_key'), 'INVALID_ARGUMENT')
  const calls = events.filter(({ op }) => ['set', 'get'].includes(op))
  assert.deepEqual(
    calls.map(({ level, op, code }) => [level, op, code]),
    [
      ['error', 'set', 'UNAVAILABLE'],
      ['debug', 'get', 'INVALID_ARGUMENT'],
    ],
  )
  assert.ok(calls.every(({ ms }) => ms >= 0))
  assert.ok(!JSON.stringify(events).includes(marker))
  assert.ok(!JSON.stringify(events).includes(id))
})

test('a logger is told of connections, batches, invalidations and the listener', async (t) => {
  const db = await freshDatabase(t, 17)
  const business = await addBusiness(db)
  const events = []
  const tell = (level) => (event, message) => events.push({ level, message, ...event })
  const logger = { debug: tell('debug'), info: tell('info'), warn: tell('warn'), error: tell('error') }
  const client = await openClient(t, db, { logger, cache: true })
  const of = (name) => events.filter(({ event }) => event === name)
  await until(() => of('listener.state').some(({ state }) => state === 'listening'), 'the listener')
  await client.get(business, 'grok_api_key')
  await client.set(business, 'grok_api_key', marker)
  await until(() => of('invalidations').length > 0, 'an invalidation')
  await client.close()
  assert.ok(of('connections.opened').every(({ level, count }) => level === 'info' && count > 0))
  assert.ok(of('connections.opened').length > 0 && of('batches').length > 0)
  const said = JSON.stringify(events)
  for (const secret of [marker, business, new URL(db.service).password]) assert.ok(!said.includes(secret))
})

test('a logger that fails, or has not every method, harms nothing', async (t) => {
  for (const logger of [
    { error: () => assert.fail('thrown') },
    {},
    Object.assign(() => {}, { debug: null }),
  ]) {
    const client = await addon.connect({ url: nowhere, logger, timeoutMs: 2000 })
    t.after(() => client.close())
    await refuses(() => client.get(id, 'grok_api_key'), 'UNAVAILABLE')
  }
  await refuses(() => addon.connect({ url: nowhere, logger: 'debug' }), 'INVALID_ARGUMENT', {
    says: /logger/,
  })
})

test('a logger whose methods are async ends no process when they reject, and one warning says so', async () => {
  const script = `
    process.on('warning', ({ name, code, message }) => console.log(name, code, message))
    const rejecting = async () => { throw new Error('no disk') }
    const logger = { debug: rejecting, info: rejecting, warn: rejecting, error: () => ({ then() { throw 7 } }) }
    addon.connect({ url: ${JSON.stringify(nowhere)}, timeoutMs: 2000, logger }).then(async (client) => {
      for (let i = 0; i < 3; i++) await client.get('${id}', 'grok_api_key').catch(({ code }) => console.log(code))
      await client.get('${marker}', 'grok_api_key').catch(() => {})
      await client.close()
      console.log('done')
    })`
  const { code, stdout, stderr } = await runScript(script)
  assert.equal(code, 0, stderr)
  const lines = stdout.trim().split('\n')
  assert.equal(lines.filter((line) => line === 'UNAVAILABLE').length, 3)
  assert.equal(lines.filter((line) => /^SecretsWatchWarning LOGGER_FAILED/.test(line)).length, 1)
  assert.ok(lines.includes('done'))
})

test('APP_SECRETS_LOG writes a line of JSON for each event of its level, to stderr', async () => {
  const script = `addon.connect({ url: ${JSON.stringify(nowhere)}, timeoutMs: 2000 }).then(async (client) => {
    await client.get('${id}', 'grok_api_key').catch(() => {})
    await client.get('${marker}', 'grok_api_key').catch(() => {})
    await client.close()
  }, ({ code, message }) => console.log(code, message))`
  for (const [level, wanted] of [
    ['debug', ['get', 'get', 'close']],
    ['ERROR', ['get']],
  ]) {
    const { stdout, stderr } = await runScript(script, { env: { APP_SECRETS_LOG: level } })
    assert.equal(stdout, '')
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      lines.map(({ op }) => op).filter((op) => ['get', 'close'].includes(op)),
      wanted,
    )
    assert.ok(lines.every(({ time, message }) => !Number.isNaN(Date.parse(time)) && message))
    assert.ok(!stderr.includes(marker))
  }
  const loud = await runScript(script, { env: { APP_SECRETS_LOG: 'loud' } })
  assert.match(loud.stdout, /^CONFIG APP_SECRETS_LOG must be one of debug, info, warn, error, or off/)
  for (const off of ['off', 'OFF', ' off ', '']) {
    const { stdout, stderr } = await runScript(script, { env: { APP_SECRETS_LOG: off } })
    assert.deepEqual([stdout, stderr], ['', ''], off)
  }
})

test("each call is a span by the conventions for databases, and a failure's code is its error.type", async (t) => {
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  t.after(() => tracerProvider.shutdown())
  const secrets = createFakeSecrets()
  const end = instrument(secrets, { tracerProvider })
  await secrets.set(id, 'grok_api_key', marker)
  await secrets.get(id, 'grok_api_key')
  await refuses(() => secrets.get(id, 'grok'), 'UNKNOWN_SECRET')
  end()
  await secrets.get(id, 'grok_api_key')

  const spans = exporter.getFinishedSpans()
  assert.deepEqual(
    spans.map(({ name, kind }) => [name, kind]),
    ['set', 'get', 'get'].map((op) => [`secrets.${op}`, SpanKind.CLIENT]),
  )
  assert.deepEqual(spans[0].attributes, { 'db.system.name': 'postgresql', 'db.operation.name': 'set' })
  assert.equal(spans[2].attributes['error.type'], 'UNKNOWN_SECRET')
  assert.equal(spans[2].status.code, SpanStatusCode.ERROR)
  const said = JSON.stringify(
    spans.map(({ name, attributes, status, events }) => [name, attributes, status, events]),
  )
  assert.ok(![marker, id, 'grok_api_key'].some((secret) => said.includes(secret)))
})

test('stats() is reported as the metrics of docs/metrics.md, all of them', async (t) => {
  const exporter = new InMemoryMetricExporter(1)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  t.after(() => meterProvider.shutdown())
  const secrets = createFakeSecrets()
  const end = instrument(secrets, { meterProvider })
  await secrets.get(id, 'grok_api_key')
  await secrets.get(id, 'grok_api_key')
  await reader.forceFlush()
  end()
  const metrics = exporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
  const table = readFileSync(join(root, 'docs/metrics.md'), 'utf8')
  const documented = [
    ...table.matchAll(/^\| `([\w.]+)` \| `(app_secrets\.[\w.]+)` \| (counter|gauge).*?\| `(.*?)` \|/gm),
  ]
  assert.deepEqual(
    metrics
      .map(({ descriptor: { name, unit }, dataPointType }) => [
        name,
        dataPointType === DataPointType.GAUGE ? 'gauge' : 'counter',
        unit,
      ])
      .sort(),
    documented.map(([, , name, kind, unit]) => [name, kind, unit]).sort(),
  )
  const stats = secrets.stats()
  for (const [, path, name] of documented) {
    const points = metrics.find(({ descriptor }) => descriptor.name === name).dataPoints
    const wanted = path.split('.').reduce((value, key) => value[key], stats)
    if (path !== 'listener.state') assert.deepEqual([points.length, points[0].value], [1, wanted], name)
    else assert.equal(points.find(({ value }) => value === 1).attributes.state, wanted)
  }
})
