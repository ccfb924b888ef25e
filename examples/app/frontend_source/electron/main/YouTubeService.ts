// Searches YouTube with the business's own key, in Electron's main process. The desktop has no database login: it reads through
// the Data API as the user who has signed in, and Row Level Security decides. A window gets results, and never a key.

import { connect, type Secrets, type Watcher } from '@app/secrets'

export interface YouTubeOptions {
  supabaseUrl: string
  /** The publishable key, which every installation has. */
  supabaseKey: string
  /** The user's present token, asked for with each request. */
  accessToken: () => Promise<string>
  businessId: string
}

export interface Video {
  id: string
  title: string
}

const API = process.env.YOUTUBE_API_URL ?? 'https://www.googleapis.com'

export class YouTubeService {
  readonly #options: YouTubeOptions
  #secrets: Promise<Secrets> | null = null
  #watcher: Watcher | null = null
  /** Kept while nothing has changed it: a promise, so that a burst of searches asks once. */
  #key: Promise<string | null> | null = null

  constructor(options: YouTubeOptions) {
    this.#options = options
  }

  /** The business's key, or null where it has none. For this process alone. */
  async fetchApiKey(): Promise<string | null> {
    // Without a watcher nobody would say that it has changed.
    if (!this.#watcher) return this.#read()
    this.#key ??= this.#read().catch((error) => {
      this.#key = null
      throw error
    })
    return this.#key
  }

  /**
   * Forgets the key as soon as it changes, and calls back with whether there is one now. Versions are polled; where the project
   * has Realtime, that is quicker and no more than a hint to look.
   */
  async setupRealtimeWatcher(onChange: (isConfigured: boolean) => void): Promise<void> {
    const secrets = await this.#connect()
    const filter = { businessId: this.#options.businessId, names: ['youtube_api_key' as const] }
    this.#watcher?.close()
    this.#watcher = secrets.watch(filter, async () => {
      this.#key = null
      try {
        onChange((await this.fetchApiKey()) !== null)
      } catch {
        // Signed out, or the network is away: the next search says so itself.
      }
    })
  }

  /** Null where the business has no key. */
  async search(text: string): Promise<Video[] | null> {
    const key = await this.fetchApiKey()
    if (key === null) return null
    const url = new URL(`${API}/youtube/v3/search?part=snippet&type=video`)
    url.searchParams.set('q', text)
    // In a header: addresses end up in logs.
    const response = await fetch(url, { headers: { 'x-goog-api-key': key } })
    if (!response.ok) throw new Error(`YouTube answered ${response.status}`)
    const { items } = await response.json()
    return items.map(({ id, snippet }) => ({ id: id.videoId, title: snippet.title }))
  }

  async close(): Promise<void> {
    this.#watcher?.close()
    this.#watcher = null
    this.#key = null
    await (await this.#secrets)?.close()
    this.#secrets = null
  }

  async #read(): Promise<string | null> {
    const secrets = await this.#connect()
    return secrets.getYouTubeApiKey(this.#options.businessId)
  }

  #connect(): Promise<Secrets> {
    const { supabaseUrl, supabaseKey, accessToken } = this.#options
    this.#secrets ??= connect({ supabaseUrl, supabaseKey, accessToken })
    return this.#secrets
  }
}
