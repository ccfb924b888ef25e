// The other half of pg-dump.mjs: owns an authenticated connection and passes the protocol's bytes to and fro.

import { parentPort, workerData } from 'node:worker_threads'
import pg from 'pg'

const { url, port, answered } = workerData

/** Cuts a stream of bytes into the protocol's messages. */
class Messages {
  #rest = Buffer.alloc(0)

  /** The types of the messages that these bytes complete. */
  add(bytes) {
    const buffer = Buffer.concat([this.#rest, bytes])
    const types = []
    let at = 0
    while (buffer.length >= at + 5) {
      const end = at + 1 + buffer.readInt32BE(at + 1)
      if (buffer.length < end) break
      types.push(String.fromCharCode(buffer[at]))
      at = end
    }
    this.#rest = buffer.subarray(at)
    return types
  }
}

const client = new pg.Client({ connectionString: url })
const parameters = []
client.connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
  parameters.push([parameterName, parameterValue])
})
await client.connect()

// From here on the bytes are pg_dump's.
const { stream } = client.connection
stream.removeAllListeners('data')
stream.removeAllListeners('close')
stream.removeAllListeners('end')

let started = false
const asked = new Messages()
const answering = new Messages()
let answer = []

port.on('message', (bytes) => {
  if (!started) {
    started = true
    return reply({ bytes: greeting() })
  }
  stream.write(bytes)
  // Query and Sync are what the server answers with ReadyForQuery; anything else it may answer later.
  if (!asked.add(bytes).some((type) => type === 'Q' || type === 'S')) reply({ bytes: Buffer.alloc(0) })
})

stream.on('data', (bytes) => {
  answer.push(bytes)
  if (!answering.add(bytes).includes('Z')) return
  reply({ bytes: Buffer.concat(answer) })
  answer = []
})
client.on('error', () => {})
stream.on('close', () => reply({ error: 'the server closed the connection' }))

parentPort.postMessage('ready')

/** What a server says to a start-up packet once it is content: pg_dump believes it has just logged in. */
function greeting() {
  const status = parameters.map(([name, value]) => message('S', Buffer.from(`${name}\0${value}\0`)))
  const key = Buffer.alloc(8)
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    ...status,
    message('K', key),
    message('Z', Buffer.from('I')),
  ])
}

function message(type, body) {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

function reply(message) {
  port.postMessage(message)
  Atomics.store(answered, 0, 1)
  Atomics.notify(answered, 0)
}
