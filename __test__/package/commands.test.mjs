// Every command of README.md and docs/, as it is written: fenced ones are run in a folder that has the tarball installed, on a
// database of the demo's shape; of those within a sentence, command and options are held against the help.
//
// docs/recipes.md has suites of its own (`npm run test:recipes`).

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/addon.mjs'
import { cli } from '../support/cli.mjs'
import { run, service } from '../support/packed.mjs'
import { startCluster, TestCluster } from '../support/servers.mjs'

/** What cannot be run here, and why. `npm run` scripts have to be there; they are commands of this repository. */
const elsewhere = [
  [/^npm (run |test\b)/, 'a script of this repository, which has its own tests or is a benchmark'],
  [/^npm install @app\/secrets$/, 'the registry does not have it; the folder here has the tarball installed'],
  [/^supabase db push$/, 'needs a project; `npm run test:supabase` pushes with the real command'],
  [
    /^app-secrets rekey |^rm rekey\.key$/,
    "Vault's root key is changed in between: __test__/cli/rekey.test.mjs",
  ],
]

/** What a reader puts in. */
const substitutions = (db, business) => [
  ['postgres://postgres:…@db.example.supabase.co:5432/postgres', db.admin],
  ["id = '…'", `id = '${business}'`],
]

const business = '4e572c0a-77e4-41e5-826b-3b99fe83fcc1'
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)].filter(
  (page) => page.endsWith('.md') && page !== 'docs/recipes.md',
)
const text = (page) => readFileSync(join(root, page), 'utf8')

/** The fenced blocks of a page that are commands: `{ language, lines }`. */
function blocks(page) {
  return [...text(page).matchAll(/^```(sh|bash|console|sql)\n(.*?)^```$/gms)].map(([, language, body]) => ({
    language,
    // Of a picture of a terminal, what was typed.
    lines:
      language === 'console'
        ? [...body.matchAll(/^\$ (.*)$/gm)].map(([, line]) => line)
        : body.trimEnd().split('\n'),
  }))
}

const bare = (line) => line.replace(/\s+#.*$/, '').trim()
const isElsewhere = (line) => elsewhere.some(([pattern]) => pattern.test(bare(line)))

test('every fenced command of a page is run as it is written', { timeout: 600_000 }, async (t) => {
  const own = await startCluster(17)
  const cluster = new TestCluster(own.description)
  t.after(() => own.stop())
  const folder = service()
  // What a reader has: the new key, and the folder of the Supabase CLI.
  writeFileSync(join(folder, 'new-key.txt'), 'a-new-key\n')
  mkdirSync(join(folder, 'supabase/migrations'), { recursive: true })
  const PATH = [join(folder, 'node_modules/.bin'), process.env.PATH].join(delimiter)
  for (const page of pages.filter((page) => blocks(page).length)) {
    await t.test(page, async (t) => {
      // Each page begins where its reader stands: README's before the migration, the others after it.
      const db = await cluster.freshDatabase(t, {
        migratedTo: page === 'README.md' ? 0 : 4,
        legacyData: true,
      })
      await db.query("insert into public.businesses (id, name) values ($1, 'from the page')", [business])
      const typed = (words) =>
        substitutions(db, business).reduce((all, [what, value]) => all.replaceAll(what, value), words)
      const env = { PATH, ADMIN_DATABASE_URL: db.admin, APP_SECRETS_URL: db.service }
      for (const { language, lines } of blocks(page)) {
        if (language === 'sql') {
          await db.query(typed(lines.join('\n')))
          continue
        }
        const script = typed(lines.filter((line) => !isElsewhere(line)).join('\n'))
        const { code, output } = await run('sh', ['-ec', script], { cwd: folder, env })
        assert.equal(code, 0, `${page}:\n${script}\n${output}`)
      }
      for (const login of ['maya_service', 'kling_routes']) {
        await cli(db, ['login', 'remove', login])
      }
    })
  }
})

test('what is run elsewhere is there, and the table of it has nothing that no page has', () => {
  const { scripts } = JSON.parse(text('package.json'))
  const lines = pages.flatMap((page) =>
    blocks(page).flatMap(({ language, lines }) => (language === 'sql' ? [] : lines.map(bare))),
  )
  for (const [pattern, why] of elsewhere) {
    assert.ok(
      lines.some((line) => pattern.test(line)),
      `no page has ${pattern} any more (${why})`,
    )
  }
  const named = [...pages, 'docs/recipes.md'].flatMap((page) => [
    ...text(page).matchAll(/\bnpm run ([a-z][a-z:-]*)/g),
  ])
  assert.ok(named.length > 10)
  assert.deepEqual(
    named.map(([, name]) => name).filter((name) => !scripts[name]),
    [],
  )
})

test('every command of ours that a page names is one, with the options that it has', async () => {
  const helps = new Map()
  const help = async (words) => {
    const key = words.join(' ')
    if (!helps.has(key)) helps.set(key, cli(undefined, [...words, '--help']))
    const { code, stdout } = await helps.get(key)
    return code === 0 ? stdout : undefined
  }
  const wrong = []
  let found = 0
  for (const page of [...pages, 'docs/recipes.md']) {
    for (const [, command] of text(page).matchAll(/(?:`|^)(?:npx )?app-secrets ([^`#\n]+)/gm)) {
      found++
      const words = command.trim().split(/\s+/)
      // `login add`, `names retire`: the second word is a command where the first one has commands of its own.
      const one = await help(words.slice(0, 1))
      const isGroup = one?.includes('Commands:')
      const two = isGroup && /^[a-z]+$/.test(words[1] ?? '') ? await help(words.slice(0, 2)) : one
      const options = words.filter((word) => word.startsWith('--') && word !== '--')
      const unknown = options
        .map((word) => word.replace(/[=,.;:)].*$/, ''))
        .filter((word) => !two?.includes(word))
      if (!two && !/^[…<]/.test(words[0]) && !words[0].startsWith('--'))
        wrong.push(`${page}: ${command}: no such command`)
      else if (unknown.length && two) wrong.push(`${page}: ${command}: ${unknown}`)
    }
  }
  assert.ok(found > 30, `${found}`)
  assert.deepEqual(wrong, [])
})
