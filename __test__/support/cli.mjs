// The command line as people and pipelines run it, and its output in a form that can be compared.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const bin = fileURLToPath(new URL('../../bin/app-secrets.js', import.meta.url))

const updating = process.env.UPDATE_SNAPSHOTS === '1'

/**
 * Starts the command on a database, as the migration role and the service. `child` is its process; `ended` gives
 * `{ code, signal, stdout, stderr }`.
 */
export function startCli(db, args, { env = {}, input = '', cwd } = {}) {
  const { APP_SECRETS_URL: _, DATABASE_URL: __, ADMIN_DATABASE_URL: ___, USER: ____, ...rest } = process.env
  const urls = db ? { ADMIN_DATABASE_URL: db.admin, APP_SECRETS_URL: db.service } : {}
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: { ...rest, ...urls, ...env },
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text
    })
  }
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }))
  return { child, output, ended }
}

export function cli(db, args, options) {
  return startCli(db, args, options).ended
}

/** Runs it and expects this exit code. */
export async function cliEnds(code, db, args, options) {
  const result = await cli(db, args, options)
  assert.equal(result.code, code, `app-secrets ${args.join(' ')}\n${result.stdout}${result.stderr}`)
  return result
}

/** Its JSON document. */
export async function cliJson(db, args, options) {
  const { stdout } = await cli(db, [...args, '--json'], options)
  return JSON.parse(stdout)
}

/**
 * Compares text with the snapshot of that name. UPDATE_SNAPSHOTS=1 writes it: then read the difference.
 * `names`: what is different each time, by what stands for it.
 */
export function assertSnapshot(name, text, names = {}) {
  const file = new URL(`../cli/snapshots/${name}.txt`, import.meta.url)
  const found = `${normalised(text, names).trimEnd()}\n`
  if (updating) {
    writeFileSync(file, found)
    return
  }
  assert.ok(existsSync(file), `no snapshot ${name}: run with UPDATE_SNAPSHOTS=1 and review it`)
  assert.equal(found, readFileSync(file, 'utf8'))
}

/** What a person sees: both streams, each under its name. */
export function transcript(args, { code, stdout, stderr }) {
  const parts = [`$ app-secrets ${args.join(' ')}`, stdout.trimEnd()]
  if (stderr.trim()) parts.push('--- stderr', stderr.trimEnd())
  return [...parts, `--- exit code ${code}`].filter(Boolean).join('\n')
}

function normalised(text, names) {
  let result = text
  for (const [what, value] of Object.entries(names)) result = result.replaceAll(value, what)
  return result
    .replace(/\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}Z/g, 'YYYY-MM-DD HH:MM:SSZ')
    .replace(/\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z/g, 'YYYY-MM-DDTHH:MM:SSZ')
    .replace(/127\.0\.0\.1:\d+, database \S+/g, 'HOST:PORT, database DATABASE')
    .replace(/127\.0\.0\.1:\d+/g, 'HOST:PORT')
    .replace(/pid \d+/g, 'pid N')
    .replace(/\d+ functions, as/g, 'N functions, as')
    .replace(/ +\d+(\.\d+)? [kMG]?B\b/g, ' N kB')
    .replace(/(\d+ min )?\d+(\.\d+)? s\b(?! \w+ of)/g, 'N s')
    .replace(/again in \d+ ms/g, 'again in N ms')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (id) =>
      id.startsWith('10000000') ? id : '<uuid>',
    )
}
