// The servers that tests run on, and databases of their own in them. Knows nothing of what is tested.
//
// `npm test` starts one server per major version for the whole run and names them in APP_SECRETS_TEST_CLUSTERS; a test
// file that is run on its own starts what it needs and stops it at its end.

import { after, test } from 'node:test'
import { environment, majors, startCluster, TestCluster } from './servers.mjs'

export { majors, startCluster, TestCluster, withClient } from './servers.mjs'

const started = []
const shared = new Map()
after(async () => {
  await Promise.all(started.map(({ stop }) => stop()))
})

/** The shared server of one major version. */
export function cluster(major) {
  if (!shared.has(major)) shared.set(major, find(major))
  return shared.get(major)
}

/** All of them, oldest first. */
export function clusters() {
  return Promise.all(majors.map(cluster))
}

async function find(major) {
  if (process.env[environment]) {
    const description = JSON.parse(process.env[environment]).find((one) => one.major === major)
    if (!description) throw new Error(`${environment} names no server of PostgreSQL ${major}`)
    return new TestCluster(description)
  }
  const own = await startCluster(major)
  started.push(own)
  return new TestCluster(own.description)
}

/** Registers one test per major version; `body(t, major)` nests its claims in it with `t.test`. */
export function onEachMajor(name, body) {
  for (const major of majors) test(`${name} (PostgreSQL ${major})`, (t) => body(t, major))
}

/**
 * A database of its own for a test, dropped after it.
 *
 * `migratedTo`: 0 (the legacy app's tables only), or the last of the migrations 2 to 5 that is applied.
 * `legacyData`: whether those tables held data when it was migrated; see legacy-app.mjs.
 */
export async function freshDatabase(t, major, options) {
  return (await cluster(major)).freshDatabase(t, options)
}
