/**
 * Names of your own database: `app-secrets types --out secrets.d.ts` writes an augmentation of this interface,
 * `declare module '@app/secrets' { interface Register { secretName: 'my_key' | … } }`, and every function here then
 * completes and checks those names.
 */
// biome-ignore lint/suspicious/noEmptyInterface: a type alias cannot be augmented
export interface Register {}

/** The names that a database has unless it was told others. */
export type DefaultSecretName =
  | 'gemini_api_key'
  | 'grok_api_key'
  | 'claude_api_key'
  | 'youtube_api_key'
  | 'kling_access_key'
  | 'kling_secret_key'
  | 'global_sms_api_key'
  | 'whatsapp_api_key'
  | 'google_access_token'
  | 'google_refresh_token'
  | 'google_token_expiry'
  | 'google_drive_folder_id'

/** A secret's name, which is its column in `business_secrets`: the registered names, or else the default ones. */
export type SecretName = Register extends { secretName: infer Name extends string } ? Name : DefaultSecretName

/**
 * Why a call failed. Stable: compare with it.
 *
 * - `INVALID_ARGUMENT`: the call itself is wrong; nothing was sent.
 * - `UNKNOWN_SECRET`: no secret has that name; the message names those that may have been meant.
 * - `INVALID_VALUE`: a value is not a string or null, is longer than 65,536 bytes of UTF-8 once trimmed, holds a NUL or half
 *   a surrogate pair; or a time is not a Date or ISO 8601.
 * - `BUSINESS_NOT_FOUND`: the business does not exist, or is hidden from this user.
 * - `PERMISSION_DENIED`: the login is refused, or its scope does not hold that name.
 * - `VERSION_CONFLICT`: somebody else wrote in between; nothing was changed.
 * - `DECRYPT_FAILED`: the ciphertext cannot be opened; writing a new value heals it.
 * - `NOT_MIGRATED`: the database functions are missing or of another version: run `app-secrets migrate`.
 * - `UNSAFE_CONNECTION`: the server's identity cannot be verified, or clear text was asked for.
 * - `UNAVAILABLE`: the database cannot be reached right now: worth a retry.
 * - `TIMEOUT`: no answer by the deadline. A write was not carried out.
 * - `UNKNOWN_OUTCOME`: a write was sent, and whether it was carried out is not known: read the version.
 * - `LOCK_TIMEOUT`: a migration could not get its locks; its message names who holds them. Run it again.
 * - `VERIFICATION_FAILED`: plaintext and sealed values differ; nothing was dropped.
 * - `REFUSED`: not done in this state, not without a confirmation, or not by a rule of the app's own in the database.
 * - `CLOSED`: the client was closed.
 * - `CONFIG`: the configuration is incomplete or contradicts itself.
 */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'UNKNOWN_SECRET'
  | 'INVALID_VALUE'
  | 'BUSINESS_NOT_FOUND'
  | 'PERMISSION_DENIED'
  | 'VERSION_CONFLICT'
  | 'DECRYPT_FAILED'
  | 'NOT_MIGRATED'
  | 'UNSAFE_CONNECTION'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'UNKNOWN_OUTCOME'
  | 'LOCK_TIMEOUT'
  | 'VERIFICATION_FAILED'
  | 'REFUSED'
  | 'CLOSED'
  | 'CONFIG'

/**
 * What every promise of this package rejects with. Its message says what to do; neither it nor its stack ever holds a
 * secret, a password, a connection string, or a name that was passed.
 */
export declare class SecretsError extends Error {
  constructor(code: ErrorCode, message: string, options?: ErrorOptions)
  /** Which kind of failure it is. */
  code: ErrorCode
}

/** The name where it is one name, and none where it may be one of several. */
type OneName<N, All = N> = N extends unknown ? ([All] extends [N] ? N : never) : never

/** Of an array of names, those that are in it for certain: the literal ones of a tuple. */
type CertainNames<Names extends readonly string[]> = number extends Names['length']
  ? never
  : { [At in keyof Names]: OneName<Names[At]> }[number]

/** What `getMany` gives: a property for each literal name, and perhaps one for each name that an array of names may hold. */
export type ReadSecrets<Names extends readonly string[]> = [Names[number]] extends [CertainNames<Names>]
  ? Record<Names[number], string | null>
  : { [name in CertainNames<Names>]: string | null } & { [name in Names[number]]?: string | null }

/** Reads and writes the secrets of businesses. Made by `connect`; safe to share by everything in the process. */
export declare class Secrets {
  protected constructor()

  /** Reads one secret. Resolves with null only where it is not set. */
  get(businessId: string, name: SecretName): Promise<string | null>
  /**
   * Reads several secrets of one business, in one round trip and one snapshot.
   *
   * Rejects with `DECRYPT_FAILED`, which names them, if any of them cannot be decrypted: read the others by themselves.
   */
  getMany<const Names extends readonly SecretName[]>(
    businessId: string,
    names: Names,
  ): Promise<ReadSecrets<Names>>
  /**
   * Writes one secret and resolves with its version. Null or a blank value clears it; white space around it is trimmed.
   *
   * Once trimmed, a value has at most 65,536 bytes of UTF-8. Writing the value that is there changes nothing.
   */
  set(businessId: string, name: SecretName, value: string | null, options?: SetOptions): Promise<number>
  /** Writes several secrets of one business, all or none, and resolves with their versions. */
  setMany<N extends SecretName>(
    businessId: string,
    values: Readonly<Record<N, string | null>>,
    options?: SetManyOptions,
  ): Promise<Record<N, number>>
  /** Clears one secret and resolves with its version. */
  delete(businessId: string, name: SecretName, options?: DeleteOptions): Promise<number>
  /**
   * Puts the previous value of a secret back, as a new version, and resolves with that. A previous value is kept for
   * seven days unless the database was told otherwise; where there is none this rejects with `REFUSED`.
   */
  undo(businessId: string, name: SecretName, options?: UndoOptions): Promise<number>
  /**
   * Keeps beside a secret what its provider said of it. Resolves with false, and keeps nothing, where the secret has
   * another version by now: what was checked is not what is there.
   */
  check(businessId: string, name: SecretName, version: number, result: CheckResult): Promise<boolean>
  /** Lists what may be shown of every secret that this login may know: never a value. */
  list(businessId: string): Promise<ListedSecret[]>
  /**
   * Calls back with every change that matches the filter, whoever makes it; with `resync` when anything may have changed;
   * and with `due` when a secret expires or has to be rotated soon, once for each secret and date.
   *
   * Events come one at a time, the next one after the promise that the callback returned; what changes meanwhile is
   * merged. What it throws becomes a process warning. A watcher never keeps the process alive, and hears nothing
   * where `stats().listener.state` is `unavailable`. Throws where an argument is wrong.
   */
  watch(filter: WatchFilter | null | undefined, callback: (event: WatchEvent) => unknown): Watcher
  /** What this client has done so far, and what it is doing. Cheap enough to poll. */
  stats(): Stats
  /** Asks the database for a sign of life. */
  ping(): Promise<void>
  /**
   * Lets what is under way end, by its deadline, and closes the connections. The cache is wiped, watchers end, and
   * later calls reject with `CLOSED`.
   *
   * A process need not call it to exit.
   */
  close(): Promise<void>

  /** The key of one provider of language models, or null where it is not set. */
  getProviderKey(businessId: string, provider: Provider): Promise<string | null>
  /** Sets or clears the key of one provider and resolves with its version. */
  setProviderKey(businessId: string, provider: Provider, key: string | null): Promise<number>
  /** The keys of Gemini and Grok. */
  getBusinessApiKeys(businessId: string): Promise<BusinessApiKeys>
  /** Both of Kling's keys, of one moment, or null where either is not set. */
  getKlingCredentials(businessId: string): Promise<KlingCredentials | null>
  /** Sets or clears both of Kling's keys, together, and resolves with their versions. */
  setKlingCredentials(
    businessId: string,
    credentials: KlingCredentials | null,
  ): Promise<{ kling_access_key: number; kling_secret_key: number }>
  /** The key of the YouTube Data API, or null where it is not set. */
  getYouTubeApiKey(businessId: string): Promise<string | null>
  /** Sets or clears the key of the YouTube Data API and resolves with its version. */
  setYouTubeApiKey(businessId: string, key: string | null): Promise<number>
  /** The key to send text messages, or null where it is not set. */
  getSmsApiKey(businessId: string): Promise<string | null>
  /** Sets or clears the key to send text messages and resolves with its version. */
  setSmsApiKey(businessId: string, key: string | null): Promise<number>
  /** The key of WhatsApp, or null where it is not set. */
  getWhatsAppApiKey(businessId: string): Promise<string | null>
  /** Sets or clears the key of WhatsApp and resolves with its version. */
  setWhatsAppApiKey(businessId: string, key: string | null): Promise<number>
  /** What is kept of the Google grant, or null where neither token is set. */
  getGoogleTokens(businessId: string): Promise<GoogleTokens | null>
  /** Changes what is given of the Google grant, leaves the rest, and resolves with the versions of what was given. */
  setGoogleTokens(businessId: string, tokens: GoogleTokensUpdate): Promise<GoogleTokenVersions>
  /**
   * A Google access token that is good for at least a minute, or null where there is no grant.
   *
   * Where the stored one is not, `refresh` is called, by one process at a time and once for all callers: a lease of 30
   * seconds in the database keeps the others waiting, and the version is compared before the new token is stored. An
   * error of `refresh` rejects, unless it says `invalid_grant` and another refresh token is there by now. Rejects with
   * `REFUSED` where there is no refresh token, with `TIMEOUT` after 90 seconds, and with `PERMISSION_DENIED` where
   * the login may not take a lease, as a signed-in user's over PostgREST.
   */
  withGoogleAccessToken(
    businessId: string,
    refresh: (grant: GoogleGrant) => Promise<RefreshedGoogleToken>,
  ): Promise<string | null>
  /** What a settings page may show of every integration: never a value. */
  getIntegrationStatus(businessId: string): Promise<IntegrationStatus>
}

/** Hears of changes, until it is closed or its client is. Made by `watch`. */
export declare class Watcher {
  private constructor()
  /** Ends it: the callback is not called any more. May be repeated. */
  close(): void
}

/** How to set one secret. */
export interface SetOptions extends DeleteOptions {
  /**
   * When the value stops working: a Date, or ISO 8601 with a time and an offset; null for never. Watchers hear of it
   * before, as `due`. A changed value has no date of the one before.
   */
  expiresAt?: Date | string | null
  /** How often the value has to be replaced: a count of days, weeks, months or years, as '90 days'; null for never. */
  rotateEvery?: string | null
}

/** How to clear one secret. */
export interface DeleteOptions {
  /** Refuses the write with `VERSION_CONFLICT` unless this is still the version; 0 stands for never set. */
  expectedVersion?: number
  /** Keeps no previous value: `undo` cannot put it back. Default: false. */
  purge?: boolean
}

/** How to set several secrets. */
export interface SetManyOptions {
  /** Refuses the write with `VERSION_CONFLICT` unless these are still the versions; 0 stands for never set. */
  expectedVersions?: { [name in SecretName]?: number }
}

/** How to undo. */
export interface UndoOptions {
  /** Refuses with `VERSION_CONFLICT` unless this is still the version. */
  expectedVersion?: number
}

/** What a provider said of a key: it takes it, it refuses it, or it could not be asked. */
export type CheckResult = 'works' | 'refused' | 'not_checked'

/** What may be shown of one secret. */
export interface ListedSecret {
  /** Which one. */
  name: SecretName
  /** What people call it. */
  label: string
  /** Whether Vault encrypts it. What is not sealed is metadata. */
  sealed: boolean
  /** Whether it has a value. */
  isSet: boolean
  /** The last four characters, of sealed values of 12 characters or more. */
  last4: string | null
  /** Increases with every change, in steps of any size; 0 where it was never set. */
  version: number
  /** When it changed last. */
  updatedAt: Date | null
  /** When a service read it last, to the minute; null where none did, or none may be known to have. */
  lastReadAt: Date | null
  /** When `check` was told of it last. */
  lastCheckedAt: Date | null
  /** What `check` was told then. */
  checkResult: CheckResult | null
  /** When the value stops working, where that was said. */
  expiresAt: Date | null
  /** Whether a previous value is kept that `undo` can put back. */
  canUndo: boolean
}

/** Which changes to hear of. What is left out means all. */
export interface WatchFilter {
  /** Only those of this business. */
  businessId?: string
  /** Only those of these secrets. */
  names?: readonly SecretName[]
  /** How long before its date a secret counts as due, in milliseconds, 0 to a year. Default: 604,800,000, a week. */
  dueWithinMs?: number
}

/** What a watcher is told. */
export type WatchEvent = ChangedEvent | ResyncEvent | DueEvent

/** Secrets of a business have changed, or somebody says so: read them again. */
export interface ChangedEvent {
  /** Tells the events apart. */
  kind: 'changed'
  /** Whose secrets. */
  businessId: string
  /** Which of those that the filter names. */
  names: SecretName[]
  /** The version that each has reached at the least. */
  versions: { [name in SecretName]?: number }
}

/**
 * Anything may have changed: read again whatever you keep. Comes when the listener has connected, the first time and
 * after every loss, and when more changed than a slow callback could be told.
 */
export interface ResyncEvent {
  /** Tells the events apart. */
  kind: 'resync'
}

/** A secret stops working soon, or has to be replaced. Told once for each secret and date; asked for every hour. */
export interface DueEvent {
  /** Tells the events apart. */
  kind: 'due'
  /** Whose secret. */
  businessId: string
  /** Which one. */
  name: SecretName
  /** The date. */
  dueAt: Date
  /** Whether the value expires or has to be rotated. */
  reason: 'expires' | 'rotate'
}

/** A provider of language models. */
export type Provider = 'gemini' | 'grok' | 'claude'

/** The keys that adService asks for. */
export interface BusinessApiKeys {
  /** Of Google Gemini. */
  gemini: string | null
  /** Of xAI Grok. */
  grok: string | null
}

/** Kling's two keys, of which neither works alone. */
export interface KlingCredentials {
  /** Names the account. */
  accessKey: string
  /** Signs its requests. */
  secretKey: string
}

/** What google-auth keeps of a grant. */
export interface GoogleTokens {
  /** For requests, until it expires. */
  accessToken: string | null
  /** For the next access token. */
  refreshToken: string | null
  /** When the access token expires. */
  expiresAt: Date | null
  /** Where files go. */
  driveFolderId: string | null
}

/** What to change of the tokens: what is left out stays as it is, null clears. */
export interface GoogleTokensUpdate {
  /** For requests, until it expires. */
  accessToken?: string | null
  /** For the next access token. */
  refreshToken?: string | null
  /** When the access token expires: a Date of the years 1 to 9999, or ISO 8601 with a time and an offset. */
  expiresAt?: Date | string | null
  /** Where files go. */
  driveFolderId?: string | null
}

/** The versions of what was changed of the tokens. */
export interface GoogleTokenVersions {
  google_access_token?: number
  google_refresh_token?: number
  google_token_expiry?: number
  google_drive_folder_id?: number
}

/** What a refresh starts from. */
export interface GoogleGrant {
  /** What Google gives the next access token for. */
  refreshToken: string
  /** Where files go. */
  driveFolderId: string | null
}

/** What Google answered to a refresh. */
export interface RefreshedGoogleToken {
  /** The new token. */
  accessToken: string
  /** When it expires: a Date, or ISO 8601 with a time and an offset. */
  expiresAt: Date | string
  /** Another refresh token, where Google gave one; left out, the old one stays. */
  refreshToken?: string | null
}

/** What a settings page may show of one integration. */
export interface Integration {
  /** Whether everything that it needs is set. Google needs one of its two tokens, Kling both of its keys. */
  configured: boolean
  /** The last four characters of its key, where that has 12 characters or more. */
  last4: string | null
  /** When it changed last. */
  updatedAt: Date | null
  /** When `check` was told of it last. */
  lastCheckedAt: Date | null
  /** What `check` was told then. */
  checkResult: CheckResult | null
}

/** What a settings page may show of every integration: never a value. */
export interface IntegrationStatus {
  gemini: Integration
  grok: Integration
  claude: Integration
  youtube: Integration
  kling: Integration
  sms: Integration
  whatsapp: Integration
  google: Integration
}

/** What a client has done since it was made, and what it is doing. Holds no id and no value. */
export interface Stats {
  /** Secrets that the cache answered. */
  hits: number
  /** Of these, how many were not set. */
  negativeHits: number
  /** Secrets that the cache could not answer. */
  misses: number
  /** Secrets in the cache, the expired ones that are kept for an outage included. */
  entries: number
  /** Secrets answered from an expired entry, because the database was out of reach. */
  staleServed: number
  /** Secrets dropped from the cache to make room. */
  evictions: number
  /** Secrets dropped from the cache because they changed, or may have. */
  invalidations: number
  /** Reads that joined an identical one under way. */
  coalesced: number
  /** Statements or requests that read secrets. */
  batches: number
  /** Secrets that these asked for. */
  elements: number
  /** The connections, without the listener's. */
  pool: PoolStats
  /** What hears of changes. */
  listener: ListenerStats
}

/** The connections of a client, without its listener's. Over PostgREST all are 0: they are the runtime's. */
export interface PoolStats {
  /** Open connections. */
  connections: number
  /** Of these, how many are at work. */
  busy: number
  /** Of these, how many have none. */
  idle: number
  /** Calls that wait for a connection; of reads, the secrets that they ask for. */
  waiting: number
  /** Connections opened so far. */
  opened: number
  /** Connections lost so far, or given up because no answer came. */
  lost: number
}

/** How the listener is doing; over PostgREST, the polling. */
export interface ListenerStats {
  /**
   * What it is doing.
   *
   * - `off`: there is no cache, and nobody watches.
   * - `connecting`: it has no session, and is trying to get one. What is cached lives by its `ttlMs`.
   * - `listening`: it hears of every change.
   * - `unavailable`: it cannot hear through this connection: pass `listenUrl`. What is cached lives by its `ttlMs`.
   */
  state: 'off' | 'connecting' | 'listening' | 'unavailable'
  /** How often it has come back after it was lost. */
  reconnects: number
  /** Why it was lost, or did not come about, last. Never a value, a password or a connection string. */
  lastError?: string
}

/**
 * Makes a client. Waits for no connection, so that a service can start before its database: `ping` tells. With `cache`
 * its listener connects in the background.
 *
 * Rejects with `CONFIG`, `UNSAFE_CONNECTION` or `INVALID_ARGUMENT` where the options cannot work.
 */
export declare function connect(options?: ConnectOptions | PostgrestOptions | null): Promise<Secrets>

/** What both ways to connect take. */
export interface CommonOptions {
  /** How long a call may take, in milliseconds, 1 to 3,600,000. Default: 5000. */
  timeoutMs?: number
  /** Allows a connection to a remote host that is not encrypted and verified. Default: false. */
  allowInsecure?: boolean
  /**
   * Told of calls, connections, retries and invalidations, never with a value. Default: none, or one that writes lines of
   * JSON to stderr where the variable APP_SECRETS_LOG names a level: `debug`, `info`, `warn` or `error`, or `off`.
   * A logger that throws, or whose promise rejects, is warned of once.
   */
  logger?: Logger
}

/** Where and how to connect to the database. Whatever is left out has a default. */
export interface ConnectOptions extends CommonOptions {
  /** `postgres://user:password@host:port/database`. Default: `APP_SECRETS_URL`, else `DATABASE_URL` of the environment. */
  url?: string
  /** A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file. */
  ca?: string
  /** The most connections to open, 1 to 1000. They are opened as load demands. Default: 8. */
  maxConnections?: number
  /** Whether a transaction pooler (`PgBouncer`, Supavisor) stands in between. Default: `auto`, which finds out. */
  pooler?: 'auto' | 'transaction' | 'none'
  /**
   * A direct connection, of the same login and database, to hear of changes through where `url` leads through a
   * transaction pooler. Default: `url`, unless that is the case.
   */
  listenUrl?: string
  /** Keeps what was read in memory, and hears of changes to drop it. True stands for all defaults. Default: false. */
  cache?: boolean | CacheOptions
  /**
   * The name that the server's views and logs show, at most 63 bytes. Default: `app-secrets`. That of the
   * connection that hears of changes ends in ` listener`.
   */
  applicationName?: string
  /** Whom the audit names besides the login, at most 128 bytes. */
  actor?: string
  /** `serverless`: one connection, no listener, and a cache that lives by its `ttlMs` alone. Each can be overridden. */
  preset?: 'serverless'
  /**
   * Allows a connection string in Electron, where everybody who has the app has the login too. Default: false: the
   * connection is refused with `CONFIG`.
   */
  allowDatabaseLoginInElectron?: boolean
}

/** How to connect through PostgREST, as a signed-in user: for Electron and other places that must hold no database login. */
export interface PostgrestOptions extends CommonOptions {
  /**
   * The project's URL, `https://<ref>.supabase.co`. `http://` is for this machine alone: a loopback address, or `localhost`
   * where that resolves to one, or a call rejects with `UNSAFE_CONNECTION`.
   */
  supabaseUrl: string
  /** The project's publishable key (`sb_publishable_…`, or the anon key). */
  supabaseKey: string
  /**
   * The user's token, or a function that gives it, as `() => session.access_token`. The function is called for every
   * request, and once more, with `{ expired: true }`, where the server says that the token has expired. What it gives counts
   * against the call's deadline. White space around a token is not part of it.
   */
  accessToken?: string | ((why: { expired: boolean }) => string | Promise<string>) | null
  /** How often `watch` asks for versions, in milliseconds, 1 to 3,600,000. Default: 5000. */
  pollMs?: number
}

/** How much is cached, and for how long. */
export interface CacheOptions {
  /**
   * How long a value counts as fresh, in milliseconds, 1 to 86,400,000, give or take a tenth. While the listener is up
   * a change is seen sooner: within milliseconds. Default: 60,000.
   */
  ttlMs?: number
  /** The same for a secret that is not set, at most `ttlMs`; 0 caches none. Default: 5000. */
  negativeTtlMs?: number
  /** The most secrets to keep, 1 to 1,000,000. Default: 10,000. */
  maxEntries?: number
  /**
   * How much longer what was read may be served while the database is out of reach, in milliseconds, at most
   * 86,400,000. Never after a denied permission, a change or a deletion that was heard of. Default: 0, never.
   */
  maxStaleMs?: number
}

/** What a log event is written to: `console`, `pino()`, or anything with these methods. Each gets the event first. */
export interface Logger {
  debug?(event: LogEvent, message: string): void
  info?(event: LogEvent, message: string): void
  warn?(event: LogEvent, message: string): void
  error?(event: LogEvent, message: string): void
}

/** What happened. Holds no value, no name and no connection string. */
export interface LogEvent {
  /** The operation, as `get`, of an event that is about a call. */
  op?: string
  /** How long it took, in milliseconds. */
  ms?: number
  /** Why it failed. */
  code?: string
  [detail: string]: unknown
}

/** Reads one secret. Resolves with null only where it is not set. As `Secrets.get`, on the shared client. */
export declare const get: Secrets['get']
/** Reads several secrets of one business, in one round trip and one snapshot. As `Secrets.getMany`, on the shared client. */
export declare const getMany: Secrets['getMany']
/** Writes one secret and resolves with its version. As `Secrets.set`, on the shared client. */
export declare const set: Secrets['set']
/** Writes several secrets of one business, all or none. As `Secrets.setMany`, on the shared client. */
export declare const setMany: Secrets['setMany']
/** Clears one secret and resolves with its version. As `Secrets.delete`, on the shared client. */
export declare const deleteSecret: Secrets['delete']
export { deleteSecret as delete }
/** Puts the previous value of a secret back. As `Secrets.undo`, on the shared client. */
export declare const undo: Secrets['undo']
/** Keeps what a provider said of a secret. As `Secrets.check`, on the shared client. */
export declare const check: Secrets['check']
/** Lists what may be shown of every secret: never a value. As `Secrets.list`, on the shared client. */
export declare const list: Secrets['list']
/** Calls back with every change that matches the filter. As `Secrets.watch`, on the shared client. */
export declare const watch: Secrets['watch']
/** What the shared client has done so far. As `Secrets.stats`. Throws where it cannot be made. */
export declare const stats: Secrets['stats']
/** Asks the database of the shared client for a sign of life. */
export declare const ping: Secrets['ping']
/** Closes the shared client. The next call of a function of the module makes a new one. */
export declare const close: Secrets['close']
/** The key of one provider of language models. As `Secrets.getProviderKey`, on the shared client. */
export declare const getProviderKey: Secrets['getProviderKey']
/** Sets or clears the key of one provider. As `Secrets.setProviderKey`, on the shared client. */
export declare const setProviderKey: Secrets['setProviderKey']
/** The keys of Gemini and Grok. As `Secrets.getBusinessApiKeys`, on the shared client. */
export declare const getBusinessApiKeys: Secrets['getBusinessApiKeys']
/** Both of Kling's keys, or null. As `Secrets.getKlingCredentials`, on the shared client. */
export declare const getKlingCredentials: Secrets['getKlingCredentials']
/** Sets or clears both of Kling's keys. As `Secrets.setKlingCredentials`, on the shared client. */
export declare const setKlingCredentials: Secrets['setKlingCredentials']
/** The key of the YouTube Data API. As `Secrets.getYouTubeApiKey`, on the shared client. */
export declare const getYouTubeApiKey: Secrets['getYouTubeApiKey']
/** Sets or clears the key of the YouTube Data API. As `Secrets.setYouTubeApiKey`, on the shared client. */
export declare const setYouTubeApiKey: Secrets['setYouTubeApiKey']
/** The key to send text messages. As `Secrets.getSmsApiKey`, on the shared client. */
export declare const getSmsApiKey: Secrets['getSmsApiKey']
/** Sets or clears the key to send text messages. As `Secrets.setSmsApiKey`, on the shared client. */
export declare const setSmsApiKey: Secrets['setSmsApiKey']
/** The key of WhatsApp. As `Secrets.getWhatsAppApiKey`, on the shared client. */
export declare const getWhatsAppApiKey: Secrets['getWhatsAppApiKey']
/** Sets or clears the key of WhatsApp. As `Secrets.setWhatsAppApiKey`, on the shared client. */
export declare const setWhatsAppApiKey: Secrets['setWhatsAppApiKey']
/** What is kept of the Google grant, or null. As `Secrets.getGoogleTokens`, on the shared client. */
export declare const getGoogleTokens: Secrets['getGoogleTokens']
/** Changes what is given of the Google grant. As `Secrets.setGoogleTokens`, on the shared client. */
export declare const setGoogleTokens: Secrets['setGoogleTokens']
/** A Google access token that is good for a minute. As `Secrets.withGoogleAccessToken`, on the shared client. */
export declare const withGoogleAccessToken: Secrets['withGoogleAccessToken']
/** What a settings page may show of every integration. As `Secrets.getIntegrationStatus`, on the shared client. */
export declare const getIntegrationStatus: Secrets['getIntegrationStatus']

export * from './lib/admin.js'
