// Every argument of every RPC function, wrong in every way: the documented SQLSTATE, and nothing written.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { dataOf } from '../support/fingerprint.mjs'
import { assertSynced, violations } from '../support/invariants.mjs'
import { addBusiness, batch, clear, get, names, sealedNames, set } from '../support/secrets.mjs'

const NOBODY = '99999999-9999-4999-8999-999999999999'
const SECRET = 'a-value-that-no-error-may-show'
const tooLong = `${SECRET}${'x'.repeat(65_537 - SECRET.length)}`

const setCases = (id) => ({
  'no business id': ['22023', null, '{"gemini_api_key": "x"}'],
  'an id that is no uuid': ['22P02', 'not-a-uuid', '{"gemini_api_key": "x"}'],
  'an unknown business': ['AS003', NOBODY, '{"gemini_api_key": "x"}'],
  'no values': ['22023', id, null],
  'values that are null': ['22023', id, 'null'],
  'values in an array': ['22023', id, `["${SECRET}"]`],
  'values as one string': ['22023', id, `"${SECRET}"`],
  'an unknown name': ['AS001', id, `{"gemini_api_key": "x", "${SECRET}": "x"}`],
  'the name of another column': ['AS001', id, `{"updated_at": "2026-01-01", "gemini_api_key": "${SECRET}"}`],
  'an empty name': ['AS001', id, `{"": "${SECRET}"}`],
  'a name in capitals': ['AS001', id, `{"GEMINI_API_KEY": "${SECRET}"}`],
  'a number': ['AS002', id, '{"gemini_api_key": 1, "grok_api_key": "x"}'],
  'a boolean': ['AS002', id, '{"gemini_api_key": true}'],
  'an array': ['AS002', id, `{"gemini_api_key": ["${SECRET}"]}`],
  'an object': ['AS002', id, `{"gemini_api_key": {"a": "${SECRET}"}}`],
  'a value that is too long': ['AS002', id, JSON.stringify({ grok_api_key: 'x', gemini_api_key: tooLong })],
  'a folder id that is too long': ['AS002', id, JSON.stringify({ google_drive_folder_id: tooLong })],
  'an expiry that is no time': ['AS002', id, JSON.stringify({ google_token_expiry: SECRET })],
  'an expiry on a day that does not exist': ['AS002', id, '{"google_token_expiry": "2026-02-30T00:00:00Z"}'],
  'an expiry that never comes': ['AS002', id, '{"google_token_expiry": "infinity"}'],
  'an expiry before our era': ['AS002', id, '{"google_token_expiry": "0044-03-15 12:00:00+00 BC"}'],
  'an expiry that is a number': ['AS002', id, '{"google_token_expiry": 1767225600}'],
  'expected versions in an array': ['22023', id, '{"gemini_api_key": "x"}', '[1]'],
  'expected versions that are null': ['22023', id, '{"gemini_api_key": "x"}', 'null'],
  'an expected version in quotes': ['22023', id, '{"gemini_api_key": "x"}', '{"gemini_api_key": "0"}'],
  'an expected version below zero': ['22023', id, '{"gemini_api_key": "x"}', '{"gemini_api_key": -1}'],
  'an expected version with a fraction': ['22023', id, '{"gemini_api_key": "x"}', '{"gemini_api_key": 0.5}'],
  'an expected version beyond bigint': ['22023', id, '{"gemini_api_key": "x"}', '{"gemini_api_key": 1e19}'],
  'an expected version of an unknown name': ['AS001', id, '{"gemini_api_key": "x"}', `{"${SECRET}": 0}`],
  'an expected version that is not there': ['AS004', id, '{"gemini_api_key": "x"}', '{"gemini_api_key": 7}'],
})

const readCases = (id) => ({
  'get: no business id': ['22023', 'get_business_secrets($1)', [null]],
  'get: an id that is no uuid': ['22P02', 'get_business_secrets($1)', ['x']],
  'get: an unknown business': ['AS003', 'get_business_secrets($1)', [NOBODY]],
  'get: an unknown business and no names': ['AS003', 'get_business_secrets($1, $2)', [NOBODY, []]],
  'get: an unknown name': ['AS001', 'get_business_secrets($1, $2)', [id, ['gemini_api_key', SECRET]]],
  'get: a name that is null': ['AS001', 'get_business_secrets($1, $2)', [id, ['gemini_api_key', null]]],
  'batch: no ids': ['22023', 'get_business_secrets_batch($1, $2)', [null, ['gemini_api_key']]],
  'batch: no names': ['22023', 'get_business_secrets_batch($1, $2)', [[id], null]],
  'batch: more ids than names': [
    '22023',
    'get_business_secrets_batch($1, $2)',
    [[id, id], ['gemini_api_key']],
  ],
  'batch: an id that is no uuid': [
    '22P02',
    'get_business_secrets_batch($1, $2)',
    [['x'], ['gemini_api_key']],
  ],
  'batch: more than 10,000 elements': [
    '22023',
    'get_business_secrets_batch($1, $2)',
    [Array(10_001).fill(id), Array(10_001).fill('gemini_api_key')],
  ],
  'list: no business id': ['22023', 'list_business_secrets($1)', [null]],
  'list: an unknown business': ['AS003', 'list_business_secrets($1)', [NOBODY]],
})

onEachMajor('bad input', async (t, major) => {
  const db = await freshDatabase(t, major)
  const id = await addBusiness(db, { gemini_api_key: 'there before' })

  const refused = async (text, values, code, role = 'app_service') => {
    const before = await dataOf(db)
    const error = await db.query(text, values, role).catch((e) => e)
    assert.equal(error.code, code, error.message)
    const { message, detail, hint, where } = error
    assert.doesNotMatch(JSON.stringify({ message, detail, hint, where }), new RegExp(SECRET))
    assert.deepEqual(await dataOf(db), before)
  }

  for (const [name, [code, ...args]] of Object.entries(setCases(id))) {
    await t.test(`set refuses ${name} with ${code} and writes nothing`, () =>
      refused('select public.set_business_secrets($1, $2, $3)', [args[0], args[1], args[2] ?? null], code),
    )
  }
  for (const [name, [code, call, values]] of Object.entries(readCases(id))) {
    await t.test(`${name} is refused with ${code}`, () =>
      refused(`select * from public.${call}`, values, code),
    )
  }

  await t.test('the table refuses an expiry that no getter could give back', async () => {
    for (const expiry of ['infinity', '-infinity', '0044-03-15 12:00:00+00 BC']) {
      await refused(
        `insert into public.business_secrets (business_id, google_token_expiry) values ($1, $2)
         on conflict (business_id) do update set google_token_expiry = excluded.google_token_expiry`,
        [id, expiry],
        'AS002',
        'postgres',
      )
    }
  })

  await t.test('a sealed value is not handed over into a column that is not sealed', async () => {
    await set(db, id, { gemini_api_key: 'there, so that the insert becomes an update' })
    await refused(
      `insert into public.business_secrets (business_id, grok_api_key) values ($1, $2)
       on conflict (business_id) do update set google_drive_folder_id = excluded.grok_api_key`,
      [id, SECRET],
      'AS002',
      'postgres',
    )
    await clear(db, id)
  })

  await t.test('a set of nothing is no error and writes nothing', async () => {
    const before = await dataOf(db)
    assert.deepEqual(await set(db, id, {}), {})
    assert.deepEqual(await get(db, id, []), {})
    assert.deepEqual(await batch(db, [], []), [])
    assert.deepEqual(await dataOf(db), before)
  })

  await t.test('white space around a timestamp or in place of it is what it is elsewhere', async () => {
    await set(db, id, { google_token_expiry: ' 2026-01-31T12:00:00Z\n' })
    assert.deepEqual(await get(db, id, ['google_token_expiry']), {
      google_token_expiry: '2026-01-31T12:00:00.000000Z',
    })
    await set(db, id, { google_token_expiry: ' \u00a0' })
    assert.deepEqual(await get(db, id, ['google_token_expiry']), { google_token_expiry: null })
  })
})

onEachMajor('one bad element of a batch', async (t, major) => {
  const db = await freshDatabase(t, major)
  const ids = []
  for (let i = 0; i < 3; i++) {
    ids.push(await addBusiness(db))
    await set(db, ids[i], Object.fromEntries(sealedNames.map((name) => [name, `${name} ${i}`])))
  }
  const [first, second, third] = ids
  const corrupt = (business, name, secret) =>
    db.query(
      'update vault.secrets set secret = $2 where name = $1',
      [`business_secrets/${business}/${name}`, secret],
      'supabase_admin',
    )
  const secretOf = async (business, name) =>
    (
      await db.one('select secret from vault.secrets where name = $1', [
        `business_secrets/${business}/${name}`,
      ])
    ).secret

  await t.test('an unknown name, an unknown business and nulls are reported in their place', async () => {
    assert.deepEqual(
      await batch(
        db,
        [first, first, NOBODY, null, second, third, first],
        [
          'grok_api_key',
          'no_such_key',
          'grok_api_key',
          'grok_api_key',
          null,
          'google_token_expiry',
          'gemini_api_key',
        ],
      ),
      [
        ['ok', 'grok_api_key 0', 1],
        ['unknown_secret', null, 0],
        ['business_not_found', null, 0],
        ['business_not_found', null, 0],
        ['unknown_secret', null, 0],
        ['not_set', null, 0],
        ['ok', 'gemini_api_key 0', 1],
      ],
    )
  })

  await t.test('secrets damaged in every way are reported, and their neighbours are read', async () => {
    const whole = await secretOf(second, 'gemini_api_key')
    await corrupt(second, 'gemini_api_key', '')
    await corrupt(second, 'grok_api_key', '!!! not base64 !!!')
    await corrupt(second, 'claude_api_key', whole.slice(0, 40))
    await corrupt(second, 'youtube_api_key', whole)
    await corrupt(second, 'kling_access_key', await secretOf(third, 'kling_access_key'))
    const broken = sealedNames.slice(0, 5)
    const wanted = [...ids.flatMap(() => sealedNames), 'google_drive_folder_id']
    const rows = await batch(db, [...ids.flatMap((id) => sealedNames.map(() => id)), second], wanted)
    for (const [i, id] of ids.entries()) {
      for (const [j, name] of sealedNames.entries()) {
        const expected =
          id === second && broken.includes(name) ? ['undecryptable', null, 1] : ['ok', `${name} ${i}`, 1]
        assert.deepEqual(rows[i * sealedNames.length + j], expected)
      }
    }
    assert.deepEqual(rows.at(-1), ['not_set', null, 0])
  })

  await t.test(
    'get leaves them out and names them, list knows that they are set, the view shows the rest',
    async () => {
      const { $errors, ...values } = await get(db, second)
      assert.deepEqual(
        $errors,
        Object.fromEntries(sealedNames.slice(0, 5).map((name) => [name, 'DECRYPT_FAILED'])),
      )
      assert.deepEqual(
        values,
        Object.fromEntries(
          names.slice(5).map((name) => [name, sealedNames.includes(name) ? `${name} 1` : null]),
        ),
      )
      const list = await db.query(
        'select name, is_set, last4 from public.list_business_secrets($1)',
        [second],
        'app_service',
      )
      assert.deepEqual(list[0], { name: 'gemini_api_key', is_set: true, last4: null })
      assert.deepEqual(list[5], { name: 'kling_secret_key', is_set: true, last4: 'ey 1' })
      assert.deepEqual(
        await clear(db, second),
        Object.fromEntries(sealedNames.slice(5).map((name) => [name, `${name} 1`])),
      )
    },
  )

  await t.test('arrays of other bounds and dimensions pair their elements all the same', async () => {
    const rows = await db.query(
      `select ord, status, value from public.get_business_secrets_batch(
         ('[0:2]={' || array_to_string($1::uuid[], ',') || '}')::uuid[], '[5:7]={grok_api_key,grok_api_key,grok_api_key}')`,
      [ids],
      'app_service',
    )
    const expected = [
      { ord: 1, status: 'ok', value: 'grok_api_key 0' },
      { ord: 2, status: 'undecryptable', value: null },
      { ord: 3, status: 'ok', value: 'grok_api_key 2' },
    ]
    assert.deepEqual(rows, expected)
    const nested = await db.query(
      `select ord, status, value from public.get_business_secrets_batch(
         array[$1::uuid[]], array[array['grok_api_key', 'grok_api_key', 'grok_api_key']])`,
      [ids],
      'app_service',
    )
    assert.deepEqual(nested, expected)
  })

  await t.test('a reference whose Vault row is gone is undecryptable, not unset', async () => {
    await db.query('delete from vault.secrets where name = $1', [
      `business_secrets/${second}/whatsapp_api_key`,
    ])
    assert.deepEqual(await batch(db, [second, first], ['whatsapp_api_key', 'whatsapp_api_key']), [
      ['undecryptable', null, 1],
      ['ok', 'whatsapp_api_key 0', 1],
    ])
    assert.ok((await violations(db)).length > 0)
  })

  await t.test('writing, from the RPC or the table, heals each of them', async () => {
    const healed = Object.fromEntries(sealedNames.map((name) => [name, `healed ${name}`]))
    await set(db, second, Object.fromEntries(Object.entries(healed).slice(0, 3)))
    const rest = Object.entries(healed).slice(3)
    await db.query(
      `update public.business_secrets set ${rest.map(([name], i) => `${name} = $${i + 2}`).join(', ')} where business_id = $1`,
      [second, ...rest.map(([, value]) => value)],
    )
    assert.deepEqual(await clear(db, second), healed)
    await assertSynced(db)
  })

  await t.test('clearing heals as well', async () => {
    await corrupt(third, 'gemini_api_key', 'damaged')
    await set(db, third, { gemini_api_key: null })
    await assertSynced(db)
  })
})

onEachMajor('what the status view cannot write', async (t, major) => {
  const db = await freshDatabase(t, major)
  const id = await addBusiness(db, { gemini_api_key: SECRET })
  const patch = (assignment, name = 'gemini_api_key') =>
    db.query(`update public.business_secret_status set ${assignment} where business_id = $1 and name = $2`, [
      id,
      name,
    ])
  for (const assignment of [
    "label = 'x'",
    'sealed = false',
    "last4 = 'x'",
    'version = 99',
    'updated_at = now()',
    "expires_at = '2031-01-01'",
    "rotate_every = '90 days'",
    'can_undo = true',
    "value = 'another', expires_at = '2031-01-01'",
  ]) {
    await t.test(`${assignment} is refused, and nothing is written`, async () => {
      const before = await dataOf(db)
      await assert.rejects(patch(assignment), { code: 'AS002', message: /business_secret_status only/ })
      assert.deepEqual(await dataOf(db), before)
    })
  }

  await t.test('is_set without a value is refused; false clears', async () => {
    await assert.rejects(patch('is_set = true', 'grok_api_key'), { code: 'AS002' })
    await patch('is_set = false')
    assert.deepEqual(await clear(db, id), {})
  })
})

onEachMajor('settings of the caller', async (t, major) => {
  const db = await freshDatabase(t, major)
  const id = await addBusiness(db)
  await t.test('a point in time is read the same without standard_conforming_strings', async () => {
    const service = await db.connect('app_service')
    await service.query('set standard_conforming_strings = off')
    await service.query('select public.set_business_secrets($1, $2)', [
      id,
      JSON.stringify({ google_token_expiry: '2031-01-31T12:00:00Z', gemini_api_key: 'x' }),
    ])
    assert.equal((await get(db, id)).google_token_expiry, '2031-01-31T12:00:00.000000Z')
  })

  await t.test(
    'a rotation interval ends within a century, so that what is due is always a date',
    async () => {
      const every = (interval) =>
        db.query('select public.set_business_secrets($1, $2, null, $3)', [
          id,
          '{"gemini_api_key": "y"}',
          JSON.stringify({ gemini_api_key: { rotate_every: interval } }),
        ])
      await assert.rejects(every('178000000 years'), { code: 'AS002' })
      await every('100 years')
      await db.query("select * from public.due_business_secrets('1000 years')", [], 'app_service')
    },
  )
})
