// docs/adopting.md, walked under traffic: forwards to where no plaintext is left, back, and forwards again. Old and new code
// are at work side by side in every phase in which both may be.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { installApp } from '../../dev/app-install.mjs'
import { connect } from '../../index.js'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness, legacyNames } from '../support/secrets.mjs'
import { dataApi, owner, stranger } from './support/database.mjs'
import { data, supabaseClient, Traffic } from './support/traffic.mjs'

const BUSINESSES = 6
/** Answers that each kind of reader and writer has in each phase. */
const ANSWERS = 25

test('a live app moves its keys, and back: no request fails, no key is wrong', async (t) => {
  await installApp()
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  await db.query(
    "insert into auth.users (id, email) values ($1, 'owner@example.com'), ($2, 'stranger@example.com')",
    [owner, stranger],
    'supabase_admin',
  )
  const cells = []
  for (let i = 0; i < BUSINESSES; i++) {
    const keys = Object.fromEntries(legacyNames.map((name) => [name, `${name}-at-first-${i}`]))
    const businessId = await addBusiness(db, { owner_id: owner, ...keys })
    for (const [name, value] of Object.entries(keys)) cells.push({ businessId, name, value })
  }
  // What nobody asks for while it moves.
  for (let i = 0; i < 200; i++) await addBusiness(db, { owner_id: stranger, gemini_api_key: `idle-${i}` })

  const api = await dataApi(t, db)
  const service = supabaseClient(api, api.keys.secret)
  const user = supabaseClient(api, api.keys.publishable, api.sign({ sub: owner }))
  const secrets = await connect({ url: db.service, timeoutMs: 20_000 })
  t.after(() => secrets.close())

  // Before: supabase-js on the plaintext columns.
  const old = {
    'old reader': {
      read: async (id, name) =>
        (await data(service.from('businesses').select(name).eq('id', id).single()))[name],
    },
    'old writer': {
      write: (id, name, value) =>
        data(
          service
            .from('businesses')
            .update({ [name]: value })
            .eq('id', id),
        ),
    },
    'old page': {
      read: async (id, name) =>
        (await data(user.from('businesses').select(name).eq('id', id).single()))[name],
    },
  }
  // After: the package in servers, supabase-js on the sealed table and its view in pages.
  const readers = {
    'new reader': { read: (id, name) => secrets.get(id, name) },
    'new page reader': {
      read: async (id, name) =>
        (await data(user.from('decrypted_business_secrets').select(name).eq('business_id', id).single()))[
          name
        ],
    },
  }
  const writers = {
    'new writer': { write: (id, name, value) => secrets.set(id, name, value) },
    'new page writer': {
      write: (id, name, value) =>
        data(
          user
            .from('business_secrets')
            .upsert({ business_id: id, [name]: value }, { onConflict: 'business_id' }),
        ),
    },
  }

  const traffic = new Traffic(cells)
  t.after(() => traffic.stop())
  const start = (kinds) => {
    for (const [kind, act] of Object.entries(kinds)) traffic.start(kind, act)
  }
  const phases = []
  /** One step of the page, its command while the traffic goes on, and some traffic after it. */
  const phase = async (name, work) => {
    const before = traffic.counts.requests
    await work()
    await traffic.more(ANSWERS)
    assert.deepEqual(traffic.failed, [], name)
    phases.push(`${name}: ${traffic.counts.requests - before}`)
  }
  const migrate = (to) => () => cliEnds(0, db, ['migrate', '--to', to])
  const drop = () => cliEnds(0, db, ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name])
  const state = () => cliJson(db, ['status'])

  start(old)
  await phase('before', async () => {})
  await phase('pre-flight', () => cliEnds(0, db, ['migrate', '--dry-run']))
  await phase('expand: both places are written from here on', migrate('2'))
  await phase('backfill', migrate('3'))
  await phase('protect', migrate('4'))
  await phase('switch readers', async () => start(readers))
  await phase('switch writers', async () => start(writers))
  await phase('verify, with old and new code still at work', () => cliEnds(0, db, ['verify']))
  await phase('back to old readers and writers alone', () =>
    traffic.stop(...Object.keys({ ...readers, ...writers })),
  )
  await phase('and to both again', async () => start({ ...readers, ...writers }))
  await phase('old code is gone', () => traffic.stop(...Object.keys(old)))
  await phase('verify', () => cliEnds(0, db, ['verify']))
  await phase('drop', drop)
  assert.deepEqual((await state()).plaintextColumns, [])
  await phase('scrub', () => cliEnds(0, db, ['scrub', '--yes-lock-tables', db.name]))
  await phase('rotate: new values by new code', async () => {})
  await phase('back: the plaintext columns are there again', () => cliEnds(0, db, ['rollback']))
  await phase('back: old code beside new', async () => start(old))
  await phase('back: old code alone', () => traffic.stop(...Object.keys({ ...readers, ...writers })))
  await phase('forwards again: migrate', () => cliEnds(0, db, ['migrate']))
  await phase('forwards again: new code beside old', async () => start({ ...readers, ...writers }))
  await phase('forwards again: old code is gone', () => traffic.stop(...Object.keys(old)))
  await phase('forwards again: drop', drop)
  await traffic.stop()

  const { requests, reads, writes, repeated, wrong } = traffic.counts
  for (const line of phases) t.diagnostic(line)
  t.diagnostic(
    `${requests} requests (${reads} reads, ${writes} writes, ${repeated} repeated after a 409): ` +
      `${traffic.failed.length} failed, ${wrong} wrong keys`,
  )
  assert.deepEqual([traffic.failed.length, wrong], [0, 0])
  assert.ok(requests > phases.length * ANSWERS)
})

test('docs/adopting.md names every command that the walk above takes, in its order', () => {
  const page = readFileSync(new URL('../../docs/adopting.md', import.meta.url), 'utf8')
  const commands = [
    'app-secrets doctor',
    'app-secrets migrate --dry-run',
    'app-secrets migrate --to 2',
    'app-secrets migrate --to 3',
    'app-secrets migrate --to 4',
    'app-secrets login add',
    'app-secrets verify',
    'app-secrets migrate --drop-legacy',
    'app-secrets scrub',
    'app-secrets rollback',
  ]
  let from = 0
  for (const command of commands) {
    const at = page.indexOf(command, from)
    assert.ok(at >= 0, `${command} is not there, or not in this place`)
    from = at
  }
})
