// Loads the addon. binding.js, which napi generates, finds the file; this explains what to do where there is none.

try {
  module.exports = require('./binding.js')
  // No function can be called that, an export can.
  module.exports.delete = module.exports.deleteSecret
} catch (error) {
  throw explained(error)
}

function explained(error) {
  const platform = `${process.platform}-${process.arch}${libc()}`
  const found = attempts(error).find(({ message }) => !/^(Cannot find module|Unsupported )/.test(message))
  const problem = found
    ? `the native addon for ${platform} does not load: ${found.message}`
    : `there is no native addon for ${platform} (Node ${process.version})`
  const remedy = found
    ? 'Rebuild it on this machine, or use an image with a newer C library.'
    : 'Where it was installed from npm, run `npm install --include=optional` on this very platform: node_modules and lock ' +
      'files of another platform, and `--omit=optional`, leave it out. In a checkout, run `npm run build`, which needs Rust. ' +
      'Bundlers have to leave @app/secrets external.'
  const explanation = new Error(`@app/secrets: ${problem}. ${remedy}`, { cause: error })
  explanation.code = 'ERR_ADDON_NOT_LOADED'
  return explanation
}

/** Every attempt that napi's loader made: it leaves them as a chain of causes, without their codes. */
function attempts(error) {
  const chain = []
  for (let { cause } = error; cause; cause = cause.cause) chain.push(cause)
  return chain
}

function libc() {
  if (process.platform !== 'linux') return ''
  const { glibcVersionRuntime } = process.report.getReport().header
  return glibcVersionRuntime ? ` (glibc ${glibcVersionRuntime})` : ' (musl)'
}
