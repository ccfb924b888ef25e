// Reading and writing secrets by name: what is there, what is not, and what a failure leaves behind.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { breakCipher, fingerprint, openClient, refuses } from '../support/addon.mjs'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import {
  addBusiness,
  clear,
  history,
  names,
  sealedNames,
  updateSecrets,
  versions,
} from '../support/secrets.mjs'

onEachMajor('values', async (t, major) => {
  const db = await freshDatabase(t, major)
  const secrets = await openClient(t, db)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })

  await claim('what is set is read, and what is not set is null', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'from the legacy column' })
    assert.equal(await secrets.get(id, 'gemini_api_key'), 'from the legacy column')
    for (const name of names.slice(1)) assert.equal(await secrets.get(id, name), null)
  })

  await claim('every secret of the catalogue can be set, read and deleted', async () => {
    const id = await addBusiness(db)
    for (const name of names) {
      const value = name === 'google_token_expiry' ? '2031-01-31T12:00:00.123456Z' : `${name} of ${id}`
      assert.equal(await secrets.set(id, name, value), 1)
      assert.equal(await secrets.get(id, name), value)
    }
    assert.equal(Object.keys(await clear(db, id)).length, names.length)
    for (const name of names) {
      assert.equal(await secrets.delete(id, name), 2)
      assert.equal(await secrets.get(id, name), null)
    }
    assert.deepEqual(await clear(db, id), {})
  })

  await claim('a value comes back as it was, but for white space around it', async () => {
    const id = await addBusiness(db)
    const values = [
      'plain',
      `quotes ' " \` and \\ backslash \\u0000`,
      'tab\tand\nnewline inside',
      'naïve 日本語 العربية 👩‍👩‍👧 \u{10ffff}',
      '\u0085not JavaScript white space\u0085',
      '{"json": [1, null]}',
      '$1 %s $$ ; drop table businesses; --',
      '20000000-0000-4000-8000-000000000001',
      '\u0001\u001f\u007f\ufffe\uffff',
      'x'.repeat(65_536),
      '😀'.repeat(16_384),
    ]
    for (const value of values) {
      await secrets.set(id, 'grok_api_key', value)
      assert.equal(await secrets.get(id, 'grok_api_key'), value)
    }
    await secrets.set(id, 'grok_api_key', ' \t\r\n\u00a0\u2003\ufeff padded \ufeff\u2028\n')
    assert.equal(await secrets.get(id, 'grok_api_key'), 'padded')
  })

  await claim('null and blank values clear, and clearing what is not set changes nothing', async () => {
    const id = await addBusiness(db)
    for (const blank of [null, '', ' ', '\ufeff\n\t\u2009']) {
      const version = await secrets.set(id, 'claude_api_key', 'there')
      assert.equal(await secrets.set(id, 'claude_api_key', blank), version + 1)
      assert.equal(await secrets.get(id, 'claude_api_key'), null)
      assert.equal(await secrets.set(id, 'claude_api_key', blank), version + 1)
    }
    assert.equal(await secrets.delete(id, 'grok_api_key'), 0)
    assert.equal((await history(db, id)).length, 8)
  })

  await claim('a version counts changes, and writing what is there is none', async () => {
    const id = await addBusiness(db)
    assert.equal(await secrets.set(id, 'youtube_api_key', 'one'), 1)
    assert.equal(await secrets.set(id, 'youtube_api_key', 'two'), 2)
    assert.equal(await secrets.set(id, 'youtube_api_key', ' two '), 2)
    assert.deepEqual(await versions(db, id), { youtube_api_key: 2 })
  })

  await claim('getMany gives exactly what was asked for, set or not', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, { grok_api_key: 'g', kling_access_key: 'k' })
    const wanted = ['kling_access_key', 'claude_api_key', 'grok_api_key', 'grok_api_key']
    assert.deepEqual(await secrets.getMany(id, wanted), {
      kling_access_key: 'k',
      claude_api_key: null,
      grok_api_key: 'g',
    })
    const all = await secrets.getMany(id, names)
    assert.deepEqual(Object.keys(all), names)
    assert.deepEqual(Object.values(all).filter(Boolean), ['g', 'k'])
  })

  await claim('setMany writes and clears together, and gives the versions', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'old', whatsapp_api_key: 'untouched' })
    const written = await secrets.setMany(id, {
      gemini_api_key: null,
      grok_api_key: 'new',
      claude_api_key: ' ',
    })
    assert.deepEqual(written, { gemini_api_key: 2, grok_api_key: 1, claude_api_key: 0 })
    assert.deepEqual(await clear(db, id), { grok_api_key: 'new', whatsapp_api_key: 'untouched' })
  })

  await claim('setMany writes nothing when one of its values is refused', async () => {
    const id = await addBusiness(db, { gemini_api_key: 'stays' })
    const before = await fingerprint(db)
    for (const bad of ['x'.repeat(65_537), 'nul \0', '\ud800', 7]) {
      const values = { gemini_api_key: 'lost', grok_api_key: 'lost', whatsapp_api_key: bad }
      await refuses(() => secrets.setMany(id, values), 'INVALID_VALUE', { hides: ['lost'] })
    }
    // Only the database can tell that this is no time.
    const values = { gemini_api_key: 'lost', google_token_expiry: 'the day after tomorrow' }
    await refuses(() => secrets.setMany(id, values), 'INVALID_VALUE', { hides: ['lost', 'tomorrow'] })
    assert.equal(await fingerprint(db), before)
  })

  await claim('a write against another version is refused whole, and says which versions', async () => {
    const id = await addBusiness(db)
    assert.equal(await secrets.set(id, 'grok_api_key', 'one', { expectedVersion: 0 }), 1)
    assert.equal(await secrets.set(id, 'grok_api_key', 'two', { expectedVersion: 1 }), 2)
    const before = await fingerprint(db)
    const conflict = { says: /grok_api_key is at version 2, not 1.*read/, hides: ['three'] }
    await refuses(
      () => secrets.set(id, 'grok_api_key', 'three', { expectedVersion: 1 }),
      'VERSION_CONFLICT',
      conflict,
    )
    await refuses(
      () => secrets.delete(id, 'grok_api_key', { expectedVersion: 1 }),
      'VERSION_CONFLICT',
      conflict,
    )
    const values = { claude_api_key: 'three', grok_api_key: 'three' }
    const options = { expectedVersions: { claude_api_key: 0, grok_api_key: 1 } }
    await refuses(() => secrets.setMany(id, values, options), 'VERSION_CONFLICT', conflict)
    assert.equal(await fingerprint(db), before)

    options.expectedVersions.grok_api_key = 2
    assert.deepEqual(await secrets.setMany(id, values, options), { claude_api_key: 1, grok_api_key: 3 })
    assert.equal(await secrets.delete(id, 'grok_api_key', { expectedVersion: 3 }), 4)
  })

  await claim('of writers that expect the same version exactly one gets through', async () => {
    const id = await addBusiness(db)
    const attempts = Array.from({ length: 12 }, (_, i) =>
      secrets.set(id, 'gemini_api_key', `writer ${i}`, { expectedVersion: 0 }).then(
        () => `writer ${i}`,
        ({ code }) => code,
      ),
    )
    const outcomes = await Promise.all(attempts)
    const winners = outcomes.filter((outcome) => outcome !== 'VERSION_CONFLICT')
    assert.equal(winners.length, 1)
    assert.deepEqual([await secrets.get(id, 'gemini_api_key')], winners)
  })

  await claim('a list masks: the last four characters only of sealed values of twelve or more', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, {
      gemini_api_key: 'elevenchars',
      grok_api_key: 'twelve chars',
      claude_api_key: 'accents: éèê😀',
      google_token_expiry: '2031-01-31T12:00:00Z',
      google_drive_folder_id: 'a folder of many characters',
    })
    await secrets.delete(id, 'grok_api_key')
    const started = Date.now()
    await secrets.set(id, 'grok_api_key', 'twelve chars')
    const list = await secrets.list(id)
    assert.deepEqual(
      list.map(({ name }) => name),
      names,
    )
    const entry = (name) => list.find((one) => one.name === name)
    const { updatedAt, ...grok } = entry('grok_api_key')
    assert.deepEqual(grok, { name: 'grok_api_key', isSet: true, last4: 'hars', version: 3 })
    assert.ok(updatedAt instanceof Date && Math.abs(updatedAt - started) < 60_000)
    assert.equal(entry('gemini_api_key').last4, null)
    assert.equal(entry('claude_api_key').last4, 'éèê😀')
    assert.deepEqual(
      [entry('google_token_expiry').last4, entry('google_drive_folder_id').last4],
      [null, null],
    )
    assert.deepEqual(entry('whatsapp_api_key'), {
      name: 'whatsapp_api_key',
      isSet: false,
      last4: null,
      version: 0,
      updatedAt: null,
    })
    assert.ok(!JSON.stringify(list).includes('twelve'))
  })

  await claim('an unknown business is a failure for every function, never an absence', async () => {
    const id = randomUUID()
    const before = await fingerprint(db)
    for (const call of [
      () => secrets.get(id, 'grok_api_key'),
      () => secrets.getMany(id, ['grok_api_key']),
      () => secrets.set(id, 'grok_api_key', 'lost'),
      () => secrets.setMany(id, { grok_api_key: 'lost' }),
      () => secrets.delete(id, 'grok_api_key'),
      () => secrets.list(id),
    ]) {
      await refuses(call, 'BUSINESS_NOT_FOUND', { says: new RegExp(id), hides: ['lost'] })
    }
    assert.equal(await fingerprint(db), before)
  })

  await t.test('what cannot be decrypted is a failure by name, and spares its neighbours', async () => {
    const id = await addBusiness(db)
    await secrets.setMany(id, { grok_api_key: 'unreadable soon', claude_api_key: 'fine' })
    await breakCipher(db, id, 'grok_api_key')

    await refuses(() => secrets.get(id, 'grok_api_key'), 'DECRYPT_FAILED', {
      says: /grok_api_key.*new value/,
    })
    const both = () => secrets.getMany(id, ['claude_api_key', 'grok_api_key'])
    const { message } = await refuses(both, 'DECRYPT_FAILED', { says: /grok_api_key/, hides: ['fine'] })
    assert.ok(!message.includes('claude_api_key'))
    assert.equal(await secrets.get(id, 'claude_api_key'), 'fine')
    const listed = (await secrets.list(id)).find(({ name }) => name === 'grok_api_key')
    assert.deepEqual([listed.isSet, listed.last4], [true, null])

    await secrets.set(id, 'grok_api_key', 'healed')
    assert.equal(await secrets.get(id, 'grok_api_key'), 'healed')
    await assertSynced(db)
  })

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
