import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import pg from 'pg'
import { cliEnds, cliJson } from '../support/cli.mjs'
import { cluster, freshDatabase, majors } from '../support/cluster.mjs'
import { addBusiness, set } from '../support/secrets.mjs'

for (const major of majors) {
  test(`a login is made with just its scope, and goes with its sessions (PostgreSQL ${major})`, async (t) => {
    const db = await freshDatabase(t, major)
    const id = await addBusiness(db)
    await set(db, id, { kling_access_key: 'ak-marker', gemini_api_key: 'gk-marker' })
    const login = nameFor(t, db)
    const file = join(folder(t), 'kling.env')
    const args = [
      'login',
      'add',
      login,
      '--read',
      'kling_access_key,kling_secret_key',
      '--write',
      'kling_secret_key',
    ]
    const { stdout } = await cliEnds(0, db, [...args, '--out', file])
    const text = readFileSync(file, 'utf8')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const url = text.match(/^APP_SECRETS_URL=(.+)\n$/)[1]
    const { password } = new URL(url)
    assert.equal(stdout.includes(password), false)
    // The server has a verifier, and no statement held the password.
    const log = readFileSync((await cluster(major)).logFile, 'utf8')
    assert.equal(log.includes(password), false)

    const own = { ...db, service: url }
    for (const reveal of [[], ['--reveal']]) {
      const { stderr } = await cliEnds(1, own, ['get', id, 'gemini_api_key', ...reveal])
      assert.match(stderr, /may not do that with this secret/)
    }
    assert.match((await cliEnds(0, own, ['get', id, 'kling_access_key', '--reveal'])).stdout, /^ak-marker/)

    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query(
      'select status from public.get_business_secrets_batch($1, $2) order by ord',
      [
        [id, id],
        ['kling_access_key', 'gemini_api_key'],
      ],
    )
    assert.deepEqual(
      rows.map(({ status }) => status),
      ['ok', 'permission_denied'],
    )
    await assert.rejects(
      client.query(`select public.set_business_secrets($1, '{"kling_access_key": "x"}')`, [id]),
      {
        code: 'AS005',
      },
    )
    await client.query(`select public.set_business_secrets($1, '{"kling_secret_key": "x"}')`, [id])

    const { logins } = await cliJson(db, ['login', 'list'])
    const found = logins.find((one) => one.login === login)
    assert.deepEqual(
      [found.reads, found.writes, found.exists, found.sessions],
      [['kling_access_key', 'kling_secret_key'], ['kling_secret_key'], true, 1],
    )
    assert.notEqual(found.lastReadAt, null)
    // Two, where the minute changed between the two reads above.
    const { reads } = await cliJson(db, ['access', id])
    assert.deepEqual(
      reads.map(({ login, name }) => [login, name]),
      [[login, 'kling_access_key']],
    )
    assert.ok([1, 2].includes(reads[0].minutes), String(reads[0].minutes))
    assert.match((await cliEnds(0, db, ['access', id, '--since', '1d'])).stdout, /kling_access_key +[12]$/m)
    assert.match(
      (await cliEnds(0, db, ['access', id, '--name', 'gemini_api_key'])).stdout,
      /No read is on record/,
    )

    const ended = new Promise((resolve) => client.once('end', resolve))
    const removed = await cliEnds(0, db, ['login', 'remove', login])
    assert.match(removed.stdout, /1 session was ended/)
    await ended
    await assert.rejects(new pg.Client({ connectionString: url }).connect())
    assert.deepEqual(await db.query('select from app_secrets.scopes where login = $1', [login]), [])
    assert.deepEqual(await db.query('select from pg_roles where rolname = $1', [login]), [])
  })
}

test('--print gives the connection string and nothing else; all means all', async (t) => {
  const db = await freshDatabase(t, 17)
  const login = nameFor(t, db)
  const { stdout } = await cliEnds(0, db, [
    'login',
    'add',
    login,
    '--read-all',
    '--write',
    'grok_api_key',
    '--print',
  ])
  assert.equal(new URL(stdout).username, login)
  const { rows } = await query(stdout, 'select app_secrets_scope.* from (select 1) app_secrets_scope')
  assert.equal(rows.length, 1)
  const scope = await db.query(
    'select name, may_read, may_write from app_secrets.scopes where login = $1 order by name',
    [login],
  )
  assert.deepEqual(scope, [
    { name: '*', may_read: true, may_write: false },
    { name: 'grok_api_key', may_read: false, may_write: true },
  ])
  const text = (await cliEnds(0, db, ['login', 'list'])).stdout
  assert.match(text, new RegExp(`^${login} +all +grok_api_key `, 'm'))
})

test('what cannot be made or removed gets a code and changes nothing', async (t) => {
  const db = await freshDatabase(t, 17)
  const login = nameFor(t, db)
  const file = join(folder(t), 'taken.env')
  writeFileSync(file, 'mine')
  const fresh = join(folder(t), 'new.env')
  for (const [code, pattern, ...args] of [
    [1, /did you mean gemini_api_key\?/, 'add', login, '--read', 'gemini_key', '--out', fresh],
    [1, /without a scope may do nothing/, 'add', login, '--out', fresh],
    [1, /--out|--print/, 'add', login, '--read-all'],
    [1, /a login's name is/, 'add', 'no such; name', '--read-all', '--out', fresh],
    [6, /is there already; nothing was changed/, 'add', login, '--read-all', '--out', file],
    [6, /a login of that name already/, 'add', 'app_service', '--read-all', '--out', fresh],
    [6, /never holds a password/, 'add', login, '--read-all', '--print', '--json'],
    [1, /there is no login of that name/, 'remove', login],
    [1, /there is no login of that name/, 'remove', 'authenticator'],
    [6, /attributes of an administrator/, 'remove', 'postgres'],
  ]) {
    const { stdout, stderr } = await cliEnds(code, db, ['login', ...args])
    assert.match(stdout + stderr, pattern)
    assert.equal(existsSync(fresh), false, args.join(' '))
  }
  assert.equal(readFileSync(file, 'utf8'), 'mine')
  assert.deepEqual(await db.query('select from pg_roles where rolname = $1', [login]), [])
})

test('a login with rights of its own is left alone', async (t) => {
  const db = await freshDatabase(t, 17)
  const login = nameFor(t, db)
  await cliEnds(0, db, ['login', 'add', login, '--read-all', '--print'])
  await db.query(`grant select on public.businesses to "${login}"`)
  const { stderr } = await cliEnds(6, db, ['login', 'remove', login])
  assert.match(stderr, /rights of its own in 1 places/)
  assert.equal((await db.query('select from pg_roles where rolname = $1 and rolcanlogin', [login])).length, 1)
  await db.query(`revoke select on public.businesses from "${login}"`)
  await cliEnds(0, db, ['login', 'remove', login])
})

test('a login that reads ten times as much as usual is named', async (t) => {
  const db = await freshDatabase(t, 17)
  const id = await addBusiness(db)
  assert.match((await cliEnds(0, db, ['access', '--unusual'])).stdout, /No login reads more than ten times/)
  await db.query(
    `insert into app_secrets.access_marks (business_id, login, day, name, minute, minutes)
     select $1, l.login, (now() at time zone 'UTC')::date - d, 'gemini_api_key', 5,
       case when d = 0 and l.login = 'thief' then 101 else 10 end
     from (values ('thief'), ('worker')) l(login) cross join generate_series(0, 5) d`,
    [id],
  )
  const { stdout } = await cliEnds(2, db, ['access', '--unusual'])
  assert.match(stdout, /^thief +101 +10$/m)
  assert.doesNotMatch(stdout, /worker/)
  for (const [pattern, ...args] of [
    [/there is no business/, '00000000-0000-4000-8000-00000000dead'],
    [/did you mean/, id, '--name', 'gemini'],
    [/a point in time is/, id, '--since', 'yesterday'],
  ]) {
    assert.match((await cliEnds(1, db, ['access', ...args])).stderr, pattern)
  }
})

let logins = 0

/** Roles belong to the server, not to a database. */
function nameFor(t, db) {
  const login = `login_${process.pid}_${++logins}`
  t.after(() => db.query(`drop role if exists "${login}"`, [], 'supabase_admin').catch(() => {}))
  return login
}

async function query(connectionString, text) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return await client.query(text)
  } finally {
    await client.end()
  }
}

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'app-secrets-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}
