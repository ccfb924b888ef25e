// No secret, password or connection string in anything that may reach a log, whatever goes wrong. Each search is
// proved by a marker that it does find.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addon, breakCipher, openClient, shown } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { runScript } from '../support/script.mjs'
import { addBusiness } from '../support/secrets.mjs'

const secret = 'sk_live_4711_marker_of_a_value'

/** Everything that went wrong with it: calls of every kind, in every way that a caller can cause. */
async function failures(t, db, id) {
  const found = []
  const fails = async (promise) => {
    const error = await promise.then(
      () => assert.fail('it was to fail'),
      (error) => error,
    )
    found.push(error)
  }
  const client = await openClient(t, db)
  await client.set(id, 'grok_api_key', secret)
  await client.set(id, 'gemini_api_key', secret)
  await breakCipher(db, id, 'gemini_api_key')
  await fails(client.get(id, 'gemini_api_key'))
  await fails(client.getMany(id, ['grok_api_key', 'gemini_api_key']))
  await fails(client.get(secret, 'grok_api_key'))
  await fails(client.get(id, secret))
  await fails(client.set(id, secret, 'grok_api_key'))
  await fails(client.set(id, 'grok_api_key', `${secret}\0`))
  await fails(client.set(id, 'grok_api_key', secret, { expectedVersion: 99 }))
  await fails(client.set(id, 'google_token_expiry', secret))
  await fails(client.setMany(id, { grok_api_key: secret, [secret]: secret }))
  await fails(client.setMany(id, { grok_api_key: secret, google_token_expiry: secret }))
  await fails(client.getProviderKey(id, secret))
  await fails(client.setKlingCredentials(id, { accessKey: secret }))
  await fails(client.setGoogleTokens(id, { accessToken: secret, expiresAt: secret }))

  // A check of the application's own fails with the whole row in its detail.
  await db.query(`create function public.refuse() returns trigger language plpgsql as $$
    begin raise exception 'refused: %', new using detail = new::text, hint = new::text; end $$;
    create trigger refuse before insert or update on public.business_secrets for each row execute function public.refuse()`)
  await fails(client.set(id, 'whatsapp_api_key', secret))
  await db.query('drop trigger refuse on public.business_secrets')
  await db.query(
    `alter table public.businesses add constraint no_key check (claude_api_key is null) not valid`,
  )
  await fails(client.set(id, 'claude_api_key', secret))
  await db.query('alter table public.businesses drop constraint no_key')

  const url = new URL(db.service)
  for (const change of [
    (u) => (u.username = 'nobody_at_all'),
    (u) => (u.pathname = '/no_such_database'),
    (u) => (u.port = '1'),
    (u) => (u.hostname = 'no-such-host.invalid'),
    (u) => (u.search = '?sslmode=verify-full'),
  ]) {
    const wrong = new URL(url)
    change(wrong)
    const other = await openClient(t, wrong.href, { allowInsecure: true, timeoutMs: 1500 })
    await fails(other.ping())
    await fails(other.set(id, 'grok_api_key', secret))
  }
  for (const options of [
    { url: `${url.href}?sslmode=${url.password}` },
    { url: url.href, [url.password]: 1 },
    { url: url.href, ca: url.password },
    { url: url.href, pooler: url.password },
    { url: url.password },
    url.href,
  ]) {
    await fails(addon.connect(options))
  }
  await client.close()
  await fails(client.set(id, 'grok_api_key', secret))
  return found
}

test('nothing of a failure or a client shows a secret, a password or a connection string', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const { password, username, host } = new URL(db.service)
  const hidden = { secret, password, 'encoded password': encodeURIComponent(password), url: db.service }
  hidden['url without password'] = `${username}@${host}`

  const warnings = []
  const collect = (warning) => warnings.push(warning)
  process.on('warning', collect)
  t.after(() => process.off('warning', collect))

  const errors = await failures(t, db, id)
  assert.ok(errors.length > 25)
  const client = await openClient(t, db, { actor: 'somebody', applicationName: 'an application' })
  assert.equal(await client.get(id, 'grok_api_key'), secret)
  const texts = [
    ...errors,
    ...warnings,
    client,
    addon,
    addon.connect({ url: db.service }),
    client.ping(),
  ].map(shown)
  texts.push(shown({ client, errors, cause: new Error('wrapped', { cause: errors[0] }) }))
  for (const [what, marker] of Object.entries(hidden)) {
    assert.ok(!texts.some((text) => text.includes(marker)), `the ${what} is shown`)
    // The same search finds it in an error of the careless kind.
    const careless = Object.assign(new Error(`failed: ${marker}`), { detail: marker })
    assert.ok(shown(careless).includes(marker))
    assert.ok(shown({ deep: { inside: [new Error('x', { cause: careless })] } }).includes(marker))
  }
  for (const error of errors) {
    assert.deepEqual(Object.getOwnPropertyNames(error).sort(), ['code', 'message', 'stack'])
    assert.equal(error.name, 'SecretsError')
  }
})

test('a stack names the caller where the call was refused at once', async () => {
  const error = await addon.connect({ nonsense: 1 }).catch((error) => error)
  assert.match(error.stack, /redaction\.test/)
})

test('with every log switched on nothing of it reaches the output', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const wrong = new URL(db.service)
  wrong.pathname = '/no_such_database'
  const loud = {
    RUST_LOG: 'trace',
    RUST_BACKTRACE: 'full',
    SQLX_LOG: 'trace',
    DEBUG: '*',
    NAPI_RS_DEBUG: '1',
  }
  const script = (extra) => `
    const id = '${id}'
    const secret = process.env.MARKER
    async function run() {
      const client = await addon.connect({ url: process.env.GOOD })
      await client.set(id, 'grok_api_key', secret)
      if (await client.get(id, 'grok_api_key') !== secret) throw new Error('not read')
      await client.set(id, 'google_token_expiry', secret).catch((error) => console.error(error))
      const other = await addon.connect({ url: process.env.WRONG })
      await other.set(id, 'grok_api_key', secret).catch((error) => console.error(error))
      console.log(client, JSON.stringify(client), 'ran')
      ${extra}
    }
    run()
  `
  const env = { ...loud, MARKER: secret, GOOD: db.service, WRONG: wrong.href }
  const { password } = new URL(db.service)
  const quiet = await runScript(script(''), { env, args: ['--trace-warnings', '--trace-uncaught'] })
  assert.equal(quiet.code, 0, quiet.stderr)
  assert.match(quiet.stdout, /ran/)
  assert.match(quiet.stderr, /INVALID_VALUE.*CONFIG/s)
  for (const marker of [secret, password, db.service])
    assert.ok(!(quiet.stdout + quiet.stderr).includes(marker))

  // An application that throws its own secret shows up: the search works on this very output.
  const careless = await runScript(script('throw new Error(secret + process.env.GOOD)'), { env })
  assert.equal(careless.code, 1)
  for (const marker of [secret, password, db.service]) assert.ok(careless.stderr.includes(marker))
})

test('an uncaught failure crashes with its code and remedy, and without the value', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const { code, stderr } = await runScript(
    `addon.set('${id}', 'grok_api_key', '${secret}', { expectedVersion: 3 })`,
    { env: { APP_SECRETS_URL: db.service } },
  )
  assert.equal(code, 1)
  assert.match(stderr, /VERSION_CONFLICT/)
  // Node shows the caller's own line of source for it, which an -e script is full of.
  assert.ok(!stderr.replaceAll(/^.*addon\.set\(.*$/gm, '').includes(secret))
})

test("the server's sessions and statistics show no value", async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  const client = await openClient(t, db, { applicationName: 'searched-for' })
  await client.set(id, 'grok_api_key', secret)
  await client.get(id, 'grok_api_key')
  const rows = await db.query(
    'select query, application_name from pg_catalog.pg_stat_activity',
    [],
    'supabase_admin',
  )
  const text = JSON.stringify(rows)
  assert.match(text, /searched-for/)
  assert.ok(!text.includes(secret))
})
