// connect({ supabaseUrl, … }) where something is wrong around it: tokens that never come or cannot travel, servers that are not
// PostgREST, prototypes that are polluted, and a localhost that is another machine.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { addon, assertHides, refuses } from '../support/addon.mjs'
import { runScript } from '../support/script.mjs'
import { key, scripted, token } from '../support/scripted-api.mjs'

const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const secret = 'sk_live_marker_4711'
const never = () => new Promise(() => {})

test('a token that never comes is TIMEOUT by the deadline, nothing is sent, and close() ends', async (t) => {
  const { client, seen } = await scripted(t, [[200, []]], { accessToken: never, timeoutMs: 200 })
  const watcher = client.watch({ businessId: id }, () => {})
  t.after(() => watcher.close())
  for (const call of [
    () => client.get(id, 'grok_api_key'),
    () => client.set(id, 'grok_api_key', secret),
    () => client.ping(),
  ]) {
    await refuses(call, 'TIMEOUT', { says: /accessToken gave no token within 200 ms/, hides: [secret] })
  }
  const underWay = client.ping().catch(({ code }) => code)
  await client.close()
  assert.equal(await underWay, 'TIMEOUT')
  assert.equal(seen.length, 0)
})

test('a refresh of the token that never comes is TIMEOUT, and the next call asks for it anew', async (t) => {
  let asked = 0
  const accessToken = ({ expired }) => {
    if (!expired) return 'expired.token'
    asked++
    return asked === 1 ? never() : 'good.token'
  }
  const expired = [401, { code: 'PGRST301', message: 'JWT expired' }]
  const answer = (request, response) => {
    const [status, body] = request.headers.authorization === 'Bearer good.token' ? [200, []] : expired
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const { client } = await scripted(t, [answer], { accessToken, timeoutMs: 300 })
  const both = [client.ping(), client.ping()]
  for (const { reason } of await Promise.allSettled(both)) assert.equal(reason.code, 'TIMEOUT')
  await client.ping()
  assert.equal(asked, 2)
})

test('a token that came for another one is replaced in turn when it expires', async (t) => {
  // What the function gives at first has long expired; what it gives for that is good until it expires too.
  let good = 'token.1'
  const asked = []
  const accessToken = ({ expired }) => {
    if (!expired) return 'token.0'
    asked.push(good)
    return good
  }
  const answer = (request, response) => {
    const isGood = request.headers.authorization === `Bearer ${good}`
    response.writeHead(isGood ? 200 : 401, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify(isGood ? [{ grok_api_key: 'g' }] : { code: 'PGRST303', message: 'JWT expired' }),
    )
  }
  const { client } = await scripted(t, [answer], { accessToken })
  for (const next of ['token.1', 'token.2', 'token.3']) {
    good = next
    for (let i = 0; i < 2; i++) assert.equal(await client.get(id, 'grok_api_key'), 'g')
  }
  assert.deepEqual(asked, ['token.1', 'token.2', 'token.3'])
})

test('a write that was carried out, and whose versions cannot be read, has an unknown outcome', async (t) => {
  for (const after of [
    [503, null],
    [200, { not: 'rows' }],
  ]) {
    const { client } = await scripted(t, [(_, response) => response.writeHead(201).end(), after])
    const values = { grok_api_key: secret, claude_api_key: secret }
    await refuses(() => client.setMany(id, values), 'UNKNOWN_OUTCOME', {
      says: /was carried out, and its versions could not be read/,
      hides: [secret],
    })
  }
})

test('a success that is not an answer of PostgREST is an outage for reads, and an unknown outcome for writes', async (t) => {
  const page = (type, text) => (_, response) => response.writeHead(200, { 'content-type': type }).end(text)
  for (const [answer, says] of [
    [
      page('text/html; charset=utf-8', `<html>${secret}</html>`),
      /HTTP 200 came with text\/html.*supabaseUrl/,
    ],
    [page(`${secret}!`, secret), /a body of no type/],
    [page('application/json', ''), /an empty body/],
    [page('application/json', '{"a":'), /application\/json in place/],
    [[200, {}], /JSON of another shape/],
    [[200, 5], /another shape/],
    [[200, null], /another shape/],
    [[200, [null]], /another shape/],
    [[200, [[]]], /another shape/],
    [[200, [{}]], /another shape/],
    [[200, [{ grok_api_key: 7, name: 7, version: 'x' }]], /another shape/],
    [(_, response) => response.writeHead(204).end(), /an empty body/],
  ]) {
    const { client } = await scripted(t, [answer])
    const expected = { says, hides: [secret, key, token] }
    for (const read of [
      () => client.get(id, 'grok_api_key'),
      () => client.getMany(id, ['grok_api_key']),
      () => client.list(id),
      () => client.ping(),
    ]) {
      await refuses(read, 'UNAVAILABLE', expected)
    }
    for (const write of [
      () => client.set(id, 'grok_api_key', secret),
      () => client.set(id, 'grok_api_key', secret, { purge: true }),
      () => client.delete(id, 'grok_api_key'),
      () => client.undo(id, 'grok_api_key'),
      () => client.check(id, 'grok_api_key', 1, 'works'),
    ]) {
      await refuses(write, 'UNKNOWN_OUTCOME', expected)
    }
  }
  const { client } = await scripted(t, [page('text/html', '<html>')])
  await refuses(() => client.setMany(id, { grok_api_key: 'x', claude_api_key: 'y' }), 'UNKNOWN_OUTCOME')
})

test("an error's body may be anything: its code and its words count where they are text", async (t) => {
  for (const body of [
    { code: { a: 1 }, message: null },
    { code: 7, message: [secret] },
    { code: secret, message: secret },
    [{ code: 'AS002' }],
    'AS002',
  ]) {
    const { client } = await scripted(t, [[400, body]])
    await refuses(() => client.get(id, 'grok_api_key'), 'REFUSED', { says: /HTTP 400:/, hides: [secret] })
  }
  const { client } = await scripted(t, [[400, { code: 'AS002', message: { [secret]: 1 } }]])
  await refuses(() => client.get(id, 'grok_api_key'), 'INVALID_VALUE', { says: /AS002/, hides: [secret] })
})

test('a key or a token that cannot travel is CONFIG, nothing is sent, and it is not shown', async (t) => {
  const { supabaseUrl, seen } = await scripted(t, [[200, []]])
  const good = { supabaseUrl, supabaseKey: key, accessToken: token }
  for (const bad of [
    `${secret}\n${secret}`,
    `${secret}é`,
    `${secret}\u2028x`,
    `${secret} x`,
    `${secret}\0`,
  ]) {
    const hides = [secret]
    await refuses(() => addon.connect({ ...good, supabaseKey: bad }), 'CONFIG', {
      says: /supabaseKey/,
      hides,
    })
    await refuses(() => addon.connect({ ...good, accessToken: bad }), 'CONFIG', {
      says: /accessToken/,
      hides,
    })
    const client = await addon.connect({ ...good, accessToken: async () => bad })
    t.after(() => client.close())
    for (const call of [() => client.get(id, 'grok_api_key'), () => client.set(id, 'grok_api_key', 'x')]) {
      await refuses(call, 'CONFIG', { says: /accessToken.*nothing was sent/, hides })
    }
    assertHides(client, secret)
  }
  await refuses(() => addon.connect({ ...good, accessToken: ' ' }), 'CONFIG', { says: /blank/ })
  assert.equal(seen.length, 0)
})

test('white space around a key or a token is not part of it, however it is given', async (t) => {
  for (const accessToken of [` ${token}\n`, () => `${token}\r\n`]) {
    const { client, seen } = await scripted(t, [[200, []]], { accessToken, supabaseKey: `${key}\n` })
    await client.ping()
    const [{ headers }] = seen
    assert.deepEqual([headers.apikey, headers.authorization], [key, `Bearer ${token}`])
  }
})

test('what a polluted prototype holds is no secret, no body, no header and no option of a request', async (t) => {
  const status = (name) => ({ name, is_set: false, version: 3 })
  const answer = (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost')
    const rows = pathname.endsWith('decrypted_business_secrets')
      ? []
      : (searchParams.get('name')?.match(/\w+_key/g) ?? ['gemini_api_key']).map(status)
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(rows))
  }
  const { supabaseUrl, seen } = await scripted(t, [answer])
  const options = { supabaseUrl, supabaseKey: key, accessToken: token }
  const { code, stdout, stderr } = await runScript(`
    addon.connect(${JSON.stringify(options)}).then(async (client) => {
      const evil = ['gemini_api_key', 'grok_api_key', 'method', 'code', 'cause', 'is_set', 'prefer', 'apikey', 'authorization', 'integrity']
      for (const name of evil) Object.prototype[name] = 'evil'
      Object.prototype.headers = { evil: '1' }
      console.log(await client.get('${id}', 'gemini_api_key'))
      const many = await client.getMany('${id}', ['gemini_api_key', 'grok_api_key'])
      console.log(many.gemini_api_key, many.grok_api_key)
      console.log(await client.set('${id}', 'grok_api_key', 'x'))
      await client.ping()
      // Node's own fetch reads no answer where this is polluted; what it sends is the same.
      Object.prototype.body = { evil: 1 }
      await client.ping().catch(({ code }) => console.log(code))
      await client.close()
    }).catch((error) => console.log(error))`)
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'null\nnull null\n3\nUNAVAILABLE\n')
  assert.ok(!JSON.stringify(seen).includes('evil'))
  assert.deepEqual(
    seen.filter(({ body }) => body !== '').map(({ body }) => body),
    ['{"value":"x"}'],
  )
})

test('localhost is this machine where it resolves to it, and is asked at the address that was looked at', async (t) => {
  const { supabaseUrl, seen } = await scripted(t, [[200, []]])
  const { port } = new URL(supabaseUrl)
  const url = `http://localhost:${port}`
  const client = await addon.connect({ supabaseUrl: url, supabaseKey: key, accessToken: token })
  t.after(() => client.close())
  await client.ping()
  assert.equal(seen.length, 1)

  // What the name stands for is the resolver's word, so the script has a resolver of its own.
  const asked = async (addresses) => {
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const { stdout, stderr } = await runScript(`
      const answers = [${JSON.stringify(found)}, [{ address: '192.0.2.1', family: 4 }]]
      require('node:dns').promises.lookup = async () => answers.shift()
      addon.connect({ supabaseUrl: '${url}', supabaseKey: 'k', accessToken: '${secret}', timeoutMs: 20_000 }).then(async (client) => {
        const tell = (promise) => promise.then(() => console.log('ok'), ({ code, message }) => console.log(code, message))
        await tell(client.ping())
        await tell(client.ping())
        await client.close()
      })`)
    assert.ok(!stdout.includes(secret), stderr)
    return stdout.trim().split('\n')
  }
  // Nothing listens at ::1 and 127.0.0.2; the second lookup, which would rebind the name, is never made.
  assert.deepEqual(await asked(['::1', '127.0.0.1']), ['ok', 'ok'])
  assert.deepEqual(await asked(['127.0.0.2', '127.0.0.1']), ['ok', 'ok'])
  const before = seen.length
  for (const elsewhere of [['192.0.2.1'], ['127.0.0.1', '192.0.2.1'], ['fe80::1'], []]) {
    const [first] = await asked(elsewhere)
    assert.match(first, /^UNSAFE_CONNECTION .*localhost, which resolves to another machine/)
  }
  assert.equal(seen.length, before)
})

test('localhost that does not resolve is an outage, and asked for again', async (t) => {
  const server = createServer((_, response) => response.end('[]')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => server.close().closeAllConnections())
  const { stdout, stderr } = await runScript(`
    const dns = require('node:dns')
    dns.promises.lookup = async () => { throw Object.assign(new Error(), { code: 'EAI_AGAIN' }) }
    const supabaseUrl = 'http://localhost:${server.address().port}'
    addon.connect({ supabaseUrl, supabaseKey: 'k', accessToken: 't', timeoutMs: 500 }).then(async (client) => {
      const tell = (promise) => promise.then(() => console.log('ok'), ({ code, message }) => console.log(code, message))
      await tell(client.set('${id}', 'grok_api_key', 'x'))
      dns.promises.lookup = () => new Promise(() => {})
      await tell(client.ping())
      await client.close()
    })`)
  assert.match(stdout, /^UNAVAILABLE .*EAI_AGAIN.*\nTIMEOUT .*localhost/, stderr)
})
