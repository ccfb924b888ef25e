// The health check and the metrics of docs/recipes.md, while the database is there and while it is not.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
import { service, startServer } from '../support/packed.mjs'
import { recipe } from '../support/recipes.mjs'

test('the check follows the database, and the metrics are in the format of Prometheus', async (t) => {
  const db = await freshDatabase(t, 17)
  const { files, commands } = recipe('Health check and Prometheus')
  const folder = service({ files })
  const ask = async ({ url }, path) => {
    const response = await fetch(url + path)
    return [response.status, await response.text()]
  }

  const up = await startServer(t, folder, commands, { APP_SECRETS_URL: db.service })
  assert.deepEqual(await ask(up, '/healthz'), [200, 'ok\n'])
  const [status, text] = await ask(up, '/metrics')
  assert.equal(status, 200)
  const lines = text.trimEnd().split('\n')
  for (const line of lines) assert.match(line, /^app_secrets_[a-z_]+(\{state="[a-z]+"\})? \d+$/)
  assert.equal(new Set(lines.map((line) => line.split(' ')[0])).size, lines.length)
  assert.ok(lines.includes('app_secrets_connections_opened_total 1'), text)
  await up.stop()

  const down = await startServer(t, folder, commands, { APP_SECRETS_URL: 'postgres://u:p@127.0.0.1:1/x' })
  assert.deepEqual(await ask(down, '/healthz'), [503, 'UNAVAILABLE\n'])
  await down.stop()
})
