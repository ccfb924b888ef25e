// Sign-in, onboarding and settings, on real React and supabase-js, while old code still writes the plaintext columns.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/wait.mjs'
import { startBackend } from './support/backend.mjs'
import { appDatabase, dataApi } from './support/database.mjs'
import { openApp } from './support/page.mjs'

test('the pages', async (t) => {
  const { db, business, other } = await appDatabase(t)
  const api = await dataApi(t, db)
  const { url: backendUrl } = await startBackend(t, db, api, {})
  const page = await openApp(t, { api, backendUrl })

  const clear = (id = business) =>
    db.query('select * from public.decrypted_business_secrets where business_id = $1', [id])
  const legacy = (name) => db.one(`select ${name} as value from public.businesses where id = $1`, [business])
  const row = (name) => `[data-secret=${name}]`
  const typed = []
  const key = (text) => {
    typed.push(text)
    return text
  }

  await t.test('a wrong password is named as such, the right one signs in', async () => {
    await page.signIn('owner@example.com', 'wrong')
    await page.waitForText('That e-mail and password do not go together.')
    await page.signIn('owner@example.com', 'of-the-owner')
    await page.waitForText('Connect Google Gemini')
  })

  await t.test('onboarding stores the first key, sealed, and goes on', async () => {
    await page.type('input[name=gemini_api_key]', key(' gemini-of-the-newcomer '))
    await page.submit('form.onboarding')
    await page.waitForText('All keys')
    const [{ gemini_api_key: stored }] = await clear()
    assert.equal(stored, 'gemini-of-the-newcomer')
    const sealed = await db.one('select gemini_api_key from public.business_secrets where business_id = $1', [
      business,
    ])
    assert.match(sealed.gemini_api_key, /^[0-9a-f-]{36}$/)
    assert.equal((await legacy('gemini_api_key')).value, 'gemini-of-the-newcomer')
  })

  await t.test('settings shows each key by its label, masked, and no other of the catalogue', async () => {
    await page.wait(row('gemini_api_key'))
    assert.match(page.find(row('gemini_api_key')).textContent, /Google Gemini.*•••• omer/)
    assert.match(page.find(row('grok_api_key')).textContent, /Not set/)
    assert.equal(page.window.document.querySelectorAll('.secret').length, 8)
  })

  await t.test('handleSaveGrok upserts, and old code reads what it wrote', async () => {
    await page.type('form[aria-label="xAI Grok"] input', key('grok-from-the-card'))
    await page.submit('form[aria-label="xAI Grok"]')
    await until(async () => (await clear())[0].grok_api_key === 'grok-from-the-card', 'the key to be stored')
    assert.equal((await legacy('grok_api_key')).value, 'grok-from-the-card')
  })

  await t.test('handleFieldSave adds and replaces a key', async () => {
    for (const value of ['claude-of-the-owner', 'claude-of-today']) {
      await page.click(`${row('claude_api_key')} .secret-actions button`)
      await page.type(`${row('claude_api_key')} input`, key(value))
      await page.submit(`${row('claude_api_key')} form`)
      await until(async () => (await clear())[0].claude_api_key === value, 'the key to be stored')
      await until(() => !page.find(`${row('claude_api_key')} form`), 'the editor to close')
    }
    assert.match(page.find(row('claude_api_key')).textContent, /•••• oday/)
  })

  await t.test('undo puts the previous key back', async () => {
    await page.click(`${row('claude_api_key')} button[aria-label^=Undo]`)
    await until(async () => (await clear())[0].claude_api_key === 'claude-of-the-owner', 'the previous key')
    await page.waitForText('the previous key is back')
  })

  await t.test('a key that old code has changed meanwhile is not overwritten', async () => {
    await page.click(`${row('claude_api_key')} .secret-actions button`)
    await page.type(`${row('claude_api_key')} input`, key('claude-that-comes-too-late'))
    await db.query("update public.businesses set claude_api_key = 'claude-by-old-code' where id = $1", [
      business,
    ])
    await page.submit(`${row('claude_api_key')} form`)
    await page.waitForText('Somebody else has changed this key in the meantime.')
    assert.equal((await clear())[0].claude_api_key, 'claude-by-old-code')
    await until(() => page.find(row('claude_api_key')).textContent.includes('code'), 'what is there now')
    await page.click(`${row('claude_api_key')} .editor button[type=button]`)
  })

  await t.test('remove asks first, clears on both sides, and can be undone', async () => {
    await page.click(`${row('claude_api_key')} button[aria-label^=Remove]`)
    await page.click(`${row('claude_api_key')} button.danger`)
    await until(async () => (await clear())[0].claude_api_key === null, 'the key to be gone')
    assert.equal((await legacy('claude_api_key')).value, null)
    await until(() => page.find(row('claude_api_key')).textContent.includes('Not set'), 'that it is not set')
    await page.click(`${row('claude_api_key')} button[aria-label^=Undo]`)
    await until(async () => (await clear())[0].claude_api_key === 'claude-by-old-code', 'it to be back')
  })

  await t.test(
    'upserts from the page and writes of old code at the same time: none fails, both sides end equal',
    async () => {
      const byPage = async (i) => {
        const { error } = await page.supabase
          .from('business_secrets')
          .upsert(
            { business_id: business, grok_api_key: key(`grok-by-the-page-${i}`) },
            { onConflict: 'business_id' },
          )
        assert.equal(error, null)
      }
      const byOldCode = (i) =>
        db.query('update public.businesses set grok_api_key = $2 where id = $1', [
          business,
          `grok-by-old-code-${i}`,
        ])
      const rounds = Array.from({ length: 40 }, (_, i) => i)
      const oldCode = (async () => {
        for (const i of rounds) await byOldCode(i)
      })()
      await Promise.all([...rounds.map(byPage), oldCode])
      assert.equal((await legacy('grok_api_key')).value, (await clear())[0].grok_api_key)
    },
  )

  await t.test('no key is in the document, the address or the storage', () => {
    const { localStorage, location } = page.window
    const stored = Object.values({ ...localStorage }).join(' ')
    for (const value of typed.map((one) => one.trim())) {
      for (const [where, found] of Object.entries({ document: page.html, address: location.href, stored })) {
        assert.ok(!found.includes(value), `a key in the ${where}`)
      }
    }
    assert.ok(stored.includes('access_token'), 'the session is there, so this looked in the right place')
  })

  await t.test('another owner sees nothing of it', async () => {
    await page.supabase.auth.signOut()
    await page.signIn('stranger@example.com', 'of-the-stranger')
    await page.waitForText('Connect Google Gemini')
    for (const table of [
      'businesses',
      'business_secrets',
      'decrypted_business_secrets',
      'business_secret_status',
    ]) {
      const { data, error } = await page.supabase.from(table).select('*')
      assert.equal(error, null)
      const ids = new Set(data.map((one) => one.business_id ?? one.id))
      assert.ok(
        [...ids].every((id) => id === other),
        `${table} shows another owner’s business`,
      )
    }
    const { error } = await page.supabase
      .from('business_secrets')
      .upsert({ business_id: business, grok_api_key: 'stolen' }, { onConflict: 'business_id' })
    assert.equal(error.code, '42501')
    const { data } = await page.supabase
      .from('business_secret_status')
      .update({ value: 'stolen' })
      .eq('business_id', business)
      .eq('name', 'grok_api_key')
      .select('name')
    assert.deepEqual(data, [])
  })
})
