// From measurements at several sizes to one table, so that one sees how each grows.

const number = (value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })

/** Of what was not measured yet, nothing is shown. */
const timed = (measures) => {
  if (!measures) return ''
  const { seconds, memoryMb } = measures
  return `${number(seconds, seconds < 10 ? 2 : 1)} s, ${number(memoryMb)} MB`
}

/** What a row is called, and how a size is shown in it. */
const rows = [
  ['migrate: 002 to 004 with their proof', ({ commands }) => timed(commands.migrate)],
  ['its backfill alone', ({ backfillPerSecond }) => `${number(backfillPerSecond)} secrets/s`],
  [
    'a writer of old code beside it waited (p50, p99, at most)',
    ({ writer }) => `${number(writer.p50, 1)}, ${number(writer.p99, 1)}, ${number(writer.max, 1)} ms`,
  ],
  ['`status`', ({ commands }) => timed(commands.status)],
  ['`doctor`', ({ commands }) => timed(commands.doctor)],
  ['`doctor --full`', ({ commands }) => timed(commands.doctorFull)],
  ['`verify`', ({ commands }) => timed(commands.verify)],
  ['`verify --sessions 1`', ({ commands }) => timed(commands.verifyAlone)],
  ['`migrate --drop-legacy`, which proves all twice', ({ commands }) => timed(commands.dropLegacy)],
  ['`rekey begin`', ({ commands }) => timed(commands.rekeyBegin)],
  ['`rekey begin --freeze`, writes are refused from here on', ({ commands }) => timed(commands.rekeyFreeze)],
  ['`rekey finish`', ({ commands }) => timed(commands.rekeyFinish)],
  ['`rollback`', ({ commands }) => timed(commands.rollback)],
  ['reads, uncached, 32 callers', ({ reads }) => `${number(reads.perSecond)}/s`],
  ['one read after the other, p50', ({ reads }) => `${number(reads.p50, 2)} ms`],
  ['`list()` of a business, p50', ({ lists }) => `${number(lists.p50, 2)} ms`],
  ['`set()`, p50', ({ writes }) => `${number(writes.p50, 2)} ms`],
]

/** The section of RESULTS.md; nothing where it was never measured. */
export function sizes(results) {
  if (!results.sizes) return ''
  const { machine, measured } = results.sizes
  const head = ['secrets', ...measured.map(({ secrets }) => number(secrets))]
  const lines = [
    head,
    head.map(() => '---'),
    ...rows.map(([title, show]) => [title, ...measured.map((one) => show(one))]),
  ]
  return `## At size

Written by \`npm run bench:migrate\`: each command once, as an operator runs it, with the time of its whole process and the most
memory that it had; eight secrets to a business. \`migrate\` runs beside a writer of old code. ${machine.cores} cores (${machine.cpu}) for server and
command, Node ${machine.node}, PostgreSQL ${machine.postgresql}, Vault: ${machine.vault}.

${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}
`
}

/** RESULTS.md with this section in place of the one that it had. */
export function withSizes(text, results) {
  const start = text.indexOf('\n## At size\n')
  const rest = start < 0 ? text : text.slice(0, start)
  const section = sizes(results)
  return section ? `${rest.trimEnd()}\n\n${section}` : rest
}
