// What people read, as it was reviewed. After a change: UPDATE_SNAPSHOTS=1, then read the difference.

import { test } from 'node:test'
import { breakCipher } from '../support/addon.mjs'
import { assertSnapshot, cli, transcript } from '../support/cli.mjs'
import { freshDatabase, startCluster, TestCluster } from '../support/cluster.mjs'
import { set } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

const business = '10000000-0000-4000-8000-000000000001'

/** Runs commands on a database, and compares all that they say with one snapshot. */
async function shows(name, db, commands) {
  const said = []
  for (const command of commands) {
    const [args, options] = Array.isArray(command[0]) ? command : [command]
    said.push(transcript(args, await cli(db, args, options)))
  }
  assertSnapshot(name, said.join('\n\n'), db ? { DATABASE: db.name } : {})
}

test('help, for everything', async () => {
  const commands = [
    'status',
    'migrate',
    'verify',
    'scrub',
    'rollback',
    'doctor',
    'list',
    'get',
    'set',
    'unset',
    'undo',
    'import',
    'run',
    'history',
    'names',
    'types',
    'init',
    'login',
    'access',
    'emit',
    'rekey',
    'completions',
  ]
  await shows('help', null, [['--help'], ['-h'], [], ...commands.map((command) => [command, '--help'])])
})

test('a command line that is not understood', async () => {
  await shows('refused-arguments', null, [
    ['statsu'],
    ['status', '--jsn'],
    ['migrate', '--batch', 'many'],
    ['migrate', '--drop-legacy', '--to', '3'],
    ['migrate', '--yes-drop-plaintext', 'app'],
    ['get', business],
    ['get', business, 'grok_api_key', 'too-much'],
    ['set', business, 'grok_api_key', 'a-value'],
    ['status'],
  ])
})

test('the way of a migration', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  await shows('migration', db, [
    ['status'],
    ['verify'],
    ['migrate', '--dry-run'],
    ['migrate', '--to', '2'],
    ['status'],
    ['migrate'],
    ['status'],
    ['migrate'],
    ['verify'],
    ['rollback'],
    ['scrub'],
    ['migrate', '--drop-legacy', '--dry-run'],
    ['migrate', '--drop-legacy'],
    ['migrate', '--drop-legacy', '--yes-drop-plaintext', 'another'],
    ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name],
    ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name],
    ['status'],
    ['verify'],
    ['scrub'],
    ['scrub', '--dry-run'],
    ['scrub', '--yes-lock-tables', db.name],
    ['scrub', '--dry-run'],
    ['status'],
    ['rollback'],
    ['status'],
  ])
})

test('a migration that somebody is in the way of', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 0, legacyData: true })
  const other = await db.connect()
  await other.query("set application_name = 'maya'")
  await other.query('begin; lock table public.businesses in row exclusive mode')
  const args = ['migrate', '--lock-wait', '3']
  // At first it may not be known yet who holds the lock.
  const said = transcript(args, await cli(db, args)).replace(/^.* is held up; again in \d+ ms\n/gm, '')
  // How often it tries depends on how fast this machine is.
  assertSnapshot('held-up', said.replace(/^(.* is held up by .*; again in \d+ ms\n)+/m, '$1'))
})

test('a migration that waits for another', async (t) => {
  const db = await freshDatabase(t, 17, { migratedTo: 4 })
  const other = await db.connect()
  await other.query("set application_name = 'app-secrets migrate'")
  await other.query("select pg_advisory_lock(hashtextextended('app_secrets.migrate', 0))")
  const running = cli(db, ['migrate'])
  await until(async () => {
    const rows = await db.query(
      `select from pg_stat_activity where datname = $1 and application_name = 'app-secrets migrate (watching)'
         and query like '%pg_locks%' and state = 'idle'`,
      [db.name],
    )
    return rows.length
  })
  await other.query('select pg_advisory_unlock_all()')
  assertSnapshot('waiting', transcript(['migrate'], await running))
})

test('a verification that finds everything', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await break_(db)
  await shows('verification-failed', db, [
    ['verify'],
    ['status'],
    ['migrate', '--drop-legacy', '--yes-drop-plaintext', db.name],
  ])
})

test('the doctor, of the healthy and of the ill', async (t) => {
  // On a server of its own: logins are the cluster's, and doctor names those that other tests make.
  const own = await startCluster(17)
  const cluster = new TestCluster(own.description)
  const well = await cluster.freshDatabase(t, { migratedTo: 5, legacyData: true })
  const before = await cluster.freshDatabase(t, { migratedTo: 0, legacyData: true })
  const ill = await cluster.freshDatabase(t, { legacyData: true })
  // After the databases' own end, which wants the server.
  t.after(() => own.stop())
  await shows('doctor-healthy', well, [['doctor']])
  await shows('doctor-before', before, [['doctor']])

  await break_(ill)
  await ill.query('grant select on public.business_secrets to anon')
  await ill.query('create policy everybody on public.business_secrets using (true)')
  await ill.query("update app_secrets.migrations set checksum = repeat('0', 64) where version = 2")
  await ill.query("delete from vault.secrets where name = 'app_secrets/canary'")
  await ill.query('alter function public.list_business_secrets(uuid) set search_path = public')
  await ill.query('alter publication supabase_realtime add table public.businesses')
  await ill.query(`alter database ${ill.name} set log_statement = 'all'`, [], 'supabase_admin')
  await shows('doctor-ill', ill, [['doctor']])
})

test('the secrets of a business', async (t) => {
  const db = await freshDatabase(t, 17, { legacyData: true })
  await set(db, business, { claude_api_key: 'sk-ant-a-long-enough-value' })
  const file = [
    'XAI_API_KEY=xai-0123456789-tail',
    'GEMINI_API_KEY=short',
    'CLAUDE_API_KEY=',
    'PORT=3000',
  ].join('\n')
  const env = { USER: 'ada' }
  await shows('secrets', db, [
    ['list', business],
    ['get', business, 'claude_api_key'],
    ['get', business, 'claude_api_key', '--reveal'],
    ['get', business, 'youtube_api_key', '--reveal'],
    [['set', business, 'youtube_api_key'], { input: 'yt-0123456789-abcd', env }],
    [['set', business, 'youtube_api_key', '--expected-version', '7'], { input: 'x', env }],
    [['set', business, 'youtube_api_key'], { input: ' ', env }],
    ['set', business, 'youtube-api-key'],
    [['unset', business, 'youtube_api_key'], { env }],
    [['import', '-', '--business', business, '--dry-run'], { input: file, env }],
    [['import', '-', '--business', business], { input: file, env }],
    [['import', '-', '--business', business, '--yes'], { input: file, env }],
    [['import', '-', '--business', business, '--yes'], { input: 'PORT=1', env }],
    [['import', '-', '--business', business, '--yes'], { input: 'not a line', env }],
    ['list', '10000000-0000-4000-8000-0000000000ff'],
    ['list', 'not-an-id'],
    ['history', business, '--limit', '6'],
    ['history', '10000000-0000-4000-8000-0000000000ff'],
  ])
})

test('a connection that does not come about', async () => {
  const at = (url) => ({ env: { ADMIN_DATABASE_URL: url, APP_SECRETS_URL: url } })
  await shows('connections', null, [
    [['status'], at('postgres://postgres:pw@127.0.0.1:9/app')],
    [['status'], at('postgres://postgres:pw@db.example.com/app?sslmode=disable')],
    [['migrate'], at('postgres://postgres.abc:pw@aws-0-eu-west-1.pooler.supabase.com:6543/postgres')],
    [['status'], at('mysql://root@localhost/app')],
    [['list', business], at('postgres://postgres:pw@127.0.0.1:9/app')],
    [['status', '--url', 'postgres://postgres:pw@127.0.0.1:9/app'], {}],
  ])
})

/** One of each fault that verify knows. */
async function break_(db) {
  await breakCipher(db, business, 'gemini_api_key')
  await db.query(`delete from vault.secrets where name like '%002/gemini\\_api\\_key'`)
  await db.query(
    `select vault.create_secret('', 'business_secrets/' || gen_random_uuid() || '/grok_api_key')`,
  )
  await db.query('alter table public.business_secrets drop constraint grok_api_key_is_reference')
  await db.query('alter table public.business_secrets disable trigger zz_app_secrets_reap_all')
  const client = await db.connect('supabase_admin')
  await client.query('set session_replication_role = replica')
  await client.query("update public.businesses set whatsapp_api_key = 'other' where id = $1", [business])
  const legacyCode = await db.connect()
  await legacyCode.query("set application_name = 'old-backend'")
  await legacyCode.query("update public.businesses set kling_access_key = 'new' where id = $1", [business])
  await client.query("update public.business_secrets set grok_api_key = 'text' where business_id = $1", [
    business,
  ])
}
