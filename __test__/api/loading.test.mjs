// Loading: from CommonJS and ESM, more than once in a process, in contexts and threads of their own, as Jest and its like do.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'
import * as imported from '../../index.js'
import { addon, addonPath, root } from '../support/addon.mjs'

const id = '3f2504e0-4f89-41d3-9a0c-0305e82c3301'
const nowhere = 'postgres://a:b@127.0.0.1:1/nothing'

/** Loads the package anew, as `jest.resetModules()` makes it: nothing of JavaScript is cached, the addon's file is. */
function loadAnew() {
  const require = createRequire(import.meta.url)
  const before = { ...require.cache }
  for (const file of Object.keys(require.cache)) if (file.startsWith(root)) delete require.cache[file]
  try {
    return require(addonPath)
  } finally {
    for (const file of Object.keys(require.cache)) if (file.startsWith(root)) delete require.cache[file]
    Object.assign(require.cache, before)
  }
}

/** Loads the package in a context of its own, module by module, as Jest does: its Error, Date and Promise are others. */
function loadInContext() {
  const context = vm.createContext({
    console,
    process,
    Buffer,
    setTimeout,
    clearTimeout,
    setInterval,
    clearInterval,
  })
  Object.assign(context, { performance, fetch, AbortSignal, URL, Headers, crypto })
  const outer = createRequire(import.meta.url)
  const cache = new Map()
  const load = (file) => {
    if (!file.startsWith(root) || file.endsWith('.node')) return outer(file)
    if (cache.has(file)) return cache.get(file).exports
    const module = { exports: {} }
    cache.set(file, module)
    const inner = createRequire(file)
    const require = (name) => load(name.startsWith('.') ? inner.resolve(name) : name)
    if (file.endsWith('.json')) module.exports = inner(file)
    else {
      const source = inner('node:fs').readFileSync(file, 'utf8')
      const parameters = ['module', 'exports', 'require', '__filename', '__dirname']
      const compiled = vm.compileFunction(source, parameters, { filename: file, parsingContext: context })
      compiled(module, module.exports, require, file, join(file, '..'))
    }
    return module.exports
  }
  return { secrets: load(addonPath), context }
}

test('ESM finds every name of the CommonJS module', () => {
  const { default: all, 'module.exports': _, ...named } = imported
  assert.equal(all, addon)
  assert.deepEqual(Object.keys(named).sort(), Object.keys(addon).sort())
  for (const name of Object.keys(named)) assert.equal(named[name], addon[name], name)
  assert.equal(addon.delete, addon.deleteSecret)
})

test('nothing of the loader is exported, and what is exported cannot be taken for the addon', () => {
  assert.ok(Object.values(addon).every((value) => typeof value === 'function'))
  assert.ok(!Object.keys(addon).some((name) => /^_|binding|native|runCli|transport/i.test(name)))
  assert.throws(() => new addon.Secrets(), { name: 'TypeError', message: /connect\(\)/ })
  assert.throws(() => new addon.Watcher(), { name: 'TypeError', message: /watch\(\)/ })
})

test('it loads again after its modules were reset, and both go on', async (t) => {
  const [second, third] = [loadAnew(), loadAnew()]
  assert.deepEqual(Object.keys(second), Object.keys(addon))
  for (const one of [addon, second, third]) {
    const client = await one.connect({ url: nowhere, timeoutMs: 2000 })
    t.after(() => client.close())
    const error = await client.get(id, 'grok_api_key').catch((error) => error)
    assert.ok(error instanceof one.SecretsError)
    assert.equal(error.code, 'UNAVAILABLE')
  }
  assert.notEqual(second.SecretsError, third.SecretsError)
})

test('in a context of its own its errors are errors of that context', async (t) => {
  for (const { secrets, context } of [loadInContext(), loadInContext()]) {
    const RealmError = vm.runInContext('Error', context)
    assert.notEqual(RealmError, Error)
    const client = await secrets.connect({ url: nowhere, timeoutMs: 2000 })
    t.after(() => client.close())
    for (const call of [() => client.get(id, 'grok_api_key'), () => client.get('no id', 'grok_api_key')]) {
      const error = await call().then(assert.fail, (error) => error)
      assert.ok(error instanceof RealmError)
      assert.ok(error instanceof secrets.SecretsError)
      assert.equal(error.name, 'SecretsError')
    }
  }
})

test('it loads in many threads of one process', async () => {
  const script = `
    const secrets = require(${JSON.stringify(addonPath)})
    secrets.connect({ url: ${JSON.stringify(nowhere)}, timeoutMs: 2000 })
      .then((client) => client.get('${id}', 'grok_api_key').finally(() => client.close()))
      .catch(({ code }) => require('node:worker_threads').parentPort.postMessage(code))`
  const codes = await Promise.all(
    Array.from({ length: 4 }, () => {
      const worker = new Worker(script, { eval: true })
      return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    }),
  )
  assert.deepEqual(codes, new Array(4).fill('UNAVAILABLE'))
})
