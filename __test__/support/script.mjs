// Runs a script in a Node of its own: for what ends processes, or shows only from outside.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { addonPath } from './addon.mjs'

/**
 * Runs CommonJS text in which `addon` is the package. Gives how it ended and what it wrote.
 * `lastWords`: milliseconds between its last output and its end.
 */
export async function runScript(body, { env = {}, args = [], limit = 20_000, cwd } = {}) {
  const text = `const addon = require(${JSON.stringify(addonPath)});\n${body}`
  return runNode([...args, '-e', text], { env, limit, cwd })
}

export async function runNode(args, { env = {}, limit = 20_000, cwd } = {}) {
  const child = spawn(process.execPath, args, { env: { ...environment(), ...env }, cwd })
  const started = performance.now()
  let [stdout, stderr, lastOutput] = ['', '', started]
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
    lastOutput = performance.now()
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  const exited = once(child, 'exit').then(([code, signal]) => ({ code, signal, ended: performance.now() }))
  await once(child, 'close')
  clearTimeout(timer)
  const { code, signal, ended } = await exited
  return { code, signal, stdout, stderr, took: ended - started, lastWords: ended - lastOutput }
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
