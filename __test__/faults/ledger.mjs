// What each secret may hold, from what was written and how that ended.

import assert from 'node:assert/strict'

export class Ledger {
  #cells = new Map()
  #written = 0

  constructor(businesses, names) {
    this.businesses = businesses
    for (const business of businesses) {
      for (const name of names) {
        this.#cells.set(`${business}/${name}`, {
          candidates: new Set([null]),
          attempted: [],
          version: 0,
          versions: [],
        })
      }
    }
  }

  #cell(business, name) {
    return this.#cells.get(`${business}/${name}`)
  }

  /** A read begins. `gave` asserts that its value is one that the secret held at some time since. */
  reads(business, name) {
    const cell = this.#cell(business, name)
    const possible = new Set(cell.candidates)
    const since = cell.attempted.length
    return {
      gave(value) {
        const tenant = value === null || value.startsWith(`${business}/${name}/`)
        assert.ok(tenant, `a read of ${business}/${name} gave ${value}`)
        const later = [...cell.candidates, ...cell.attempted.slice(since)]
        assert.ok(possible.has(value) || later.includes(value), `${value} is not what was written last`)
      },
    }
  }

  /** Whether the version is known, so that a write can expect it. */
  isCertain(business, name) {
    return this.#cell(business, name).version !== undefined
  }

  /** A write begins: of a value that nobody else writes. */
  writes(business, name) {
    const cell = this.#cell(business, name)
    const value = `${business}/${name}/${++this.#written}`
    const expected = cell.version
    const before = new Set(cell.candidates)
    cell.candidates.add(value)
    cell.attempted.push(value)
    return {
      value,
      expected,
      acknowledged(version) {
        assert.ok(version > expected, 'an acknowledged write has a later version')
        cell.candidates = new Set([value])
        cell.version = version
        cell.versions.push(version)
        cell.late = undefined
      },
      failed() {
        cell.candidates = before
      },
      unknown() {
        cell.version = undefined
        cell.late = { value, after: expected }
      },
      /** Only where an earlier write of unknown outcome was carried out after all. */
      conflicted() {
        assert.ok(cell.late?.after === expected, 'a conflict with nobody: the write was sent twice')
        cell.candidates = new Set([cell.late.value])
        cell.late.isCertain = true
        cell.version = undefined
      },
    }
  }

  /** The versions as they were read. */
  heard(business, list) {
    for (const { name, version } of list) {
      const cell = this.#cell(business, name)
      if (!cell) continue
      if (cell.version !== undefined) {
        assert.equal(version, cell.version, `${business}/${name} is at another version than was acknowledged`)
        continue
      }
      cell.version = version
      if (version === cell.late.after) {
        assert.ok(!cell.late.isCertain, `${business}/${name} lost a write that another one met`)
        continue
      }
      assert.ok(version > cell.late.after, `${business}/${name} went back to an earlier version`)
      cell.candidates = new Set([cell.late.value])
      cell.versions.push(version)
      cell.late = undefined
    }
  }

  /** Every change as the audit has it, oldest first: each write that is known was carried out once, and no other was. */
  audited(rows) {
    for (const [cell, { versions }] of this.#cells) {
      const found = rows.filter((row) => `${row.business_id}/${row.name}` === cell)
      assert.deepEqual(
        found.map(({ version }) => version),
        versions,
        `${cell} was written more or less often than is known`,
      )
    }
  }
}
