// The functions of the module: the methods of a client, on one client that they share and that is made from the
// environment when the first of them is called.

const { connectNow } = require('./connect.js')
const { Secrets } = require('./client.js')

let client = null

/** The shared client. Where it cannot be made the next call tries again. */
function shared() {
  client ??= connectNow()
  return client
}

/** Without a promise to reject these throw. */
const synchronous = ['watch', 'stats']

const functions = {
  close() {
    const closing = client
    client = null
    return closing === null ? Promise.resolve() : closing.close()
  },
}

for (const name of Object.getOwnPropertyNames(Secrets.prototype)) {
  if (name === 'constructor' || Object.hasOwn(functions, name)) continue
  const { [name]: method } = Secrets.prototype
  functions[name] = synchronous.includes(name)
    ? (...args) => method.apply(shared(), args)
    : (...args) => {
        try {
          return method.apply(shared(), args)
        } catch (error) {
          return Promise.reject(error)
        }
      }
  Object.defineProperty(functions[name], 'name', { value: name })
}

module.exports = functions
