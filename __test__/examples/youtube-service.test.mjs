// YouTubeService.ts of the desktop: the package's client over the Data API, with the user's own token.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { installApp } from '../../dev/app-install.mjs'
import { goodKey, startProviders } from '../../dev/app-providers.mjs'
import { until } from '../support/wait.mjs'
import { appDatabase, dataApi, owner, stranger } from './support/database.mjs'

test('YouTubeService', async (t) => {
  const { db, business } = await appDatabase(t)
  const api = await dataApi(t, db)
  const providers = await startProviders()
  t.after(() => providers.close())
  process.env.YOUTUBE_API_URL = providers.env.YOUTUBE_API_URL
  const file = join(await installApp(), 'frontend_source/electron/main/YouTubeService.ts')
  const { YouTubeService } = await import(pathToFileURL(file).href)

  const open = (claims) => {
    const service = new YouTubeService({
      supabaseUrl: api.url,
      supabaseKey: api.keys.publishable,
      accessToken: async () => api.sign(claims()),
      businessId: business,
    })
    t.after(() => service.close())
    return service
  }
  const set = (value) =>
    db.query('update public.businesses set youtube_api_key = $2 where id = $1', [business, value])

  let claims = { sub: owner }
  const service = open(() => claims)

  await t.test('a business without a key has no results, and YouTube is not asked', async () => {
    assert.equal(await service.search('tea'), null)
    assert.equal(providers.calls.length, 0)
  })

  await t.test('a window gets results, found with the key of the business', async () => {
    await set(goodKey('youtube', 'of-the-business'))
    assert.deepEqual(await service.search('tea & biscuits'), [{ id: 'v1', title: 'Tea' }])
  })

  await t.test(
    'setupRealtimeWatcher tells of a change that old code has made, and the next search uses it',
    async () => {
      const told = []
      await service.setupRealtimeWatcher((isConfigured) => told.push(isConfigured))
      assert.equal(await service.fetchApiKey(), goodKey('youtube', 'of-the-business'))
      await set(null)
      await until(() => told.at(-1) === false, 'that the key is gone')
      assert.equal(await service.search('tea'), null)
      await set(goodKey('youtube', 'of-today'))
      await until(() => told.at(-1) === true, 'that there is one again')
      assert.equal(await service.fetchApiKey(), goodKey('youtube', 'of-today'))
    },
  )

  await t.test('an expired token is refused, a refreshed one works on the same service', async () => {
    const other = open(() => claims)
    claims = { sub: owner, exp: 1 }
    await assert.rejects(other.fetchApiKey(), { code: 'PERMISSION_DENIED' })
    claims = { sub: owner }
    assert.equal(await other.fetchApiKey(), goodKey('youtube', 'of-today'))
  })

  await t.test('another owner’s desktop gets nothing of it', async () => {
    const foreign = open(() => ({ sub: stranger }))
    const found = await foreign.fetchApiKey().catch(({ code }) => code)
    assert.ok(found === null || found === 'BUSINESS_NOT_FOUND', String(found))
  })

  await t.test('no key is in what a service shows of itself', () => {
    assert.doesNotMatch(JSON.stringify(service), /youtube-live/)
  })
})
