// Settings.jsx and Onboarding.jsx, mounted, against the table and the view.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compile } from './support/compiled.mjs'
import { appDatabase, owner, stranger } from './support/database.mjs'
import { mount } from './support/react.mjs'
import { createClient, tokenFor } from './support/supabase.mjs'

test('the pages', async (t) => {
  const { db, business } = await appDatabase(t)
  const load = await compile(t, ['src/pages/Settings.jsx', 'src/pages/Onboarding.jsx'])
  const { default: Settings } = await load('src/pages/Settings.js')
  const { default: Onboarding } = await load('src/pages/Onboarding.js')

  const as = (user) =>
    createClient(db.urlFor('authenticator'), 'anon', {
      global: { headers: user ? { Authorization: `Bearer ${tokenFor(user)}` } : {} },
    })
  const stored = async () => {
    const rows = await db.query('select * from public.decrypted_business_secrets where business_id = $1', [
      business,
    ])
    return rows[0]
  }
  const type = (page, name, value) => page.find('input', name).props.onChange({ target: { value } })
  const submit = (page) => page.find('form').props.onSubmit({ preventDefault() {} })

  await t.test('onboarding stores the first key, sealed, and moves on', async () => {
    let done = 0
    const page = mount(Onboarding, { supabase: as(owner), businessId: business, onDone: () => done++ })
    type(page, 'gemini_api_key', ' gemini-from-onboarding ')
    await submit(page)
    assert.equal(done, 1)
    assert.equal((await stored()).gemini_api_key, 'gemini-from-onboarding')
    const row = await db.one('select gemini_api_key from public.business_secrets')
    assert.match(row.gemini_api_key, /^[0-9a-f-]{36}$/)
  })

  await t.test('onboarding skips itself where the key is there already', async () => {
    let done = 0
    const page = mount(Onboarding, { supabase: as(owner), businessId: business, onDone: () => done++ })
    await page.until(() => done === 1)
  })

  await t.test('settings shows what is set masked, and no value at any moment', async () => {
    const page = mount(Settings, { supabase: as(owner), businessId: business })
    await page.until(() => page.find('form'))
    assert.match(page.text(), /Google Gemini ••••••••ding/)
    assert.match(page.text(), /xAI Grok not set/)
    assert.equal(page.find('button', 'remove gemini_api_key').props.disabled, false)
    assert.equal(page.find('button', 'remove grok_api_key').props.disabled, true)
    assert.ok(page.shown.every((tree) => !tree.includes('gemini-from-onboarding')))
  })

  await t.test('settings writes what was typed, leaves the rest, and forgets it', async () => {
    const page = mount(Settings, { supabase: as(owner), businessId: business })
    await page.until(() => page.find('form'))
    type(page, 'grok_api_key', 'grok-from-settings')
    await submit(page)
    await page.until(() => page.text().includes('Saved') && page.text().includes('••••••••ings'))
    const { grok_api_key: grok, gemini_api_key: gemini } = await stored()
    assert.deepEqual([grok, gemini], ['grok-from-settings', 'gemini-from-onboarding'])
    assert.equal(page.find('input', 'grok_api_key').props.value, '')
    assert.doesNotMatch(page.shown.at(-1), /grok-from-settings/)
  })

  await t.test('settings removes a key', async () => {
    const page = mount(Settings, { supabase: as(owner), businessId: business })
    await page.until(() => page.find('form'))
    await page.find('button', 'remove grok_api_key').props.onClick()
    assert.equal((await stored()).grok_api_key, null)
    await page.until(() => page.text().includes('xAI Grok not set'))
  })

  await t.test('another tenant sees nothing set, and cannot write', async () => {
    const page = mount(Settings, { supabase: as(stranger), businessId: business })
    await page.until(() => page.find('form'))
    assert.doesNotMatch(page.text(), /•/)
    type(page, 'gemini_api_key', 'from-a-stranger')
    await submit(page)
    assert.match(page.text(), /could not be saved \(42501\)/)
    assert.equal((await stored()).gemini_api_key, 'gemini-from-onboarding')
  })

  await t.test('a visitor without a session sees nothing at all', async () => {
    const page = mount(Settings, { supabase: as(null), businessId: business })
    await page.until(() => page.text().includes('could not be loaded (42501)'))
    assert.equal(page.find('form'), undefined)
  })
})
