import type { ErrorCode, SecretName, Secrets } from '@app/secrets'

/** A client in memory, with the whole interface of a real one, and what a test does to it. */
export declare class FakeSecrets extends Secrets {
  /** Another client of the same secrets, as another process has one. */
  another(): FakeSecrets
  /** Lets calls fail with this code, until `recover`: all calls, or those that `options` name. */
  fail(code: ErrorCode, options?: FaultOptions): void
  /** Ends what `fail` began. */
  recover(): void
  /** Adds a business, with values that are there already. */
  addBusiness(businessId: string, values?: { [name in SecretName]?: string | null }): void
  /** Removes a business and its secrets. */
  removeBusiness(businessId: string): void
  /** Makes a value undecryptable, as a restore without Vault's key does. Writing a new one heals it. */
  breakSecret(businessId: string, name: SecretName): void
  /** Tells every watcher that anything may have changed, as a lost listener does. */
  loseListener(): void
  /** The time here. */
  now(): Date
  /** Moves the clock forward by so many milliseconds, and lets happen what was waiting for it. */
  advance(ms: number): void
}

/** Which calls fail. */
export interface FaultOptions {
  /** Only this operation. `set` stands for every write, and `getMany` for every read of several. */
  op?: 'get' | 'getMany' | 'set' | 'list' | 'undo' | 'check' | 'lease' | 'release' | 'due' | 'names' | 'ping'
  /** Only the next so many calls. Default: all. */
  times?: number
  /** The error's message. */
  message?: string
}

/** What there is. */
export interface FakeOptions {
  /** The ids that exist. Where it is left out, and `values` too, every id is a business. */
  businesses?: readonly string[]
  /** Values that are there already, by business. Their businesses exist. */
  values?: { [businessId: string]: { [name in SecretName]?: string | null } }
  /** The secrets that there are. Default: those of the plan. */
  names?: readonly (SecretName | FakeName)[]
  /** When it is. The clock then stands still until `advance`. Default: the machine's time, which runs. */
  now?: Date | string
}

/** One secret's entry in the catalogue. */
export interface FakeName {
  name: SecretName
  /** What people call it. Default: the name. */
  label?: string
  /** Whether Vault encrypts it. Default: true. */
  sealed?: boolean
  /** Default: `text`. */
  type?: 'text' | 'timestamptz'
}

/**
 * Makes a client in memory, for the tests of whoever uses this package: no database, no addon, nothing to close. It
 * checks arguments, counts versions, compares them, masks, watches and fails as a real one does: one suite of tests holds
 * both to the same contract.
 */
export declare function createFakeSecrets(options?: FakeOptions): FakeSecrets

export { SecretsError } from '@app/secrets'
