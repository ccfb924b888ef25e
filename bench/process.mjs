// One of the measured processes: every contender in turn, round after round, so that whatever else the machine does
// meets them all. Prints its rounds as JSON.
//
// BENCH_TASK='{"url": …, "businesses": […], "rounds": 7, "quick": false}' node bench/process.mjs

import { cachedContenders } from './cached.mjs'
import { contenders } from './contenders.mjs'
import { inMemory, uncached } from './workloads.mjs'

const options = JSON.parse(process.env.BENCH_TASK)
const rounds = {
  ...(await measure(contenders, uncached)),
  ...(await measure(await cachedContenders(), inMemory)),
}
process.stdout.write(JSON.stringify(rounds))

/** `{ workload: { contender: [numbers of a round, …] } }`. */
async function measure(contenders, workloads) {
  const { url, businesses, rounds, quick } = options
  const open = []
  for (const [name, connect] of Object.entries(contenders)) {
    open.push({ name, ...(await connect(url, businesses)) })
  }
  const results = {}
  for (const [workload, run] of Object.entries(workloads)) {
    const result = Object.fromEntries(open.map(({ name }) => [name, []]))
    // The first round opens connections and lets the code be compiled.
    for (let round = -1; round < rounds; round++) {
      // Each begins in turn: nobody always follows the same neighbour.
      for (let i = 0; i < open.length; i++) {
        const { name, get } = open[(i + round + 1) % open.length]
        const numbers = await run(get, businesses, quick)
        if (round >= 0) result[name].push(numbers)
      }
    }
    results[workload] = result
  }
  for (const { close } of open) await close()
  return results
}
