// Next.js with Turbopack and the standalone output, by the recipe of docs/recipes.md.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { service, startServer } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'

const dependencies = { next: '16.4.6', react: '19.3.1', 'react-dom': '19.3.1' }

const layout = `export default function Layout({ children }) {
  return <html lang="en"><body>{children}</body></html>
}
`
const exerciseRoute = `import * as secrets from '@app/secrets'
import exercise from '../../../exercise.mjs'

export const dynamic = 'force-dynamic'

export async function GET(request) {
  return new Response(await exercise(secrets, new URL(request.url).searchParams.get('id')))
}
`

test('a standalone build of Next.js has the addon and answers from the package', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'xai-0123456789' })
  const other = await addBusiness(db)
  const { files, commands } = recipe('Next.js')
  const folder = service({
    dependencies,
    files: { 'app/layout.js': layout, 'app/api/exercise/route.js': exerciseRoute, ...files },
  })
  const env = { APP_SECRETS_URL: db.service, NEXT_TELEMETRY_DISABLED: '1' }
  const [build, start] = commands
  const built = await startServer(t, folder, [build, start], env)

  const answer = await fetch(`${built.url}/api/integrations/${id}`)
  assert.equal(answer.status, 200)
  assert.equal((await answer.json()).grok.last4, '6789')
  assert.equal(await (await fetch(`${built.url}/api/exercise?id=${other}`)).text(), 'exercised')
  await built.stop()

  await t.test('also where nothing but the standalone folder is', async (t) => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'app-secrets-standalone-'))
    t.after(() => rmSync(elsewhere, { recursive: true, force: true }))
    cpSync(join(folder, '.next/standalone'), elsewhere, { recursive: true })
    const moved = await startServer(t, elsewhere, ['node server.js'], env)
    assert.equal((await fetch(`${moved.url}/api/integrations/${id}`)).status, 200)
    await moved.stop()
  })
})
