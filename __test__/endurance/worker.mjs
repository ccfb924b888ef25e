// A worker thread that reads and ends; every second one forgets to close its client.

import { workerData } from 'node:worker_threads'
import { connect } from '../../index.js'

const { url, business, closes } = workerData
const secrets = await connect({ url, maxConnections: 1 })
if ((await secrets.get(business, 'gemini_api_key')) !== `gemini of ${business}`)
  throw new Error('a wrong value')
if (closes) await secrets.close()
