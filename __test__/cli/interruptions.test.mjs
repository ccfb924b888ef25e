// The migrator is killed, its connections are cut and the server is ended under it, at random moments, while others go
// on writing. After the rerun nothing is lost and both sides are equal.
//
// `npm run test:kill` does the same 200 and 20 times. A failure prints its seed; APP_SECRETS_TEST_SEED repeats it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { cliEnds, startCli } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { legacyNames } from '../support/secrets.mjs'
import { startCluster, TestCluster, withClient } from '../support/servers.mjs'

const kills = process.env.npm_lifecycle_event === 'test:kill' ? 200 : 6
const cuts = Math.ceil(kills / 4)
const crashes = Math.ceil(kills / 10)
const businesses = 120

test(`killed ${kills} times, it goes on where it was, and nothing is lost`, async (t) => {
  const random = seeded(t)
  await interrupted(
    t,
    random,
    kills,
    (db) => freshDatabase(t, 17, db),
    async (run) => {
      run.child.kill('SIGKILL')
    },
  )
})

test(`cut off ${cuts} times, it goes on where it was, and nothing is lost`, async (t) => {
  const random = seeded(t)
  await interrupted(
    t,
    random,
    cuts,
    (db) => freshDatabase(t, 17, db),
    async (_, db) => {
      await db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = $1 and application_name like 'app-secrets migrate%'`,
        [db.name],
      )
    },
  )
})

test(`with the server ended ${crashes} times under it, it goes on where it was, and nothing is lost`, async (t) => {
  const random = seeded(t)
  const own = await startCluster(17)
  const cluster = new TestCluster(own.description)
  const make = (options) => cluster.freshDatabase(t, options)
  try {
    await interrupted(t, random, crashes, make, async () => {
      await own.server.stopImmediate()
      await own.server.restart()
    })
  } finally {
    t.after(() => own.stop())
  }
})

function seeded(t) {
  const seed = randomSeed()
  t.diagnostic(`seed ${seed}`)
  return generator(seed)
}

/** Migrates database after database until `wanted` runs were interrupted, and checks each of them. */
async function interrupted(t, random, wanted, makeDatabase, interrupt) {
  let done = 0
  while (done < wanted) {
    const db = await makeDatabase({ migratedTo: 0 })
    await fill(db)
    const writer = new Writer(db, random)
    await writer.learn()
    const writing = writer.run()
    try {
      // How long a whole run takes here is learnt from the first.
      let span = 1_500
      for (let ended = false; !ended && done < wanted; ) {
        const sessions = String(random.pick([1, 2, 4]))
        const run = startCli(db, ['migrate', '--batch', '5', '--pause-ms', '5', '--sessions', sessions])
        const started = performance.now()
        const moment = delay(random.next() * span)
        const { code, stderr } = await Promise.race([run.ended, moment.then(() => ({}))])
        if (code === undefined) {
          await interrupt(run, db)
          done++
          ended = (await run.ended).code === 0
        } else {
          assert.equal(code, 0, stderr)
          span = performance.now() - started
          ended = true
        }
      }
      await writer.reconnected()
      await cliEnds(0, db, ['migrate'])
    } finally {
      writer.stop()
      await writing
    }
    t.diagnostic(
      `${done} interruptions; ${writer.writes} writes meanwhile, the slowest ${Math.round(writer.slowest)} ms`,
    )
    await writer.assertNothingLost()
    // On connections of their own: those of before may have ended with the server.
    await assertSynced({
      query: (text, values) => withClient(db.admin, async (c) => (await c.query(text, values)).rows),
    })
    await cliEnds(0, db, ['verify'])
    // The server has only so many connections.
    await db.close?.()
  }
}

async function fill(db) {
  await db.query(
    `insert into public.businesses (name, ${legacyNames.join(', ')})
     select 'b' || i, ${legacyNames.map((name) => `'${name}-' || i`).join(', ')} from generate_series(1, $1) i`,
    [businesses],
  )
}

/** Writes keys as legacy code does, one after the other, and remembers what was committed. */
class Writer {
  #db
  #random
  #expected = new Map()
  #unsure = new Set()
  #stopped = false
  #client

  constructor(db, random) {
    this.#db = db
    this.#random = random
    this.writes = 0
    this.slowest = 0
  }

  async learn() {
    for (const row of await this.#rows()) this.#expected.set(row.id, row)
  }

  async run() {
    const ids = [...this.#expected.keys()]
    while (!this.#stopped) {
      const [id, name] = [this.#random.pick(ids), this.#random.pick(legacyNames)]
      const value = this.#random.chance(0.1) ? null : `written-${++this.writes}`
      const started = performance.now()
      try {
        this.#client ??= await this.#connect()
        await this.#client.query(`update public.businesses set ${name} = $1 where id = $2`, [value, id])
        this.#expected.get(id)[name] = value
        this.#unsure.delete(`${id}/${name}`)
        this.slowest = Math.max(this.slowest, performance.now() - started)
      } catch {
        // The server went away: whether it was carried out is not known.
        this.#unsure.add(`${id}/${name}`)
        // Not waited for: of a connection that broke, the end may never come.
        this.#client?.end().catch(() => {})
        this.#client = undefined
        await delay(20)
      }
      await delay(this.#random.next() * 4)
    }
    await this.#client?.end()
  }

  async #connect() {
    const client = new pg.Client({ connectionString: this.#db.admin })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  /** Waits until it has written something again. */
  async reconnected() {
    for (const before = this.writes; this.writes < before + 3; ) await delay(5)
  }

  stop() {
    this.#stopped = true
  }

  async #rows() {
    const client = await this.#connect()
    try {
      return (await client.query(`select id, ${legacyNames.join(', ')} from public.businesses`)).rows
    } finally {
      await client.end()
    }
  }

  async assertNothingLost() {
    const lost = []
    for (const row of await this.#rows()) {
      for (const name of legacyNames) {
        const key = `${row.id}/${name}`
        if (!this.#unsure.has(key) && row[name] !== this.#expected.get(row.id)[name]) lost.push(key)
      }
    }
    assert.deepEqual(lost, [])
  }
}
