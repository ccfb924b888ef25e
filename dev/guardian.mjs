// Outlives the process that started a server just long enough to clean up after it.
//
// node dev/guardian.mjs DIR: waits for the end of its standard input, which comes when the parent closes the pipe or
// dies, however it dies; then kills the server whose data is in DIR/data and removes DIR.

import { readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const dir = process.argv[2]
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})

process.stdin.resume()
await new Promise((done) => process.stdin.once('end', done).once('error', done))

// Twice: the parent may have died while initdb or the server was still starting.
for (let round = 0; round < 2; round++) {
  const pid = serverPid()
  if (pid) await end(pid)
  remove()
  await delay(200)
}
remove()

function serverPid() {
  const data = join(dir, 'data')
  let pid
  try {
    pid = Number.parseInt(readFileSync(join(data, 'postmaster.pid'), 'utf8'), 10)
    // A server that was killed leaves the file behind, and its number may be somebody else's by now.
    if (readlinkSync(`/proc/${pid}/cwd`) !== realpathSync(data)) return undefined
  } catch (error) {
    if (process.platform === 'linux' || error.path?.startsWith(data)) return undefined
  }
  return pid
}

async function end(pid) {
  if (!signal(pid, 'SIGQUIT')) return
  for (let waited = 0; waited < 5000; waited += 20) {
    if (!runs(pid)) return
    await delay(20)
  }
  signal(pid, 'SIGKILL')
}

function signal(pid, name) {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

function runs(pid) {
  try {
    // In a container whose first process does not reap, the ended server stays as a zombie.
    if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return false
  } catch {
    // No /proc here: the signal decides.
  }
  return signal(pid, 0)
}

function remove() {
  try {
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  } catch {
    // The next round tries again.
  }
}
