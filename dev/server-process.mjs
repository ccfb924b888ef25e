// One server's folder and process: unprivileged user, initdb, start, stop, and the guardian that cleans up after us.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000

/** A new temporary folder that the server's user owns, and a guardian that removes it when this process is gone. */
export function prepareFolder(native, prefix) {
  const user = serverUser()
  // realpath: macOS's temporary folder is a link, and the server compares paths. A socket's path holds 107 bytes.
  const preferred = realpathSync(tmpdir())
  const base = preferred.length < 60 && reachable(preferred, user) ? preferred : '/tmp'
  const path = mkdtempSync(join(base, prefix))
  chmodSync(path, 0o700)
  own(path, user)
  return new Folder(path, user, native)
}

class Folder {
  #guardian

  constructor(path, user, native) {
    this.path = path
    this.user = user
    this.#guardian = spawn(
      process.execPath,
      [fileURLToPath(new URL('guardian.mjs', import.meta.url)), path],
      {
        // In a session of its own: the terminal's Ctrl-C is for us, not for it.
        detached: true,
        stdio: ['pipe', 'ignore', 'ignore'],
        env: {},
        cwd: '/',
      },
    )
    // Neither the process nor the pipe keeps ours alive.
    this.#guardian.unref()
    this.#guardian.stdin.unref()
    this.#guardian.stdin.on('error', () => {})
    this.native = native
    if (!reachable(native, user)) {
      this.native = join(path, 'native')
      cpSync(native, this.native, { recursive: true, verbatimSymlinks: true })
    }
  }

  /** Writes a file that only the server's user can read. Returns its path. */
  write(name, content) {
    const path = join(this.path, name)
    writeFileSync(path, content, { mode: 0o600 })
    chmodSync(path, 0o600)
    own(path, this.user)
    return path
  }

  async initdb({ superuser, password }) {
    const passwordFile = this.write('superuser.pw', password)
    const args = [
      '-D',
      join(this.path, 'data'),
      '-U',
      superuser,
      '-A',
      'scram-sha-256',
      `--pwfile=${passwordFile}`,
    ]
    // The one locale with Unicode's letters that every Linux has; macOS has its own name for it.
    args.push('-E', 'UTF8', `--locale=${process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'}`)
    args.push('--no-sync', '--no-instructions')
    const child = this.spawn('initdb', args, 'initdb.log')
    const [code, signal] = await once(child, 'exit')
    rmSync(passwordFile)
    if (code !== 0) throw new Error(`initdb ended with ${code ?? signal}:\n${this.tail('initdb.log')}`)
  }

  /** Starts one of the binaries as the server's user, both outputs going to the end of a log file in the folder. */
  spawn(binary, args, log) {
    const fd = openSync(join(this.path, log), 'a', 0o600)
    try {
      return spawn(join(this.native, 'bin', binary), args, {
        cwd: this.path,
        detached: true,
        stdio: ['ignore', fd, fd],
        env: { PATH: process.env.PATH, HOME: this.path, TZ: 'UTC', LC_MESSAGES: 'C' },
        ...this.user,
      })
    } finally {
      closeSync(fd)
    }
  }

  tail(log) {
    return readFileSync(join(this.path, log), 'utf8').split('\n').slice(-20).join('\n').trim()
  }

  async remove() {
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5 })
    this.#guardian.kill('SIGKILL')
  }
}

export class ServerProcess {
  #folder
  #child
  #exited

  constructor(folder, settings) {
    this.settings = settings
    this.#folder = folder
  }

  get pid() {
    return this.#child?.pid
  }

  /** Starts on a port, or on one that `port()` gives: then again if somebody else was quicker to take it. */
  async start(port) {
    for (let attempt = 1; ; attempt++) {
      this.port = typeof port === 'function' ? await port() : port
      try {
        return await this.#startOnce()
      } catch (error) {
        if (typeof port !== 'function' || attempt === 5 || !/Address already in use/.test(error.message))
          throw error
      }
    }
  }

  /** Starts on the port that it had. Somebody may have got it for a connection meanwhile: then once that has ended. */
  async startAgain() {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#startOnce()
      } catch (error) {
        if (attempt === 50 || !/Address already in use/.test(error.message)) throw error
        await delay(200)
      }
    }
  }

  async #startOnce() {
    const data = join(this.#folder.path, 'data')
    const settings = Object.entries({ ...this.settings, port: this.port })
    const args = ['-D', data, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
    const child = this.#folder.spawn('postgres', args, 'server.log')
    this.#child = child
    let ended
    this.#exited = once(child, 'exit').then(([code, signal]) => {
      ended = code ?? signal
      this.#child = undefined
    })
    // A server that is still there must not keep our process from ending: the guardian stops it then.
    child.unref()
    const deadline = Date.now() + START_TIMEOUT_MS
    while (ended === undefined) {
      if (isReady(data, child.pid)) return
      if (Date.now() > deadline) {
        await this.stop('SIGQUIT')
        break
      }
      await delay(5)
    }
    throw new Error(`PostgreSQL did not start (${ended ?? 'timeout'}):\n${this.#folder.tail('server.log')}`)
  }

  /** SIGINT: disconnects everybody and shuts down cleanly. SIGQUIT: ends at once, as in a crash. */
  async stop(signal) {
    const child = this.#child
    if (!child) return
    child.ref()
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS)
    await this.#exited
    clearTimeout(timer)
  }
}

/** The last line of this file is the server's state; unlike the log, it is the same in every language. */
function isReady(data, pid) {
  try {
    const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
    return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
  } catch {
    return false
  }
}

/** PostgreSQL refuses to run as root: then it runs as `nobody`. */
function serverUser() {
  if (process.getuid?.() !== 0) return {}
  const nobody = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([name]) => name === 'nobody')
  return nobody ? { uid: Number(nobody[2]), gid: Number(nobody[3]) } : { uid: 65534, gid: 65534 }
}

function own(path, { uid, gid }) {
  if (uid !== undefined) chownSync(path, uid, gid)
}

/** Whether the server's user can enter a folder and every one above it. */
function reachable(path, { uid }) {
  if (uid === undefined) return true
  for (let at = realpathSync(path); ; at = dirname(at)) {
    if ((statSync(at).mode & 0o005) !== 0o005) return false
    if (at === dirname(at)) return true
  }
}
