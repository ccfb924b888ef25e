// Electron's main process. It signs the user in, keeps the session, and answers what a window may ask.

import { join } from 'node:path'
import { createClient } from '@supabase/supabase-js'
import { app, BrowserWindow, ipcMain } from 'electron'
import { YouTubeService } from './YouTubeService.ts'

const supabaseUrl = process.env.SUPABASE_URL ?? ''
const supabaseKey = process.env.SUPABASE_PUBLISHABLE_KEY ?? ''
const supabase = createClient(supabaseUrl, supabaseKey, { auth: { persistSession: false } })

let youtube: YouTubeService | null = null
let window: BrowserWindow | null = null

ipcMain.handle('session:sign-in', async (_event, email: unknown, password: unknown) => {
  const { error } = await supabase.auth.signInWithPassword({
    email: String(email),
    password: String(password),
  })
  if (error) return { error: error.code }
  // Of the user's own businesses, not of what a window says.
  const { data } = await supabase.from('businesses').select('id, name').order('name').limit(1).maybeSingle()
  if (!data) return { error: 'no_business' }
  await youtube?.close()
  youtube = new YouTubeService({
    supabaseUrl,
    supabaseKey,
    accessToken: async () => (await supabase.auth.getSession()).data.session?.access_token ?? '',
    businessId: data.id,
  })
  await youtube.setupRealtimeWatcher((isConfigured) =>
    window?.webContents.send('youtube:configured', isConfigured),
  )
  return { business: data.name }
})

ipcMain.handle('youtube:search', (_event, text: unknown) => youtube?.search(String(text)) ?? null)

app.whenReady().then(() => {
  window = new BrowserWindow({
    webPreferences: {
      preload: join(import.meta.dirname, 'preload.cjs'),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
    },
  })
  return window.loadFile(join(import.meta.dirname, '../../dist/index.html'))
})

app.on('window-all-closed', async () => {
  await youtube?.close()
  app.quit()
})
