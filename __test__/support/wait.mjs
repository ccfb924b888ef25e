// Waiting for a condition instead of for a time.

import { setTimeout as delay } from 'node:timers/promises'

/** Waits until `condition()` gives something truthy, and gives that. After `seconds` it is called hanging, on a busy machine too. */
export async function until(condition, what = 'the condition', seconds = 120) {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await delay(10)) {
    const result = await condition()
    if (result) return result
  }
  throw new Error(`${what} did not come about in ${seconds} s`)
}

/** Waits until a backend waits for a lock. */
export function untilBlocked(db, pid) {
  return until(async () => {
    const rows = await db.query('select wait_event_type from pg_stat_activity where pid = $1', [pid])
    return rows[0]?.wait_event_type === 'Lock'
  }, `backend ${pid} waiting for a lock`)
}
