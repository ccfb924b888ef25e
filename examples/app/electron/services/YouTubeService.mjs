// Searches YouTube with the business's own key. Electron's main process only: what goes back to a window is results.

import { getYouTubeApiKey } from '@app/secrets'

export class YouTubeService {
  #fetch

  constructor({ fetch = globalThis.fetch } = {}) {
    this.#fetch = fetch
  }

  /** `[{ id, title }]`, or null where the business has no key. */
  async search(businessId, text) {
    const key = await getYouTubeApiKey(businessId)
    if (!key) return null
    const url = new URL('https://www.googleapis.com/youtube/v3/search?part=snippet&type=video')
    url.searchParams.set('q', text)
    const response = await this.#fetch(url, { headers: { 'x-goog-api-key': key } })
    if (!response.ok) throw new Error(`YouTube answered ${response.status}`)
    const { items } = await response.json()
    return items.map(({ id, snippet }) => ({ id: id.videoId, title: snippet.title }))
  }
}
