// What must hold after every write, however it ended.

import assert from 'node:assert/strict'
import { legacyNames } from './secrets.mjs'

const checks = `
with cells as materialized (
    select s.business_id, c.name, to_jsonb(s.*) ->> c.name as stored,
        'business_secrets/' || s.business_id || '/' || c.name as vault_name, c.sealed
    from public.business_secrets s
    cross join app_secrets.catalogue c
    where c.retired_at is null
),
audited as materialized (
    select a.business_id, a.name, max(a.version) as version,
        (array_agg(a.action order by a.id desc))[1] as last_action
    from app_secrets.audit_log a
    group by a.business_id, a.name
)
select 'orphan in Vault' as problem, v.name as what
from vault.secrets v
where v.name like 'business\\_secrets/%'
    and not exists (select from cells c where c.sealed and c.vault_name = v.name and c.stored = v.id::text)
    and not exists (
        select from app_secrets.vault_rows r
        join app_secrets.secret_versions w on w.business_id = r.business_id and w.name = r.name
        where r.vault_id = v.id and r.role = 'previous' and w.previous_until is not null)
union all
select 'not registered', c.vault_name
from cells c
where c.sealed and c.stored is not null and not exists (
    select from app_secrets.vault_rows r
    where r.vault_id::text = c.stored and r.business_id = c.business_id and r.name = c.name and r.role = 'current')
union all
select 'registered without a row in Vault', r.business_id || '/' || r.name
from app_secrets.vault_rows r
where r.role = 'previous' and not exists (select from vault.secrets v where v.id = r.vault_id)
union all
select 'dangling reference', c.vault_name
from cells c
where c.sealed and c.stored is not null
    and not exists (select from vault.secrets v where v.name = c.vault_name and v.id::text = c.stored)
union all
select 'not decryptable', c.vault_name
from cells c
where c.sealed and c.stored is not null
    and app_secrets.reveal(c.business_id, c.name, c.stored) is null
union all
select 'set without a version', c.vault_name
from cells c
where c.stored is not null
    and not exists (
        select from app_secrets.secret_versions w
        where w.business_id = c.business_id and w.name = c.name and w.is_set)
union all
select 'set in its version only', w.business_id || '/' || w.name
from app_secrets.secret_versions w
where w.is_set and not exists (
    select from cells c where c.business_id = w.business_id and c.name = w.name and c.stored is not null)
union all
select 'version of a business that is gone', w.business_id || '/' || w.name
from app_secrets.secret_versions w
where not exists (select from public.businesses b where b.id = w.business_id)
union all
select 'audit and version disagree', w.business_id || '/' || w.name
from app_secrets.secret_versions w
left join audited a on a.business_id = w.business_id and a.name = w.name
where a.version is distinct from w.version or (a.last_action in ('set', 'undo')) is distinct from w.is_set
`

/** Everything that is wrong between the table, Vault, the versions and the audit, as `problem: where`. */
export async function violations(db) {
  const rows = await db.query(checks)
  return rows.map(({ problem, what }) => `${problem}: ${what}`)
}

/** Businesses whose plaintext columns and sealed cells differ, as `id/name`; computed apart from the migrations' own. */
export async function differences(db) {
  const rows = await db.query(
    `select b.id, c.name, to_jsonb(b) ->> c.name as legacy, to_jsonb(d) ->> c.name as sealed
     from public.businesses b
     left join public.decrypted_business_secrets d on d.business_id = b.id
     cross join unnest($1::text[]) as c(name)`,
    [legacyNames],
  )
  return rows
    .filter(({ legacy, sealed }) => (legacy?.trim() || null) !== sealed)
    .map(({ id, name }) => `${id}/${name}`)
}

export async function assertIntact(db) {
  assert.deepEqual(await violations(db), [])
}

/** Intact, and both sides equal. */
export async function assertSynced(db) {
  await assertIntact(db)
  assert.deepEqual(await differences(db), [])
}
