// What supabase-js does with the table, the view and the RPC, in the SQL that PostgREST makes of it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { requests, secretColumns, send } from '../../dev/postgrest.mjs'
import { freshDatabase, majors } from '../support/cluster.mjs'
import { businesses, recognizer, seed, users } from './access-fixture.mjs'

const { A, B, C, D } = businesses
const table = 'business_secrets'
const view = 'decrypted_business_secrets'
const reference = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const tokens = {
  anon: { role: 'anon' },
  owner: { role: 'authenticated', claims: { sub: users.owner } },
  other: { role: 'authenticated', claims: { sub: users.other } },
  service: { role: 'service_role' },
}

/** A seeded database, and what a test does with it. */
async function scene(t, major) {
  const db = await freshDatabase(t, major)
  const admin = await db.connect('postgres')
  await seed(admin)
  const client = await db.connect('authenticator')
  const rows = async (sql, values) => (await admin.query(sql, values)).rows
  const recognize = await recognizer(admin)

  return {
    references: recognize.references,

    /** Sends a request; gives its body, or the SQLSTATE that it failed with. */
    async send(who, request) {
      try {
        return await send(client, tokens[who], request)
      } catch (error) {
        if (!error.code) throw error
        for (const part of [error.message, error.detail, error.hint, error.where])
          assert.equal(recognize(part ?? ''), '')
        return { code: error.code }
      }
    },

    version: async (business, name) =>
      (
        await rows(
          'select version::integer as version from app_secrets.secret_versions where business_id = $1 and name = $2',
          [business, name],
        )
      )[0]?.version ?? 0,

    plaintext: async (business) =>
      (await rows(`select * from public.${view} where business_id = $1`, [business]))[0],

    /** Everything that a write could have changed. */
    state: () =>
      rows(`
        select 'row' as what, pg_catalog.to_jsonb(s)::text as value from public.business_secrets s
        union all select 'vault', pg_catalog.concat_ws(' ', v.id, v.name, v.secret, v.updated_at) from vault.secrets v
        union all select 'version', pg_catalog.to_jsonb(v)::text from app_secrets.secret_versions v
        union all select 'audit', pg_catalog.to_jsonb(l)::text from app_secrets.audit_log l
        order by 1, 2`),

    /** Every reference has its Vault row, and every Vault row its reference. */
    async assertSound() {
      const unpaired = await rows(
        `with cell as (
          select 'business_secrets/' || s.business_id || '/' || c.name as name, pg_catalog.to_jsonb(s) ->> c.name as reference
          from public.business_secrets s, pg_catalog.unnest($1::text[]) as c(name)
          where pg_catalog.to_jsonb(s) ->> c.name is not null
        )
        select c.name as cell, v.name as vault
        from cell c
        full join (
          select * from vault.secrets s where s.name like 'business\\_secrets/%' and s.name not like '%/previous') v
          on v.id::text = c.reference and v.name = c.name
        where c.name is null or v.name is null`,
        [secretColumns],
      )
      assert.deepEqual(unpaired, [])
    },
  }
}

function claim(name, body) {
  for (const major of majors) {
    test(`${name} (PostgreSQL ${major})`, async (t) => {
      const it = await scene(t, major)
      await body(it)
      await it.assertSound()
    })
  }
}

async function refused(it, who, request, code = '42501') {
  const before = await it.state()
  assert.deepEqual(await it.send(who, request), { code })
  assert.deepEqual(await it.state(), before)
}

async function untouched(it, who, request) {
  const before = await it.state()
  const { count, code } = await it.send(who, request)
  assert.deepEqual({ count, code }, { count: 0, code: undefined })
  assert.deepEqual(await it.state(), before)
}

const row = (business, more) => ({ business_id: business, ...more })

claim(
  'a select gives a tenant its own references from the table, and its own plaintext from the view',
  async (it) => {
    for (const [who, own] of Object.entries({ owner: ['A', 'C'], other: ['B'], service: ['A', 'B', 'C'] })) {
      const stored = await it.send(who, requests.select(table))
      assert.deepEqual(
        stored.body.map((one) => one.gemini_api_key).sort(),
        own.map((l) => it.references[l][0]).sort(),
      )
      const clear = await it.send(who, requests.select(view, { columns: ['business_id', 'gemini_api_key'] }))
      assert.deepEqual(
        clear.body.sort((a, b) => a.business_id.localeCompare(b.business_id)),
        own.map((letter) => row(businesses[letter], { gemini_api_key: `plain-${letter}-gemini` })),
      )
    }
    const asked = await it.send('other', requests.select(view, { filters: { business_id: [A, B, C] } }))
    assert.deepEqual(
      asked.body.map((one) => one.business_id),
      [B],
    )
    await refused(it, 'anon', requests.select(table))
    await refused(it, 'anon', requests.select(view, {}))
  },
)

claim('an insert seals, and what comes back holds references', async (it) => {
  const request = requests.insert(
    table,
    row(D, { gemini_api_key: ' new ', google_drive_folder_id: 'folder' }),
    { select: ['*'] },
  )
  const { body } = await it.send('owner', request)
  assert.match(body[0].gemini_api_key, reference)
  assert.equal(body[0].google_drive_folder_id, 'folder')
  const clear = await it.plaintext(D)
  assert.deepEqual([clear.gemini_api_key, clear.grok_api_key], ['new', null])
  assert.deepEqual(await it.send('owner', request), { code: '23505' })
})

claim('an insert without a select asks for nothing back', async (it) => {
  const { body, count } = await it.send('owner', requests.insert(table, row(D, { gemini_api_key: 'new' })))
  assert.deepEqual({ body, count }, { body: '', count: 1 })
})

claim('an upsert of a row that is there replaces what it names and keeps the rest', async (it) => {
  const request = requests.insert(table, row(A, { gemini_api_key: 'newer', grok_api_key: 'first' }), {
    resolution: 'merge-duplicates',
    select: ['business_id', 'gemini_api_key', 'grok_api_key'],
  })
  const { body, inserted } = await it.send('owner', request)
  assert.equal(body[0].gemini_api_key, it.references.A[0])
  assert.match(body[0].grok_api_key, reference)
  assert.equal(inserted, 0)
  const clear = await it.plaintext(A)
  assert.deepEqual(
    [clear.gemini_api_key, clear.grok_api_key, clear.google_refresh_token],
    ['newer', 'first', 'plain-A-google'],
  )
})

claim('an upsert of a row that is not there yet inserts it', async (it) => {
  const request = requests.insert(table, row(D, { gemini_api_key: 'new' }), {
    resolution: 'merge-duplicates',
  })
  assert.deepEqual(await it.send('owner', request), { body: '', count: 1, inserted: 1 })
  assert.equal((await it.plaintext(D)).gemini_api_key, 'new')
})

claim(
  'a bulk upsert inserts and merges in one statement; a key that a row lacks becomes NULL',
  async (it) => {
    const rows = [
      row(A, { gemini_api_key: 'a2', grok_api_key: 'a3' }),
      row(D, { gemini_api_key: 'd1' }),
      row(C, { grok_api_key: 'c1' }),
    ]
    const request = requests.insert(table, rows, { resolution: 'merge-duplicates', select: ['business_id'] })
    const { count, inserted } = await it.send('owner', request)
    assert.deepEqual({ count, inserted }, { count: 3, inserted: 1 })
    const found = [await it.plaintext(A), await it.plaintext(C), await it.plaintext(D)]
    assert.deepEqual(
      found.map((one) => [one.gemini_api_key, one.grok_api_key]),
      [
        ['a2', 'a3'],
        [null, 'c1'],
        ['d1', null],
      ],
    )
  },
)

claim('defaultToNull: false fills in column defaults, for one row and for many', async (it) => {
  const options = { resolution: 'merge-duplicates', defaultToNull: false }
  const updated_at = '2000-01-01T00:00:00Z'
  await it.send(
    'owner',
    requests.insert(table, [row(D, { gemini_api_key: 'd1' }), row(A, { updated_at })], options),
  )
  assert.equal((await it.plaintext(D)).gemini_api_key, 'd1')
  assert.equal((await it.plaintext(A)).gemini_api_key, null)
  await it.send('owner', requests.insert(table, row(A, { gemini_api_key: 'a2' }), options))
  assert.equal((await it.plaintext(A)).gemini_api_key, 'a2')
})

claim('ignoreDuplicates leaves a row that is there alone', async (it) => {
  const request = requests.insert(table, row(A, { gemini_api_key: 'other' }), {
    resolution: 'ignore-duplicates',
    select: ['*'],
  })
  await untouched(it, 'owner', request)
  const both = requests.insert(table, [row(A, { gemini_api_key: 'x' }), row(D, { gemini_api_key: 'd1' })], {
    resolution: 'ignore-duplicates',
    select: ['business_id'],
  })
  assert.deepEqual((await it.send('owner', both)).body, [row(D)])
})

claim('a row that was read and is written back changes nothing', async (it) => {
  const { body } = await it.send('owner', requests.select(table, { filters: { business_id: A } }))
  const before = await it.state()
  const request = requests.insert(table, body[0], { resolution: 'merge-duplicates', select: ['*'] })
  assert.deepEqual((await it.send('owner', request)).body, body)
  assert.deepEqual(await it.state(), before)
  const { business_id, ...values } = body[0]
  await it.send('owner', requests.update(table, values, { filters: { business_id } }))
  assert.deepEqual(await it.state(), before)
})

claim('an update writes, clears and returns references; a blank clears too', async (it) => {
  const values = { gemini_api_key: '  ', grok_api_key: 'new', google_refresh_token: null }
  const request = requests.update(table, values, {
    filters: { business_id: A },
    select: ['gemini_api_key', 'grok_api_key'],
  })
  const { body } = await it.send('owner', request)
  assert.equal(body[0].gemini_api_key, null)
  assert.match(body[0].grok_api_key, reference)
  const clear = await it.plaintext(A)
  assert.deepEqual(
    [clear.gemini_api_key, clear.grok_api_key, clear.google_refresh_token],
    [null, 'new', null],
  )
})

claim('an update without a filter reaches the rows of the tenant and no others', async (it) => {
  assert.equal((await it.send('owner', requests.update(table, { grok_api_key: 'mine' }))).count, 2)
  assert.equal((await it.plaintext(B)).grok_api_key, null)
})

claim('a delete takes the Vault rows along, and reaches the rows of the tenant and no others', async (it) => {
  const one = await it.send(
    'owner',
    requests.delete(table, { filters: { business_id: A }, select: ['business_id', 'gemini_api_key'] }),
  )
  assert.deepEqual(one.body, [row(A, { gemini_api_key: it.references.A[0] })])
  assert.equal((await it.send('owner', requests.delete(table))).count, 1)
  assert.equal((await it.plaintext(B)).gemini_api_key, 'plain-B-gemini')
})

claim(
  "another tenant's writes to a row are refused or reach nothing, and leave nothing behind",
  async (it) => {
    const values = { gemini_api_key: 'evil', youtube_api_key: 'evil' }
    for (const business of [A, D]) {
      await refused(it, 'other', requests.insert(table, row(business, values)))
      await refused(
        it,
        'other',
        requests.insert(table, row(business, values), { resolution: 'merge-duplicates', select: ['*'] }),
      )
      await refused(
        it,
        'other',
        requests.insert(table, row(business, values), { resolution: 'ignore-duplicates' }),
      )
      await untouched(
        it,
        'other',
        requests.update(table, values, { filters: { business_id: business }, select: ['*'] }),
      )
      await untouched(
        it,
        'other',
        requests.delete(table, { filters: { business_id: business }, select: ['*'] }),
      )
    }
    const own = row(B, { gemini_api_key: 'mine' })
    await refused(
      it,
      'other',
      requests.insert(table, [own, row(A, values)], { resolution: 'merge-duplicates' }),
    )
    await refused(
      it,
      'other',
      requests.update(table, { business_id: A }, { filters: { business_id: B } }),
      'AS002',
    )
    await refused(it, 'other', requests.insert(table, row('cccccccc-0000-4000-8000-00000000000c', values)))
  },
)

claim("another tenant's reference is stored as plain text, never as the secret behind it", async (it) => {
  const [foreign] = it.references.A
  const values = { gemini_api_key: foreign, grok_api_key: foreign }
  const selected = { resolution: 'merge-duplicates', select: ['gemini_api_key', 'grok_api_key'] }
  const { body } = await it.send('other', requests.insert(table, row(B, values), selected))
  assert.equal(body[0].gemini_api_key, it.references.B[0])
  assert.notEqual(body[0].grok_api_key, foreign)
  const read = () => it.send('other', requests.select(view, { columns: Object.keys(values) }))
  assert.deepEqual((await read()).body, [values])

  await it.send('other', requests.update(table, { grok_api_key: null }, { filters: { business_id: B } }))
  await it.send('other', requests.update(table, { grok_api_key: foreign }, { filters: { business_id: B } }))
  await it.send('other', requests.delete(table, { filters: { business_id: B } }))
  await it.send('other', requests.insert(table, row(B, values)))
  assert.deepEqual((await read()).body, [values])
  assert.equal((await it.plaintext(A)).gemini_api_key, 'plain-A-gemini')
})

claim('service_role writes and reads for every tenant', async (it) => {
  const rows = [row(A, { grok_api_key: 'a' }), row(B, { grok_api_key: 'b' }), row(D, { grok_api_key: 'd' })]
  const sent = await it.send(
    'service',
    requests.insert(table, rows, { resolution: 'merge-duplicates', select: ['grok_api_key'] }),
  )
  for (const { grok_api_key } of sent.body) assert.match(grok_api_key, reference)
  const read = requests.select(view, { columns: ['grok_api_key'], filters: { business_id: [A, B, D] } })
  assert.deepEqual((await it.send('service', read)).body.map((one) => one.grok_api_key).sort(), [
    'a',
    'b',
    'd',
  ])
  assert.equal(
    (await it.send('service', requests.update(table, { grok_api_key: 'z' }, { filters: { business_id: B } })))
      .count,
    1,
  )
  assert.equal(
    (await it.send('service', requests.delete(table, { filters: { business_id: [A, B] } }))).count,
    2,
  )
})

claim('anon may do nothing', async (it) => {
  await refused(it, 'anon', requests.insert(table, row(D, { gemini_api_key: 'x' })))
  await refused(
    it,
    'anon',
    requests.insert(table, row(A, { gemini_api_key: 'x' }), { resolution: 'merge-duplicates' }),
  )
  await refused(
    it,
    'anon',
    requests.insert(table, row(A, { gemini_api_key: 'x' }), { resolution: 'ignore-duplicates' }),
  )
  await refused(it, 'anon', requests.update(table, { gemini_api_key: 'x' }))
  await refused(it, 'anon', requests.delete(table))
})

claim('nobody writes through the view', async (it) => {
  for (const who of ['anon', 'owner', 'service']) {
    await refused(it, who, requests.insert(view, row(D, { google_drive_folder_id: 'x' })))
    await refused(
      it,
      who,
      requests.insert(view, row(A, { google_drive_folder_id: 'x' }), { resolution: 'merge-duplicates' }),
    )
    await refused(
      it,
      who,
      requests.update(view, { google_drive_folder_id: 'x' }, { filters: { business_id: A } }),
    )
    await refused(it, who, requests.delete(view, { filters: { business_id: A } }))
  }
})

const scalar = { scalar: true }
const rpcSet = (version) =>
  requests.rpc(
    'set_business_secrets',
    {
      p_business_id: A,
      p_values: { gemini_api_key: 'rpc', grok_api_key: null },
      p_expected: { gemini_api_key: version },
    },
    scalar,
  )
const rpcs = {
  get: requests.rpc('get_business_secrets', { p_business_id: A, p_names: ['gemini_api_key'] }, scalar),
  getAll: requests.rpc('get_business_secrets', { p_business_id: A }, scalar),
  batch: requests.rpc('get_business_secrets_batch', {
    p_business_ids: [A, D],
    p_names: ['gemini_api_key', 'grok_api_key'],
  }),
  // Of a version that nobody has.
  set: rpcSet(1e15),
  list: requests.rpc('list_business_secrets', { p_business_id: A }),
}

claim('service_role calls the RPC', async (it) => {
  assert.deepEqual((await it.send('service', rpcs.get)).body, { gemini_api_key: 'plain-A-gemini' })
  assert.equal(Object.keys((await it.send('service', rpcs.getAll)).body).length, 12)
  assert.deepEqual((await it.send('service', rpcs.batch)).body, [
    { ord: 1, value: 'plain-A-gemini', version: await it.version(A, 'gemini_api_key'), status: 'ok' },
    { ord: 2, value: null, version: 0, status: 'not_set' },
  ])
  const { body: written } = await it.send('service', rpcSet(await it.version(A, 'gemini_api_key')))
  assert.deepEqual(written, { gemini_api_key: await it.version(A, 'gemini_api_key'), grok_api_key: 0 })
  await refused(it, 'service', rpcs.set, 'AS004')
  assert.equal((await it.send('service', rpcs.list)).body.length, 12)
  assert.equal((await it.plaintext(A)).gemini_api_key, 'rpc')
})

claim('nobody else calls the RPC, not even the owner', async (it) => {
  for (const who of ['anon', 'owner']) {
    for (const request of Object.values(rpcs)) await refused(it, who, request)
  }
})
