// Electron's main process. It holds the connection; windows get results over IPC and never a key.
//
// APP_SECRETS_URL is a login that may read every business's secrets. It belongs on machines of your own (a kiosk, an
// operator's desk). An app that customers install signs them in instead and reads decrypted_business_secrets with
// supabase-js, where Row Level Security decides.

import { fileURLToPath } from 'node:url'
import { app, BrowserWindow, ipcMain } from 'electron'
import { YouTubeService } from './services/YouTubeService.mjs'

const youtube = new YouTubeService()
// Of this installation, not of what a window says.
const businessId = process.env.BUSINESS_ID

ipcMain.handle('youtube:search', (_event, text) => youtube.search(businessId, String(text)))

const file = (path) => fileURLToPath(new URL(path, import.meta.url))

await app.whenReady()
const window = new BrowserWindow({
  webPreferences: {
    preload: file('preload.cjs'),
    contextIsolation: true,
    sandbox: true,
    nodeIntegration: false,
  },
})
await window.loadFile(file('../dist/index.html'))
