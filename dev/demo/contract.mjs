// Step 7: the plaintext columns go, after proof and not before.

import { legacyKeys } from '../legacy-data.mjs'
import { migrationFiles } from '../migrate.mjs'

const dropLegacy = ['migrate', '--drop-legacy', '--yes-drop-plaintext=postgres']

/** The tables that verify prints are shown once. */
const conclusion = (line) => /^(error|Verified|The plaintext|Next|\d{3} )/.test(line)

export async function dropAfterProof(demo) {
  const { report } = demo
  report.step('Drop the plaintext columns, after proof')
  const { id, values } = demo.business(5)

  // A key changed where no trigger sees it: the two places differ now.
  await aroundTriggers(demo, async (client) => {
    await client.query('update public.businesses set claude_api_key = $2 where id = $1', [
      id,
      `${demo.marker}-tampered`,
    ])
  })
  report.say(`one of ${demo.counts.keys} keys is changed around the triggers, in business ${id}`)
  const refusal = await sendContract(demo)
  report.claim('005 refuses', refusal?.code === 'AS006', `SQLSTATE ${refusal?.code ?? 'none'}`)
  report.say(`  ${refusal.message}`)
  report.claim(
    'and names the business, but no value',
    refusal.message.includes(id) && !refusal.message.includes(demo.marker),
  )
  const verified = await demo.run(['verify'])
  report.claim('so does verify', verified === 4, `exit code ${verified}`)
  const refused = await demo.run(dropLegacy, { show: conclusion })
  report.claim('and migrate --drop-legacy', refused === 4, `exit code ${refused}`)
  report.claim('all eight columns are still there', (await legacyColumns(demo)) === 8, '8 columns')

  await demo.admin.query('update public.businesses set claude_api_key = $2 where id = $1', [
    id,
    values.claude_api_key,
  ])
  report.say('repaired: the right value is written through either side')
  const repaired = await demo.run(['verify'], { show: conclusion })
  report.claim('verify finds nothing', repaired === 0, `exit code ${repaired}`)
  const dropped = await demo.run(dropLegacy, { show: conclusion })
  report.claim('the columns are dropped', dropped === 0 && (await legacyColumns(demo)) === 0, '0 columns')

  const secrets = await demo.secrets()
  report.claim(
    'and every consumer reads on, with no change of its own',
    (await secrets.getProviderKey(id, 'claude')) === values.claude_api_key,
  )
}

/** Sends 005 as any SQL client would; gives its error. */
async function sendContract({ admin }) {
  const { sql } = migrationFiles().find(({ version }) => version === 5)
  try {
    await admin.query(sql)
    return undefined
  } catch (error) {
    return error
  } finally {
    await admin.query('rollback')
  }
}

async function aroundTriggers({ admin }, work) {
  await admin.query('set session_replication_role = replica')
  try {
    await work(admin)
  } finally {
    await admin.query('reset session_replication_role')
  }
}

function legacyColumns(demo) {
  return demo.value(
    `select count(*)::int from pg_attribute
     where attrelid = 'public.businesses'::regclass and not attisdropped and attname in (
       ${legacyKeys.map((name) => `'${name}'`).join(', ')})`,
  )
}
