// Uses everything and forgets to close it: run by endurance.test.mjs, which wants it to end by itself.

import { connect } from '../../index.js'

const { url, business } = JSON.parse(process.argv[2])
const secrets = await connect({ url, cache: {} })
secrets.watch({}, () => {})
await secrets.set(business, 'grok_api_key', 'forgotten')
await secrets.get(business, 'grok_api_key')
