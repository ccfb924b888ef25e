// Collects the notifications of a database.

/** `next()` gives the payloads that came since the last call, all those of committed writes included. */
export async function listen(db) {
  const client = await db.connect()
  const payloads = []
  client.on('notification', ({ payload }) => payloads.push(payload))
  await client.query('listen business_secrets_changed')
  return {
    async next() {
      // A server sends what was committed before it reports a statement of this session done.
      await client.query('select 1')
      return payloads.splice(0).map((payload) => JSON.parse(payload))
    },
  }
}
