// Reads over and over and prints its memory as it goes: run by endurance.test.mjs with --expose-gc.
//
// node --expose-gc memory.mjs '{"url": …, "businesses": […], "reads": N, "cache": false}'

import { connect } from '../../index.js'

const { url, businesses, reads, cache } = JSON.parse(process.argv[2])
const SAMPLES = 20
const CALLERS = 256

const secrets = await connect({ url, cache })
const series = []
let next = 0
for (let sample = 1; sample <= SAMPLES; sample++) {
  const until = Math.floor((reads * sample) / SAMPLES)
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (next < until) {
        const business = businesses[next++ % businesses.length]
        const value = await secrets.get(business, 'gemini_api_key')
        if (value !== `gemini of ${business}`) throw new Error('a wrong value')
      }
    }),
  )
  globalThis.gc()
  series.push(Math.round(process.memoryUsage.rss() / 1024))
}
await secrets.close()
process.stdout.write(JSON.stringify(series))
