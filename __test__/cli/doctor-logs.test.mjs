// Doctor finds the settings under which the server writes values to its log, and no others.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import pg from 'pg'
import { freshDatabase, majors, startCluster, TestCluster } from '../support/cluster.mjs'
import { breaks, finds, superuser } from '../support/doctor.mjs'
import { addBusiness } from '../support/secrets.mjs'
import { until } from '../support/wait.mjs'

for (const [setting, value, level] of [
  ['log_statement', 'all', 'fail'],
  ['log_min_duration_statement', '0', 'fail'],
  ['log_min_duration_statement', '10s', 'warn'],
  ['log_parameter_max_length_on_error', '-1', 'fail'],
]) {
  breaks(
    'logs',
    level,
    new RegExp(`${setting} = ${value}`),
    async (db) => {
      await db.query(`alter database ${db.name} set ${setting} = '${value}'`, [], superuser)
    },
    { title: `${setting} = ${value}` },
  )
}

test("logs: what a service's login alone is given", async (t) => {
  const db = await freshDatabase(t, 17)
  const configure = (setting, value) =>
    db.query(`alter role app_service in database ${db.name} set ${setting} = '${value}'`, [], superuser)
  await configure('log_parameter_max_length', '0')
  await configure('log_statement', 'all')
  await finds(db, 'logs', 'ok', /no setting prints/)
  await configure('log_parameter_max_length', '-1')
  const { fix } = await finds(
    db,
    'logs',
    'fail',
    /^for app_service: values are printed: log_statement = all$/,
  )
  assert.match(fix, /`postgres` may/)
  await db.query(fix.slice(fix.indexOf('alter role')), [], superuser)
  await finds(db, 'logs', 'ok', /no setting prints/)
})

test('logs: what goes for all is cleared by the fix for each login', async (t) => {
  const own = await startCluster(17)
  const db = await new TestCluster(own.description).freshDatabase(t)
  // After the database's own end, which wants the server.
  t.after(() => own.stop())
  await db.query(`alter database ${db.name} set log_min_duration_statement = 0`, [], superuser)
  const { fix } = await finds(db, 'logs', 'fail', /^values are printed: log_min_duration_statement = 0$/)
  await db.query(fix.slice(fix.indexOf('alter role')), [], superuser)
  await finds(db, 'logs', 'ok', /no setting prints/)
})

// What the server prints is what doctor finds: every case writes a value that nobody else knows, and looks for it.
const explains = { session_preload_libraries: 'auto_explain', 'auto_explain.log_min_duration': '0' }
const cut = { 'auto_explain.log_parameter_max_length': '0' }
const cases = [
  {},
  { log_statement: 'all' },
  { log_statement: 'all', log_parameter_max_length: '0' },
  { log_min_duration_statement: '0' },
  { log_min_duration_sample: '0', log_statement_sample_rate: '1' },
  { log_min_duration_sample: '0', log_statement_sample_rate: '0' },
  { log_transaction_sample_rate: '1' },
  { log_duration: 'on' },
  { log_error_verbosity: 'verbose' },
  { log_parameter_max_length_on_error: '-1' },
  { debug_print_plan: 'on' },
  { debug_print_parse: 'on' },
  explains,
  { ...explains, ...cut },
  { ...explains, ...cut, 'auto_explain.log_verbose': 'on' },
  { ...explains, ...cut, 'auto_explain.log_nested_statements': 'on' },
  { ...explains, ...cut, 'auto_explain.log_nested_statements': 'on', 'auto_explain.sample_rate': '0' },
  { ...explains, ...cut, 'auto_explain.log_analyze': 'on', 'auto_explain.log_format': 'json' },
]

for (const major of majors) {
  test(`logs: doctor finds a setting where it prints a value, and only there (PostgreSQL ${major})`, async (t) => {
    const own = await startCluster(major)
    const db = await new TestCluster(own.description).freshDatabase(t)
    // After the database's own end, which wants the server.
    t.after(() => own.stop())
    const id = await addBusiness(db)
    await db.query(`select app_secrets.grant_scope('app_service', array['*'], true, true)`)
    const printed = []
    for (const settings of cases) {
      await db.query(`alter database ${db.name} reset all`, [], superuser)
      for (const [name, value] of Object.entries(settings)) {
        // auto_explain of 15 prints no parameters and has no setting for them.
        if (major === 15 && name in cut) continue
        await db.query(`alter database ${db.name} set ${name} = '${value}'`, [], superuser)
      }
      const prints = await printsAValue(db, own.server, id)
      const what = JSON.stringify(settings)
      if (prints) printed.push(what)
      await finds(db, 'logs', prints ? /^(warn|fail)$/ : /^ok$/, /./).catch((error) => {
        throw new Error(`${what}: the server ${prints ? 'prints' : 'does not print'} the value`, {
          cause: error,
        })
      })
    }
    // The controls: something is printed, and something is not.
    assert.ok(printed.length >= 8 && printed.length < cases.length, printed.join('\n'))

    // No setting stops what follows, so doctor says it where all is well.
    await db.query(`alter database ${db.name} reset all`, [], superuser)
    await finds(db, 'logs', 'ok', /a COPY that fails prints its line/)
    const copied = planted()
    await assert.rejects(
      copy(db, 'public.business_secrets (business_id, grok_api_key)', `\\N\t${copied}\n`),
      {
        code: '23502',
      },
    )
    assert.ok((await logOf(db, own.server)).includes(copied))
  })
}

const planted = () => `planted-${randomBytes(12).toString('hex')}`

/** Sets a secret by the RPC, and one that is refused; whether one of the two values is in the log, as text or bytes. */
async function printsAValue(db, server, id) {
  const secret = planted()
  const service = await db.connect('app_service')
  const set = (value) =>
    service.query('select public.set_business_secrets($1, $2)', [id, JSON.stringify({ grok_api_key: value })])
  await set(secret)
  await assert.rejects(set(secret.repeat(3000)))
  await db.disconnect(service)
  const log = await logOf(db, server)
  return log.includes(secret) || log.replace(/\s+/g, ' ').includes([...Buffer.from(secret)].join(' '))
}

/** All that the server has logged of what happened before. */
async function logOf(db, server) {
  // The log is written in order: what is not there before this line never comes.
  const mark = `mark-${randomBytes(12).toString('hex')}`
  await db.query(`do $$ begin raise log '${mark}'; end $$`, [], superuser)
  await until(() => server.log().includes(mark), 'the mark in the log')
  return server.log()
}

async function copy(db, columns, lines) {
  const client = await db.connect('postgres')
  await new Promise((resolve, reject) => {
    const query = new pg.Query(`copy ${columns} from stdin`, (error) => (error ? reject(error) : resolve()))
    query.handleCopyInResponse = (connection) => {
      connection.sendCopyFromChunk(Buffer.from(lines))
      connection.endCopyFrom()
    }
    client.query(query)
  })
}
