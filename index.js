// Loads the addon. binding.js, which napi generates, finds the file; this explains what to do where there is none, and
// makes promises where JavaScript does so faster.

const explained = require('./lib/explain.js')

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
