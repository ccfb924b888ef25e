// Who wrote what, when, from where; and numbers that only ever go up.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { everythingOf } from '../support/fingerprint.mjs'
import { assertSynced } from '../support/invariants.mjs'
import {
  addBusiness,
  batch,
  clear,
  history,
  insertSecrets,
  set,
  updateLegacy,
  updateSecrets,
  versions,
} from '../support/secrets.mjs'

const OWNER = '00000000-0000-4000-8000-000000000001'

onEachMajor('versions and audit', async (t, major) => {
  const db = await freshDatabase(t, major)
  await db.query('insert into auth.users (id) values ($1)', [OWNER])
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })
  const lastEntry = (id) =>
    db.one(
      `select name, action, version::integer, origin, jwt_sub, login, application_name, actor,
         at between now() - interval '1 minute' and now() as recent
       from app_secrets.audit_log where business_id = $1 order by id desc limit 1`,
      [id],
    )

  await claim('every write from either side has one audit row that says which side it was', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    await updateSecrets(db, id, { gemini_api_key: 'two' })
    await set(db, id, { gemini_api_key: 'three', grok_api_key: 'four' })
    await updateLegacy(db, id, { grok_api_key: null })
    await set(db, id, { google_token_expiry: '2026-01-31T12:00:00Z' })
    await updateSecrets(db, id, { google_token_expiry: null, google_access_token: 'five' })
    await db.query('delete from public.business_secrets where business_id = $1', [id])
    assert.deepEqual(await history(db, id), [
      'gemini_api_key set 1 legacy',
      'gemini_api_key set 2 sealed',
      'gemini_api_key set 3 sealed',
      'grok_api_key set 1 sealed',
      'grok_api_key clear 2 legacy',
      'google_token_expiry set 1 sealed',
      'google_access_token set 1 sealed',
      'google_token_expiry clear 2 sealed',
      'gemini_api_key clear 4 sealed',
      'google_access_token clear 2 sealed',
    ])
  })

  await claim('a service cannot pass its own write off as the backfill', async () => {
    const id = await addBusiness(db)
    const client = await db.connect('app_service')
    await client.query("set app_secrets.origin = 'backfill'")
    await client.query('select public.set_business_secrets($1, $2)', [id, '{"gemini_api_key": "one"}'])
    assert.deepEqual(await history(db, id), ['gemini_api_key set 1 sealed'])
  })

  await claim(
    'a service is audited by login, application and the actor that it names for one transaction',
    async () => {
      const id = await addBusiness(db)
      const client = await db.connect('app_service', { application_name: 'ad-service' })
      const call = `select public.set_business_secrets($1, $2) from pg_catalog.set_config('app_secrets.actor', $3, true)`
      await client.query(call, [id, '{"gemini_api_key": "one"}', 'maya@example.com'])
      const expected = {
        name: 'gemini_api_key',
        action: 'set',
        origin: 'sealed',
        jwt_sub: null,
        login: 'app_service',
        application_name: 'ad-service',
        actor: 'maya@example.com',
        recent: true,
      }
      const { version: first, ...entry } = await lastEntry(id)
      assert.deepEqual(entry, expected)
      const { updated_by } = await db.one(
        'select updated_by from app_secrets.secret_versions where business_id = $1',
        [id],
      )
      assert.equal(updated_by, 'app_service/ad-service/maya@example.com')

      await client.query('select public.set_business_secrets($1, $2)', [id, '{"gemini_api_key": "two"}'])
      const { version: second, ...next } = await lastEntry(id)
      assert.deepEqual(next, { ...expected, actor: null })
      assert.ok(second > first)
    },
  )

  await claim(
    'a user is audited by the sub of the token, and by the login that no token can forge',
    async () => {
      const id = await addBusiness(db, { owner_id: OWNER })
      await db.as('authenticated', { sub: OWNER }, (client) =>
        client.query("insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'one')", [
          id,
        ]),
      )
      const { jwt_sub, login, origin } = await lastEntry(id)
      assert.deepEqual(
        { jwt_sub, login, origin },
        { jwt_sub: OWNER, login: 'authenticator', origin: 'sealed' },
      )
      const { updated_by } = await db.one(
        'select updated_by from app_secrets.secret_versions where business_id = $1',
        [id],
      )
      assert.equal(updated_by, OWNER)
    },
  )

  await claim('claims that are no JSON do not stop a write', async () => {
    const id = await addBusiness(db)
    await db.query("select set_config('request.jwt.claims', 'broken', false)")
    await insertSecrets(db, id, { gemini_api_key: 'one' })
    await db.query("select set_config('request.jwt.claims', '', false)")
    assert.equal((await lastEntry(id)).jwt_sub, null)
  })

  await claim('writing equal values changes nothing, from whichever side', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    await set(db, id, {
      google_token_expiry: '2026-01-31T12:00:00.123456Z',
      google_drive_folder_id: 'folder',
      google_access_token: 'token',
    })
    const before = await everythingOf(db)
    assert.deepEqual(
      await set(db, id, {
        gemini_api_key: ' one',
        grok_api_key: null,
        claude_api_key: ' ',
        google_token_expiry: '2026-01-31 13:00:00.123456+01',
        google_drive_folder_id: 'folder\n',
        google_access_token: 'token',
      }),
      {
        gemini_api_key: 1,
        grok_api_key: 0,
        claude_api_key: 0,
        google_token_expiry: 1,
        google_drive_folder_id: 1,
        google_access_token: 1,
      },
    )
    await updateSecrets(db, id, { gemini_api_key: 'one', grok_api_key: null })
    const after = await everythingOf(db)
    assert.deepEqual(after, before)
  })

  await claim('a version that was read guards the write that follows', async () => {
    const id = await addBusiness(db)
    assert.deepEqual(await set(db, id, { gemini_api_key: 'one' }, { gemini_api_key: 0 }), {
      gemini_api_key: 1,
    })
    const conflict = { code: 'AS004', message: /^gemini_api_key is at version \d+, not 0$/ }
    await assert.rejects(
      set(db, id, { gemini_api_key: 'two', grok_api_key: 'x' }, { gemini_api_key: 0 }),
      conflict,
    )
    assert.deepEqual(await versions(db, id), { gemini_api_key: 1 })
    assert.deepEqual(await set(db, id, { gemini_api_key: 'two' }, { gemini_api_key: 1, grok_api_key: 0 }), {
      gemini_api_key: 2,
    })
    // One may also guard what one does not write, and what does not change.
    await assert.rejects(set(db, id, { grok_api_key: 'x' }, { gemini_api_key: 1 }), { code: 'AS004' })
    await assert.rejects(set(db, id, {}, { gemini_api_key: 1 }), { code: 'AS004' })
    assert.deepEqual(await set(db, id, {}, { gemini_api_key: 2 }), {})
  })

  await claim('of clients that guard the same version only one wins', async () => {
    const id = await addBusiness(db)
    for (let round = 0; round < 5; round++) {
      const [{ version } = { version: 0 }] = await db.query(
        'select version::integer from app_secrets.secret_versions where business_id = $1',
        [id],
      )
      const clients = await Promise.all(Array.from({ length: 8 }, () => db.connect('app_service')))
      const outcomes = await Promise.allSettled(
        clients.map((client, i) =>
          client.query('select public.set_business_secrets($1, $2, $3) as result', [
            id,
            JSON.stringify({ gemini_api_key: `${round} ${i}` }),
            JSON.stringify({ gemini_api_key: version }),
          ]),
        ),
      )
      const winners = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []))
      assert.equal(winners.length, 1)
      assert.deepEqual(await clear(db, id), { gemini_api_key: `${round} ${winners[0]}` })
      for (const { reason } of outcomes.filter((o) => o.reason)) assert.equal(reason.code, 'AS004')
      for (const client of clients) await db.disconnect(client)
    }
  })

  await claim(
    'a version never comes twice, whatever is cleared, deleted or truncated in between',
    async () => {
      const id = await addBusiness(db)
      const steps = [
        () => set(db, id, { gemini_api_key: 'one' }),
        () => set(db, id, { gemini_api_key: null }),
        () => insertOrUpdate('two'),
        () => db.query('delete from public.business_secrets where business_id = $1', [id]),
        () => insertOrUpdate('three'),
        () => db.query('truncate public.business_secrets'),
        () => updateLegacy(db, id, { gemini_api_key: 'four' }),
      ]
      const insertOrUpdate = (value) =>
        db.query(
          `insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)
         on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
          [id, value],
        )
      for (const [i, step] of steps.entries()) {
        await step()
        assert.deepEqual(await versions(db, id), { gemini_api_key: i + 1 })
      }
      const [[status, value, version]] = await batch(db, [id], ['gemini_api_key'])
      assert.deepEqual([status, value, version], ['ok', 'four', steps.length])
    },
  )

  await claim('the audit outlives the business, its versions do not', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'one' })
    await set(db, id, { google_access_token: 'two' })
    await db.query('delete from public.businesses where id = $1', [id])
    assert.deepEqual(await versions(db, id), {})
    assert.deepEqual(await history(db, id), [
      'gemini_api_key set 1 legacy',
      'google_access_token set 1 sealed',
    ])
  })

  await claim('updated_at of the row moves with its secrets and with nothing else', async () => {
    const id = await addBusiness(db)
    const read = async () =>
      (await db.one('select updated_at from public.business_secrets where business_id = $1', [id])).updated_at
    await insertSecrets(db, id, { gemini_api_key: 'one' })
    const first = await read()
    await updateSecrets(db, id, { gemini_api_key: 'one', updated_at: new Date(0) })
    assert.deepEqual(await read(), first)
    await updateSecrets(db, id, { gemini_api_key: 'two' })
    assert.ok((await read()) > first)
  })
})
