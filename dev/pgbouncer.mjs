// Starts a throw-away PgBouncer in transaction mode in front of a server of dev/postgres.mjs. PgBouncer comes from the
// system (Debian: apt-get install pgbouncer): there is no npm package of it.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './credentials.mjs'
import { prepareFolder } from './server-process.mjs'

const START_TIMEOUT_MS = 10_000
// Debian installs it where only root's PATH leads.
const PATH = [process.env.PATH, '/usr/sbin', '/usr/local/sbin'].join(delimiter)

// Ends PgBouncer when its standard input does, however this process ends.
const TIED_TO_STDIN = '"$@" & child=$!; read -r _; kill -KILL $child'

/** The version of the installed PgBouncer. */
export function pgbouncerVersion() {
  const { error, stdout } = spawnSync('pgbouncer', ['--version'], { env: { PATH }, encoding: 'utf8' })
  if (error) {
    throw new Error(
      'pgbouncer is not installed: run `apt-get install pgbouncer`, or your system’s equivalent',
    )
  }
  return /PgBouncer (\S+)/.exec(stdout)[1]
}

/**
 * @param {import('./postgres.mjs').Cluster} cluster
 * @param {object} options
 * @param {string[]} options.urls connection strings of the logins that may pass
 * @param {number} [options.poolSize] connections to the server; 4 unless told
 */
export async function startPgbouncer(cluster, { urls, poolSize = 4 }) {
  pgbouncerVersion()
  const port = await freePort()
  const folder = prepareFolder('/usr', 'app-secrets-pgbouncer-')
  const users = urls.map((url) => {
    const { username, password } = new URL(url)
    return `"${username}" "${password}"\n`
  })
  // md5: with SCRAM, hundreds of clients would spend their time deriving keys.
  const config = folder.write(
    'pgbouncer.ini',
    `[databases]
* = host=127.0.0.1 port=${cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = md5
auth_file = ${folder.write('users.txt', users.join(''))}
stats_users = ${new URL(urls[0]).username}
logfile = ${join(folder.path, 'pgbouncer.log')}
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 2000
`,
  )
  const child = spawn('/bin/sh', ['-c', TIED_TO_STDIN, 'sh', 'pgbouncer', '-q', config], {
    cwd: folder.path,
    env: { PATH },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    ...folder.user,
  })
  child.unref()
  child.stdin.unref()
  child.stdin.on('error', () => {})
  const stop = async () => {
    child.ref()
    child.stdin.end()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    await folder.remove()
  }
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await listens(port))) {
    if (Date.now() > deadline) {
      const log = folder.tail('pgbouncer.log')
      await stop()
      throw new Error(`pgbouncer did not start:\n${log}`)
    }
    await delay(20)
  }
  return {
    port,
    poolSize,
    stop,
    /** A connection string that leads through here. */
    through(url) {
      const address = new URL(url)
      address.port = port
      return address.href
    },
  }
}

async function listens(port) {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
