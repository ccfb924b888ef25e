// Ctrl-C and SIGTERM while a command waits for somebody: it ends at once with 130, and leaves the terminal as it was.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { bin } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { onTerminal } from '../support/terminal.mjs'

const signals = ['SIGINT', 'SIGTERM']

function environment(db) {
  return { ...process.env, ADMIN_DATABASE_URL: db.admin, APP_SECRETS_URL: db.service, NO_COLOR: '1' }
}

async function withBusiness(t) {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await db.query(`select app_secrets.grant_scope('app_service', array['*'], true, true)`)
  return { db, id: await addBusiness(db) }
}

test('a signal ends a command that reads from a pipe', async (t) => {
  const { db, id } = await withBusiness(t)
  for (const signal of signals) {
    for (const args of [
      ['set', id, 'grok_api_key'],
      ['import', id, '-'],
    ]) {
      await endsAtOnce(t, db, args, signal)
    }
  }
})

test('a signal ends a command that writes to a pipe that nobody reads', async (t) => {
  const { db, id } = await withBusiness(t)
  // More history than a pipe holds.
  await db.query(
    `select count(public.set_business_secrets($1, jsonb_build_object('grok_api_key', 'xai-0123456789-' || i)))
     from generate_series(1, 3000) i`,
    [id],
  )
  for (const signal of signals) await endsAtOnce(t, db, ['history', '--limit', '10000', '--json'], signal)
})

/** Sends the signal once the command has connected and waits. */
async function endsAtOnce(t, db, args, signal) {
  const child = spawn(process.execPath, [bin, ...args], { env: environment(db) })
  t.after(() => child.kill('SIGKILL'))
  await delay(2_000)
  assert.equal(child.exitCode, null, `${args} did not wait`)
  child.kill(signal)
  const ended = await Promise.race([once(child, 'exit'), delay(5_000, ['still there'], { ref: false })])
  assert.deepEqual(ended, [130, null], `${args.join(' ')}, ${signal}`)
}

test('a signal ends a command at each of its prompts, and what is typed is shown again', async (t) => {
  const { db, id } = await withBusiness(t)
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-signals-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'import.env')
  writeFileSync(file, 'XAI_API_KEY=xai-0123456789\nGEMINI_API_KEY=changeme\n')
  for (const signal of ['Ctrl-C', 'SIGTERM']) {
    for (const [args, question] of [
      [['set', id, 'grok_api_key'], 'not shown: '],
      [['import', id, file], '[y/N] '],
      [['migrate', '--drop-legacy'], 'to go on: '],
    ]) {
      const terminal = onTerminal(t, args, environment(db))
      await terminal.shows(question)
      if (signal === 'Ctrl-C') terminal.type('\x03')
      else terminal.kill(signal)
      const { code, echoes } = await terminal.ended()
      assert.deepEqual(
        { code, echoes },
        { code: 130, echoes: true },
        `${args[0]}, ${signal}: ${terminal.screen}`,
      )
    }
  }
})

test('a value is asked for without echo wherever stderr goes', async (t) => {
  const { db, id } = await withBusiness(t)
  const terminal = onTerminal(t, ['set', id, 'grok_api_key'], environment(db), '2>/dev/null')
  await terminal.shows('not shown: ')
  terminal.type('xai-0123456789\r')
  assert.equal((await terminal.ended()).code, 0)
  assert.doesNotMatch(terminal.screen, /xai-/)
  assert.match(terminal.screen, /grok_api_key is set/)
})
