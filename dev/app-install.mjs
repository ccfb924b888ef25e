// The packages of examples/app, which are its own: express, React, supabase-js and so on. The package itself is linked in
// beside them, as `npm install @app/secrets` would put it there.

import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from './binaries.mjs'
import { installLocked } from './node.mjs'

export const app = join(root, 'examples', 'app')

const link = join(app, 'node_modules', '@app', 'secrets')
/** Whoever makes this folder installs; others wait for it. Test files are processes that start at the same time. */
const lock = join(app, '.installing.log')
const PATIENCE_MS = 300_000

/** Resolves modules as a file of the app does. */
export const appRequire = createRequire(join(app, 'package.json'))

/** Installs what the app's lock file says, where that is not there yet, and gives its folder. `say` hears of it first. */
export async function installApp(say = () => {}) {
  for (let waited = 0; !taken(); waited += 100) {
    if (waited > PATIENCE_MS)
      throw new Error(`${lock} is there since minutes: remove it if nobody is installing`)
    await delay(100)
  }
  try {
    installLocked(app, (work) => {
      say("installing the example's packages (npm ci in examples/app)")
      work()
    })
    if (!existsSync(link)) {
      mkdirSync(join(link, '..'), { recursive: true })
      symlinkSync(root, link, process.platform === 'win32' ? 'junction' : 'dir')
    }
  } finally {
    rmSync(lock, { recursive: true, force: true })
  }
  return app
}

function taken() {
  try {
    mkdirSync(lock)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}
