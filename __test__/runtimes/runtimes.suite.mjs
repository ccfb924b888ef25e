// The installed package on every runtime that it supports, by require and by import.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { root } from '../support/addon.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { run, runLines, service } from '../support/packed.mjs'
import { writeFiles } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { runtime } from './binaries.mjs'

const files = {
  'use.cjs': `const exercise = require('./exercise.cjs')
    exercise(require('@app/secrets'), process.argv[2]).then(console.log)`,
  'use.mjs': `import * as secrets from '@app/secrets'
    import exercise from './exercise.cjs'
    console.log(await exercise(secrets, process.argv[2]))`,
}

// Deno has the rights that the explanation of a failed load names, and no more.
const denoRights = ['run', '--no-prompt', '--allow-read', '--allow-env', '--allow-ffi']
const runtimes = {
  'node-22': [],
  'node-24': [],
  'node-26': [],
  bun: ['run'],
  deno: denoRights,
}

let folder
before(() => {
  folder = service({ files })
})

for (const [name, args] of Object.entries(runtimes)) {
  for (const [how, file] of Object.entries({ require: 'use.cjs', import: 'use.mjs' })) {
    test(`the package does on ${name} what it does on Node, by ${how}`, async (t) => {
      const db = await freshDatabase(t, 17)
      const id = await addBusiness(db)
      const env = { APP_SECRETS_URL: db.service }
      const { code, output } = await run(runtime(name), [...args, file, id], {
        cwd: folder,
        env,
        limit: 60_000,
      })
      assert.equal(output, 'exercised\n')
      assert.equal(code, 0)
    })
  }
}

test("README's way from nothing to a first read, typed as it stands, on every runtime", async (t) => {
  const section = readFileSync(join(root, 'README.md'), 'utf8').split('## Sixty seconds to a first read\n')[1]
  const block = (language) => section.match(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms'))[1]
  const db = await freshDatabase(t, 17, { migratedTo: 0 })
  const id = await addBusiness(db)
  await db.query("update public.businesses set gemini_api_key = 'the-first-read' where id = $1", [id])

  // The connection string is the reader's own.
  const place = 'postgres://postgres:…@db.example.supabase.co:5432/postgres'
  const commands = block('sh')
  assert.ok(commands.includes(place))
  const fresh = service()
  const printed = await runLines(fresh, [`set -e\n${commands.replace(place, db.admin)}`])
  const [url] = printed.match(/postgres(ql)?:\/\/\S+/)

  // What the page leaves to the reader: which business, and what is done with the key.
  const text = `const businessId = '${id}'\n${block('js')}\nconsole.log(key)\n`
  writeFiles(fresh, { 'first.mjs': text })
  try {
    for (const [name, args] of Object.entries(runtimes)) {
      const { code, output } = await run(runtime(name), [...args, 'first.mjs'], {
        cwd: fresh,
        env: { APP_SECRETS_URL: url },
        limit: 60_000,
      })
      assert.equal(output, 'the-first-read\n', name)
      assert.equal(code, 0, name)
    }
  } finally {
    // A login belongs to the whole server, which other tests use too.
    await db.query('drop role maya_service', [], 'supabase_admin')
  }
})
