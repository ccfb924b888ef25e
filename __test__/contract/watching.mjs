// watch(): who is told what.

import assert from 'node:assert/strict'
import { until } from '../support/wait.mjs'

/**
 * A watcher and what it was told, once it hears. What changes before its callback was told of the resync that it may begin with
 * is part of that, and told no more.
 */
async function watch({ client, resyncs }, filter, callback = () => {}) {
  const isFirst = client.stats().listener.state !== 'listening'
  const beginsWithResync = resyncs === 'every' || isFirst
  const events = []
  const watcher = client.watch(filter, (event) => {
    events.push(event)
    return callback(event)
  })
  await until(
    () => client.stats().listener.state === 'listening' && (!beginsWithResync || events.length > 0),
    'a listener',
  )
  if (beginsWithResync) assert.deepEqual(events[0], { kind: 'resync' })
  return { watcher, events, changes: () => events.filter(({ kind }) => kind === 'changed') }
}

/** By the calendar, in UTC: of a shorter month the last day. */
function plus(date, { months = 0, days = 0, ms = 0 }) {
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth() + months, date.getUTCDate()]
  const last = new Date(Date.UTC(year, month + 1, 0)).getUTCDate()
  const time = date.getTime() % 86_400_000
  return Date.UTC(year, month, Math.min(day, last)) + days * 86_400_000 + time + ms
}

export const watching = {
  async 'a watcher is told what its filter names, whoever changes it'({
    t,
    client,
    other,
    addBusiness,
    resyncs,
  }) {
    const [id, second] = [await addBusiness(), await addBusiness()]
    const mine = await watch({ client, resyncs }, { businessId: id.toUpperCase(), names: ['grok_api_key'] })
    t.after(() => mine.watcher.close())
    await other.set(second, 'grok_api_key', 'x')
    await other.set(id, 'claude_api_key', 'x')
    const version = await other.set(id, 'grok_api_key', 'x')
    await until(() => mine.changes().length === 1, 'the event')
    assert.deepEqual(mine.changes(), [
      { kind: 'changed', businessId: id, names: ['grok_api_key'], versions: { grok_api_key: version } },
    ])
  },

  async 'a callback that reads gets what is new'({ t, client, other, addBusiness, resyncs }) {
    const id = await addBusiness()
    const read = []
    const { watcher } = await watch({ client, resyncs }, { businessId: id }, async ({ kind }) => {
      if (kind === 'changed') read.push(await client.get(id, 'grok_api_key'))
    })
    t.after(() => watcher.close())
    for (const value of ['one', 'two', 'three']) {
      await other.set(id, 'grok_api_key', value)
      await until(() => read.at(-1) === value, value)
    }
  },

  async 'a slow callback finds what happened meanwhile in one event'({ t, client, addBusiness, resyncs }) {
    const id = await addBusiness()
    const events = []
    let release
    const first = new Promise((resolve) => {
      release = resolve
    })
    const { watcher } = await watch({ client, resyncs }, { businessId: id }, ({ kind, versions }) => {
      if (kind !== 'changed') return
      events.push(versions)
      return events.length === 1 ? first : undefined
    })
    t.after(() => watcher.close())
    await client.set(id, 'grok_api_key', 'first')
    await until(() => events.length === 1, 'the first event')
    let last
    for (let i = 0; i < 5; i++) last = await client.set(id, 'claude_api_key', `${i}`)
    const witness = await watch({ client, resyncs }, { businessId: id, names: ['gemini_api_key'] })
    t.after(() => witness.watcher.close())
    const gemini = await client.set(id, 'gemini_api_key', 'last')
    await until(() => witness.changes().length === 1, 'the witness')
    assert.equal(events.length, 1)
    release()
    await until(() => events.some(({ gemini_api_key }) => gemini_api_key), 'what came meanwhile')
    assert.deepEqual(Object.assign({}, ...events.slice(1)), { claude_api_key: last, gemini_api_key: gemini })
    // One that is polled may have had an answer under way, of before the last writes: what came until then, that, and the rest.
    assert.ok(events.length <= 4, `${events.length} events of seven writes`)
  },

  async 'a closed watcher is told nothing more'({ t, client, addBusiness, resyncs }) {
    const id = await addBusiness()
    const [one, two] = [
      await watch({ client, resyncs }, { businessId: id }),
      await watch({ client, resyncs }, { businessId: id }),
    ]
    t.after(() => two.watcher.close())
    one.watcher.close()
    one.watcher.close()
    const before = one.events.length
    await client.set(id, 'grok_api_key', 'x')
    await until(() => two.changes().length === 1, 'the event')
    assert.equal(one.events.length, before)
  },

  async 'a date that is due is told once'({ t, client, addBusiness, refused }) {
    if (refused.includes('options')) return
    const id = await addBusiness()
    const expiresAt = new Date(Date.now() + 86_400_000)
    await client.set(id, 'grok_api_key', 'x', { expiresAt })
    await client.set(id, 'claude_api_key', 'x', { expiresAt: new Date(Date.now() + 30 * 86_400_000) })
    const events = []
    const watcher = client.watch({ businessId: id }, (event) => void events.push(event))
    t.after(() => watcher.close())
    const due = () => events.filter(({ kind }) => kind === 'due')
    await until(() => due().length > 0, 'the date')
    assert.deepEqual(due(), [
      { kind: 'due', businessId: id, name: 'grok_api_key', dueAt: expiresAt, reason: 'expires' },
    ])
  },

  async 'a value has to be replaced when its interval has passed, to the hour and by the calendar'({
    t,
    client,
    addBusiness,
    rotate,
  }) {
    const id = await addBusiness()
    const rotations = [
      ['grok_api_key', '12:00:00', { ms: 43_200_000 }],
      ['claude_api_key', '1 day 12:00:00', { days: 1, ms: 43_200_000 }],
      ['gemini_api_key', '1 mon', { months: 1 }],
      ['youtube_api_key', '6 mons 3 days 04:05:06.5', { months: 6, days: 3, ms: 14_706_500 }],
      ['whatsapp_api_key', '90 days', { days: 90 }],
      ['kling_access_key', '1 mon -1 days', { months: 1, days: -1 }],
    ]
    await client.setMany(id, Object.fromEntries(rotations.map(([name]) => [name, 'a value'])))
    for (const [name, interval] of rotations) await rotate(id, name, interval)
    const listed = await client.list(id)
    const due = []
    const filter = { businessId: id, dueWithinMs: 31_622_400_000 }
    const watcher = client.watch(filter, (event) => void (event.kind === 'due' && due.push(event)))
    t.after(() => watcher.close())
    await until(() => due.length === rotations.length, 'the dates')
    for (const [name, interval, length] of rotations) {
      const { dueAt, reason } = due.find((event) => event.name === name)
      const { updatedAt } = listed.find((entry) => entry.name === name)
      // The microseconds of what is added to are not shown.
      assert.ok(Math.abs(dueAt - plus(updatedAt, length)) <= 1, `${interval}: ${dueAt.toISOString()}`)
      assert.equal(reason, 'rotate')
    }
  },

  'wrong arguments are thrown at once'({ client }) {
    for (const [filter, callback] of [
      [{}, undefined],
      [{}, {}],
      ['all', () => {}],
      [{ business: 'x' }, () => {}],
      [{ names: [] }, () => {}],
      [{ businessId: 'sk_live_4711' }, () => {}],
      [{ dueWithinMs: -1 }, () => {}],
    ]) {
      assert.throws(
        () => client.watch(filter, callback),
        ({ code, message }) => code === 'INVALID_ARGUMENT' && !message.includes('4711'),
      )
    }
  },
}
