// Runs a script in a Node of its own: for what ends processes, or shows only from outside.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { addonPath } from './addon.mjs'

/** Runs CommonJS text in which `addon` is the package. Gives how it ended and what it wrote; past `limit` it is killed. */
export async function runScript(body, { env = {}, args = [], limit = 120_000, cwd } = {}) {
  const text = `const addon = require(${JSON.stringify(addonPath)});\n${body}`
  return runNode([...args, '-e', text], { env, limit, cwd })
}

export async function runNode(args, { env = {}, limit = 120_000, cwd } = {}) {
  const child = spawn(process.execPath, args, { env: { ...environment(), ...env }, cwd })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  return { code, signal, stdout, stderr }
}

/** Ours, without what would tell the script where a database is. */
function environment() {
  const {
    APP_SECRETS_URL: _,
    DATABASE_URL: __,
    NODE_OPTIONS: ___,
    NODE_TEST_CONTEXT: ____,
    ...rest
  } = process.env
  return rest
}
