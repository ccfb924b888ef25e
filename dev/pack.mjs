// Makes the tarball of the checkout as it is, with the addon of this platform inside.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './binaries.mjs'
import { npm } from './node.mjs'

/** Packs into a folder. Gives the tarball's path and what npm says is in it. */
export function pack(folder) {
  execFileSync(process.execPath, [join(root, 'dev/notices.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] })
  const [listing] = JSON.parse(npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder))
  return { path: join(folder, listing.filename), listing }
}
