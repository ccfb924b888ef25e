// Doctor finds the settings under which the server writes values to its log.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { freshDatabase } from '../support/cluster.mjs'
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
    /^for app_service: parameters are printed: log_statement = all$/,
  )
  assert.match(fix, /alter role app_service reset/)
})

test('logs: auto_explain of nested statements prints values, however short parameters are cut', async (t) => {
  const db = await freshDatabase(t, 17)
  const configure = (setting, value) =>
    db.query(`alter database ${db.name} set ${setting} = '${value}'`, [], superuser)
  await configure('session_preload_libraries', 'auto_explain')
  await configure('auto_explain.log_min_duration', '0')
  await configure('auto_explain.log_parameter_max_length', '0')
  await finds(db, 'logs', 'ok', /no setting prints/)
  await configure('auto_explain.log_nested_statements', 'on')
  const { fix } = await finds(
    db,
    'logs',
    'fail',
    /^parameters are printed: auto_explain\.log_nested_statements = on$/,
  )
  assert.match(fix, /alter system set auto_explain\.log_nested_statements = off/)

  // What the check warns of: the server does print it.
  const id = await addBusiness(db)
  const secret = `nested-${randomBytes(8).toString('hex')}`
  const service = await db.connect('app_service')
  await service.query('select public.set_business_secrets($1, $2)', [
    id,
    JSON.stringify({ grok_api_key: secret }),
  ])
  await until(() => readFileSync(db.cluster.logFile, 'utf8').includes(secret), 'the value in the log')
})
