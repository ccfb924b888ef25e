// A picture of each page, light and dark, narrow and wide, for people to look at: they are left in target/screenshots. What a
// program can see is checked on the way: nothing wider than the screen, every control named, every text readable.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startAppStack } from '../../dev/app-stack.mjs'
import { launch, openPage, picture, signIn } from './support.mjs'

const screens = [
  { name: 'wide-light', width: 1280, height: 860, colorScheme: 'light' },
  { name: 'wide-dark', width: 1280, height: 860, colorScheme: 'dark' },
  { name: 'narrow-light', width: 390, height: 844, colorScheme: 'light' },
  { name: 'narrow-dark', width: 390, height: 844, colorScheme: 'dark' },
]

test('every page, on every screen', async (t) => {
  const stack = await startAppStack()
  t.after(() => stack.close())
  const browser = await launch(t)
  const [owner, newcomer] = stack.people

  // Something to see: one key that was replaced, and all of them checked, with one provider away.
  const first = await openPage(t, browser, stack.url)
  await signIn(first, owner)
  stack.providers.down.add('sms')
  await first.getByRole('button', { name: 'Replace Anthropic Claude' }).click()
  await first.getByLabel('New key for Anthropic Claude').fill('claude-live-of-the-pictures')
  await first.keyboard.press('Enter')
  await first.getByText('Anthropic Claude: replaced').waitFor()
  await first.getByRole('button', { name: 'Check all' }).click()
  await first.getByText('Checked: 4 accepted').waitFor()

  for (const screen of screens) {
    await t.test(screen.name, async (t) => {
      const page = await openPage(t, browser, stack.url, screen)
      const take = async (name) => {
        await page.locator('.secret, .card, .table').first().waitFor()
        assert.deepEqual(await problemsOf(page), [], `${name} on ${screen.name}`)
        await picture(page, `${name}-${screen.name}`)
      }
      await take('sign-in')
      await signIn(page, owner)
      await page.locator('.secret .state').first().waitFor()
      await page.getByText('Read by Maya').first().waitFor()
      await take('settings')
      await page.getByRole('button', { name: 'Replace xAI Grok' }).click()
      await take('settings-replace')
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Remove Google Gemini' }).click()
      await take('settings-remove')
      await page.getByRole('link', { name: 'Activity' }).click()
      await page.getByRole('cell', { name: 'moved from plaintext' }).first().waitFor()
      await page.getByText('app-secrets migrate').waitFor()
      await take('activity')

      const other = await openPage(t, browser, stack.url, screen)
      await signIn(other, newcomer)
      await other.getByRole('heading', { name: 'Connect Google Gemini' }).waitFor()
      await picture(other, `onboarding-${screen.name}`)
      await other.getByRole('button', { name: 'Later' }).click()
      await other.getByText('No key is set yet').waitFor()
      await picture(other, `settings-empty-${screen.name}`)

      const failing = await openPage(t, browser, stack.url, screen)
      await failing.route('**/rest/v1/**', (route) => route.abort())
      await signIn(failing, owner)
      await failing.getByRole('button', { name: 'Try again' }).waitFor()
      await picture(failing, `failed-${screen.name}`)
      for (const one of [page, other, failing]) assert.deepEqual(one.problems, [])
    })
  }
})

/** What is wider than the screen, has no name, or has less contrast than WCAG AA asks for. */
function problemsOf(page) {
  return page.evaluate(() => {
    const problems = []
    if (document.documentElement.scrollWidth > window.innerWidth) problems.push('the page scrolls sideways')
    for (const control of document.querySelectorAll('button, input, select, a')) {
      const name =
        control.getAttribute('aria-label') ?? control.labels?.[0]?.textContent ?? control.textContent
      if (!name.trim()) problems.push(`a ${control.tagName} without a name`)
    }
    // A canvas turns any way to write a colour into red, green and blue.
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
    const channels = (color) => {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = color
      canvas.fillRect(0, 0, 1, 1)
      return [...canvas.getImageData(0, 0, 1, 1).data]
    }
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((c) =>
        c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
      )
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const backdrop = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const [r, g, b, alpha] = channels(getComputedStyle(at).backgroundColor)
        if (alpha > 250) return [r, g, b]
      }
      return [255, 255, 255]
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement
      if (
        !walker.currentNode.textContent.trim() ||
        !element.checkVisibility() ||
        element.closest('script, :disabled')
      )
        continue
      const [front, back] = [channels(getComputedStyle(element).color).slice(0, 3), backdrop(element)].map(
        luminance,
      )
      const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)
      if (ratio < 4.5) problems.push(`${ratio.toFixed(1)}:1 for "${walker.currentNode.textContent.trim()}"`)
    }
    return problems
  })
}
