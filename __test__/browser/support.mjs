// Chromium, driven by playwright-core, on the stack that `npm run app` starts.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { appRequire } from '../../dev/app-install.mjs'
import { root } from '../../dev/binaries.mjs'

/** Where every run leaves its pictures. */
export const pictures = join(root, 'target', 'screenshots')

const usual = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

export function chromiumPath() {
  const found = [process.env.CHROMIUM_PATH, ...usual].find((path) => path && existsSync(path))
  if (!found) {
    throw new Error(
      'Chromium was not found: install it (Debian: apt-get install chromium), or set CHROMIUM_PATH to where it is',
    )
  }
  return found
}

export async function launch(t) {
  const { chromium } = appRequire('playwright-core')
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    // Root cannot have Chromium's own sandbox, and what is opened here is our own page.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  })
  t.after(() => browser.close())
  return browser
}

/** A page of its own, without anything that another one has stored. Errors of the page fail the test at its end. */
export async function openPage(t, browser, url, { width = 1280, height = 900, colorScheme = 'light' } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
    timezoneId: 'UTC',
  })
  t.after(() => context.close())
  const page = await context.newPage()
  page.problems = []
  page.on('pageerror', (error) => page.problems.push(String(error)))
  page.setDefaultTimeout(15_000)
  await page.goto(url)
  return page
}

export async function signIn(page, { email, password }) {
  await page.getByLabel('E-mail').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

export async function picture(page, name) {
  mkdirSync(pictures, { recursive: true })
  const path = join(pictures, `${name}.png`)
  await page.screenshot({ path, fullPage: true })
  return path
}
