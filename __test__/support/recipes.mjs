// The recipes of docs/recipes.md, taken from the page: the files that a recipe names, and its commands.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './addon.mjs'

const page = readFileSync(join(root, 'docs/recipes.md'), 'utf8')

/** The recipe of a heading: `{ files: { name: text }, commands: [line…] }`. */
export function recipe(heading) {
  const section = page.split(/^##+ /m).find((text) => text.startsWith(`${heading}\n`))
  if (!section) throw new Error(`docs/recipes.md has no recipe ${heading}`)
  const files = {}
  const commands = []
  for (const [, language, name, text] of section.matchAll(/^```(\w+) ?(\S*)\n(.*?)^```$/gms)) {
    if (language === 'sh') commands.push(...text.trim().split('\n'))
    else if (name) files[name] = text
  }
  return { files, commands }
}

/** Writes a recipe's files, or others, into a service's folder. */
export function writeFiles(folder, files) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
}

/** Every heading of the page that has commands. */
export const headings = [...page.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading)
