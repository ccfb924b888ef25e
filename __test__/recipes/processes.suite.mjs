// Threads, processes and packed programs, by the recipes of docs/recipes.md.

import assert from 'node:assert/strict'
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runtime } from '../runtimes/binaries.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { run, runLines, service } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'

/** A service whose `work` uses the package, on a business of its own for each of those that work at a time. */
async function worker(t, name, options = {}) {
  const db = await freshDatabase(t, 17)
  const { files, commands } = recipe(name)
  const folder = service({ ...options, files: { ...work, ...options.files, ...files } })
  const businesses = await Promise.all(Array.from({ length: 4 }, () => addBusiness(db)))
  const env = { APP_SECRETS_URL: db.service, BUSINESSES: businesses.join() }
  return { folder, commands, env }
}

const work = {
  'work.mjs': `import cluster from 'node:cluster'
import { threadId } from 'node:worker_threads'
import * as secrets from '@app/secrets'
import exercise from './exercise.mjs'

const number = (cluster.worker?.id ?? threadId) || 1
export default async () => console.log(await exercise(secrets, process.env.BUSINESSES.split(',')[number - 1]))
`,
  'work.cjs': `const exercise = require('./exercise.cjs')

module.exports = (secrets) => exercise(secrets, process.env.BUSINESSES.split(',')[0]).then(console.log)
`,
  'server.mjs': `import work from './work.mjs'\n\nawait work()\n`,
}

test('each worker thread has a client of its own', async (t) => {
  const { folder, commands, env } = await worker(t, 'Worker threads')
  assert.equal(await runLines(folder, commands, { env }), 'exercised\n'.repeat(4))
})

test('each process of a cluster has a client of its own', async (t) => {
  const { folder, commands, env } = await worker(t, 'Cluster')
  assert.equal(await runLines(folder, commands, { env }), 'exercised\n'.repeat(2))
})

test('a single executable finds the package beside it', async (t) => {
  const dependencies = { esbuild: '0.28.2', postject: '1.0.0-alpha.6' }
  const { folder, commands, env } = await worker(t, 'Single executable', { dependencies })
  assert.equal(await runLines(folder, commands, { env }), 'exercised\n')
})

test('an asar archive leaves the addon outside and has all the rest', async (t) => {
  const dependencies = { '@electron/asar': '4.3.2' }
  const { folder, commands, env } = await worker(t, "Electron's asar", { dependencies })
  mkdirSync(join(folder, 'app/node_modules/@app'), { recursive: true })
  cpSync(join(folder, 'node_modules/@app/secrets'), join(folder, 'app/node_modules/@app/secrets'), {
    recursive: true,
  })
  for (const file of ['server.mjs', 'work.mjs', 'exercise.mjs'])
    cpSync(join(folder, file), join(folder, 'app', file))
  await runLines(folder, commands)
  const unpacked = await runLines(folder, ['cd app.asar.unpacked && find . -type f'])
  assert.match(unpacked, /^\.\/node_modules\/@app\/secrets\/app-secrets\.[\w-]+\.node\n$/)
  // There is no Electron in the registry: what is in the archive, with the addon from beside it, has to run.
  assert.equal(
    await runLines(folder, ['npx asar extract app.asar out', 'node out/server.mjs'], { env }),
    'exercised\n',
  )
})

test('the flags of the permission recipe are enough', async (t) => {
  const { folder, commands, env } = await worker(t, 'Permissions')
  const outputs = []
  for (const command of commands) {
    const [program, ...args] = command.split(' ')
    const { output } = await run(program === 'deno' ? runtime('deno') : process.execPath, args, {
      cwd: folder,
      env,
    })
    outputs.push(
      output
        .split('\n')
        .filter((line) => !/Warning|--trace-warnings/.test(line))
        .join('\n'),
    )
  }
  assert.deepEqual(outputs, ['exercised\n', 'exercised\n'])
})
