// The app as people use it: `npm run app`'s own stack, in Chromium. Not part of `npm test`, which needs no browser.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppStack } from '../../dev/app-stack.mjs'
import { withClient } from '../../dev/postgres.mjs'
import { chromiumPath, launch, openPage, signIn } from './support.mjs'

chromiumPath()

test('the app in a browser', async (t) => {
  const stack = await startAppStack()
  t.after(() => stack.close())
  const browser = await launch(t)
  const [owner, newcomer, other] = stack.people
  const [teahouse] = owner.businesses
  const rows = async (text, values) =>
    withClient(stack.cluster.urlFor('postgres'), async (client) => (await client.query(text, values)).rows)
  const stored = async (name, id = teahouse.id) =>
    (
      await rows(`select ${name} as value from public.decrypted_business_secrets where business_id = $1`, [
        id,
      ])
    )[0]?.value
  const keys = stack.people.flatMap(({ businesses }) => businesses.flatMap((one) => Object.values(one.keys)))
  const typed = []
  const key = (text) => {
    typed.push(text)
    return text
  }

  const page = await openPage(t, browser, stack.url)
  const addresses = []
  const spoken = []
  page.on('request', (request) => addresses.push(request.url()))
  page.on('console', (message) => spoken.push(message.text()))
  const answers = []
  page.on('response', (response) => {
    if (/\/(rest|api|auth)\//.test(response.url())) answers.push(response.text().catch(() => ''))
  })
  const row = (label) =>
    page.locator('.secret', { has: page.getByRole('heading', { name: label, exact: true }) })

  await t.test('a wrong password is refused in words', async () => {
    await signIn(page, { email: owner.email, password: 'wrong' })
    await page.getByRole('alert').getByText('do not go together').waitFor()
  })

  await t.test('an owner signs in and sees masked keys, with who reads them', async () => {
    await signIn(page, owner)
    await row('Google Gemini').waitFor()
    const ending = teahouse.keys.gemini_api_key.slice(-4)
    await row('Google Gemini').getByText(`•••• ${ending}`).waitFor()
    await row('Google Gemini').getByText('Read by Maya and Advertisements').waitFor()
    await row('WhatsApp').getByText('Not set').waitFor()
    assert.equal(await page.locator('.secret').count(), 8)
  })

  await t.test('validation says of each what its provider says', async () => {
    stack.providers.down.add('sms')
    await page.getByRole('button', { name: 'Check all' }).click()
    await page.getByText('Checked: 4 accepted, 1 refused, 1 not reachable').waitFor()
    const states = {
      'Google Gemini': 'Works',
      'xAI Grok': 'Refused',
      'Kling secret key': 'Works',
      'Global SMS': 'Not checked',
    }
    for (const [label, state] of Object.entries(states)) {
      await row(label).locator('.state').getByText(state).waitFor()
    }
    await row('xAI Grok').locator('.times').getByText('just now').last().waitFor()
    stack.providers.down.clear()
  })

  await t.test(
    'a replaced key is saved with the keyboard alone, masked, validated, and there after a reload',
    async () => {
      const replace = page.getByRole('button', { name: 'Replace xAI Grok' })
      await replace.focus()
      await page.keyboard.press('Enter')
      await page.keyboard.type(key('grok-live-typed-in-the-browser'))
      await page.keyboard.press('Enter')
      await page.getByText('xAI Grok: replaced').waitFor()
      assert.equal(await stored('grok_api_key'), 'grok-live-typed-in-the-browser')
      await row('xAI Grok').getByText('•••• wser').waitFor()
      assert.ok(
        await replace.evaluate((button) => button === document.activeElement),
        'focus is where it was',
      )
      await page.getByRole('button', { name: 'Check all' }).click()
      await row('xAI Grok').locator('.state').getByText('Works').waitFor()
      await page.reload()
      await row('xAI Grok').getByText('•••• wser').waitFor()
      await row('xAI Grok').locator('.state').getByText('Works').waitFor()
    },
  )

  await t.test('Escape closes the field, and nothing is saved', async () => {
    await page.getByRole('button', { name: 'Replace xAI Grok' }).click()
    await page.keyboard.type(key('grok-live-never-saved'))
    await page.keyboard.press('Escape')
    await row('xAI Grok').locator('form').waitFor({ state: 'detached' })
    assert.equal(await stored('grok_api_key'), 'grok-live-typed-in-the-browser')
  })

  await t.test('a removed key is gone on both sides, and undo puts it back', async () => {
    await page.getByRole('button', { name: 'Remove Anthropic Claude' }).click()
    await row('Anthropic Claude').getByText('Maya will stop working').waitFor()
    await row('Anthropic Claude').getByRole('button', { name: 'Remove', exact: true }).click()
    await row('Anthropic Claude').getByText('Not set').waitFor()
    assert.equal(await stored('claude_api_key'), null)
    const [legacy] = await rows('select claude_api_key from public.businesses where id = $1', [teahouse.id])
    assert.equal(legacy.claude_api_key, null)
    await page.getByRole('button', { name: 'Undo the last change of Anthropic Claude' }).click()
    await page.getByText('the previous key is back').waitFor()
    assert.equal(await stored('claude_api_key'), teahouse.keys.claude_api_key)
  })

  await t.test('what old code has changed meanwhile is not overwritten', async () => {
    await page.getByRole('button', { name: 'Replace YouTube Data API' }).click()
    await rows("update public.businesses set youtube_api_key = 'youtube-live-by-old-code' where id = $1", [
      teahouse.id,
    ])
    await page.keyboard.type(key('youtube-live-too-late'))
    await page.keyboard.press('Enter')
    await page.getByText('Somebody else has changed this key in the meantime.').waitFor()
    await row('YouTube Data API').getByText('•••• code').waitFor()
    assert.equal(await stored('youtube_api_key'), 'youtube-live-by-old-code')
  })

  await t.test('the cards save with an upsert', async () => {
    const card = page.getByRole('form', { name: 'Google Gemini' })
    await card.getByLabel('New key for Google Gemini').fill(key('gemini-live-of-the-card'))
    await card.getByRole('button', { name: 'Save' }).click()
    await card.getByText('Saved').waitFor()
    assert.equal(await card.getByLabel('New key for Google Gemini').inputValue(), '')
    assert.equal(await stored('gemini_api_key'), 'gemini-live-of-the-card')
  })

  await t.test('activity shows the migration, the changes and the reads', async () => {
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.getByText('4 of 4').waitFor()
    await page.getByText('app-secrets migrate --drop-legacy').waitFor()
    await page.getByRole('cell', { name: 'moved from plaintext' }).first().waitFor()
    await page.getByRole('cell', { name: 'system_routes' }).first().waitFor()
  })

  await t.test('the other business of the same owner is another list', async () => {
    await page.getByRole('link', { name: 'Integrations' }).click()
    await page.getByLabel('Business', { exact: true }).selectOption('Harbour Books')
    await row('WhatsApp')
      .getByText(`•••• ${owner.businesses[1].keys.whatsapp_api_key.slice(-4)}`)
      .waitFor()
    await row('xAI Grok').getByText('Not set').waitFor()
  })

  await t.test('a Data API that is away is said aloud, and comes back with a click', async () => {
    await page.route('**/rest/v1/**', (route) => route.abort())
    await page.getByLabel('Business', { exact: true }).selectOption('Corner Teahouse')
    await page.getByRole('alert').getByText('could not be loaded').waitFor()
    await page.unroute('**/rest/v1/**')
    await page.getByRole('button', { name: 'Try again' }).click()
    await row('Google Gemini').waitFor()
  })

  await t.test('a newcomer is asked for the one key, and is in', async () => {
    const context = await openPage(t, browser, stack.url)
    await signIn(context, newcomer)
    await context.getByRole('heading', { name: 'Connect Google Gemini' }).waitFor()
    await context.getByLabel('Gemini API key').fill(key('gemini-live-of-the-newcomer'))
    await context.getByRole('button', { name: 'Save and continue' }).click()
    await context.getByText('All keys').waitFor()
    assert.equal(await stored('gemini_api_key', newcomer.businesses[0].id), 'gemini-live-of-the-newcomer')
    const shown = await context.content()
    assert.ok(!shown.includes('Teahouse') && !shown.includes('Nordlicht'), 'another owner’s business')
    assert.deepEqual(context.problems, [])
  })

  await t.test(
    'no key is in the document, an address, the storage, the console, an answer or a log',
    async () => {
      const looked = {
        document: await page.content(),
        fields: (await page.locator('input').evaluateAll((all) => all.map(({ value }) => value))).join(' '),
        addresses: addresses.join(' '),
        storage: await page.evaluate(() =>
          JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
        ),
        console: spoken.join(' '),
        answers: (await Promise.all(answers)).join(' '),
        backend: stack.backendOutput,
        database: stack.cluster.log(),
      }
      assert.match(looked.storage, /access_token/)
      assert.match(looked.answers, /last4/)
      for (const value of [
        ...keys,
        ...typed,
        ...other.businesses.flatMap((one) => Object.values(one.keys)),
      ]) {
        for (const [where, text] of Object.entries(looked))
          assert.ok(!text.includes(value), `a key in: ${where}`)
      }
      assert.deepEqual(page.problems, [])
    },
  )

  await t.test('after signing out nothing of the business is left on the page', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    assert.ok(!(await page.content()).includes('Teahouse'))
    assert.equal(await page.evaluate(() => localStorage.length), 0)
  })
})
