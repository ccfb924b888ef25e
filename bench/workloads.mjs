// What is measured of a contender. Each round of a workload gives one number; less is not always better.

import { median } from './statistics.mjs'

const now = () => performance.now()

/** One call after the other: the median latency in µs. */
async function sequential(get, businesses, { calls }) {
  const latencies = new Float64Array(calls)
  for (let i = 0; i < calls; i++) {
    const started = now()
    await get(businesses[i % businesses.length])
    latencies[i] = (now() - started) * 1000
  }
  return { p50: median(latencies) }
}

/** So many callers at once, never two for the same business: gets per second, and CPU of the process in µs a get. */
async function concurrent(get, businesses, { callers, calls }) {
  let next = 0
  const caller = async () => {
    while (next < calls) await get(businesses[next++ % businesses.length])
  }
  const cpu = process.cpuUsage()
  const started = now()
  await Promise.all(Array.from({ length: callers }, caller))
  const seconds = (now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: calls / seconds, cpu: (user + system) / calls }
}

/** All at once, then nothing, several times: gets per second of the median burst. */
async function burst(get, businesses, { size, times }) {
  const rates = []
  for (let i = 0; i < times; i++) {
    const started = now()
    await Promise.all(businesses.slice(0, size).map(get))
    rates.push(size / ((now() - started) / 1000))
  }
  return { perSecond: median(rates) }
}

/** Already in memory, awaited: ns a get. */
async function cached(get, businesses, { calls }) {
  const started = now()
  for (let i = 0; i < calls; i++) await get(businesses[i % businesses.length])
  return { ns: ((now() - started) * 1e6) / calls }
}

export const uncached = {
  sequential: (get, businesses, quick) => sequential(get, businesses, { calls: quick ? 100 : 500 }),
  'concurrent 32': (get, businesses, quick) =>
    concurrent(get, businesses, { callers: 32, calls: quick ? 1000 : 5000 }),
  'concurrent 256': (get, businesses, quick) =>
    concurrent(get, businesses, { callers: 256, calls: quick ? 2560 : 10_240 }),
  'burst 1000': (get, businesses, quick) => burst(get, businesses, { size: 1000, times: quick ? 2 : 5 }),
}

export const inMemory = {
  cached: (get, businesses, quick) => cached(get, businesses, { calls: quick ? 20_000 : 200_000 }),
}
