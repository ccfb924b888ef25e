// What a built addon needs from the system that loads it: node dev/addon-file.mjs FILE… checks addons for Linux.

import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The newest glibc that an addon may need: that of RHEL 8 and what is built on it; Debian and Ubuntu are newer. */
export const GLIBC_CEILING = '2.28'

/** napi's name of a target's platform: `linux-x64-gnu`. */
export function platformOf(triple) {
  const [cpu, , system, abi] = triple.split('-')
  const arch = { x86_64: 'x64', aarch64: 'arm64' }[cpu]
  if (system === 'darwin') return `darwin-${arch}`
  return `${system === 'windows' ? 'win32' : system}-${arch}-${abi}`
}

/**
 * Throws where an addon for Linux needs a newer glibc than the ceiling, or one for musl needs any. Gives a line about it.
 * The versions that a library needs stand in its string table; the same text elsewhere in it would make this stricter.
 */
export function checkAddon(file) {
  const name = basename(file)
  const content = readFileSync(file)
  if (!content.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) {
    if (name.includes('.linux-')) throw new Error(`${name} is no ELF file`)
    return `${(content.length / 1e6).toFixed(1)} MB`
  }
  const needed = [...new Set(content.toString('latin1').match(/GLIBC_\d+(?:\.\d+)+(?=\0)/g))]
    .map((symbol) => symbol.slice('GLIBC_'.length))
    .sort(compareVersions)
  const newest = needed.at(-1)
  if (name.includes('-musl') && newest) throw new Error(`${name} is for musl but needs glibc ${newest}`)
  if (name.includes('-gnu') && !newest) throw new Error(`${name} names no version of glibc`)
  if (newest && compareVersions(newest, GLIBC_CEILING) > 0) {
    throw new Error(`${name} needs glibc ${newest}; the ceiling is ${GLIBC_CEILING}`)
  }
  return `${(content.length / 1e6).toFixed(1)} MB, ${newest ? `glibc ${newest} or later` : 'musl'}`
}

function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference) return difference
  }
  return 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const file of process.argv.slice(2)) console.log(`${basename(file)}: ${checkAddon(file)}`)
}
