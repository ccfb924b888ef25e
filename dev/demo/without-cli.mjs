// The same work over plain SQL, for a checkout whose command line is not built.

import { applyMigrations } from '../migrate.mjs'

export async function runWithoutCli({ admin, cluster }, [command, ...options]) {
  const url = cluster.urlFor('postgres')
  try {
    if (command === 'migrate' && options.includes('--drop-legacy'))
      await applyMigrations(url, { from: 5, to: 5 })
    else if (command === 'migrate') await applyMigrations(url)
    else if (command === 'verify') await admin.query('select app_secrets.require_verified()')
    else {
      for (const table of ['businesses', 'business_secrets']) {
        await admin.query(`vacuum (full, analyze) public.${table}`)
      }
    }
    return { code: 0, stdout: '', stderr: '' }
  } catch (error) {
    const { code } = error.cause ?? error
    return { code: code === 'AS006' ? 4 : 1, stdout: '', stderr: error.message }
  }
}
