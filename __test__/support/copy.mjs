// COPY … FROM STDIN over node-postgres, which has the protocol's messages but no query that uses them.

/** Sends `lines` (arrays of text or null) in COPY's text format. */
export function copyIn(client, statement, lines) {
  const text = lines.map((line) => `${line.map(field).join('\t')}\n`).join('')
  return new Promise((resolve, reject) => {
    let failure
    client.query({
      submit(connection) {
        connection.query(statement)
      },
      handleCopyInResponse(connection) {
        connection.sendCopyFromChunk(Buffer.from(text))
        connection.endCopyFrom()
      },
      handleCommandComplete() {},
      handleRowDescription() {},
      handleDataRow() {},
      handleError(error) {
        failure = error
        reject(error)
      },
      handleReadyForQuery() {
        if (!failure) resolve()
      },
    })
  })
}

const escapes = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }
const field = (value) => (value === null ? '\\N' : value.replace(/[\\\n\r\t]/g, (c) => escapes[c]))
