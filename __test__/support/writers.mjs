// Writers of the same few businesses from both sides: old code, which knows the owner table alone, and new code.

import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { legacyNames } from './secrets.mjs'

const key = (random) => random.pick(legacyNames.slice(0, 3))
const value = (random) => (random.chance(0.2) ? null : `v${random.below(50)}`)

/** What old code has beside the owner table. */
export const children =
  'create table public.orders (id bigint generated always as identity, business_id uuid references public.businesses (id) on delete cascade)'
export const uniqueKey = `create unique index on public.businesses (${legacyNames[2]}, id)`

/**
 * What old code does with one business. A transaction takes several of these, of businesses in ascending order, and locks a
 * business first that it comes back to: two that first share a row and then want it alone are a deadlock without us, too.
 */
const legacy = {
  update: (random, id) => [
    `update public.businesses set ${key(random)} = $2, ${legacyNames[3]} = $2 where id = $1`,
    [id, value(random)],
  ],
  save: (random, id) => [
    `update public.businesses set name = $2, ${legacyNames.map((name) => `${name} = ${name}`).join(', ')} where id = $1`,
    [id, `name ${random.below(9)}`],
  ],
  rename: (random, id) => [
    'update public.businesses set name = $2 where id = $1',
    [id, `name ${random.below(9)}`],
  ],
  lock: (_random, id) => ['select from public.businesses where id = $1 for update', [id]],
  child: (_random, id) => ['insert into public.orders (business_id) values ($1)', [id]],
  signUp: () => ["insert into public.businesses (name) values ('short-lived')", []],
  signUpWithKey: (random) => [
    `insert into public.businesses (name, ${key(random)}) values ('short-lived', 'x')`,
    [],
  ],
}

/** What new code does; a refusal with 40001 is repeated, as every client does. */
const sealed = {
  update: (random, id) => [
    `update public.business_secrets set ${key(random)} = $2 where business_id = $1`,
    [id, value(random)],
  ],
  upsert: (random, id) => {
    const name = key(random)
    return [
      `insert into public.business_secrets (business_id, ${name}) values ($1, $2)
       on conflict (business_id) do update set ${name} = excluded.${name}`,
      [id, value(random)],
    ]
  },
  bulk: (random, _id, ids) => {
    const name = key(random)
    return [
      `insert into public.business_secrets (business_id, ${name}) select id, $2 from unnest($1::uuid[]) as u(id)
       on conflict (business_id) do update set ${name} = excluded.${name}`,
      [ids.toSorted(() => random.below(3) - 1), value(random)],
    ]
  },
  remove: (_random, id) => ['delete from public.business_secrets where business_id = $1', [id]],
  set: (random, id) => [
    'select public.set_business_secrets($1, $2)',
    [id, JSON.stringify({ [key(random)]: value(random), google_access_token: value(random) })],
  ],
}

const REPEATED = ['40001', '40P01']

/** One transaction of old code; nothing of it may fail. `ids` ascend. */
export async function oldCode(random, client, ids) {
  const steps = random.below(3) + 1
  const mine = Array.from({ length: steps }, () => random.pick(ids)).sort()
  try {
    if (steps > 1) await client.query('begin')
    for (const [i, id] of mine.entries()) {
      const comesBack = mine[i + 1] === id && mine[i - 1] !== id
      const what = comesBack ? 'lock' : random.pick(Object.keys(legacy))
      await client.query(...legacy[what](random, id))
    }
    if (random.chance(0.1) && steps === 1)
      await client.query("delete from public.businesses where name = 'short-lived'")
    if (steps > 1) await client.query(random.chance(0.2) ? 'rollback' : 'commit')
  } catch (error) {
    await client.query('rollback')
    throw new Error(`old code: ${error.code} ${error.message}`, { cause: error })
  }
}

/**
 * Whether a deadlock is one that old code has without us: PostgreSQL lets `select … for update` of a row that others update hold
 * one version of it and wait for the next, which meets the check of a child's foreign key once in 30,000 to 150,000 transactions of
 * this mix. Neither statement runs anything of ours, and the server's log names those of the whole cycle.
 */
export function isOldCodesOwn(error, logFile) {
  if (error.code !== '40P01' || !logFile) return false
  const [, pid] = error.detail.match(/^Process (\d+) waits/)
  const report = readFileSync(logFile, 'utf8')
    .split(`[${pid}] `)
    .findLast((text) => text.includes('\tProcess '))
  const statements = [...report.matchAll(/^\tProcess \d+: (.*)$/gm)].map(([, text]) => text)
  const withoutUs = ['lock', 'child'].map((what) => legacy[what]()[0])
  return statements.length > 1 && statements.every((text) => withoutUs.includes(text))
}

/** One statement of new code, until it is through or time is over; gives how often it was repeated. */
export async function newCode(random, client, ids, until) {
  const statement = sealed[random.pick(Object.keys(sealed))](random, random.pick(ids), ids)
  for (let repeated = 0; ; repeated++) {
    try {
      await client.query(...statement)
      return repeated
    } catch (error) {
      if (!REPEATED.includes(error.code)) {
        throw new Error(`new code: ${error.code} ${error.message}`, { cause: error })
      }
      if (Date.now() > until) return repeated + 1
      await setTimeout(random.below(20))
    }
  }
}

/** A session of the app's login. Setting deadlock_timeout takes a superuser: a victim shows soon, and none is hidden by patience. */
export async function connectWriter(db) {
  const client = await db.connect('supabase_admin')
  await client.query('set deadlock_timeout = 100')
  await client.query('set session authorization postgres')
  return client
}
