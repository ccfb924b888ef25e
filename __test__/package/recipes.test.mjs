// docs/recipes.md against the suites that run it (`npm run test:recipes`).

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/addon.mjs'
import { headings, recipe } from '../support/recipes.mjs'

const folder = join(root, '__test__/recipes')
const suites = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))

test('every recipe has commands or files, and a suite that runs them', () => {
  assert.ok(headings.length > 10)
  for (const heading of headings) {
    const { commands, files } = recipe(heading)
    assert.ok(commands.length || Object.keys(files).length, heading)
    // As an argument of recipe(), or as the key of a table of recipes.
    const escaped = heading.replaceAll('.', '\\.')
    const named = new RegExp(`['"]${escaped}['"]|^ {2}'?${escaped}'?: `, 'm')
    assert.ok(
      suites.some((text) => named.test(text)),
      `no suite runs the recipe ${heading}`,
    )
  }
})
