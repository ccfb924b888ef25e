// A clock that a test moves. It runs along with the machine's, unless it was told a time to stand still at.

class FakeClock {
  #still
  #ahead = 0
  /** What waits: `{ at, ring }`. */
  #alarms = new Set()

  constructor(still) {
    this.#still = still
  }

  now() {
    return (this.#still ?? Date.now()) + this.#ahead
  }

  wait(ms) {
    return new Promise((resolve) => this.#alarm(ms, resolve, true))
  }

  every(ms, callback) {
    let alarm
    const again = () => {
      alarm = this.#alarm(ms, ring, false)
    }
    const ring = () => {
      callback()
      again()
    }
    again()
    return () => this.#drop(alarm)
  }

  after(ms, callback) {
    const alarm = this.#alarm(ms, callback, true)
    return () => this.#drop(alarm)
  }

  advance(ms) {
    const until = this.now() + ms
    // In order, and at their own time: one that rings may set another.
    for (let next = this.#next(); next && next.at <= until; next = this.#next()) {
      this.#ahead += Math.max(0, next.at - this.now())
      this.#ring(next)
    }
    this.#ahead += Math.max(0, until - this.now())
  }

  #next() {
    return [...this.#alarms].sort((a, b) => a.at - b.at)[0]
  }

  #alarm(ms, ring, keepsAlive) {
    const alarm = { at: this.now() + ms, ring }
    this.#alarms.add(alarm)
    if (this.#still === null) {
      alarm.timer = setTimeout(() => this.#ring(alarm), ms)
      if (!keepsAlive) alarm.timer.unref()
    }
    return alarm
  }

  #ring(alarm) {
    this.#drop(alarm)
    alarm.ring()
  }

  #drop(alarm) {
    clearTimeout(alarm.timer)
    this.#alarms.delete(alarm)
  }
}

module.exports = { FakeClock }
