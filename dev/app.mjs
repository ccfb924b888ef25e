// `npm run app`: the example, opened with one command. Ctrl-C ends everything and leaves nothing behind.

import { constants } from 'node:os'
import { startAppStack } from './app-stack.mjs'

let stack
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, async () => {
    if (interrupted) return
    interrupted = true
    process.exitCode = 128 + constants.signals[signal]
    await stack?.close()
    if (stack) console.log('\napp: everything is stopped')
    process.exit()
  })
}

try {
  const starting = startAppStack({ say: (text) => console.log(`app: ${text}`), port: port() })
  stack = { close: async () => (await starting.catch(() => undefined))?.close() }
  const { url, people, dataApi } = await starting
  const [owner, newcomer] = people
  console.log(`
  Open ${url}

  Sign in as     password
  ${owner.email.padEnd(24)} ${owner.password}   owns two businesses with keys
  ${newcomer.email.padEnd(24)} ${newcomer.password}   has just begun

  Providers are stand-ins: a key works where it begins with the provider's name and -live-, such as grok-live-1234.
  The Data API is a stand-in too, at ${dataApi.url}: examples/app/README.md says how to use a real project.

  Ctrl-C ends everything.
`)
} catch (error) {
  if (!interrupted) {
    console.error(error)
    process.exitCode = 1
  }
}

/** PORT, or 5173 as Vite has it where that is free. */
function port() {
  return process.env.PORT === undefined ? undefined : Number(process.env.PORT)
}
