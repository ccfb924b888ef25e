// `npm run app`, as somebody starts it and ends it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { installApp } from '../../dev/app-install.mjs'
import { until } from '../support/wait.mjs'

const script = fileURLToPath(new URL('../../dev/app.mjs', import.meta.url))

async function accepts(url) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const isOpen = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return isOpen
}

test('npm run app prints where it is and who may sign in; Ctrl-C leaves nothing', async (t) => {
  await installApp()
  // Everything temporary goes into a folder of this test's own, so that what is left can be seen.
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-app-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'close')
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  // It starts a server, migrates it and bundles the pages, which a busy machine takes its time for.
  const isUp = () => output.includes('Ctrl-C ends everything') || child.exitCode !== null
  await until(isUp, 'the app', 180)
  assert.match(output, /ana@teahouse\.example +\S+ +owns two businesses/)
  assert.match(output, /ben@bicycles\.example +\S+ +has just begun/)
  const addresses = output.match(/http:\/\/127\.0\.0\.1:\d+/g)
  assert.equal(new Set(addresses).size, 2)
  for (const url of addresses) assert.ok(await accepts(url), `nobody answers at ${url}`)
  const [page] = addresses
  assert.match(await (await fetch(page)).text(), /<div id="root">/)
  assert.equal((await fetch(`${page}/api/system/integrations`)).status, 401)

  child.kill('SIGINT')
  assert.equal((await ended)[0], 130)
  assert.match(output, /everything is stopped/)
  for (const url of addresses) assert.ok(!(await accepts(url)), `somebody still answers at ${url}`)
  const left = existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith('app-secrets-')) : []
  assert.deepEqual(left, [])
})
