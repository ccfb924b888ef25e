// The example's backend in this process, on a migrated database, with a login for each consumer and the providers' stand-ins.

import { once } from 'node:events'
import { join } from 'node:path'
import pg from 'pg'
import { appRequire, installApp } from '../../../dev/app-install.mjs'
import { startProviders } from '../../../dev/app-providers.mjs'
import { withClient } from '../../support/cluster.mjs'

/**
 * `{ url, providers, secrets, call }`: `secrets` is a client that may read and write everything; `call(method, path, body)` sends
 * a request with `session.token` for `session.business`.
 */
export async function startBackend(t, db, api, session) {
  const folder = await installApp()
  const { consumers, closeSecrets } = appRequire(join(folder, 'backend/lib/secrets.js'))
  const providers = await startProviders()
  t.after(() => providers.close())
  Object.assign(process.env, providers.env, {
    SUPABASE_URL: api.url,
    SUPABASE_PUBLISHABLE_KEY: api.keys.publishable,
    ADMIN_DATABASE_URL: db.admin,
  })
  for (const [name, { login, reads }] of Object.entries(consumers)) {
    process.env[`${name.toUpperCase()}_SECRETS_URL`] = await createLogin(t, db, login, reads)
  }
  const { connect } = appRequire('@app/secrets')
  const secrets = await connect({ url: db.service, actor: 'test' })
  t.after(() => secrets.close())
  t.after(closeSecrets)

  const { createApp } = appRequire(join(folder, 'frontend_source/backend_server.js'))
  const server = createApp().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${server.address().port}`

  async function call(method, path, body) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(session.token && { authorization: `Bearer ${session.token}` }),
        ...(session.business && { 'x-business-id': session.business }),
        ...(body && { 'content-type': 'application/json' }),
      },
      body: typeof body === 'string' ? body : body && JSON.stringify(body),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text ? JSON.parse(text) : undefined,
    }
  }
  return { url, providers, secrets, call }
}

/** Logins belong to the whole server, so their names are this database's own. */
async function createLogin(t, db, name, reads) {
  const login = `${name}_${db.name}`
  const password = `p${Math.random().toString(36).slice(2)}`
  await withClient(db.superuser, (client) =>
    client.query(
      `create role ${login} login in role app_secrets_service password ${pg.escapeLiteral(password)}`,
    ),
  )
  t.after(() =>
    withClient(db.cluster.urlFor('supabase_admin'), (client) => client.query(`drop role if exists ${login}`)),
  )
  await db.query('select app_secrets.grant_scope($1, $2, true, false)', [login, reads])
  const url = new URL(db.service)
  url.username = login
  url.password = password
  return url.href
}
