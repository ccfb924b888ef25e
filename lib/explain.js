// Why the native addon did not load, and what to do about it. Never throws: what it cannot find out it leaves out, since
// the runtime that refused the addon may refuse its questions too.

/** The error to throw in place of the one with which `require('./binding.js')` failed. */
module.exports = function explained(error) {
  const [problem, remedy] = diagnosis(attempts(error))
  const explanation = new Error(`@app/secrets: ${problem}. ${remedy}`, { cause: error })
  explanation.code = 'ERR_ADDON_NOT_LOADED'
  return explanation
}

function diagnosis(messages) {
  const find = (pattern) => messages.find((message) => pattern.test(message))
  const refused = find(/run again with the --allow-\w+ flag/)
  if (refused) {
    const flag = refused.match(/--allow-\w+/)[0]
    return [
      `Deno refuses what the native addon needs (${flag})`,
      'Run it with --allow-read --allow-env --allow-ffi. An addon is not bound by the other rights: it opens its own connections.',
    ]
  }
  if (find(/loading addons is disabled|ERR_DLOPEN_DISABLED/)) {
    return [
      'Node was started so that it loads no native addons',
      'With --permission, add --allow-addons and --allow-fs-read for the folder of node_modules; leave out --no-addons.',
    ]
  }
  const denied = find(/Access to this API has been restricted/)
  if (denied) {
    return [
      'Node may not read the files of the package',
      'With --permission, add --allow-fs-read for the folder of node_modules, and --allow-addons.',
    ]
  }
  const found = messages.find((message) => !/^(Cannot find |Unsupported )/.test(message))
  if (found) {
    return [
      `the native addon for ${platform()} does not load: ${found.replace(/\.$/, '')}`,
      'Rebuild it on this machine, or use an image with a newer C library.',
    ]
  }
  return [
    `there is no native addon for ${platform()} (${runtime()})`,
    'Where it was installed from npm, run `npm install --include=optional` on this very platform: node_modules and lock ' +
      'files of another platform, and `--omit=optional`, leave it out. In a checkout, run `npm run build`, which needs ' +
      'Rust. Bundlers have to leave @app/secrets external.',
  ]
}

/** What every attempt said, the most general one first: napi's loader leaves them as a chain of causes. */
function attempts(error) {
  const messages = []
  const seen = new Set()
  for (let one = error; one && !seen.has(one) && messages.length < 100; one = one.cause) {
    seen.add(one)
    messages.push(firstLine(one))
  }
  return messages
}

function firstLine(thrown) {
  try {
    return String(thrown.message ?? thrown).split('\n')[0]
  } catch {
    return 'something that has no text'
  }
}

function runtime() {
  const versions = globalThis.process?.versions ?? {}
  if (versions.bun) return `Bun ${versions.bun}`
  if (versions.deno) return `Deno ${versions.deno}`
  if (versions.electron) return `Electron ${versions.electron}`
  return `Node v${versions.node}`
}

function platform() {
  try {
    return `${process.platform}-${process.arch}${libc()}`
  } catch {
    return 'this platform'
  }
}

function libc() {
  if (process.platform !== 'linux') return ''
  try {
    // Without this, the report looks up the host names of open sockets.
    process.report.excludeNetwork = true
    const { glibcVersionRuntime } = process.report.getReport().header
    return glibcVersionRuntime ? ` (glibc ${glibcVersionRuntime})` : ' (musl)'
  } catch {
    return ''
  }
}
