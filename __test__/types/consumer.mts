// A service in TypeScript: what must compile, and what must not. Compiled by types.test.mjs, never run.

import * as everything from '@app/secrets'
import secretsModule, {
  type BusinessApiKeys,
  type ConnectOptions,
  connect,
  delete as deleteByName,
  deleteSecret,
  type ErrorCode,
  type GoogleTokens,
  get,
  getMany,
  type IntegrationStatus,
  type KlingCredentials,
  type ListedSecret,
  type Provider,
  type SecretName,
  type Secrets,
  SecretsError,
  type SetManyOptions,
  type SetOptions,
  setMany,
} from '@app/secrets'

/** Compiles only where both types are one and the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Same<A, B>) => {}

export async function reads(id: string) {
  const options: ConnectOptions = {
    url: 'postgres://…',
    timeoutMs: 100,
    maxConnections: 2,
    pooler: 'none',
    actor: 'me',
  }
  const secrets = await connect(options)
  await connect()
  same<typeof secrets, Secrets>(true)

  const one = await secrets.get(id, 'gemini_api_key')
  same<typeof one, string | null>(true)
  // @ts-expect-error it may be null
  one.length
  // @ts-expect-error there is no such secret
  await secrets.get(id, 'gemini')
  // @ts-expect-error the name is missing
  await secrets.get(id)
  // @ts-expect-error an id is a string
  await secrets.get(7, 'gemini_api_key')

  const many = await secrets.getMany(id, ['grok_api_key', 'claude_api_key'])
  same<typeof many, Record<'grok_api_key' | 'claude_api_key', string | null>>(true)
  // @ts-expect-error it was not asked for
  many.gemini_api_key
  const names = ['grok_api_key', 'whatsapp_api_key'] as const satisfies readonly SecretName[]
  const constant = await getMany(id, names)
  same<keyof typeof constant, 'grok_api_key' | 'whatsapp_api_key'>(true)
  // @ts-expect-error there is no such secret
  await secrets.getMany(id, ['grok_api_key', 'grok'])
  // Of an array that may hold any names nobody knows which were asked for.
  const some: SecretName[] = ['grok_api_key']
  const few = await secrets.getMany(id, some)
  same<typeof few.grok_api_key, string | null | undefined>(true)
  // @ts-expect-error it may not have been asked for
  const surely: string | null = few.claude_api_key
  const either: 'grok_api_key' | 'claude_api_key' = id ? 'grok_api_key' : 'claude_api_key'
  const mixed = await secrets.getMany(id, ['gemini_api_key', either])
  same<typeof mixed.gemini_api_key, string | null>(true)
  same<typeof mixed.grok_api_key, string | null | undefined>(true)
  // @ts-expect-error it was not asked for
  mixed.youtube_api_key

  const list = await secrets.list(id)
  same<typeof list, ListedSecret[]>(true)
  same<ListedSecret['last4'], string | null>(true)
  same<ListedSecret['updatedAt'], Date | null>(true)
  same<ListedSecret['name'], SecretName>(true)
  const status: IntegrationStatus = await secrets.getIntegrationStatus(id)
  const at: Date | null = status.google.updatedAt
  // @ts-expect-error there is no such integration
  status.bing
  return { at, surely, module: await secretsModule.get(id, 'grok_api_key') }
}

export async function writes(secrets: Secrets, id: string) {
  const version = await secrets.set(id, 'grok_api_key', 'x', { expectedVersion: 3 } satisfies SetOptions)
  same<typeof version, number>(true)
  await secrets.set(id, 'grok_api_key', null)
  // @ts-expect-error undefined is no value
  await secrets.set(id, 'grok_api_key', undefined)
  // @ts-expect-error an unknown option
  await secrets.set(id, 'grok_api_key', 'x', { expected: 3 })
  // @ts-expect-error a version is a number
  await secrets.delete(id, 'grok_api_key', { expectedVersion: '3' })

  const options: SetManyOptions = { expectedVersions: { grok_api_key: 1 } }
  const versions = await setMany(id, { grok_api_key: 'x', claude_api_key: null }, options)
  same<typeof versions, Record<'grok_api_key' | 'claude_api_key', number>>(true)
  // @ts-expect-error there is no such secret
  await secrets.setMany(id, { grok: 'x' })
  // @ts-expect-error a value is a string or null
  await secrets.setMany(id, { grok_api_key: 7 })
  for (const remove of [deleteSecret, deleteByName, secretsModule.delete, everything.delete]) {
    same<typeof remove, typeof deleteSecret>(true)
    await remove(id, 'grok_api_key')
  }
}

export async function keeping(secrets: Secrets, id: string) {
  const options: SetOptions = { expiresAt: new Date(), rotateEvery: '90 days', purge: true }
  const version: number = await secrets.set(id, 'grok_api_key', 'x', options)
  const undone: number = await secrets.undo(id, 'grok_api_key', { expectedVersion: version })
  const kept: boolean = await secrets.check(id, 'grok_api_key', undone, 'works')
  // @ts-expect-error no such result
  await secrets.check(id, 'grok_api_key', undone, 'fine')
  const watcher = secrets.watch({ names: ['grok_api_key'], dueWithinMs: 1000 }, (event) => {
    if (event.kind === 'due') same<typeof event.dueAt, Date>(true)
    if (event.kind === 'changed') same<typeof event.names, SecretName[]>(true)
    // @ts-expect-error it names no business
    if (event.kind === 'resync') event.businessId
  })
  watcher.close()
  await connect({ supabaseUrl: 'https://…', supabaseKey: 'sb_publishable_…', accessToken: async () => '…' })
  await connect({ preset: 'serverless', logger: console })
  return kept
}

export async function consumers(secrets: Secrets, id: string, provider: Provider) {
  same<Provider, 'gemini' | 'grok' | 'claude'>(true)
  const key: string | null = await secrets.getProviderKey(id, provider)
  // @ts-expect-error there is no such provider
  await secrets.getProviderKey(id, 'openai')
  const keys: BusinessApiKeys = await secrets.getBusinessApiKeys(id)
  same<typeof keys.grok, string | null>(true)

  const kling = await secrets.getKlingCredentials(id)
  same<typeof kling, KlingCredentials | null>(true)
  // @ts-expect-error they may be missing
  kling.accessKey
  if (kling) same<typeof kling.secretKey, string>(true)
  // @ts-expect-error neither works alone
  await secrets.setKlingCredentials(id, { accessKey: 'a' })
  await secrets.setKlingCredentials(id, null)

  const tokens: GoogleTokens | null = await secrets.getGoogleTokens(id)
  same<GoogleTokens['expiresAt'], Date | null>(true)
  await secrets.setGoogleTokens(id, { accessToken: 'a', expiresAt: new Date(), refreshToken: null })
  await secrets.setGoogleTokens(id, { expiresAt: '2031-01-31T12:00:00Z' })
  // @ts-expect-error a time is a Date or ISO 8601
  await secrets.setGoogleTokens(id, { expiresAt: 1_900_000_000_000 })
  const token = await secrets.withGoogleAccessToken(id, async ({ refreshToken }) => {
    same<typeof refreshToken, string>(true)
    return { accessToken: 'a', expiresAt: new Date() }
  })
  same<typeof token, string | null>(true)
  // @ts-expect-error without its date nobody knows when to refresh again
  await secrets.withGoogleAccessToken(id, async () => ({ accessToken: 'a' }))
  // @ts-expect-error an unknown property
  await secrets.setGoogleTokens(id, { expires: new Date() })
  const set: number = await secrets.setYouTubeApiKey(id, 'y')
  const done = await secrets.close()
  same<typeof done, void>(true)
  return { key, tokens, set, ...((await secrets.getSmsApiKey(id)) ? {} : {}) }
}

export function impostors() {
  // @ts-expect-error only `connect` makes a client
  new everything.Secrets()
  // @ts-expect-error only `watch` makes a watcher
  new everything.Watcher()
  // @ts-expect-error the loader's own
  return everything.__napiBindingTarget
}

export async function failures(id: string): Promise<ErrorCode> {
  try {
    await get(id, 'grok_api_key')
    return 'UNAVAILABLE'
  } catch (error) {
    if (!(error instanceof SecretsError)) throw error
    const { code, message } = error
    if (code === 'VERSION_CONFLICT') throw new Error(message)
    // @ts-expect-error there is no such code
    if (code === 'NOT_FOUND') throw error
    return code
  }
}

// @ts-expect-error an option of another type
export const wrong = connect({ timeoutMs: '5000' })
// @ts-expect-error an option that there is not
export const unknown = connect({ connectionString: 'postgres://…' })
// @ts-expect-error a pooler that there is not
export const pooler = connect({ pooler: 'session' })
