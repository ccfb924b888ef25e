// The installed package on every runtime that it supports, by require and by import.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { run, service } from '../support/packed.mjs'
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
