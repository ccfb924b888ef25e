// Time, as the client and its watchers take it. A fake has its own.

const { setTimeout: delay } = require('node:timers/promises')

const machineClock = {
  /** Milliseconds since 1970. */
  now: () => Date.now(),
  /** Resolves after so many milliseconds. */
  wait: (ms) => delay(ms),
  /** Calls back every so many milliseconds, without keeping the process alive. Gives a function that ends it. */
  every(ms, callback) {
    const timer = setInterval(callback, ms)
    timer.unref()
    return () => clearInterval(timer)
  },
  /** Calls back once after so many milliseconds. Gives a function that prevents it. */
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  },
}

/** What a promise gives, or the error that `late` makes where that takes longer than so many milliseconds of a clock. */
function within(clock, ms, promise, late) {
  return new Promise((resolve, reject) => {
    const prevent = clock.after(Math.max(0, ms), () => reject(late()))
    promise.finally(prevent).then(resolve, reject)
  })
}

module.exports = { machineClock, within }
