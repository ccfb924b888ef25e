// Builds the release addon for Linux so that it loads on older systems than this one:
//
// node dev/build-linux.mjs [TRIPLE]      x86_64-unknown-linux-gnu unless told
//
// Links with Zig, which brings every glibc's symbols, through cargo-zigbuild; both come from PyPI into target/zig, exact
// versions. Needs Python 3 and, for another target than this machine's, `rustup target add TRIPLE`.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { checkAddon, GLIBC_CEILING, platformOf } from './addon-file.mjs'
import { root } from './binaries.mjs'

const packages = ['cargo-zigbuild==0.24.1', 'ziglang==0.17.1']

const triple = process.argv[2] ?? 'x86_64-unknown-linux-gnu'
const { binaryName, targets } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi
if (!targets.includes(triple) || !triple.includes('-linux-')) {
  console.error(`build-linux: ${triple} is no Linux target of package.json`)
  process.exit(1)
}

const venv = join(root, 'target', 'zig')
const bin = join(venv, 'bin')
if (!existsSync(join(bin, 'cargo-zigbuild'))) {
  mkdirSync(join(root, 'target'), { recursive: true })
  run('python3', ['-m', 'venv', venv])
  run(join(bin, 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages])
}

const isMusl = triple.endsWith('-musl')
const args = [
  'zigbuild',
  '--release',
  '--lib',
  '--locked',
  '--target',
  isMusl ? triple : `${triple}.${GLIBC_CEILING}`,
]
run('cargo', args, {
  ...process.env,
  PATH: `${bin}${delimiter}${process.env.PATH}`,
  VIRTUAL_ENV: venv,
  // A shared library on musl links its C library dynamically; the default there is a static one.
  ...(isMusl && { RUSTFLAGS: `${process.env.RUSTFLAGS ?? ''} -C target-feature=-crt-static`.trim() }),
})

const addon = join(root, `${binaryName}.${platformOf(triple)}.node`)
// Not over it: a process may have the old one mapped.
rmSync(addon, { force: true })
copyFileSync(join(root, 'target', triple, 'release', 'libapp_secrets.so'), addon)
console.log(`build-linux: ${addon.slice(root.length)}: ${checkAddon(addon)}`)

function run(command, args, env = process.env) {
  execFileSync(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] })
}
