// A small seeded generator: a failure prints its seed, and the seed brings the failure back.

export function randomSeed() {
  return Number(process.env.APP_SECRETS_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32))
}

/** mulberry32: a function that gives the next number of [0, 1). */
export function generator(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (n) => Math.floor(next() * n)
  return { next, below, pick: (list) => list[below(list.length)], chance: (p) => next() < p }
}
