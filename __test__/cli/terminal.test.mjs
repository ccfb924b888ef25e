// What goes to a terminal, a pipe, a disk or a program: complete or an error, and nothing that a terminal would obey.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { bin, cli, cliEnds, cliJson } from '../support/cli.mjs'
import { freshDatabase } from '../support/cluster.mjs'
import { addBusiness } from '../support/secrets.mjs'

const value = 'xai-0123456789-tail'

async function withSecret(t, secret = value) {
  const db = await freshDatabase(t, 17)
  await db.query(`select app_secrets.grant_scope('app_service', array['*'], true, true)`)
  const id = await addBusiness(db)
  await db.query('select public.set_business_secrets($1, $2)', [id, JSON.stringify({ grok_api_key: secret })])
  return { db, id }
}

/** The command in a shell line, in which "$0" "$1" stand for it. */
function shell(db, line) {
  const env = { ...process.env, ADMIN_DATABASE_URL: db.admin, APP_SECRETS_URL: db.service, NO_COLOR: '1' }
  return spawnSync('bash', ['-c', `set -o pipefail; ${line}`, process.execPath, bin], {
    env,
    encoding: 'utf8',
  })
}

test('output that a full disk does not take is an error, whatever the command', async (t) => {
  const { db, id } = await withSecret(t)
  for (const command of [
    `list ${id}`,
    `list ${id} --json`,
    `get ${id} grok_api_key`,
    `get ${id} grok_api_key --reveal`,
    `history ${id}`,
    'completions bash',
    '--help',
  ]) {
    const { status, stderr } = shell(db, `"$0" "$1" ${command} > /dev/full`)
    assert.equal(status, 1, command)
    assert.match(stderr, /the result cannot be written: No space left/, command)
  }
})

test('a reader that has seen enough is no error', async (t) => {
  const { db, id } = await withSecret(t)
  for (const command of ['completions bash', '--help', `list ${id}`]) {
    const { status, stderr } = shell(db, `"$0" "$1" ${command} | true`)
    assert.doesNotMatch(stderr, /panicked|cannot be written/, command)
    assert.ok([0, 141].includes(status), `${command}: ${status}`)
  }
})

test('escapes and directions of writing reach a program escaped, and a terminal not at all', async (t) => {
  const nasty = '\u001b[2J\u009b31m\u202eevil\u2066\u007f'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const raw = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/
  const { db, id } = await withSecret(t, `xai-0123456789${nasty.slice(-4)}`)
  await db.query("select set_config('app_secrets.actor', $1, false)", [nasty])
  await db.query('select public.set_business_secrets($1, $2)', [
    id,
    JSON.stringify({ grok_api_key: `xai-01234567${nasty}` }),
  ])
  for (const args of [
    ['list', id],
    ['get', id, 'grok_api_key'],
    ['history', id],
    ['list', id, '--json'],
    ['history', id, '--json'],
    ['get', id, nasty],
    ['list', `--${nasty}`],
    [nasty],
  ]) {
    const { stdout, stderr } = await cli(db, args)
    assert.doesNotMatch(stdout + stderr, raw, args[0])
  }
  // The controls: they are there, and programs get them.
  const { changes } = await cliJson(db, ['history', id])
  assert.equal(changes[0].actor, nasty)
  assert.match((await cliEnds(0, db, ['get', id, 'grok_api_key', '--reveal'])).stdout, raw)
})

test('an error in the command line is JSON where JSON is asked for', async (t) => {
  const { db, id } = await withSecret(t)
  for (const args of [
    ['--json'],
    ['--json', 'nothing'],
    ['get', '--json', id],
    ['migrate', '--json', '--to', 'x'],
    ['list', id, 'more', '--json'],
  ]) {
    const { stdout, stderr } = await cliEnds(1, db, args)
    assert.equal(stdout, '')
    const { version, error } = JSON.parse(stderr)
    assert.deepEqual([version, error.code], [1, 'INVALID_ARGUMENT'], args.join(' '))
  }
  // The document's version is its own, and so is the secret's.
  const document = await cliJson(db, ['get', id, 'grok_api_key'])
  const { secrets } = await cliJson(db, ['list', id])
  assert.equal(document.version, 1)
  assert.equal(document.secretVersion, secrets.find(({ name }) => name === 'grok_api_key').version)
})

test('where JSON is asked for, an error is the last line of stderr, behind nothing but progress', async (t) => {
  const { db, id } = await withSecret(t)
  const asked = await cliEnds(6, db, ['migrate', '--drop-legacy', '--json'])
  assert.equal(JSON.parse(asked.stderr).error.code, 'REFUSED')
  assert.equal(asked.stdout, '')

  const url = await cliEnds(0, db, ['list', id, '--json', '--url', db.service])
  assert.equal(url.stderr, '')
  assert.match(JSON.parse(url.stdout).warnings.join(), /can read the password of --url/)
  const failed = await cliEnds(1, db, ['get', id, 'no_such', '--json', '--url', db.service])
  assert.match(JSON.parse(failed.stderr).warnings.join(), /can read the password of --url/)

  await db.query('begin')
  await db.query('lock table public.businesses in access exclusive mode')
  try {
    const late = await cliEnds(3, db, ['migrate', '--reapply', '--json', '--lock-wait', '1'])
    assert.equal(JSON.parse(late.stderr.trim().split('\n').at(-1)).error.code, 'LOCK_TIMEOUT')
  } finally {
    await db.query('rollback')
  }
  const full = shell(db, `"$0" "$1" list ${id} --json > /dev/full`)
  assert.match(JSON.parse(full.stderr).error.message, /the result cannot be written/)
})

test('tables fit any terminal from 40 columns, and break nothing that is to be copied', async (t) => {
  const { db, id } = await withSecret(t)
  for (const columns of [40, 60, 80, 120, 200]) {
    for (const args of [
      ['list', id],
      ['history', id],
      ['names', 'list'],
      ['login', 'list'],
      ['access', id],
      ['status'],
      ['verify'],
    ]) {
      const { stdout } = await cliEnds(0, db, args, { env: { COLUMNS: String(columns) } })
      for (const line of stdout.split('\n')) assert.ok(line.length <= columns, `${args} ${columns}: ${line}`)
      if (['list', 'history'].includes(args[0])) assert.match(stdout, /\bgrok_api_key\b/)
      if (args[0] === 'history') assert.ok(stdout.includes(id), stdout)
    }
  }
})

test('alone it shows the status where it can connect, and else a short help', async (t) => {
  const { db } = await withSecret(t)
  const { stdout: status } = await cliEnds(0, db, ['status'])
  assert.equal((await cliEnds(0, db, [])).stdout, status)
  const short = await cliEnds(0, undefined, [])
  assert.match(short.stdout, /app-secrets migrate/)
  const away = await cliEnds(1, undefined, [], { env: { ADMIN_DATABASE_URL: 'postgres://a@127.0.0.1:9/a' } })
  assert.equal(away.stdout, short.stdout)
  assert.match(away.stderr, /error: the database is unavailable/)
})

test('run gives a command the secrets of a business, and its exit code is the command’s', async (t) => {
  const { db, id } = await withSecret(t)
  const script = 'console.log(process.env.GROK_API_KEY ?? "-", process.env.XAI ?? "-"); process.exit(7)'
  const command = ['--', process.execPath, '-e', script]
  const plain = await cliEnds(7, db, ['run', id, ...command])
  assert.equal(plain.stdout, `${value} -\n`)
  assert.match(plain.stderr, /warning: .* can read GROK_API_KEY/)
  assert.ok(!plain.stderr.includes(value))
  const mapped = await cliEnds(7, db, ['run', '--business', id, '--map', 'grok_api_key=XAI', ...command])
  assert.equal(mapped.stdout, `- ${value}\n`)
  for (const args of [
    ['run', id],
    ['run', id, '--map', 'grok_api_key', ...command],
    ['run', id, '--map', 'no_such=XAI', ...command],
    ['run', 'not-an-id', ...command],
  ]) {
    assert.equal((await cliEnds(1, db, args)).stdout, '')
  }
})

test('run ends as a shell does where the command cannot run, and hands on what the process was given', async (t) => {
  const { db, id } = await withSecret(t)
  await cliEnds(127, db, ['run', id, '--', '/no/such/command'])
  await cliEnds(126, db, ['run', id, '--', '/etc/passwd'])
  const env = await cliEnds(0, db, ['run', id, '--', 'env'])
  assert.match(env.stdout, /^APP_SECRETS_URL=/m)
  assert.doesNotMatch(env.stdout, /^ADMIN_DATABASE_URL=/m)
  const bytes = shell(db, `"$0" "$1" run ${id} -- printf %s $'\\xff\\xfea' | od -An -tx1`)
  assert.equal(bytes.stdout.trim(), 'ff fe 61', bytes.stderr)
  // Linux alone shows what a process ignores.
  if (process.platform === 'linux') {
    const { stdout } = await cliEnds(0, db, ['run', id, '--', 'grep', 'SigIgn', '/proc/self/status'])
    const [sigpipe, sigxfsz] = [13, 25].map(
      (number) => (BigInt(`0x${stdout.split(/\s+/)[1]}`) >> BigInt(number - 1)) & 1n,
    )
    assert.deepEqual([sigpipe, sigxfsz], [0n, 0n], stdout)
  }
})

test('run gives a pair of secrets as they were at one moment', async (t) => {
  const { db, id } = await withSecret(t)
  let round = 0
  let stopped = false
  const writing = (async () => {
    while (!stopped) {
      const pair = { kling_access_key: `ak-${++round}`, kling_secret_key: `sk-${round}` }
      await db.query('select public.set_business_secrets($1, $2)', [id, JSON.stringify(pair)])
    }
  })()
  try {
    while (round === 0) await setImmediate()
    for (let run = 0; run < 8; run++) {
      const { stdout } = await cliEnds(0, db, [
        'run',
        id,
        '--',
        'sh',
        '-c',
        'echo $KLING_ACCESS_KEY $KLING_SECRET_KEY',
      ])
      const [access, secret] = stdout.trim().split(' ')
      assert.equal(access.slice(3), secret.slice(3))
    }
  } finally {
    stopped = true
    await writing
  }
})

test('a change is the system’s user’s, unless an actor is named', async (t) => {
  const { db, id } = await withSecret(t)
  await cliEnds(0, db, ['set', id, 'grok_api_key'], { input: 'xai-new', env: { USER: 'ada' } })
  await cliEnds(0, db, ['unset', id, 'grok_api_key', '--actor', 'deploy of 2026'], { env: { USER: 'ada' } })
  const { changes } = await cliJson(db, ['history', id])
  assert.deepEqual(
    changes.slice(0, 2).map(({ actor }) => actor),
    ['deploy of 2026', 'ada'],
  )
})

test('the header names host, database and nothing of the login', async (t) => {
  const { db } = await withSecret(t)
  const { host, username, password } = new URL(db.admin)
  const { stdout } = await cli(db, ['status'])
  assert.equal(stdout.split('\n')[0], `${host}, database ${db.name}`)
  assert.ok(!stdout.includes(password) && !stdout.split('\n')[0].includes(username))
})

test('an import asks about values that only stand for a key', async (t) => {
  const { db, id } = await withSecret(t)
  const input = 'XAI_API_KEY=op://prod/xai/key\n'
  const { stderr } = await cliEnds(6, db, ['import', id, '-', '--yes'], { input })
  assert.match(stderr, /line 1 of the file: XAI_API_KEY looks like a reference/)
  assert.ok(!stderr.includes('op://'))
  const more = `${input}PORT=1\nGEMINI_API_KEY=\nANTHROPIC_API_KEY=sk-ant-0123456789\n`
  const dry = await cliEnds(6, db, ['import', id, '-', '--dry-run', '--json'], { input: more })
  const { names, doubtful, ignored, blank, refused } = JSON.parse(dry.stdout)
  assert.deepEqual(
    { names, doubtful, ignored, blank, refused },
    {
      names: ['grok_api_key', 'claude_api_key'],
      doubtful: ['grok_api_key'],
      ignored: ['PORT'],
      blank: ['GEMINI_API_KEY'],
      refused: true,
    },
  )
  await cliEnds(0, db, ['import', id, '-', '--dry-run', '--as-is'], { input: more })
  await cliEnds(0, db, ['import', id, '-', '--yes', '--as-is'], { input })
  const { stdout } = await cliEnds(0, db, ['get', id, 'grok_api_key', '--reveal'])
  assert.equal(stdout, 'op://prod/xai/key')
})

test('a password that SASLprep prohibits is sent as it is', async (t) => {
  const { db, id } = await withSecret(t)
  for (const [at, password] of ['pass😀word', 'soft\u00adhyphen', 'non\u00a0break', 'a+b&c#d/e'].entries()) {
    const name = `saslprep_${process.pid}_${at}`
    await db.query(`create role ${name} login password '${password}' in role app_secrets_service`)
    t.after(() => db.query(`drop role if exists ${name}`).catch(() => {}))
    await db.query(`select app_secrets.grant_scope('${name}', array['*'], true, true)`)
    const url = new URL(db.service)
    url.username = name
    const service = url.href.replace(/:[^:@]*@/, `:${encodeURIComponent(password)}@`)
    await cliEnds(0, { ...db, admin: db.admin, service }, ['list', id])
    await db.query(`select app_secrets.revoke_scope('${name}')`)
    await db.query(`drop role ${name}`)
  }
})
