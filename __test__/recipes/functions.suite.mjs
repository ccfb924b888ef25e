// Serverless functions, by the recipes of docs/recipes.md: also after the process was frozen and its connection lost.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { runLines, service, startServer } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

/** Stands for Lambda's runtime: an event a line, an answer a line. */
const runtime = `import { createInterface } from 'node:readline'
import { handler } from './handler.mjs'

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await handler(JSON.parse(line))))
}
`

const connections = (db) =>
  db.query(
    `select pid from pg_catalog.pg_stat_activity
     where datname = pg_catalog.current_database() and application_name like 'captions%'`,
    [],
    'supabase_admin',
  )

test('a function on Lambda has one connection, and another one where that was lost while it was frozen', async (t) => {
  const db = await freshDatabase(t, 17)
  const businessId = await addBusiness(db, { grok_api_key: 'xai-0123456789' })
  const { files, commands } = recipe('AWS Lambda')
  const folder = service({ files: { ...files, 'runtime.mjs': runtime } })
  if (process.platform === 'linux' && process.arch === 'x64') await runLines(folder, commands)

  const child = spawn(process.execPath, ['runtime.mjs'], {
    cwd: folder,
    env: { PATH: process.env.PATH, APP_SECRETS_URL: db.service },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const invoke = async (provider) => {
    child.stdin.write(`${JSON.stringify({ businessId, provider })}\n`)
    return JSON.parse((await answers.next()).value)
  }
  assert.deepEqual(await invoke('grok'), { isConfigured: true })
  const [{ pid }, ...more] = await connections(db)
  assert.deepEqual(more, [])

  child.kill('SIGSTOP')
  await db.query('select pg_catalog.pg_terminate_backend($1)', [pid], 'supabase_admin')
  await until(async () => (await connections(db)).length === 0, 'the end of its connection')
  child.kill('SIGCONT')
  assert.deepEqual(await invoke('claude'), { isConfigured: false })
  assert.equal((await connections(db)).length, 1)
})

const server = `import { createServer } from 'node:http'
import handler from './api/integrations.js'

const server = createServer(handler).listen(process.env.PORT, () => console.log(\`listening on \${server.address().port}\`))
`

test('what Vercel traces of a function has the addon in it and answers', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db, { grok_api_key: 'xai-0123456789' })
  const folder = service({
    dependencies: { '@vercel/nft': '1.11.5' },
    manifest: { type: 'module' },
    files: { ...recipe('Vercel').files, 'server.js': server },
  })
  await runLines(folder, ['npx nft build server.js'])
  const elsewhere = mkdtempSync(join(tmpdir(), 'app-secrets-traced-'))
  t.after(() => rmSync(elsewhere, { recursive: true, force: true }))
  cpSync(join(folder, 'dist'), elsewhere, { recursive: true })
  const { url, stop } = await startServer(t, elsewhere, ['node server.js'], { APP_SECRETS_URL: db.service })
  assert.equal((await (await fetch(`${url}/?business=${id}`)).json()).grok.last4, '6789')
  await stop()
})
