// Bundlers, by the recipes of docs/recipes.md: what they write runs beside the installed package.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { runLines, service } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'

const bundlers = {
  esbuild: { esbuild: '0.28.2' },
  Rollup: { rollup: '4.68.8' },
  webpack: { webpack: '5.113.0', 'webpack-cli': '7.3.1' },
  Vite: { vite: '8.4.0' },
}

const server = `import * as secrets from '@app/secrets'
import exercise from './exercise.mjs'

console.log(await exercise(secrets, process.env.BUSINESS_ID))
`

for (const [name, dependencies] of Object.entries(bundlers)) {
  test(`what ${name} bundles reads and writes`, async (t) => {
    const db = await freshDatabase(t, 17)
    const { files, commands } = recipe(name)
    const folder = service({ dependencies, files: { 'server.mjs': server, ...files } })
    const env = { APP_SECRETS_URL: db.service, BUSINESS_ID: await addBusiness(db) }
    assert.equal(await runLines(folder, commands, { env }), 'exercised\n')
  })
}
