// What each secret may hold, from what was written and how that ended.

import assert from 'node:assert/strict'

export class Ledger {
  #cells = new Map()
  #written = 0

  constructor(businesses, names) {
    this.businesses = businesses
    for (const business of businesses) {
      for (const name of names) {
        this.#cells.set(`${business}/${name}`, { candidates: new Set([null]), attempted: [], version: 0 })
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
        assert.equal(version, expected + 1, 'an acknowledged write counts one')
        cell.candidates = new Set([value])
        cell.version = version
        cell.late = undefined
      },
      failed() {
        cell.candidates = before
      },
      unknown() {
        cell.version = undefined
        cell.late = { value, version: expected + 1 }
      },
      /** Only where an earlier write of unknown outcome was carried out after all. */
      conflicted() {
        assert.ok(cell.late?.version === expected + 1, 'a conflict with nobody: the write was sent twice')
        cell.candidates = new Set([cell.late.value])
        cell.version = cell.late.version
        cell.late = undefined
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
      assert.ok([cell.late.version - 1, cell.late.version].includes(version))
      cell.version = version
      if (version === cell.late.version) {
        cell.candidates = new Set([cell.late.value])
        cell.late = undefined
      }
    }
  }
}
