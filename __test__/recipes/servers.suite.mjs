// Web frameworks, by the recipes of docs/recipes.md: they serve, they map errors, and they end in good order.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { service, startServer } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'

const nest = '12.5.1'
const frameworks = {
  Express: { dependencies: { express: '5.3.0' }, refusals: [400, 404] },
  Fastify: { dependencies: { fastify: '5.12.8' }, refusals: [400, 404] },
  Nest: {
    dependencies: {
      '@nestjs/common': nest,
      '@nestjs/core': nest,
      '@nestjs/platform-express': nest,
      'reflect-metadata': '0.2.2',
      rxjs: '7.8.2',
      typescript: '5.9.3',
      '@types/node': '22.20.7',
    },
    files: {
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          target: 'es2023',
          module: 'nodenext',
          strict: true,
          experimentalDecorators: true,
          emitDecoratorMetadata: true,
          rootDir: 'src',
          outDir: 'dist',
          types: ['node'],
        },
      }),
    },
    manifest: { type: 'module' },
    refusals: [500, 500],
  },
}

for (const [name, { dependencies, files = {}, manifest, refusals }] of Object.entries(frameworks)) {
  test(`a service on ${name} answers from the package and stops when it is told to`, async (t) => {
    const db = await freshDatabase(t, 17)
    const { files: own, commands } = recipe(name)
    const folder = service({ dependencies, manifest, files: { ...files, ...own } })
    const id = await addBusiness(db, { grok_api_key: 'xai-0123456789' })
    const server = await startServer(t, folder, commands, { APP_SECRETS_URL: db.service })
    const ask = (business) => fetch(`${server.url}/businesses/${business}/integrations`)

    const answer = await ask(id)
    assert.equal(answer.status, 200)
    const text = await answer.text()
    assert.equal(JSON.parse(text).grok.last4, '6789')
    assert.ok(!text.includes('xai-0123456789'))
    const statuses = await Promise.all(
      ['no-uuid', '10000000-0000-4000-8000-0000000000ff'].map(
        async (business) => (await ask(business)).status,
      ),
    )
    assert.deepEqual(statuses, refusals)

    const { code, output } = await server.stop()
    assert.ok(code === 0 || code === 'SIGTERM', `${code}: ${output}`)
  })
}
