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
}

module.exports = { machineClock }
