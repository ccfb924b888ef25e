// What the command line does, from code. Part of `@app/secrets`.

import type { SecretName } from '../index.js'

/** How to reach the database as the migration role. What is left out comes from the environment. */
export interface AdminOptions {
  /** A direct connection as the owner of `businesses` (`postgres` on Supabase); else `ADMIN_DATABASE_URL`. */
  url?: string
  /** A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file. */
  ca?: string
  /** Allows a connection to a remote host that is not encrypted and verified. False unless told. */
  allowInsecure?: boolean
  /** How long to wait for a connection. 5000 unless told. */
  timeoutMs?: number
}

/** Which secrets are wanted, until the database has a catalogue of its own. */
export interface CatalogueOptions {
  /**
   * The path of a file as `app-secrets init` writes it: owner table, who may access it, names. Else `app-secrets.json` of the working
   * directory where there is one, else the default names. A migrated database keeps its own catalogue: the file changes nothing then.
   */
  config?: string
}

/**
 * Applies what is missing of 002 to 004, as `app-secrets migrate` does, and tells how it goes. Done already is fine;
 * where another migrator is at work, it waits for that one. Never drops plaintext.
 *
 * Rejects with `LOCK_TIMEOUT`, `VERIFICATION_FAILED` or `REFUSED` where it gives up; call it again, it goes on where it
 * stopped. What `onProgress` throws, or its promise rejects with, becomes a process warning.
 */
export declare function migrate(
  options?: MigrateOptions | null,
  onProgress?: (event: MigrateEvent) => unknown,
): Promise<MigrateResult>

/** How to migrate. */
export interface MigrateOptions extends AdminOptions, CatalogueOptions {
  /** The last file to apply. 4 unless told. */
  to?: 2 | 3 | 4
  /** The most businesses in one transaction of the backfill, 1 to 10,000. 100 unless told; fewer where that takes long. */
  batch?: number
  /** How many sessions backfill at once, 1 to 32: unless told, as many as this machine has cores, and at most 4. */
  sessions?: number
  /** A rest after each batch. 0 unless told. */
  pauseMs?: number
  /** How long to try for a lock that others hold. 60,000 unless told. */
  lockWaitMs?: number
  /** Sends the files again that are applied: puts back what was changed or dropped of ours. False unless told. */
  reapply?: boolean
}

/** Something that happened while it migrates. */
export interface MigrateEvent {
  /**
   * - `waiting`: another migrator is at work (`holders`).
   * - `started`: a file is being applied (`version`, `title`).
   * - `retrying`: another session held a lock for too long (`what`, `blockers`, `pauseMs`).
   * - `batch`: a batch of the backfill was committed (`done`, `total`, `secrets`, `perSecond`, `leftMs`).
   * - `applied`: a file is applied and recorded (`version`, `elapsedMs`).
   * - `warning`: worth reading (`message`).
   */
  kind: 'waiting' | 'started' | 'retrying' | 'batch' | 'applied' | 'warning'
  /** The file. */
  version?: number
  /** What the file does. */
  title?: string
  /** The other migrator's session. */
  holders?: string[]
  /** The step that was held up. */
  what?: string
  /** The sessions that held it up. */
  blockers?: string[]
  /** How long until it is tried again. */
  pauseMs?: number
  /** Businesses that have been looked at, in earlier runs too. */
  done?: number
  /** Businesses that there are. */
  total?: number
  /** Secrets sealed by this run. */
  secrets?: number
  /** Secrets a second. */
  perSecond?: number
  /** What is left at this pace; null before there is one. */
  leftMs?: number | null
  /** How long the file took. */
  elapsedMs?: number
  /** What is worth reading. */
  message?: string
}

/** What a migration came to. */
export interface MigrateResult {
  /** The files that were applied now. */
  applied: number[]
  /** Businesses that the backfill looked at. */
  businesses: number
  /** Secrets that it sealed. */
  secrets: number
  /** How long all of it took. */
  elapsedMs: number
}

/** Says what is applied, how far the backfill is, and what comes next. Only looks. */
export declare function status(options?: (AdminOptions & CatalogueOptions) | null): Promise<MigrationStatus>

/** Where the migration stands. */
export interface MigrationStatus {
  /** The database's name. */
  database: string
  /** Each file of this package. */
  files: FileStatus[]
  /** Businesses that there are. */
  businesses: number
  /** How many of them are backfilled. */
  done: number
  /** Values that differed when `verify` ran last; null where it never did. */
  mismatches: number | null
  /** The plaintext columns that are still there. */
  plaintextColumns: SecretName[]
  /** A rollback was begun and not finished. */
  rollingBack: boolean
  /** Something must be done: migrate, mend what differs, or finish a rollback. */
  pending: boolean
}

/** One file, and what the ledger says of it. */
export interface FileStatus {
  /** Its number. */
  version: number
  /** As it is called in `migrations/`. */
  file: string
  /** `applied_unchecked` where another tool applied it, `edited` where it was another text than this package's. */
  state: 'pending' | 'applied' | 'applied_unchecked' | 'edited'
  /** When it was applied; null where it was not. */
  appliedAt: Date | null
  /** By which login; null where that is not known. */
  appliedBy: string | null
}

/**
 * Proves that every plaintext value is in Vault, and that nothing there is broken. Counts and ids only.
 *
 * Resolves also where it finds faults: look at `verified`.
 */
export declare function verify(options?: VerifyOptions | null): Promise<Verification>

/** How to verify. */
export interface VerifyOptions extends AdminOptions {
  /**
   * How many sessions compare at once, 1 to 32, all of one snapshot: unless told, as many as this machine has cores, and at
   * most 4.
   */
  sessions?: number
}

/** What a verification found. Counts and ids only. */
export interface Verification {
  /** Nothing is wrong at all. */
  verified: boolean
  /** Values that differ between plaintext and Vault. */
  mismatched: number
  /** The plaintext columns against Vault; null once they are dropped. */
  columns: ColumnProof[] | null
  /** References without a Vault row of their own. */
  dangling: Finding
  /** Values that Vault cannot open. */
  undecryptable: Finding
  /** Cells that hold something other than a reference. */
  unsealed: Finding
  /** Vault rows that no cell refers to. */
  orphans: Finding
  /** Vault rows under names like ours that are not ours; they are left alone. */
  notOurs: Finding
  /** Triggers of ours that are missing or disabled. */
  idleTriggers: string[]
  /** Who still wrote the plaintext columns after the backfill. */
  legacyWrites: LegacyWrites
}

/** How one plaintext column compares with its sealed one. */
export interface ColumnProof {
  /** The column. */
  name: SecretName
  /** Businesses that have a value in plaintext. */
  plaintext: number
  /** Businesses that have one in Vault. */
  sealed: number
  /** Businesses where the two differ. */
  mismatched: number
  /** At most ten of those. */
  businessIds: string[]
}

/** Something that is wrong, how often, and where. */
export interface Finding {
  /** How many. */
  count: number
  /** At most ten of them: `name of business`, or the id of a Vault row. */
  samples: string[]
}

/** Who still wrote the plaintext columns. */
export interface LegacyWrites {
  /** How many values. */
  count: number
  /** The last time; null where there was none. */
  lastAt: Date | null
  /** Login and application name, at most five. */
  writers: string[]
}

/**
 * Checks everything that keeps the secrets safe. Only looks.
 *
 * Resolves also where checks fail: look at `healthy`.
 */
export declare function doctor(options?: DoctorOptions | null): Promise<DoctorReport>

/** What to look at. */
export interface DoctorOptions extends AdminOptions, CatalogueOptions {
  /** The login of a service, to be looked at too; else `APP_SECRETS_URL`. */
  serviceUrl?: string
  /** Opens every value instead of those of a sample of businesses. False unless told. */
  full?: boolean
}

/** Everything that the doctor looked at. */
export interface DoctorReport {
  /** No check fails. */
  healthy: boolean
  /** Those that apply to the database as it is, in a fixed order. */
  checks: DoctorCheck[]
}

/** One check. */
export interface DoctorCheck {
  /** Stable: `vault.key`. */
  id: string
  /** How bad it is. */
  level: 'ok' | 'warn' | 'fail'
  /** What was found. Counts, ids and names; never a value. */
  found: string
  /** Why it matters. */
  why: string
  /** What to do; null where all is well. */
  fix: string | null
}
