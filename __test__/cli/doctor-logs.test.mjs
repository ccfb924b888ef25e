// Doctor finds the settings under which the server writes values to its log.

import { breaks, superuser } from '../support/doctor.mjs'

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
