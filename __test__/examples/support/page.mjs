// The example's pages on real React and real supabase-js, in a document of happy-dom's. Vite compiles them as it does for the
// browser; what they fetch goes over HTTP to the Data API and the backend of the test.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { appRequire, installApp } from '../../../dev/app-install.mjs'
import { until } from '../../support/wait.mjs'

const fromWindow = [
  'document',
  'Event',
  'CustomEvent',
  'FormData',
  'Node',
  'Element',
  'HTMLElement',
  'HTMLInputElement',
  'HTMLIFrameElement',
  'localStorage',
  'location',
]

/** Makes the globals of a browser, loads `App.jsx` and gives what a test does with it. Once in a process. */
export async function openApp(t, { api, backendUrl }) {
  const folder = await installApp()
  const load = async (name) => import(pathToFileURL(appRequire.resolve(name)).href)
  const { Window } = await load('happy-dom')
  const window = new Window({ url: 'http://app.example.com/', width: 1280, height: 900 })
  for (const name of fromWindow) {
    Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true })
  }
  globalThis.window = window
  // There is one tab, and Node would wait for others for ever.
  globalThis.BroadcastChannel = undefined
  const nodeFetch = globalThis.fetch
  // A browser knows where `/api` is; Vite's proxy takes it from there.
  globalThis.fetch = (input, init) =>
    nodeFetch(typeof input === 'string' && input.startsWith('/') ? `${backendUrl}${input}` : input, init)

  process.env.VITE_SUPABASE_URL = api.url
  process.env.VITE_SUPABASE_PUBLISHABLE_KEY = api.keys.publishable
  const { createServer } = await load('vite')
  const vite = await createServer({
    configFile: join(folder, 'frontend_source/vite.config.mjs'),
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true },
    appType: 'custom',
    logLevel: 'error',
  })
  const { default: App } = await vite.ssrLoadModule('/src/App.jsx')
  const { supabase } = await vite.ssrLoadModule('/src/lib/supabase.js')
  const { createElement } = appRequire('react')
  const { createRoot } = appRequire('react-dom/client')
  const root = createRoot(window.document.body.appendChild(window.document.createElement('div')))
  root.render(createElement(App))
  t.after(async () => {
    root.unmount()
    await supabase.auth.stopAutoRefresh()
    await vite.close()
    await window.happyDOM.close()
    // The globals stay: React looks at them once more after it is unmounted.
  })
  return new Page(window, supabase)
}

class Page {
  constructor(window, supabase) {
    this.window = window
    this.supabase = supabase
  }

  get text() {
    return this.window.document.body.textContent
  }

  /** All that stands in the document, what is typed in fields included. */
  get html() {
    const fields = [...this.window.document.querySelectorAll('input')].map(({ value }) => value)
    return `${this.window.document.documentElement.outerHTML} ${fields.join(' ')}`
  }

  find(selector) {
    return this.window.document.querySelector(selector)
  }

  /** The first one that is there in time. */
  async wait(selector) {
    await until(() => this.find(selector), `${selector} on the page`)
    return this.find(selector)
  }

  waitForText(text) {
    return until(() => this.text.includes(text), `"${text}" on the page, which says: ${this.text}`)
  }

  async type(selector, value) {
    const field = await this.wait(selector)
    field.value = value
  }

  async click(selector) {
    await until(() => this.find(selector)?.disabled === false, `${selector} to be there to click`)
    this.find(selector).click()
  }

  async submit(selector) {
    const form = await this.wait(selector)
    form.requestSubmit()
  }

  async signIn(email, password) {
    await this.type('input[name=email]', email)
    await this.type('input[name=password]', password)
    await this.submit('form')
  }
}
