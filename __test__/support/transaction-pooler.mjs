// A pooler in transaction mode: every connection logs in at the server by itself, and from then on each transaction is
// carried out on whichever server session is free. Clear text only.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** A pooler before where `url` leads. Gives its connection string; closed after the test. */
export async function transactionPooler(t, url) {
  const target = new URL(url)
  const sockets = new Set()
  const free = []
  const waiting = []
  const give = (server) => {
    const next = waiting.shift()
    if (next) next(server)
    // The one that was used last comes first, as in PgBouncer.
    else free.push(server)
  }
  const take = () =>
    free.length ? Promise.resolve(free.pop()) : new Promise((resolve) => waiting.push(resolve))

  const listener = createServer(async (client) => {
    const login = connect(Number(target.port), target.hostname)
    for (const socket of [client, login]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    // Until the first ReadyForQuery it is a plain proxy.
    let server = login
    let ready = false
    const receive = (bytes) => {
      client.write(bytes)
      if (!isIdle(bytes)) return
      ready = true
      const mine = server
      server = undefined
      mine.off('data', receive)
      give(mine)
    }
    login.on('data', receive)
    const queue = []
    let draining = false
    client.on('data', async (bytes) => {
      if (!ready) return login.write(bytes)
      queue.push(bytes)
      if (draining) return
      draining = true
      while (queue.length) {
        const next = queue.shift()
        // Terminate: the server session stays for the others.
        if (next[0] === 0x58) break
        if (!server) {
          server = await take()
          server.on('data', receive)
        }
        server.write(next)
      }
      draining = false
    })
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.after(async () => {
    for (const socket of sockets) socket.destroy()
    listener.close()
    await once(listener, 'close')
  })
  const pooled = new URL(url)
  pooled.port = listener.address().port
  return pooled.href
}

/** Whether the bytes end with ReadyForQuery outside a transaction. */
function isIdle(bytes) {
  return bytes.length >= 6 && bytes.subarray(-6).equals(Buffer.from([0x5a, 0, 0, 0, 5, 0x49]))
}
