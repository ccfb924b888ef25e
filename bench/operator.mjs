// Runs the command line as an operator does, and measures its whole process.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('../bin/app-secrets.js', import.meta.url))

/** Gives `{ seconds, memoryMb, report }`: its time, the most memory that it had, and its JSON document. */
export async function command(urls, args, expected = [0]) {
  const started = performance.now()
  const child = spawn(process.execPath, [cli, ...args, '--json'], {
    env: { ...process.env, ...urls },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    out += chunk
  })
  let peakKb = 0
  const timer = setInterval(() => {
    peakKb = Math.max(peakKb, residentKb(child.pid))
  }, 50)
  const [code] = await once(child, 'close')
  clearInterval(timer)
  const seconds = (performance.now() - started) / 1000
  if (!expected.includes(code)) throw new Error(`app-secrets ${args.join(' ')} ended with ${code}`)
  return { seconds, memoryMb: Math.round(peakKb / 1024), report: JSON.parse(out) }
}

/** The most that it has had so far; 0 where the platform does not tell. */
function residentKb(pid) {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}
