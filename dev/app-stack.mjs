// Everything that `npm run app` starts, in one place, so that the browser tests start the same: an embedded server, migrated,
// with demo businesses; a Data API with sign-in; the providers' stand-ins; the backend; Vite.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { demoPeople, insertPeople } from './app-data.mjs'
import { appRequire, installApp } from './app-install.mjs'
import { startProviders } from './app-providers.mjs'
import { root } from './binaries.mjs'
import { startDataApi } from './data-api.mjs'
import { createLegacyTables } from './legacy-data.mjs'
import { startPostgres, withClient } from './postgres.mjs'

/**
 * @param {object} [options]
 * @param {(text: string) => void} [options.say] told what is being done
 * @param {number} [options.port] of the page; a free one unless given
 */
export async function startAppStack({ say = () => {}, port } = {}) {
  const stack = new AppStack()
  try {
    await stack.start(say, port)
  } catch (error) {
    await stack.close()
    throw error
  }
  return stack
}

class AppStack {
  /** Who may sign in, with their passwords and businesses. */
  people = demoPeople()
  /** What the backend has written to its output so far. */
  backendOutput = ''
  #closing
  #started = []

  async start(say, port) {
    const folder = await installApp(say)
    say('starting PostgreSQL, migrating the demo businesses')
    this.cluster = await startPostgres()
    this.#started.push(() => this.cluster.stop())
    const admin = this.cluster.urlFor('postgres')
    await createLegacyTables(admin)
    await withClient(this.cluster.urlFor('supabase_admin'), (client) => insertPeople(client, this.people))
    // As an administrator does it.
    await promisify(execFile)(process.execPath, [join(root, 'bin/app-secrets.js'), 'migrate'], {
      env: { ...process.env, ADMIN_DATABASE_URL: admin },
    })
    const logins = await this.#createLogins(folder)

    say('starting the Data API, the providers and the backend')
    this.dataApi = await startDataApi({ url: this.cluster.urlFor('authenticator'), users: this.people })
    this.#started.push(() => this.dataApi.close())
    this.providers = await startProviders()
    this.#started.push(() => this.providers.close())
    await this.#startBackend(folder, { ...logins, ...this.providers.env, ADMIN_DATABASE_URL: admin })

    say('starting Vite')
    await this.#startVite(folder, port)
  }

  /** A login for each consumer, which may read its names and no others. */
  async #createLogins(folder) {
    const { consumers } = createRequire(import.meta.url)(join(folder, 'backend/lib/secrets.js'))
    const env = {}
    for (const [name, { login, reads }] of Object.entries(consumers)) {
      env[`${name.toUpperCase()}_SECRETS_URL`] = await this.cluster.createLogin(login, {
        memberOf: ['app_secrets_service'],
      })
      await this.cluster.sql('select app_secrets.grant_scope($1, $2, true, false)', {
        role: 'postgres',
        values: [login, reads],
      })
    }
    return env
  }

  async #startBackend(folder, env) {
    const child = spawn(process.execPath, [join(folder, 'frontend_source/backend_server.js')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...env,
        PORT: '0',
        SUPABASE_URL: this.dataApi.url,
        SUPABASE_PUBLISHABLE_KEY: this.dataApi.keys.publishable,
      },
    })
    const ended = once(child, 'exit')
    this.#started.push(async () => {
      child.kill('SIGTERM')
      await ended
    })
    const lines = [child.stdout, child.stderr].map((input) => createInterface({ input }))
    this.backendUrl = await new Promise((resolve, reject) => {
      for (const line of lines) {
        line.on('line', (text) => {
          this.backendOutput += `${text}\n`
          const [, url] = text.match(/^backend: (http:\S+)$/) ?? []
          if (url) resolve(url)
        })
      }
      ended.then(() => reject(new Error(`the backend ended:\n${this.backendOutput}`)))
    })
  }

  async #startVite(folder, port) {
    process.env.VITE_SUPABASE_URL = this.dataApi.url
    process.env.VITE_SUPABASE_PUBLISHABLE_KEY = this.dataApi.keys.publishable
    process.env.API_URL = this.backendUrl
    const { createServer } = await import(pathToFileURL(appRequire.resolve('vite')).href)
    const vite = await createServer({
      configFile: join(folder, 'frontend_source/vite.config.mjs'),
      server: { port: port ?? 0, strictPort: port !== undefined },
      logLevel: 'error',
      clearScreen: false,
    })
    this.#started.push(() => vite.close())
    await vite.listen()
    this.url = `http://127.0.0.1:${vite.httpServer.address().port}/`
  }

  /** Ends all of it, last first. */
  close() {
    this.#closing ??= (async () => {
      for (const stop of this.#started.reverse()) await stop()
    })()
    return this.#closing
  }
}
