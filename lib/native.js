// A transport over the addon's classes as they are.

const { SecretsError, codes } = require('./errors.js')
const explained = require('./explain.js')

let binding
try {
  binding = require('../binding.js')
} catch (error) {
  throw explained(error)
}

class NativeTransport {
  #client
  #opened = null

  constructor(options) {
    const { listen, ...rest } = options
    this.#client = settled(binding.connect(rest)).then((client) => {
      this.#opened = client
      return client
    })
    this.#client.catch(() => {})
    this.ready = this.#client
  }

  async #with(work) {
    const client = await this.#client
    return settled(work(client))
  }

  get(businessId, name) {
    return this.#with((client) => Promise.resolve(client.get(businessId, name)))
  }

  call(op, { businessId, names, values, expected, options, name }) {
    return this.#with(async (client) => {
      if (op === 'getMany') return client.getMany(businessId, names)
      if (op === 'set') return client.setMany(businessId, values, { expectedVersions: expected ?? undefined })
      if (op === 'list') return client.list(businessId)
      if (op === 'ping') return client.ping()
      if (op === 'names') return binding.secretNameList()
      if (op === 'due') return []
      throw new SecretsError('NOT_MIGRATED', `the addon knows no ${op} (${name}, ${options})`)
    })
  }

  watch(filter, callback) {
    const { businessId, names } = filter
    let watcher
    let ended = false
    this.#client.then((client) => {
      if (!ended) watcher = client.watch({ businessId, names }, callback)
    })
    return {
      close() {
        ended = true
        watcher?.close()
      },
    }
  }

  stats() {
    return this.#opened?.stats()
  }

  close() {
    return this.#with((client) => client.close())
  }
}

async function settled(promise) {
  try {
    return await promise
  } catch (error) {
    throw codes.includes(error?.code) ? new SecretsError(error.code, error.message) : error
  }
}

function admin(op, options, onProgress) {
  return settled(binding[op](options, onProgress))
}

module.exports = { NativeTransport, admin, runCli: binding.runCli }
