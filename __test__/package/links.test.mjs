// The tarball is whole: what its pages link to is in it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { test } from 'node:test'
import { npm } from '../../dev/node.mjs'
import { root } from '../support/addon.mjs'

const [{ files }] = JSON.parse(npm(root, 'pack', '--dry-run', '--json', '--ignore-scripts'))
// The release writes these; packed.test.mjs looks at them.
const generated = ['THIRD-PARTY-LICENSES.txt', 'sbom.cdx.json']
const packed = new Set(files.map(({ path }) => path))
const pages = [...packed].filter((path) => path.endsWith('.md')).sort()

/** `{ target, anchor }` of every link and picture of a page but those to other hosts. Code is not looked at. */
function links(page) {
  const text = readFileSync(join(root, page), 'utf8')
    .replaceAll(/^```.*?^```$/gms, '')
    .replaceAll(/`[^`\n]*`/g, '')
  return [...text.matchAll(/\]\(\s*<?([^)\s>]+)/g), ...text.matchAll(/\b(?:href|src)="([^"]+)"/g)]
    .map(([, link]) => link)
    .filter((link) => !/^(https?|mailto):/.test(link))
    .map((link) => {
      const [path, anchor] = link.split('#')
      const target = path ? posix.normalize(posix.join(posix.dirname(page), path)) : page
      return { target: target.replace(/\/$/, ''), anchor }
    })
}

/** The anchors of a page's headings, as GitHub and npm make them. */
function anchors(page) {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```.*?^```$/gms, '')
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .replaceAll(/[`*]|\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  )
}

test('no link of a page in the package leads out of it, and every one leads somewhere', () => {
  assert.ok(pages.includes('README.md') && pages.includes('docs/recipes.md'))
  const broken = []
  for (const page of pages) {
    for (const { target, anchor } of links(page)) {
      const isFolder = [...packed].some((path) => path.startsWith(`${target}/`))
      if (!packed.has(target) && !isFolder) broken.push(`${page}: ${target}`)
      else if (anchor && packed.has(target) && !anchors(target).includes(anchor)) {
        broken.push(`${page}: ${target}#${anchor}`)
      }
    }
  }
  assert.deepEqual(broken, [])
})

test('every entry of `files` is there', () => {
  const { files: entries } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const entry of entries.filter((name) => !name.startsWith('!') && !generated.includes(name))) {
    const found = [...packed].some((path) => posix.matchesGlob(path, entry) || path.startsWith(`${entry}/`))
    assert.ok(found, `${entry} matches no file`)
  }
})
