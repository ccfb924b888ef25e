// Who may do what: one row an operation, one column an actor, one outcome a cell. Nothing here is run; see
// access-cells.mjs for how, and mutations.mjs for the proof that each cell would notice.
//
//   no        refused, SQLSTATE 42501              22P02 …   refused with that SQLSTATE
//   -         nothing: no rows, no privileges      3         that many rows written
//   aB        rows came back with business A's references (or metadata) and business B's plaintext, and no others'
//   ok        it ran (what it gave, if anything, holds no value)

import { users } from './access-fixture.mjs'

const claims = (role, sub, more = {}) => JSON.stringify({ role, ...(sub && { sub }), ...more })

/** `login` connects; `role` and `claims` are what PostgREST then sets for the length of the transaction. */
export const actors = {
  anon: { login: 'authenticator', role: 'anon', claims: claims('anon') },
  // A forged token without a valid signature never gets past PostgREST; should one, the role still decides.
  posing: { login: 'authenticator', role: 'anon', claims: claims('service_role', users.owner) },
  owner: { login: 'authenticator', role: 'authenticated', claims: claims('authenticated', users.owner) },
  other: { login: 'authenticator', role: 'authenticated', claims: claims('authenticated', users.other) },
  former: { login: 'authenticator', role: 'authenticated', claims: claims('authenticated', users.former) },
  badsub: { login: 'authenticator', role: 'authenticated', claims: claims('authenticated', "' or true --") },
  nobody: { login: 'authenticator', role: 'authenticated', claims: claims('authenticated', users.nobody) },
  forged: {
    login: 'authenticator',
    role: 'authenticated',
    claims: claims('service_role', null, { user_metadata: { sub: users.owner } }),
  },
  bare: { login: 'authenticator', role: 'authenticated', claims: '' },
  service: { login: 'authenticator', role: 'service_role', claims: claims('service_role') },
  login: { login: 'app_service', group: 'app_secrets_service' },
  postgres: { login: 'postgres' },
}

export const matrix = `
                     anon  posing owner other former badsub nobody forged bare  service login postgres

public.business_secrets
  privileges         -     -      arwd  arwd  arwd   arwd   arwd   arwd   arwd  arwd    -     all
  select             no    no     ac    b     -      22P02  -      -      -     abc     no    abc
  select for update  no    no     ac    b     -      22P02  -      -      -     abc     no    abc
  insert D           no    no     1     no    no     22P02  no     no     no    1       no    1
  upsert A           no    no     1     no    no     22P02  no     no     no    1       no    1
  upsert B           no    no     no    1     no     22P02  no     no     no    1       no    1
  ignore A           no    no     -     no    no     22P02  no     no     no    -       no    -
  update             no    no     2     1     -      22P02  -      -      -     3       no    3
  update returning   no    no     2ac   1b    -      22P02  -      -      -     3abc    no    3abc
  delete             no    no     2     1     -      22P02  -      -      -     3       no    3
  delete A           no    no     1     -     -      22P02  -      -      -     1       no    1
  truncate           no    no     no    no    no     no     no     no     no    no      no    ok

public.decrypted_business_secrets
  privileges         -     -      r     r     r      r      r      r      r     r       -     all
  select             no    no     AC    B     -      22P02  -      -      -     ABC     no    ABC
  insert D           no    no     no    no    no     no     no     no     no    no      no    1
  upsert A           no    no     no    no    no     no     no     no     no    no      no    1
  update             no    no     no    no    no     no     no     no     no    no      no    3
  delete             no    no     no    no    no     no     no     no     no    no      no    3
  truncate           42809 42809  42809 42809 42809  42809  42809  42809  42809 42809   42809 42809

public.get_business_secrets(uuid, text[])
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    B       B     B
public.get_business_secrets_batch(uuid[], text[])
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ABC     ABC   ABC
public.get_business_secrets_columns(uuid[], text[], boolean)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ABC     ABC   ABC
public.set_business_secrets(uuid, jsonb, jsonb, jsonb)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ok      ok    ok
public.list_business_secrets(uuid)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ok      ok    ok
public.undo_business_secret(uuid, text, bigint)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    AS008   AS008 AS008
public.lease_business_secret(uuid, text, interval)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ok      ok    ok
public.release_business_secret(uuid, text, uuid)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ok      ok    ok
public.check_business_secret(uuid, text, bigint, text)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    ok      ok    ok
public.due_business_secrets(interval)
  privileges         -     -      -     -     -      -      -      -      -     X       X     all
  execute            no    no     no    no    no     no     no     no     no    -       -     -

public.business_secret_names
  privileges         -     -      r     r     r      r      r      r      r     r       r     all
  select             no    no     ok    ok    ok     ok     ok     ok     ok    ok      ok    ok
public.business_secret_status
  privileges         -     -      rw    rw    rw     rw     rw     rw     rw    rw      -     all
  select             no    no     ok    ok    -      22P02  -      -      -     ok      no    ok
  update             no    no     3     1     -      22P02  -      -      -     4       no    4
  undo               no    no     AS008 AS008 -      22P02  -      -      -     AS008   no    AS008

schema app_secrets
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
schema vault
  privileges         -     -      -     -     -      -      -      -      -     U       -     U*

each private table
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
  select             no    no     no    no    no     no     no     no     no    no      no    ok
  insert             no    no     no    no    no     no     no     no     no    no      no    ok
  upsert             no    no     no    no    no     no     no     no     no    no      no    ok
  update             no    no     no    no    no     no     no     no     no    no      no    ok
  delete             no    no     no    no    no     no     no     no     no    no      no    ok
  truncate           no    no     no    no    no     no     no     no     no    no      no    ok

app_secrets.audit_log_id_seq
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
app_secrets.dropped_objects_id_seq
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
app_secrets.verifications_id_seq
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
app_secrets.versions
  privileges         -     -      -     -     -      -      -      -      -     -       -     all

each private function
  privileges         -     -      -     -     -      -      -      -      -     -       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.reveal(uuid, text, text)
  privileges         -     -      X     X     X      X      X      X      X     X       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.reveal_in_place(uuid, text, text)
  privileges         -     -      X     X     X      X      X      X      X     X       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.cell_status(uuid, text)
  privileges         -     -      X     X     X      X      X      X      X     X       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.businesses_without_secrets()
  privileges         -     -      X     X     X      X      X      X      X     X       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.shown_names()
  privileges         -     -      X     X     X      X      X      X      X     X       X     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok
app_secrets.current_business_ids()
  privileges         -     -      X     X     X      X      X      X      X     -       -     all
  execute            no    no     no    no    no     no     no     no     no    no      no    ok

vault.secrets
  select             no    no     no    no    no     no     no     no     no    abc     no    abc
  insert             no    no     no    no    no     no     no     no     no    no      no    no
  upsert             no    no     no    no    no     no     no     no     no    no      no    no
  update             no    no     no    no    no     no     no     no     no    no      no    no
  delete             no    no     no    no    no     no     no     no     no    6       no    6
  truncate           no    no     no    no    no     no     no     no     no    no      no    ok
vault.decrypted_secrets
  select             no    no     no    no    no     no     no     no     no    ABC     no    ABC
  insert             no    no     no    no    no     no     no     no     no    no      no    no
  update             no    no     no    no    no     no     no     no     no    no      no    no
  delete             no    no     no    no    no     no     no     no     no    6       no    6
vault.create_secret
  execute            no    no     no    no    no     no     no     no     no    ok      no    ok
vault.update_secret
  execute            no    no     no    no    no     no     no     no     no    ok      no    ok
vault._crypto_aead_det_decrypt
  execute            no    no     no    no    no     no     no     no     no    ok      no    ok
vault._crypto_aead_det_encrypt
  execute            no    no     no    no    no     no     no     no     no    no      no    no
vault._crypto_aead_det_noncegen
  execute            no    no     no    no    no     no     no     no     no    no      no    no
`

/** Every function of ours and whether it runs as its owner (definer) or as its caller (invoker). */
const functions = {
  'public.check_business_secret(uuid, text, bigint, text)': 'definer',
  'public.due_business_secrets(interval)': 'definer',
  'public.get_business_secrets(uuid, text[])': 'definer',
  'public.get_business_secrets_batch(uuid[], text[])': 'definer',
  'public.get_business_secrets_columns(uuid[], text[], boolean)': 'definer',
  'public.lease_business_secret(uuid, text, interval)': 'definer',
  'public.list_business_secrets(uuid)': 'definer',
  'public.release_business_secret(uuid, text, uuid)': 'definer',
  'public.set_business_secrets(uuid, jsonb, jsonb, jsonb)': 'definer',
  'public.undo_business_secret(uuid, text, bigint)': 'definer',
  'app_secrets.admitted_caller()': 'definer',
  'app_secrets.access_of(uuid, text, timestamp with time zone)': 'invoker',
  'app_secrets.accessible_business_ids()': 'definer',
  'app_secrets.add_secret(text, text, name, boolean, text, boolean)': 'invoker',
  'app_secrets.all_business_ids()': 'definer',
  'app_secrets.backfill_batch(integer)': 'invoker',
  'app_secrets.claim_businesses(integer)': 'invoker',
  'app_secrets.fill_claimed(uuid[])': 'invoker',
  'app_secrets.begin_rekey(uuid, bytea)': 'invoker',
  'app_secrets.businesses_after(uuid, integer)': 'invoker',
  'app_secrets.businesses_to_fill(integer)': 'invoker',
  'app_secrets.businesses_without_secrets()': 'definer',
  'app_secrets.caller()': 'invoker',
  'app_secrets.cell_status(uuid, text)': 'definer',
  'app_secrets.cells_to_seal(uuid, integer)': 'invoker',
  'app_secrets.checked_value(uuid, text, text)': 'invoker',
  'app_secrets.check_expected(jsonb)': 'invoker',
  'app_secrets.checked_values(uuid, jsonb, text[])': 'invoker',
  'app_secrets.create_vault_row(uuid, text, text)': 'definer',
  'app_secrets.current_business_ids()': 'definer',
  'app_secrets.end_rekey(text)': 'invoker',
  'app_secrets.fill_businesses(uuid[])': 'invoker',
  'app_secrets.fix_orphans(uuid, boolean)': 'invoker',
  'app_secrets.forget_business(uuid)': 'definer',
  'app_secrets.freeze_for_rekey()': 'invoker',
  'app_secrets.grant_scope(name, text[], boolean, boolean)': 'invoker',
  'app_secrets.is_administrator(name)': 'definer',
  'app_secrets.is_known(uuid, text, text)': 'invoker',
  'app_secrets.is_reference(text)': 'invoker',
  'app_secrets.jwt_sub()': 'invoker',
  'app_secrets.keep_deadline()': 'invoker',
  'app_secrets.keep_previous(uuid, text, text)': 'definer',
  'app_secrets.lacking_columns()': 'invoker',
  'app_secrets.legacy_dependents()': 'invoker',
  'app_secrets.lock_businesses(uuid[])': 'invoker',
  'app_secrets.lock_deleted()': 'definer',
  'app_secrets.lock_owner(uuid, boolean)': 'definer',
  'app_secrets.lock_owner_row(uuid, boolean)': 'definer',
  'app_secrets.lock_row(uuid)': 'definer',
  'app_secrets.lock_tables(text, text)': 'invoker',
  'app_secrets.lost_in_rekey()': 'invoker',
  'app_secrets.make_all(boolean)': 'invoker',
  'app_secrets.make_backfill()': 'invoker',
  'app_secrets.make_columns()': 'invoker',
  'app_secrets.make_function(text, text, text, text)': 'invoker',
  'app_secrets.make_grants()': 'invoker',
  'app_secrets.make_reads()': 'invoker',
  'app_secrets.make_sealing()': 'invoker',
  'app_secrets.make_sync(boolean)': 'invoker',
  'app_secrets.make_view()': 'invoker',
  'app_secrets.make_writes()': 'invoker',
  'app_secrets.mark_reads(name, uuid[], text[], smallint[], bigint)': 'definer',
  'app_secrets.mirror_row(uuid, jsonb, jsonb)': 'definer',
  'app_secrets.mirror_to_legacy()': 'definer',
  'app_secrets.mirror_to_sealed()': 'definer',
  'app_secrets.mirror_truncate()': 'definer',
  'app_secrets.normalize(text)': 'invoker',
  'app_secrets.notify_business(uuid, jsonb)': 'invoker',
  'app_secrets.orphans(uuid)': 'invoker',
  'app_secrets.owner_exists(uuid)': 'definer',
  'app_secrets.owner_sync_stands()': 'invoker',
  'app_secrets.parse_timestamp(text, text)': 'invoker',
  'app_secrets.previous_value(uuid, text)': 'definer',
  'app_secrets.read_cells(uuid[], text[], boolean, name, bigint, bigint)': 'definer',
  'app_secrets.read_legacy(uuid)': 'definer',
  'app_secrets.reap_all()': 'definer',
  'app_secrets.reap_business()': 'definer',
  'app_secrets.reap_row()': 'definer',
  'app_secrets.reap_statement()': 'definer',
  'app_secrets.record_changes(uuid, text[], text[])': 'definer',
  'app_secrets.record_versions()': 'invoker',
  'app_secrets.refuse_temporary_names()': 'invoker',
  'app_secrets.refuse_temporary_types()': 'invoker',
  'app_secrets.register_vault_rows()': 'invoker',
  'app_secrets.require_equal_sides(uuid, jsonb)': 'definer',
  'app_secrets.require_migration(integer)': 'invoker',
  'app_secrets.require_not_frozen()': 'invoker',
  'app_secrets.require_root_key()': 'definer',
  'app_secrets.require_sealed_alone()': 'invoker',
  'app_secrets.require_verified(uuid[])': 'invoker',
  'app_secrets.require_versions(uuid, jsonb)': 'definer',
  'app_secrets.resembles_token(text, jsonb)': 'invoker',
  'app_secrets.retire_secret(text, boolean)': 'invoker',
  'app_secrets.reveal(uuid, text, text)': 'definer',
  'app_secrets.reveal_in_place(uuid, text, text)': 'definer',
  'app_secrets.revoke_scope(name, text[])': 'invoker',
  'app_secrets.run_deferred_triggers(text)': 'definer',
  'app_secrets.scope_of_caller(boolean)': 'definer',
  'app_secrets.seal(uuid, text, text)': 'definer',
  'app_secrets.seal_anew(uuid[], text[])': 'invoker',
  'app_secrets.seal_cell(uuid, text)': 'invoker',
  'app_secrets.seal_row()': 'definer',
  'app_secrets.sealed_here(uuid[])': 'invoker',
  'app_secrets.sealing_arguments()': 'invoker',
  'app_secrets.sealing_stands()': 'invoker',
  'app_secrets.secret_names()': 'invoker',
  'app_secrets.shown_names()': 'definer',
  'app_secrets.stale_objects()': 'invoker',
  'app_secrets.status_begin()': 'definer',
  'app_secrets.status_end()': 'definer',
  'app_secrets.status_write()': 'invoker',
  'app_secrets.sync_is_on()': 'invoker',
  'app_secrets.sync_is_wanted()': 'invoker',
  'app_secrets.sync_wanted()': 'invoker',
  'app_secrets.synced_names()': 'invoker',
  'app_secrets.table_sync_stands()': 'invoker',
  'app_secrets.trim(interval)': 'invoker',
  'app_secrets.unusual_access()': 'invoker',
  'app_secrets.values_to_wrap(uuid, integer)': 'invoker',
  'app_secrets.verify_legacy(uuid[], uuid, uuid)': 'invoker',
  'app_secrets.view_columns()': 'invoker',
  'app_secrets.view_stands()': 'invoker',
  'app_secrets.write_cells(uuid, jsonb, jsonb)': 'definer',
  'app_secrets.write_checked(uuid, jsonb, jsonb)': 'definer',
  'app_secrets.write_legacy(uuid, jsonb)': 'definer',
  'app_secrets.write_legacy_value(uuid, text, text, text)': 'definer',
  'app_secrets.write_legacy_values(uuid, jsonb, text)': 'definer',
}

/** Those that come with 005. */
const functionsOf005 = {
  'app_secrets.begin_restore()': 'invoker',
  'app_secrets.businesses_to_restore(integer)': 'invoker',
  'app_secrets.finish_restore()': 'invoker',
  'app_secrets.is_newer(xid, pg_snapshot)': 'invoker',
  'app_secrets.make_restore()': 'invoker',
  'app_secrets.require_verified_since(pg_snapshot)': 'invoker',
  'app_secrets.restore_batch(integer)': 'invoker',
  'app_secrets.restore_businesses(uuid[])': 'invoker',
}

export const functionsAt = (version) => (version < 5 ? functions : { ...functions, ...functionsOf005 })

/** The private tables, each with a column that an UPDATE can name. */
export const privateTables = {
  'app_secrets.access_marks': 'minutes',
  'app_secrets.audit_log': 'actor',
  'app_secrets.backfill_progress': 'last_id',
  'app_secrets.catalogue': 'retired_at',
  'app_secrets.dropped_objects': 'definition',
  'app_secrets.leases': 'token',
  'app_secrets.migrations': 'checksum',
  'app_secrets.rekey': 'outcome',
  'app_secrets.rekey_wraps': 'wrap',
  'app_secrets.scopes': 'may_read',
  'app_secrets.secret_versions': 'updated_by',
  'app_secrets.settings': 'access_column',
  'app_secrets.vault_rows': 'business_id',
  'app_secrets.verifications': 'login',
}

/** [table, policy, command, role]: nobody else's, and no other. `*` is all commands. */
export const policies = [
  ['public.business_secrets', 'business_secrets_delete', 'd', 'authenticated'],
  ['public.business_secrets', 'business_secrets_insert', 'a', 'authenticated'],
  ['public.business_secrets', 'business_secrets_select', 'r', 'authenticated'],
  ['public.business_secrets', 'business_secrets_service', '*', 'service_role'],
  ['public.business_secrets', 'business_secrets_update', 'w', 'authenticated'],
  ...Object.keys(privateTables).map((table) => [table, 'nobody', '*', 'public']),
]

/** The matrix's rows after a migration, with `each …` written out: { object, operation, actor, expected }. */
export function expectations(version) {
  const [header, ...lines] = matrix.split('\n').filter((line) => line.trim())
  const names = header.trim().split(/\s+/)
  const rows = []
  let object
  for (const line of lines) {
    if (!line.startsWith(' ')) {
      object = line
      continue
    }
    const operation = line.slice(2, 20).trim()
    const cells = line.slice(20).trim().split(/\s+/)
    if (cells.length !== names.length) throw new Error(`${object} ${operation}: ${cells.length} cells`)
    rows.push({ object, operation, cells })
  }
  const explicit = new Set(rows.map((row) => row.object))
  const groups = {
    'each private table': Object.keys(privateTables),
    'each private function': Object.keys(functionsAt(version)).filter(
      (name) => name.startsWith('app_secrets.') && !explicit.has(name),
    ),
  }
  return rows.flatMap((row) =>
    (groups[row.object] ?? [row.object]).flatMap((name) =>
      names.map((actor, i) => ({
        id: `${name} ${row.operation} ${actor}`,
        object: name,
        operation: row.operation,
        actor,
        expected: row.cells[i],
      })),
    ),
  )
}
