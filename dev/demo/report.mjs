// What the demo prints. A claim that does not hold ends it.

const colours = { bold: '1', dim: '2', red: '31', green: '32', cyan: '36' }

export class ClaimFailed extends Error {}

export class Report {
  #write
  #colour
  #started = Date.now()
  #steps = []

  /** Colour only where a person reads it: a terminal, unless NO_COLOR (https://no-color.org) is set. */
  constructor({ stream = process.stdout, colour = stream.isTTY && !process.env.NO_COLOR } = {}) {
    this.#write = (text) => stream.write(text)
    this.#colour = colour
  }

  get claims() {
    return this.#steps.reduce((sum, { claims }) => sum + claims, 0)
  }

  step(title) {
    this.#endStep()
    this.#steps.push({ title, claims: 0, started: Date.now() })
    this.#write(`\n${this.#paint('cyan', this.#paint('bold', `${this.#steps.length}  ${title}`))}\n`)
  }

  say(text) {
    this.#write(`   ${text}\n`)
  }

  /** Columns as wide as they need to be; the first row is the head. */
  table([head, ...rows], { indent = '   ' } = {}) {
    const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => String(row[i]).length)))
    const line = (row) => row.map((cell, i) => String(cell).padEnd(widths[i])).join('  ')
    this.#write(`${indent}${this.#paint('dim', line(head).trimEnd())}\n`)
    for (const row of rows) this.#write(`${indent}${line(row).trimEnd()}\n`)
  }

  /** Says what holds, or throws. `found` is what was seen: a count, a code; never a value. */
  claim(text, holds, found) {
    const note = found === undefined ? '' : ` ${this.#paint('dim', `(${found})`)}`
    if (holds !== true) {
      this.#write(`   ${this.#paint('red', '✗')} ${text}${note}\n`)
      throw new ClaimFailed(`this does not hold: ${text}${found === undefined ? '' : ` (${found})`}`)
    }
    this.#steps.at(-1).claims++
    this.#write(`   ${this.#paint('green', '✓')} ${text}${note}\n`)
  }

  summary() {
    this.#endStep()
    this.#write('\n')
    this.table(
      [
        ['', 'step', 'claims', 'time'],
        ...this.#steps.map(({ title, claims, ms }, i) => [i + 1, title, claims, seconds(ms)]),
      ],
      { indent: '   ' },
    )
    const total = `All ${this.claims} claims hold. ${seconds(Date.now() - this.#started)} in all.`
    this.#write(`\n${this.#paint('green', this.#paint('bold', total))}\n`)
  }

  #endStep() {
    const last = this.#steps.at(-1)
    if (last) last.ms ??= Date.now() - last.started
  }

  #paint(name, text) {
    return this.#colour ? `\u001b[${colours[name]}m${text}\u001b[0m` : text
  }
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`
}

/** As providers' consoles show a key. */
export function masked(value) {
  return value === null || value === undefined ? 'not set' : `••••${value.slice(-4)}`
}
