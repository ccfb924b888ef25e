// From rounds to a table of ratios. A ratio is taken within each process, from medians of its rounds; what is shown is
// the median of the processes.

import { batchedPeers, CONNECTIONS, columnPeers, plainPeers } from './contenders.mjs'
import { sizes } from './size.mjs'
import { median, quantile } from './statistics.mjs'

const US = { unit: 'µs', digits: 1, lessIsBetter: true }
const MS = { unit: 'ms', digits: 1, lessIsBetter: true }
const NS = { unit: 'ns', digits: 0, lessIsBetter: true }
const RATE = { unit: '/s', digits: 0, lessIsBetter: false }

/** The same client on a database whose reads look up no scope and leave no mark. */
const unscoped = ['ours, without scopes and marks']

export function report(results) {
  const rows = [
    row('Sequential p50', 'sequential', 'p50', US, ['pg'], { most: 0.95 }),
    ...rates('32 callers', 'concurrent 32', 3, 1.2, 1.0),
    ...rates('256 callers', 'concurrent 256', 6, 1.6, 1.4),
    ...rates('Burst of 1,000', 'burst 1000', 5, 1.3, 1.0),
    row('CPU a get, 256 callers', 'concurrent 256', 'cpu', US, ['pg'], { most: 0.08 }),
    row('CPU a get, 256 callers', 'concurrent 256', 'cpu', US, batchedPeers, { most: 1.1 }),
    row('Scopes and marks, sequential p50', 'sequential', 'p50', US, unscoped, { most: 1.1 }),
    row('Scopes and marks, 32 callers', 'concurrent 32', 'perSecond', RATE, unscoped, { least: 0.9 }),
    row('Scopes and marks, 256 callers', 'concurrent 256', 'perSecond', RATE, unscoped, { least: 0.9 }),
    row(
      'One get a query, 256 callers',
      'concurrent 256',
      'perSecond',
      RATE,
      plainPeers,
      {},
      'ours, one get a query',
    ),
    row('Cached get, awaited', 'cached', 'ns', NS, ['lru-cache'], { most: 1.0 }, 'ours, cached'),
    row('Cached get, awaited', 'cached', 'ns', NS, ['Map + Promise.resolve'], {}, 'ours, cached'),
  ]
  const found = rows.map((make) => make(results)).filter(Boolean)
  return [
    heading(results),
    table([...found, first(results)]),
    invalidation(results),
    absolute(results),
    limit(results),
    sizes(results),
  ]
    .filter(Boolean)
    .map((part) => part.trimEnd())
    .join('\n\n')
    .concat('\n')
}

function rates(title, workload, plainAim, batchedAim, columnAim) {
  return [
    row(title, workload, 'perSecond', RATE, plainPeers, { least: plainAim }),
    row(title, workload, 'perSecond', RATE, batchedPeers, { least: batchedAim }),
    row(title, workload, 'perSecond', RATE, columnPeers, { least: columnAim }),
  ]
}

/** Ours against the best of `peers`. */
function row(title, workload, key, scale, peers, aim = {}, ours = 'ours') {
  return ({ rounds }) => {
    if (!rounds[0][workload]?.[ours]) return undefined
    const perProcess = rounds.map((measured) => {
      const of = (name) => median(measured[workload][name].map((numbers) => numbers[key]))
      const best = peers.reduce((a, b) => (of(a) < of(b) === scale.lessIsBetter ? a : b))
      return { ours: of(ours), best: of(best), name: best, ratio: of(ours) / of(best) }
    })
    return summary(title, scale, perProcess, aim)
  }
}

function first({ first }) {
  const [ours, best] = [median(first.ours), median(first.postgres)]
  return summary('First secret from require', MS, [{ ours, best, name: 'postgres', ratio: ours / best }], {
    most: 0.4,
  })
}

function summary(title, { unit, digits }, perProcess, { most, least }) {
  const middle = (key) => median(perProcess.map((one) => one[key]))
  const ratio = middle('ratio')
  const aim = most === undefined ? (least === undefined ? '' : `≥ ${least}`) : `≤ ${most}`
  const met = aim && (most === undefined ? ratio >= least : ratio <= most)
  const spread = perProcess.map((one) => one.ratio)
  return [
    title,
    `${number(middle('ours'), digits)} ${unit}`,
    `${number(middle('best'), digits)} ${unit}`,
    perProcess[0].name,
    `${ratio.toFixed(2)} (${Math.min(...spread).toFixed(2)}–${Math.max(...spread).toFixed(2)})`,
    aim,
    aim && (met ? 'met' : 'missed'),
  ]
}

function table(rows) {
  const head = ['', 'ours', 'peer', 'which', 'ours ÷ peer', 'aim', '']
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Every contender's medians. */
function absolute({ rounds }) {
  const columns = [
    ['sequential', 'p50', 'sequential p50, µs', 1],
    ['concurrent 32', 'perSecond', '32 callers, /s', 0],
    ['concurrent 256', 'perSecond', '256 callers, /s', 0],
    ['concurrent 256', 'cpu', 'CPU a get, µs', 1],
    ['burst 1000', 'perSecond', 'burst of 1,000, /s', 0],
  ]
  const names = Object.keys(rounds[0].sequential)
  const lines = names.map((name) => [
    name,
    ...columns.map(([workload, key, , digits]) =>
      number(median(rounds.flatMap((one) => one[workload][name].map((numbers) => numbers[key]))), digits),
    ),
  ])
  const head = ['medians of all rounds', ...columns.map(([, , title]) => title)]
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function invalidation({ invalidation }) {
  const [p50, p99, most] = [0.5, 0.99, 1].map((q) => quantile(invalidation, q).toFixed(1))
  return `A change in another process's cache: from calling set() here to its watch() callback there, p50 ${p50} ms, p99 ${p99} ms,
at most ${most} ms over ${number(invalidation.length, 0)} writes (aim: p99 ≤ 50 ms: ${p99 <= 50 ? 'met' : 'missed'}).`
}

function limit({ pgbench }) {
  if (!pgbench) return 'pgbench is not installed here: the limit was not measured.'
  const parts = Object.entries(pgbench).map(([size, rate]) => `${number(rate, 0)}/s in batches of ${size}`)
  return `The limit, pgbench on the same function with ${CONNECTIONS} connections: ${parts.join(', ')}.`
}

function heading({ quick, machine, rounds }) {
  const perProcess = rounds[0].sequential.ours.length
  const size = (machine.addonBytes / 1e6).toFixed(2)
  return `# Measured

Written by \`npm run bench\`; the raw rounds are in results.json. One process measures every contender in turns, round
after round; ${rounds.length} processes of ${perProcess} ${quick ? 'short rounds (--quick)' : 'rounds'} each. The same function, login and number of connections
(${CONNECTIONS}) for everybody, and the server on the same machine. A ratio is the median of the processes, with the
lowest and the highest; on a machine that does other things too, 15 % is noise.

- ${machine.cores} cores (${machine.cpu}), ${machine.memoryGb} GB, ${machine.platform}
- Node ${machine.node}, PostgreSQL ${machine.postgresql}, Vault: ${machine.vault}
- the stripped addon: ${size} MB (aim ≤ 6 MB: ${machine.addonBytes <= 6e6 ? 'met' : 'missed'})`
}

const number = (value, digits) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
