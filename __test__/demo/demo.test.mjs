// `npm run demo`, end to end, as somebody runs it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../../dev/demo.mjs', import.meta.url))

function start(env = {}) {
  const child = spawn(process.execPath, [script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const run = { child, stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => {
      run[stream] += text
    })
  }
  run.ended = once(child, 'close').then(([code]) => code)
  return run
}

/** Where the demo says that its server is. */
function server({ stdout }) {
  const [, port, folder] = stdout.match(/ on port (\d+), in (\S+)/)
  return { port: Number(port), folder }
}

async function accepts(port) {
  const socket = connect(port, '127.0.0.1')
  const outcome = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return outcome
}

test('the demo shows every claim, and leaves nothing behind', async (t) => {
  const run = start()
  const code = await run.ended
  const { stdout } = run
  assert.equal(code, 0, `${stdout}\n${run.stderr}`)

  await t.test('in plain text where nobody watches', () => assert.ok(!stdout.includes('\u001b')))

  await t.test('every step makes claims, and every claim holds', () => {
    const [, total] = stdout.match(/All (\d+) claims hold\. \d+\.\d s in all\.\n$/)
    const ticks = stdout.match(/^ {3}✓ /gm)
    assert.equal(ticks.length, Number(total))
    assert.ok(ticks.length >= 80, `${ticks.length} claims`)
    assert.doesNotMatch(stdout, /✗/)
    const steps = [...stdout.matchAll(/^ {3}(\d) {2}\S.*? {2,}(\d+) +\d+\.\d s$/gm)]
    assert.deepEqual(
      steps.map(([, number]) => Number(number)),
      [1, 2, 3, 4, 5, 6, 7, 8, 9],
    )
    assert.ok(steps.every(([, , claims]) => Number(claims) > 0))
  })

  await t.test('every consumer of the plan is called by its name', () => {
    const calls = [
      "getProviderKey(id, 'gemini')",
      "getProviderKey(id, 'claude')",
      'getBusinessApiKeys(id)',
      'getKlingCredentials(id)',
      'getYouTubeApiKey(id)',
      'getSmsApiKey(id)',
      'getWhatsAppApiKey(id)',
      'getIntegrationStatus(id)',
      'getGoogleTokens(id)',
      "setProviderKey(id, 'grok', …)",
      'setKlingCredentials',
      'setYouTubeApiKey',
      'setSmsApiKey',
      'setWhatsAppApiKey',
      'setGoogleTokens',
    ]
    for (const call of calls) assert.ok(stdout.includes(call), call)
  })

  await t.test('the migration, its proof and the drop are the command line’s', () => {
    const calls = [...stdout.matchAll(/^ {3}\$ app-secrets (\S.*)$/gm)].map(([, call]) => call)
    assert.deepEqual(calls, [
      'migrate',
      'verify',
      'migrate --drop-legacy --yes-drop-plaintext=postgres',
      'verify',
      'migrate --drop-legacy --yes-drop-plaintext=postgres',
      'scrub --yes-lock-tables=postgres',
    ])
    assert.match(stdout, /sealed [\d,]+ secrets of 1,000 businesses/)
  })

  await t.test('each attempt that must be refused shows what was answered', () => {
    const attempts = stdout.split('\n').filter((line) => line.includes('✓ refused: '))
    // The client's own code, where the attempt went through the client: a login with a scope, in both directions.
    const [coded, refused] = [true, false].map((wanted) =>
      attempts.filter((line) => line.endsWith('(PERMISSION_DENIED)') === wanted),
    )
    assert.deepEqual(
      coded.map((line) => line.trim()),
      [
        '✓ refused: it reads another consumer’s key (PERMISSION_DENIED)',
        '✓ refused: it writes its own (PERMISSION_DENIED)',
      ],
    )
    assert.ok(refused.length >= 20, `${refused.length} attempts`)
    for (const line of refused) assert.match(line, /\((SQLSTATE 42501|0 rows)\)$/)
    for (const who of ['another tenant', 'anon', 'a signed-in user', 'the service’s login']) {
      assert.ok(
        refused.some((line) => line.includes(who)),
        who,
      )
    }
  })

  await t.test('values are shown in plaintext in the first step, and never again', () => {
    const [first, ...rest] = stdout.split(/\n2 {2}/)
    assert.match(first, /sk-demo-7f3a91-/)
    assert.doesNotMatch(rest.join(''), /sk-demo-7f3a91/)
  })

  await t.test('no marker is left, and each scanner finds its planted control', () => {
    for (const place of ['pg_dump', 'files of \\d+ tables and indexes', 'server log', 'planner statistics']) {
      const line = stdout.match(new RegExp(`^ {3}${place} +(\\S+) +(\\d+) +(\\d+)$`, 'm'))
      assert.ok(line, place)
      assert.equal(Number(line[2]), 0, place)
      assert.ok(Number(line[3]) > 0, place)
    }
  })

  await t.test('its server is gone', async () => {
    const { port, folder } = server(run)
    assert.equal(existsSync(folder), false)
    assert.equal(await accepts(port), false)
  })
})

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  test(`${signal} in the middle of the demo stops its server`, async () => {
    const run = start()
    while (!/\n2 {2}/.test(run.stdout)) await once(run.child.stdout, 'data')
    const { port, folder } = server(run)
    assert.equal(await accepts(port), true)
    run.child.kill(signal)
    assert.equal(await run.ended, code, run.stderr)
    assert.equal(existsSync(folder), false)
    assert.equal(await accepts(port), false)
  })
}
