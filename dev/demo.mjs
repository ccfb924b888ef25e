// From plaintext to sealed in under a minute, on a PostgreSQL of its own: every line with a tick is asserted, and the
// exit code is 0 only if all of them hold.

import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { Demo } from './demo/context.mjs'
import { ClaimFailed, Report } from './demo/report.mjs'
import { steps } from './demo/steps.mjs'

const report = new Report()
const demo = new Demo(report)

// Once for the terminal's Ctrl-C; after that the process ends as it would, and the server's guardian cleans up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, async () => {
    demo.interrupted = true
    process.exitCode = 128 + constants.signals[signal]
    await demo.close()
    console.error(`\ndemo: ended by ${signal}; the server is stopped`)
    process.exit()
  })
}

try {
  for (const step of steps) await step(demo)
  await demo.close()
  report.step('Nothing is left behind')
  report.claim('the server is stopped and its folder is gone', !existsSync(demo.folder))
  report.summary()
} catch (error) {
  await demo.close()
  if (!demo.interrupted) {
    console.error(error instanceof ClaimFailed ? `\ndemo: ${error.message}` : error)
    process.exitCode = 1
  }
}
