// What a window may ask for. Results come back; no key does.

const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('desktop', {
  signIn: (email, password) => ipcRenderer.invoke('session:sign-in', email, password),
  searchYouTube: (text) => ipcRenderer.invoke('youtube:search', text),
  onYouTubeConfigured: (callback) => {
    ipcRenderer.on('youtube:configured', (_event, isConfigured) => callback(isConfigured))
  },
})
