// The runtimes that the package supports, fetched from the npm registry as binaries: `npm run test:runtimes`.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installLocked } from '../../dev/node.mjs'

const folder = fileURLToPath(new URL('./binaries/', import.meta.url))
const [extension, system] = process.platform === 'win32' ? ['.exe', 'win32'] : ['', process.platform]

/** The path of `node-22`, `node-24`, `node-26`, `bun` or `deno`. */
export function runtime(name) {
  installLocked(folder)
  const program = name.split('-')[0] + extension
  const installed = join(folder, 'node_modules', `${name}-${system}-${process.arch}`)
  const path = [join(installed, 'bin', program), join(installed, program)].find((file) => existsSync(file))
  if (!path) throw new Error(`no ${name} for ${system}-${process.arch} is in ${join(folder, 'package.json')}`)
  return path
}
