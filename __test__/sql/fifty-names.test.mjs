// Fifty names are added while everybody reads and writes: a lock taken in another order, a plan that outlives its columns or a value
// in the wrong cell shows here.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { openClient } from '../support/addon.mjs'
import { cliEnds } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertIntact } from '../support/invariants.mjs'
import { addBusiness, get, set } from '../support/secrets.mjs'

const BUSINESSES = 6
const NEW = Array.from({ length: 50 }, (_, i) => `added_key_${i}`)
/** Those that are found to stand in plaintext, in a column that the app makes meanwhile. */
const fromPlaintext = NEW.filter((_, i) => i % 20 === 5)

/** Who writes which of the names that are there from the beginning. Each cell has one writer, so what it may hold is known. */
const writers = {
  gemini_api_key: ['old code', 'update public.businesses set gemini_api_key = $2 where id = $1'],
  grok_api_key: [
    'old code',
    'update public.businesses set grok_api_key = $2, name = name, claude_api_key = claude_api_key where id = $1',
  ],
  claude_api_key: [
    'table',
    `insert into public.business_secrets (business_id, claude_api_key) values ($1, $2)
     on conflict (business_id) do update set claude_api_key = excluded.claude_api_key`,
  ],
  youtube_api_key: [
    'table',
    'update public.business_secrets set youtube_api_key = $2 where business_id = $1',
  ],
  whatsapp_api_key: [
    'table',
    `update public.business_secret_status set value = $2 where business_id = $1 and name = 'whatsapp_api_key'`,
  ],
  kling_access_key: [
    'rpc',
    `select public.set_business_secrets($1, jsonb_build_object('kling_access_key', $2::text))`,
  ],
  kling_secret_key: ['addon'],
}
const names = Object.keys(writers)

test('fifty names are added under load: no read fails, no value is wrong, nothing deadlocks', async (t) => {
  const db = await freshDatabase(t, 17)
  // Half of the default: longer than what our DDL waits while it holds something, and short enough to find every circle.
  await db.query(`alter database ${db.name} set deadlock_timeout = '500ms'`, [], 'supabase_admin')
  const client = await openClient(t, db, { timeoutMs: 30_000, maxConnections: 4 })
  const ids = []
  for (let i = 0; i < BUSINESSES; i++) {
    ids.push(await addBusiness(db))
    // Its row, which an UPDATE of the table needs.
    await set(db, ids[i], { google_drive_folder_id: 'a folder' })
  }

  // Of each cell: the last number that is committed, and the last that was sent.
  const committed = new Map()
  const sent = new Map()
  const failures = []
  const counts = {}
  let isOver = false
  const cell = (id, name) => `${id} ${name}`

  /** Reads until all is over; `read(id)` gives {name: value}. */
  const reader = async (what, read) => {
    for (let i = 0; !isOver; i++) {
      const id = ids[i % ids.length]
      const before = new Map(names.map((name) => [name, committed.get(cell(id, name)) ?? 0]))
      try {
        for (const [name, value] of Object.entries(await read(id))) {
          if (!before.has(name)) continue
          const [owner, of, number] = value === null ? [id, name, 0] : value.split('/')
          const isRight =
            owner === id &&
            of === name &&
            Number(number) >= before.get(name) &&
            Number(number) <= (sent.get(cell(id, name)) ?? 0)
          if (!isRight) failures.push(`${what}: a wrong value of ${name}`)
        }
        counts[what] = (counts[what] ?? 0) + 1
        await setTimeout(2)
      } catch (error) {
        failures.push(`${what}: ${error.code} ${error.message}`)
      }
    }
  }
  const writer = async (name, write) => {
    for (let number = 1; !isOver; number++) {
      const id = ids[number % ids.length]
      sent.set(cell(id, name), number)
      for (;;) {
        try {
          await write(id, `${id}/${name}/${number}`)
          break
        } catch (error) {
          // As every client does it; a deadlock is another code.
          if (['40001', 'PT409'].includes(error.code)) {
            await setTimeout(number % 7)
            continue
          }
          failures.push(
            `writer of ${name}: ${error.code} ${error.message} ${error.detail ?? ''} ${error.where}`,
          )
          return
        }
      }
      committed.set(cell(id, name), number)
      await setTimeout(5 + (number % 3) * 5)
      counts[writers[name][0]] = (counts[writers[name][0]] ?? 0) + 1
    }
  }
  const session = async (role, as) => {
    const connection = await db.connect(role)
    if (as) await connection.query(`set role ${as}`)
    return connection
  }
  const list = names.join(', ')
  const asService = await Promise.all([1, 2, 3].map(() => session('app_service')))
  const asServiceRole = await Promise.all([1, 2].map(() => session('authenticator', 'service_role')))
  const pairs = (id) => [names.map(() => id), names]

  const work = [
    reader('columns', async (id) => {
      const text = 'select * from public.get_business_secrets_columns($1, $2, false)'
      const { rows } = await asService[0].query({ name: 'columns', text, values: pairs(id) })
      return Object.fromEntries(rows[0].values.map((value, i) => [names[i], value]))
    }),
    reader('batch', async (id) => {
      const text = 'select ord, value from public.get_business_secrets_batch($1, $2)'
      const { rows } = await asService[1].query({ name: 'batch', text, values: pairs(id) })
      return Object.fromEntries(rows.map(({ ord, value }) => [names[ord - 1], value]))
    }),
    reader('json', async (id) => {
      const text = 'select public.get_business_secrets($1) as found'
      return (await asService[2].query({ name: 'json', text, values: [id] })).rows[0].found
    }),
    reader('view', async (id) => {
      const text = `select ${list} from public.decrypted_business_secrets where business_id = $1`
      return (await asServiceRole[0].query({ name: 'view', text, values: [id] })).rows[0] ?? {}
    }),
    reader('status', async (id) => {
      const text =
        'select name, is_set from public.business_secret_status where business_id = $1 and name = any ($2)'
      const { rows } = await asServiceRole[1].query({ name: 'status', text, values: [id, names] })
      assert.ok(rows.length === names.length || rows.length === 0)
      return {}
    }),
    reader('client', (id) => client.getMany(id, names)),
    ...names.map(async (name) => {
      const [kind, text] = writers[name]
      if (kind === 'addon') return writer(name, (id, value) => client.set(id, name, value))
      const roles = {
        'old code': ['postgres'],
        table: ['authenticator', 'service_role'],
        rpc: ['app_service'],
      }
      const connection = await session(...roles[kind])
      return writer(name, (id, value) => connection.query(text, [id, value]))
    }),
  ]
  try {
    for (const name of NEW) {
      if (fromPlaintext.includes(name)) {
        await db.query(`alter table public.businesses add column ${name} text`)
        // Changes the triggers of the owner table too; it comes back where writers are in its way.
        await cliEnds(0, db, ['names', 'add', name, '--legacy-column', name])
      } else {
        await db.query('select app_secrets.add_secret($1, $2)', [name, `The key ${name}`])
      }
    }
  } finally {
    isOver = true
    await Promise.all(work)
  }
  assert.deepEqual([...new Set(failures)], [])
  for (const what of [
    'columns',
    'batch',
    'json',
    'view',
    'status',
    'client',
    'old code',
    'table',
    'rpc',
    'addon',
  ]) {
    assert.ok(counts[what] > 5, `${what}: ${counts[what]}`)
  }
  t.diagnostic(JSON.stringify(counts))

  // The fifty work, by every way.
  const [id, other] = ids
  const wanted = Object.fromEntries(NEW.map((name) => [name, `value of ${name}`]))
  await set(db, id, wanted)
  assert.deepEqual(await get(db, id, NEW), wanted)
  assert.deepEqual({ ...(await client.getMany(id, NEW)) }, wanted)
  const { rows } = await asServiceRole[0].query(
    `select ${NEW.join(', ')} from public.decrypted_business_secrets where business_id = $1`,
    [id],
  )
  assert.deepEqual({ ...rows[0] }, wanted)
  const plain = await db.one(`select ${fromPlaintext.join(', ')} from public.businesses where id = $1`, [id])
  assert.deepEqual({ ...plain }, Object.fromEntries(fromPlaintext.map((name) => [name, wanted[name]])))
  await db.query(`update public.businesses set ${fromPlaintext[0]} = 'from old code' where id = $1`, [other])
  assert.equal(await client.get(other, fromPlaintext[0]), 'from old code')

  // What was found in plaintext is filled and proved by the same command as ever.
  await cliEnds(0, db, ['migrate'])
  await cliEnds(0, db, ['verify'])
  await assertIntact(db)
})
