// The examples list secrets of their own, because a browser cannot load the addon: they must be those of the catalogue.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { compile, examples } from './support/compiled.mjs'

const types = readFileSync(new URL('../../index.d.ts', import.meta.url), 'utf8')
const [, union] = types.match(/export type SecretName =([^;]*?)(?:\n\n|;|\nexport)/)
const catalogue = [...union.matchAll(/'([a-z_]+)'/g)].map(([, name]) => name)
const metadata = ['google_token_expiry', 'google_drive_folder_id']
const sealed = catalogue.filter((name) => !metadata.includes(name))

test('settings offers every secret but those that Google hands out', async (t) => {
  const load = await compile(t, ['src/lib/businessSecrets.js'])
  const { integrations } = await load('src/lib/businessSecrets.js')
  const offered = integrations.map(({ name }) => name)
  assert.deepEqual(
    offered,
    sealed.filter((name) => !name.startsWith('google_')),
  )
})

test('reseal carries every sealed secret over', () => {
  const source = readFileSync(join(examples, 'scripts/reseal.js'), 'utf8')
  const [, list] = source.match(/const sealed = \[([^\]]*)\]/)
  assert.deepEqual(
    [...list.matchAll(/'([a-z_]+)'/g)].map(([, name]) => name),
    sealed,
  )
})
