// mayaService, adService and Electron's YouTubeService, each with its own module-level call.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import * as secrets from '../../index.js'
import { appDatabase, provider } from './support/database.mjs'

const require = createRequire(import.meta.url)
const maya = require('../../examples/app/services/mayaService.js')
const ads = require('../../examples/app/services/adService.js')
const { YouTubeService } = await import('../../examples/app/electron/services/YouTubeService.mjs')

test('the services', async (t) => {
  const { business, other } = await appDatabase(t)
  t.after(() => secrets.close())

  const gemini = { body: { candidates: [{ content: { parts: [{ text: 'from Gemini' }] } }] } }
  const grok = { body: { choices: [{ message: { content: 'from Grok' } }] } }
  const models = () =>
    provider(({ url }) => {
      if (url.includes('googleapis')) return gemini
      if (url.includes('x.ai')) return grok
      return { body: { content: [{ text: 'from Claude' }] } }
    })

  await t.test('Maya answers with the account of the business that asks', async () => {
    await secrets.setProviderKey(business, 'gemini', 'gemini-of-the-business')
    await secrets.setProviderKey(business, 'claude', 'claude-of-the-business')
    await secrets.setProviderKey(other, 'gemini', 'gemini-of-the-other')
    const { fetch, calls } = models()
    assert.equal(await maya.reply(business, 'hello', { fetch }), 'from Gemini')
    assert.equal(await maya.reply(business, 'hello', { provider: 'claude', fetch }), 'from Claude')
    await maya.reply(other, 'hello', { fetch })
    assert.deepEqual(
      calls.map(({ headers }) => headers['x-goog-api-key'] ?? headers['x-api-key']),
      ['gemini-of-the-business', 'claude-of-the-business', 'gemini-of-the-other'],
    )
  })

  await t.test('a business without an account is told so, and no provider is called', async () => {
    const { fetch, calls } = models()
    await assert.rejects(maya.reply(other, 'hello', { provider: 'claude', fetch }), {
      code: 'NOT_CONFIGURED',
    })
    assert.equal(calls.length, 0)
  })

  await t.test('a rejected key is named as such, and stands in no message', async () => {
    const { fetch } = provider(() => ({ status: 401, body: { error: 'bad key gemini-of-the-business' } }))
    await assert.rejects(maya.reply(business, 'hello', { fetch }), (error) => {
      assert.equal(error.code, 'KEY_REJECTED')
      assert.doesNotMatch(`${error.stack}`, /gemini-of-the-business/)
      return true
    })
  })

  await t.test('ads come from every model that is set up', async () => {
    assert.deepEqual(await ads.propose(business, 'tea', models()), [
      { provider: 'gemini', text: 'from Gemini' },
    ])
    await secrets.setProviderKey(business, 'grok', 'grok-of-the-business')
    const both = models()
    assert.equal((await ads.propose(business, 'tea', both)).length, 2)
    assert.equal(
      both.calls.find(({ url }) => url.includes('x.ai')).headers.authorization,
      'Bearer grok-of-the-business',
    )
  })

  await t.test('one model that fails does not take the other along', async () => {
    const { fetch } = provider(({ url }) => (url.includes('x.ai') ? { status: 500 } : gemini))
    assert.deepEqual(await ads.propose(business, 'tea', { fetch }), [
      { provider: 'gemini', text: 'from Gemini' },
    ])
    const failing = provider(() => ({ status: 500 }))
    await assert.rejects(ads.propose(business, 'tea', failing), { code: 'PROVIDER_ERROR' })
  })

  await t.test(
    'Electron’s main process searches with the key of the business and hands out results only',
    async () => {
      const { fetch, calls } = provider(() => ({
        body: { items: [{ id: { videoId: 'v1' }, snippet: { title: 'Tea' } }] },
      }))
      const youtube = new YouTubeService({ fetch })
      assert.equal(await youtube.search(business, 'tea & biscuits'), null)
      await secrets.setYouTubeApiKey(business, 'youtube-of-the-business')
      assert.deepEqual(await youtube.search(business, 'tea & biscuits'), [{ id: 'v1', title: 'Tea' }])
      assert.equal(calls.length, 1)
      assert.equal(calls[0].headers['x-goog-api-key'], 'youtube-of-the-business')
      assert.equal(new URL(calls[0].url).searchParams.get('q'), 'tea & biscuits')
    },
  )
})
