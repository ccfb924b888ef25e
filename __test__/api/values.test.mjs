// What the addon reads and writes beside others who do: old code, supabase-js, a restore. What every transport does the
// contract suite says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openClient, refuses } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { addBusiness, clear, names, sealedNames, updateSecrets } from '../support/secrets.mjs'

test('values', async (t) => {
  const db = await freshDatabase(t, 17)
  const secrets = await openClient(t, db)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })

  await claim('every secret of the catalogue can be set, read and deleted', async () => {
    const id = await addBusiness(db)
    for (const name of names) {
      const value = name === 'google_token_expiry' ? '2031-01-31T12:00:00.123456Z' : `${name} of ${id}`
      assert.ok((await secrets.set(id, name, value)) > 0)
      assert.equal(await secrets.get(id, name), value)
    }
    assert.equal(Object.keys(await clear(db, id)).length, names.length)
    for (const name of names) {
      await secrets.delete(id, name)
      assert.equal(await secrets.get(id, name), null)
    }
    assert.deepEqual(await clear(db, id), {})
  })

  await claim(
    'an expiry beyond the year 9999, as apps left it, is read as the same time and never as an Invalid Date',
    async () => {
      const id = await addBusiness(db)
      await secrets.set(id, 'google_refresh_token', 'refresh')
      for (const [stored, year] of [
        ['10000-01-01T00:00:00Z', 10_000],
        ['275760-09-13T00:00:00Z', 275_760],
        ['0001-01-01T00:00:00Z', 1],
      ]) {
        await updateSecrets(db, id, { google_token_expiry: stored })
        const { expiresAt, refreshToken } = await secrets.getGoogleTokens(id)
        assert.equal(expiresAt.getUTCFullYear(), year)
        assert.equal(refreshToken, 'refresh')
      }
      await assert.rejects(updateSecrets(db, id, { google_token_expiry: '275760-09-13T00:00:01Z' }), {
        code: 'AS002',
      })
    },
  )

  await claim('a reference that dangles is a failure, not an absence, and a write heals it', async () => {
    const id = await addBusiness(db)
    await secrets.set(id, 'grok_api_key', 'restored without Vault')
    await db.query("delete from vault.secrets where name = 'business_secrets/' || $1 || '/grok_api_key'", [
      id,
    ])
    await refuses(() => secrets.get(id, 'grok_api_key'), 'DECRYPT_FAILED')
    await secrets.set(id, 'grok_api_key', 'healed')
    assert.equal(await secrets.get(id, 'grok_api_key'), 'healed')
  })

  await claim('what others write is read at the next call', async () => {
    const id = await addBusiness(db, { grok_api_key: 'first' })
    assert.equal(await secrets.get(id, 'grok_api_key'), 'first')
    await db.query("update public.businesses set grok_api_key = 'by legacy code' where id = $1", [id])
    assert.equal(await secrets.get(id, 'grok_api_key'), 'by legacy code')
    await updateSecrets(db, id, { grok_api_key: 'by the table' })
    assert.equal(await secrets.get(id, 'grok_api_key'), 'by the table')
  })

  await claim('a read after a write of the same client sees it, whatever else is under way', async () => {
    const id = await addBusiness(db)
    for (let i = 0; i < 20; i++) {
      const noise = Array.from({ length: 8 }, () => secrets.get(id, 'gemini_api_key'))
      await secrets.set(id, 'gemini_api_key', `value ${i}`)
      assert.equal(await secrets.get(id, 'gemini_api_key'), `value ${i}`)
      await Promise.all(noise)
    }
  })

  await claim('a thousand reads at once each get their own business and name', async () => {
    const ids = []
    while (ids.length < 40) ids.push(await addBusiness(db))
    const value = (id, name) => `${id}/${name}`
    await Promise.all(
      ids.map((id) => secrets.setMany(id, Object.fromEntries(sealedNames.map((n) => [n, value(id, n)])))),
    )
    const calls = Array.from({ length: 1000 }, (_, i) => [ids[(i * 7) % 40], sealedNames[(i * 3) % 10]])
    const found = await Promise.all(calls.map(([id, name]) => secrets.get(id, name)))
    assert.deepEqual(
      found,
      calls.map(([id, name]) => value(id, name)),
    )
  })

  await claim('the audit names the login, the application and the actor of a write', async (t) => {
    const named = await openClient(t, db, { actor: 'ops@example.com', applicationName: 'settings-page' })
    const id = await addBusiness(db)
    await named.set(id, 'grok_api_key', 'audited value')
    const rows = await db.query(
      'select a.* from app_secrets.audit_log a where business_id = $1 order by id desc limit 1',
      [id],
    )
    const text = JSON.stringify(rows)
    for (const expected of ['ops@example.com', 'settings-page', 'app_service'])
      assert.match(text, new RegExp(expected))
    assert.ok(!text.includes('audited value'))
  })
})
