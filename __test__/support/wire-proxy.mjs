// A TCP proxy in front of a server, which counts what crosses it and can hold answers back or cut connections.
// Knows the framing of PostgreSQL's protocol and nothing else of it.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** A proxy to where `url` leads. Closed after the test. */
export async function wireProxy(t, url) {
  const proxy = new WireProxy(new URL(url))
  await proxy.listen()
  t.after(() => proxy.close())
  return proxy
}

class WireProxy {
  #target
  #server
  #sockets = new Set()
  #holding = false
  #held = []
  #isAway = false

  constructor(target) {
    this.#target = target
    this.accepted = 0
    this.reset()
  }

  async listen() {
    this.#server = createServer((socket) => this.#accept(socket)).listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** The same connection string, through the proxy. */
  get url() {
    const url = new URL(this.#target)
    url.port = this.#server.address().port
    return url.href
  }

  reset() {
    /** How often the client spoke after the server had: round trips. */
    this.trips = 0
    /** Messages that ask for an answer (Sync and Query), and answers (ReadyForQuery). */
    this.requests = 0
    this.answers = 0
    /** Bytes of both directions, for those who search them. */
    this.sent = []
    this.received = []
  }

  /** From now on answers stay here. */
  hold() {
    this.#holding = true
  }

  release() {
    this.#holding = false
    for (const deliver of this.#held.splice(0)) deliver()
  }

  /** Ends all connections as a network does: without a word. */
  cut() {
    this.#held = []
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Ends all connections, and each new one at once, until `comeBack()`: a server that is away. */
  goAway() {
    this.#isAway = true
    this.cut()
  }

  comeBack() {
    this.#isAway = false
  }

  async close() {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(client) {
    if (this.#isAway) return client.destroy()
    this.accepted++
    const server = connect(Number(this.#target.port), this.#target.hostname)
    const fromClient = new Frames(false)
    const fromServer = new Frames(true)
    let clientSpoke = false
    client.on('data', (bytes) => {
      if (!clientSpoke) this.trips++
      clientSpoke = true
      this.sent.push(bytes)
      for (const type of fromClient.read(bytes)) if (type === 'S' || type === 'Q') this.requests++
      server.write(bytes)
    })
    server.on('data', (bytes) => {
      const deliver = () => {
        clientSpoke = false
        this.received.push(bytes)
        for (const type of fromServer.read(bytes)) if (type === 'Z') this.answers++
        client.write(bytes)
      }
      if (this.#holding) this.#held.push(deliver)
      else deliver()
    })
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}

/** Splits one direction into messages and gives their types. The client's first has none. */
class Frames {
  #rest = Buffer.alloc(0)
  #typed

  constructor(typed) {
    this.#typed = typed
  }

  *read(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes])
    for (;;) {
      const head = this.#typed ? 1 : 0
      if (this.#rest.length < head + 4) return
      const length = head + this.#rest.readUInt32BE(head)
      if (this.#rest.length < length) return
      yield this.#typed ? String.fromCharCode(this.#rest[0]) : ''
      this.#rest = this.#rest.subarray(length)
      this.#typed = true
    }
  }
}
