// What can happen to a database beside us: restores that lack something, hands that altered something, steps that were left
// half done. Each is done to a database of its own and gives what a remedy may need of it.
//
// `base`: what it is done to, `synced` (after 004, with plaintext columns) or `dropped` (after 005). `check`: what doctor
// fails by; `named`: the remedies that doctor or the documentation names for it, in their order, after which doctor is
// content. `lost`: what no remedy can bring back, so that doctor may stay as it is.

const root = 'supabase_admin'

/** Statements past every trigger, as a restore or a load runs them. */
async function aside(db, ...statements) {
  const client = await db.connect(root)
  await client.query('set session_replication_role = replica')
  for (const statement of statements) await client.query(statement)
  await db.disconnect(client)
}

const vault = (db, condition) => db.query(`delete from vault.secrets where ${condition}`, [], root)
const both = ['synced', 'dropped']
const canary = "name = 'app_secrets/canary'"
const ours = "name like 'business\\_secrets/%'"
const one = '10000000-0000-4000-8000-000000000001'
const two = '10000000-0000-4000-8000-000000000002'

export const damages = {
  'nothing is wrong': { base: both, harm: async () => {} },
  'Vault was emptied': {
    base: both,
    harm: (db) => vault(db, 'true'),
    check: 'cells.references',
    named: ['restore Vault', 'reapply'],
  },
  'Vault was emptied, and no backup has it': {
    base: both,
    harm: (db) => vault(db, 'true'),
    check: 'cells.references',
    named: ['set what is broken anew', 'reapply'],
  },
  'Vault has a probe and nothing else': {
    base: both,
    harm: (db) => vault(db, `not ${canary}`),
    check: 'cells.references',
    named: ['restore Vault'],
  },
  'a row of Vault is missing': {
    base: both,
    harm: (db) => vault(db, `name = 'business_secrets/${one}/gemini_api_key'`),
    check: 'cells.references',
    named: ['set what is broken anew'],
  },
  'a row of an earlier value is missing': {
    base: both,
    harm: (db) => vault(db, `name = 'business_secrets/${one}/gemini_api_key/previous'`),
  },
  'the probe is missing': {
    base: both,
    harm: (db) => vault(db, canary),
    check: 'vault.key',
    named: ['reapply'],
  },
  'the root key is another one': {
    base: both,
    key: 'other',
    harm: async () => {},
    check: 'cells.decrypt',
    named: ['set what is broken anew', 'a new probe'],
  },
  'the root key is another one, and the old one comes back': {
    base: both,
    key: 'other',
    harm: async () => {},
    check: 'vault.key',
    named: ['the old root key'],
  },
  'business_secrets was not restored': {
    base: both,
    harm: (db) => aside(db, 'delete from public.business_secrets'),
    check: 'cells.orphans',
    named: ['put back'],
  },
  'cells were not restored': {
    base: both,
    harm: (db) =>
      aside(
        db,
        'update public.business_secrets set gemini_api_key = null, google_access_token = null, google_refresh_token = null',
      ),
    check: 'cells.orphans',
    named: ['put back'],
  },
  'cells refer to rows of an earlier Vault': {
    base: both,
    harm: (db) =>
      aside(
        db,
        `update public.business_secrets set google_access_token = gen_random_uuid() where google_access_token is not null`,
      ),
    check: 'cells.references',
    named: ['put back'],
  },
  'the register of rows was lost': {
    base: both,
    harm: (db) => db.query('delete from app_secrets.vault_rows'),
    check: 'cells.register',
    named: ['reapply'],
  },
  'half of the register was lost': {
    base: both,
    harm: (db) =>
      db.query("delete from app_secrets.vault_rows where vault_id > '80000000-0000-0000-0000-000000000000'"),
    check: 'cells.register',
    named: ['reapply'],
  },
  'the register and the cells were lost': {
    base: both,
    harm: async (db) => {
      await aside(db, 'delete from public.business_secrets')
      await db.query('delete from app_secrets.vault_rows')
    },
  },
  'the register and Vault were lost': {
    base: both,
    harm: async (db) => {
      await vault(db, 'true')
      await db.query('delete from app_secrets.vault_rows')
    },
    check: 'cells.references',
    named: ['set what is broken anew', 'reapply'],
  },
  'the versions were lost': {
    base: both,
    harm: (db) => aside(db, 'delete from app_secrets.secret_versions'),
    check: 'cells.register',
    named: ['reapply'],
  },
  'new code wrote while the sealing trigger was disabled': {
    base: both,
    harm: async (db) => {
      await db.query('alter table public.business_secrets drop constraint gemini_api_key_is_reference')
      await db.query('alter table public.business_secrets disable trigger zz_app_secrets_seal')
      await db.query(
        `update public.business_secrets set gemini_api_key = 'written in clear' where business_id = '${one}'`,
      )
    },
    check: 'cells.sealed',
    named: ['enable the triggers', 'write the text in cells again', 'reapply'],
  },
  'old code wrote while the sync was disabled': {
    base: ['synced'],
    harm: async (db) => {
      await db.query('alter table public.businesses disable trigger zz_app_secrets_sync_update')
      await db.query(`update public.businesses set gemini_api_key = 'by old code' where id = '${one}'`)
      await db.query(`update public.businesses set gemini_api_key = null where id = '${two}'`)
      await db.query(`update public.businesses set claude_api_key = 'by old code, first' where id = '${two}'`)
    },
    check: 'triggers',
    named: ['enable the triggers', 'write the plaintext once more'],
  },
  'text stands in a cell': {
    base: both,
    harm: async (db) => {
      await db.query('alter table public.business_secrets drop constraint google_access_token_is_reference')
      await aside(
        db,
        `update public.business_secrets set google_access_token = 'text in a cell' where business_id = '${one}'`,
      )
    },
    check: 'cells.sealed',
    named: ['write the text in cells again', 'reapply'],
  },
  'a trigger was dropped': {
    base: both,
    harm: (db) => db.query('drop trigger zz_app_secrets_reap on public.business_secrets'),
    check: 'triggers',
    named: ['reapply'],
  },
  'plaintext columns came back': {
    base: ['dropped'],
    harm: async (db) => {
      await db.query(
        'alter table public.businesses add column grok_api_key text, add column gemini_api_key text',
      )
      await db.query(
        `update public.businesses set grok_api_key = 'came back ' || id, gemini_api_key = 'came back too ' || id`,
      )
    },
    check: 'plaintext.columns',
    named: ['move what came back'],
  },
  'rights were given to anon': {
    base: both,
    harm: (db) =>
      db.query(
        `grant all on all tables in schema public to anon; grant all on all functions in schema public to anon;
         grant usage on schema app_secrets to anon; grant all on all functions in schema app_secrets to anon`,
      ),
    check: 'access.grants',
    named: ['reapply'],
  },
  'a rollback was left half done': {
    base: ['dropped'],
    harm: async (db) => {
      await db.query('select app_secrets.begin_restore()')
      await db.query('select app_secrets.restore_batch(5)')
    },
    named: ['rollback'],
  },
  'a change of the root key was left half done': {
    base: ['dropped'],
    rekey: ['begin'],
    harm: async () => {},
    named: ['abort the change of the root key'],
  },
  'a change of the root key was left frozen': {
    base: ['dropped'],
    rekey: ['begin', '--freeze'],
    harm: async () => {},
    named: ['abort the change of the root key'],
  },
  'the root key was changed in the middle of a change': {
    base: ['dropped'],
    rekey: ['begin', '--freeze'],
    key: 'other',
    harm: async () => {},
    check: 'cells.decrypt',
    named: ['finish the change of the root key'],
  },
  'a state in the catalogue was edited back': {
    base: both,
    harm: (db) =>
      db.query(
        `update app_secrets.catalogue set in_place = 'pending' where in_place = 'sealed';
         update app_secrets.catalogue set legacy_state = 'synced' where legacy_state = 'filled'`,
      ),
    check: 'ledger',
    named: ['reapply'],
  },
  'a state in the catalogue was edited back, and Vault and the register were lost': {
    base: both,
    harm: async (db) => {
      await vault(db, ours)
      await db.query(
        `delete from app_secrets.vault_rows where role <> 'canary';
         update app_secrets.catalogue set in_place = 'pending' where in_place = 'sealed';
         update app_secrets.catalogue set legacy_state = 'synced' where legacy_state = 'filled'`,
      )
    },
  },
}
