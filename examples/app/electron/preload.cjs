'use strict'

// What a window may ask for. Results come back; no key does.

const { contextBridge, ipcRenderer } = require('electron')

contextBridge.exposeInMainWorld('youtube', {
  search: (text) => ipcRenderer.invoke('youtube:search', text),
})
