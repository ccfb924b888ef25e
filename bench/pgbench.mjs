// The limit: PostgreSQL's own load generator on the same function, which does nothing with the answers.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CONNECTIONS } from './contenders.mjs'
import { NAME } from './read.mjs'

const execute = promisify(execFile)

const SCRIPT = `select ord, value, version, status
from public.get_business_secrets_batch(:ids::uuid[], :names::text[]);
`

/** Gets per second with batches of 1, 32 and 256; undefined where there is no pgbench. */
export async function pgbench(url, businesses, quick) {
  const folder = mkdtempSync(join(tmpdir(), 'app-secrets-bench-'))
  try {
    const script = join(folder, 'read.sql')
    writeFileSync(script, SCRIPT)
    const perSecond = {}
    for (const size of [1, 32, 256]) {
      const ids = `{${businesses.slice(0, size).join(',')}}`
      const names = `{${Array(size).fill(NAME).join(',')}}`
      const args = ['-n', '-M', 'prepared', '-c', CONNECTIONS, '-j', 2, '-T', quick ? 1 : 4, '-f', script]
      const { stdout } = await execute(
        'pgbench',
        [...args, '-D', `ids=${ids}`, '-D', `names=${names}`].map(String),
        { env: { PATH: process.env.PATH, ...connection(url) } },
      )
      perSecond[size] = Number(/tps = ([\d.]+)/.exec(stdout)[1]) * size
    }
    return perSecond
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** In the environment, where the password is not in the list of processes. */
function connection(url) {
  const { hostname, port, username, password, pathname } = new URL(url)
  return {
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: username,
    PGPASSWORD: password,
    PGDATABASE: pathname.slice(1),
  }
}
