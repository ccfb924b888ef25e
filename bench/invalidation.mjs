// How soon a change is seen by another process that caches: from calling set() in one to the callback of watch() in the
// other, which comes after its cache was invalidated. Prints one number a write, in ms.
//
// APP_SECRETS_URL=… node bench/invalidation.mjs BUSINESS WRITES

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NAME } from './read.mjs'

const { connect } = createRequire(import.meta.url)('../index.js')
const [business, writes, role] = process.argv.slice(2)

/** Of the one monotonic clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e6

await (role === 'listener' ? listen() : write())

async function write() {
  const listener = fork(fileURLToPath(import.meta.url), [business, writes, 'listener'])
  await once(listener, 'message')
  const secrets = await connect()
  const times = []
  for (let i = 0; i < Number(writes); i++) {
    const heard = once(listener, 'message')
    const called = now()
    await secrets.set(business, NAME, `value ${i}`)
    const [seen] = await heard
    times.push(seen - called)
    // A cache that has the old value again has something to lose.
    await delay(2)
  }
  await secrets.close()
  listener.disconnect()
  process.stdout.write(JSON.stringify(times))
}

/** Caches the secret, and says when it was told that it changed. */
async function listen() {
  const secrets = await connect({ cache: { ttlMs: 3_600_000 } })
  // Neither a client nor a watcher keeps a process alive; the channel does, for as long as somebody listens to it.
  process.on('message', () => {})
  secrets.watch({ businessId: business }, async () => {
    const seen = now()
    await secrets.get(business, NAME)
    process.send(seen)
  })
}
