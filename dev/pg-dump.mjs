// A real pg_dump without an installed PostgreSQL: the WebAssembly build that PGlite ships, on a connection to any server.
//
// That build calls its database synchronously, so the socket lives in a worker and this thread sleeps while it waits.
// It always adds --inserts; everything else is pg_dump 18's own.

import { once } from 'node:events'
import { createRequire } from 'node:module'
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'

const ANSWER_TIMEOUT_MS = 60_000

/**
 * Dumps the database of `url`, as its role. Blocks this thread meanwhile.
 *
 * @param {string} url
 * @param {string[]} [args] pg_dump's own, without connection and output options: `['--data-only', '--table=public.t']`
 * @returns {Promise<string>} the dump: plain SQL that any client can send, without psql's own commands
 */
export async function pgDump(url, args = []) {
  const { pgDump: run } = createRequire(import.meta.url)('@electric-sql/pglite-tools/pg_dump')
  const bridge = await openBridge(url)
  try {
    const file = await run({ pg: bridge, args })
    return await file.text()
  } finally {
    await bridge.close()
  }
}

async function openBridge(url) {
  const { port1: port, port2 } = new MessageChannel()
  const answered = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('pg-dump-worker.mjs', import.meta.url), {
    workerData: { url, port: port2, answered },
    transferList: [port2],
  })
  await once(worker, 'message')

  return {
    /** The protocol's bytes go out; the answer, whole, comes back before this returns. */
    execProtocolRawStream(bytes, { onRawData }) {
      Atomics.store(answered, 0, 0)
      // A copy: the bytes are a view of WebAssembly memory.
      port.postMessage(Uint8Array.from(bytes))
      if (Atomics.wait(answered, 0, 0, ANSWER_TIMEOUT_MS) === 'timed-out') {
        throw new Error(`pg_dump: no answer from the server within ${ANSWER_TIMEOUT_MS / 1000} s`)
      }
      const { bytes: answer, error } = receiveMessageOnPort(port).message
      if (error) throw new Error(`pg_dump: ${error}`)
      if (answer.length) onRawData(answer)
    },
    // Asked for so that it can be put back in the session, which in our case ends with the dump.
    query: async () => ({ rows: [{ search_path: '' }] }),
    exec: async () => [],
    async close() {
      port.close()
      await worker.terminate()
    },
  }
}
