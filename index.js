// Loads the addon. binding.js, which napi generates, finds the file; this explains what to do where there is none, and
// makes promises where JavaScript does so faster.

try {
  module.exports = require('./binding.js')
  // No function can be called that, an export can.
  module.exports.delete = module.exports.deleteSecret
} catch (error) {
  throw explained(error)
}

const { Secrets, cachedReader, connect: open, secretNameList } = module.exports
delete module.exports.cachedReader
delete module.exports.secretNameList

// What these find in the cache they give as it is: a promise that the addon makes costs more than all the rest.
for (const owner of [module.exports, Secrets.prototype]) {
  for (const name of ['get', 'getProviderKey', 'getSmsApiKey', 'getWhatsAppApiKey', 'getYouTubeApiKey']) {
    owner[name] = promised(owner[name])
  }
}

function promised(native) {
  const wrapper = {
    [native.name](businessId, name) {
      return Promise.resolve(native.call(this, businessId, name))
    },
  }
  return wrapper[native.name]
}

// A client with a cache has a function that looks into it, which costs half of a method that does.
const reader = Symbol('reader')
const numbers = new Map(secretNameList().map((name, number) => [name, number]))
const { get: ask } = Secrets.prototype

module.exports.connect = async function connect(options) {
  const secrets = await open(options)
  return Object.defineProperty(secrets, reader, { value: cachedReader(secrets) })
}

Secrets.prototype.get = function get(businessId, name) {
  const value = this[reader]?.(businessId, numbers.get(name))
  return value === undefined ? ask.call(this, businessId, name) : Promise.resolve(value)
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
