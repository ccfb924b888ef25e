// A TCP proxy that can be made to fail in the ways that networks do.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** Listens on a free port of 127.0.0.1 and passes on to `port` there. */
export async function startProxy(port) {
  const proxy = new FaultyProxy(port)
  await proxy.listen()
  return proxy
}

class FaultyProxy {
  #server
  #pairs = new Set()

  /** `delayMs`: latency each way. `refuses`: new connections are reset. `swallows`: nothing passes, nobody is told. */
  #mode = { delayMs: 0, refuses: false, swallows: false }

  /** How often the client began to speak after the server had. */
  turns = 0

  constructor(target) {
    this.target = target
  }

  async listen() {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#server.unref()
    this.port = this.#server.address().port
  }

  /** A connection string that leads through here. */
  through(url) {
    const address = new URL(url)
    address.port = this.port
    return address.href
  }

  get connections() {
    return this.#pairs.size
  }

  set(mode) {
    Object.assign(this.#mode, mode)
  }

  /** Everything as it should be for what comes. What lost data is reset: it could not go on. */
  heal() {
    this.set({ delayMs: 0, refuses: false, swallows: false })
    for (const pair of this.#pairs) pair.heal()
  }

  /** Ends every connection with a reset. */
  reset() {
    for (const pair of this.#pairs) pair.reset()
  }

  /** Ends every connection with a reset once so many more bytes of an answer have passed. */
  resetAfter(bytes) {
    for (const pair of this.#pairs) pair.resetAfter = bytes
  }

  /** Ends every connection with a reset as soon as the client has sent something more, which is passed on. */
  resetAfterRequest() {
    for (const pair of this.#pairs) pair.resetsAfterRequest = true
  }

  /** Closes the server's side and leaves the client's open, as when a server vanished without a word. */
  halfOpen() {
    for (const pair of this.#pairs) pair.halfOpen()
  }

  async close() {
    this.reset()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(client) {
    if (this.#mode.refuses) {
      client.resetAndDestroy()
      return
    }
    const pair = new Pair(client, connect(this.target, '127.0.0.1'), this.#mode, () => {
      this.turns++
    })
    this.#pairs.add(pair)
    client.once('close', () => this.#pairs.delete(pair))
  }
}

class Pair {
  #lastSpoke = 'server'
  #isBroken = false
  #queue = []

  constructor(client, server, mode, onTurn) {
    this.client = client
    this.server = server
    this.mode = mode
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
    }
    client.on('data', (data) => {
      if (this.#lastSpoke === 'server') onTurn()
      this.#lastSpoke = 'client'
      this.#pass(data, server)
      if (this.resetsAfterRequest) setTimeout(() => this.reset(), 20)
    })
    server.on('data', (data) => {
      this.#lastSpoke = 'server'
      this.#answer(data)
    })
    client.on('end', () => server.end())
    client.on('close', () => server.destroy())
    server.on('end', () => this.#later(() => this.isHalfOpen || client.end()))
    server.on('close', () => this.#later(() => this.isHalfOpen || client.destroy()))
  }

  heal() {
    this.resetAfter = undefined
    this.resetsAfterRequest = false
    if (this.#isBroken) this.reset()
  }

  reset() {
    reset(this.client)
    reset(this.server)
  }

  halfOpen() {
    this.isHalfOpen = true
    reset(this.server)
  }

  #answer(data) {
    if (this.resetAfter === undefined) return this.#pass(data, this.client)
    if (data.length < this.resetAfter) {
      this.resetAfter -= data.length
      return this.#pass(data, this.client)
    }
    this.#pass(data.subarray(0, this.resetAfter), this.client)
    // What was written would be thrown away with the connection.
    setTimeout(() => this.reset(), 5)
  }

  #pass(data, socket) {
    // Once something is missing, what follows would make no sense: a real network would not deliver it either.
    this.#isBroken ||= this.mode.swallows
    if (!this.#isBroken) this.#later(() => socket.writable && socket.write(data))
  }

  /** In order, also where the latency changes meanwhile. */
  #later(work) {
    const now = performance.now()
    const at = Math.max(now + this.mode.delayMs, this.#queue.at(-1)?.at ?? 0)
    if (at <= now) {
      work()
      return
    }
    this.#queue.push({ at, work })
    if (this.#queue.length === 1) setTimeout(() => this.#deliver(), at - now)
  }

  #deliver() {
    this.#queue.shift().work()
    const next = this.#queue[0]
    if (next) setTimeout(() => this.#deliver(), next.at - performance.now())
  }
}

/** Node 20 never closes a socket that is reset after its end() went out, and spins for ever when the process ends. */
function reset(socket) {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}
