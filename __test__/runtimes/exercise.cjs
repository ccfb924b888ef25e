// Uses the package as a service does, in whatever loads it: given what `require` or `import` gave and a business of the
// database in APP_SECRETS_URL, it fails where anything differs from what Node sees. Copied into the fixtures.

const assert = require('node:assert/strict')

module.exports = async function exercise(secrets, businessId) {
  const client = await secrets.connect({ cache: true })
  const value = `xai-${process.pid}-${Math.random()}-0123456789`
  try {
    while (client.stats().listener.state !== 'listening')
      await new Promise((resolve) => setTimeout(resolve, 10))
    const changed = change(client, businessId)
    const version = await client.set(businessId, 'grok_api_key', `  ${value}\n`)
    assert.equal(typeof version, 'number')
    assert.equal(await client.get(businessId, 'grok_api_key'), value)
    assert.equal(await client.get(businessId, 'grok_api_key'), value)
    const { names, versions } = await changed
    assert.deepEqual([[...names], { ...versions }], [['grok_api_key'], { grok_api_key: version }])

    const many = await client.getMany(businessId, ['grok_api_key', 'claude_api_key'])
    assert.deepEqual({ ...many }, { grok_api_key: value, claude_api_key: null })
    const listed = (await client.list(businessId)).find(({ name }) => name === 'grok_api_key')
    assert.deepEqual([listed.isSet, listed.last4, listed.version], [true, '6789', version])
    assert.ok(listed.updatedAt instanceof Date, 'updatedAt is no Date of this realm')
    assert.ok(!JSON.stringify(listed).includes(value))

    await fails(() => client.get('no uuid', 'grok_api_key'), 'INVALID_ARGUMENT')
    await fails(() => client.get(businessId, 'no_such_secret'), 'UNKNOWN_SECRET')
    await fails(
      () => client.set(businessId, 'grok_api_key', 'x', { expectedVersion: version - 1 }),
      'VERSION_CONFLICT',
    )
    await fails(() => secrets.connect({ url: 'http://localhost' }), 'CONFIG')
    assert.ok((await client.delete(businessId, 'grok_api_key')) > version)
    assert.equal(await client.get(businessId, 'grok_api_key'), null)
  } finally {
    await client.close()
  }
  await fails(() => client.get(businessId, 'grok_api_key'), 'CLOSED')

  // The shared client of the module.
  assert.equal(typeof (await secrets.set(businessId, 'grok_api_key', value)), 'number')
  assert.equal(await secrets.getProviderKey(businessId, 'grok'), value)
  await secrets.deleteSecret(businessId, 'grok_api_key')
  await secrets.close()
  return 'exercised'
}

/** A promise of the first change that is heard of. */
function change(client, businessId) {
  const { promise, resolve, reject } = Promise.withResolvers()
  const timer = setTimeout(() => reject(new Error('no change was heard of')), 60_000)
  // What fails before it is waited for must not end the process by this.
  promise.catch(() => {})
  const watcher = client.watch({ businessId }, (event) => {
    if (event.kind !== 'changed') return
    clearTimeout(timer)
    watcher.close()
    resolve(event)
  })
  return promise
}

async function fails(call, code) {
  const error = await call().then(
    () => undefined,
    (reason) => reason,
  )
  assert.ok(error instanceof Error, `${code} was expected: ${error}`)
  assert.equal(error.code, code, error.message)
}
