// Finds the protections that mutations.mjs has to break.

import { mutations } from './mutations.mjs'

/** What no catalogue lists: the checks inside functions, and the role. */
const unlisted = /^(body of|role) /

export const listedGuards = () =>
  [...new Set(mutations.map(({ guard }) => guard))].filter((guard) => !unlisted.test(guard))

const ours = (name) =>
  `(n.nspname = 'app_secrets' or (n.nspname = 'public' and ${name} like '%business_secret%'))`
const signature = "format('%s.%s(%s)', n.nspname, p.proname, pg_catalog.oidvectortypes(p.proargtypes))"
const inNamespace = 'join pg_catalog.pg_namespace n on n.oid ='

/** Finds every protection in a database's catalogues, under the names that mutations give as their guards. */
export const guardsQuery = `
  with relation as (
    select c.*, format('%s.%s', n.nspname, c.relname) as name
    from pg_catalog.pg_class c ${inNamespace} c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and ${ours('c.relname')}
  ), routine as (
    select p.*, ${signature} as name
    from pg_catalog.pg_proc p ${inNamespace} p.pronamespace
    where ${ours('p.proname')}
  ), acl as (
    select r.name, a.* from relation r, pg_catalog.aclexplode(r.relacl) a where a.grantee <> r.relowner
    union all
    select r.name, a.* from relation r
      join pg_catalog.pg_attribute t on t.attrelid = r.oid, pg_catalog.aclexplode(t.attacl) a
    union all
    select r.name, a.* from routine r, pg_catalog.aclexplode(r.proacl) a where a.grantee <> r.proowner
    union all
    select n.nspname, a.* from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
      where n.nspname = 'app_secrets' and a.grantee <> n.nspowner
  )
  select format('policy %s %s', r.name, p.polname) as guard from pg_catalog.pg_policy p join relation r on r.oid = p.polrelid
  union select format('row security %s', r.name) from relation r where r.relkind = 'r'
  union select format('grant %s on %s to %s', a.privilege_type, a.name, coalesce(o.rolname, 'public'))
    from acl a left join pg_catalog.pg_roles o on o.oid = a.grantee
  union select format('no other grant on %s', r.name) from relation r
  union select format('no other grant on %s', r.name) from routine r
  union select 'no other grant on app_secrets'
  union select format('search_path of %s', r.name) from routine r
  union select format('security of %s', r.name) from routine r
  union select format('owner of %s', r.name) from routine r
  union select format('owner of %s', r.name) from relation r where r.relkind <> 'S'
  union select 'owner of app_secrets'
  union select format('%s of %s', pg_catalog.split_part(o.option, '=', 1), r.name)
    from relation r, pg_catalog.unnest(r.reloptions) as o(option) where o.option like 'security%'
  union select format('check %s', k.conname) from pg_catalog.pg_constraint k
    join relation r on r.oid = k.conrelid where k.contype = 'c' and r.name = 'public.business_secrets'
  union select format('trigger %s', t.tgname) from pg_catalog.pg_trigger t
    join relation r on r.oid = t.tgrelid join pg_catalog.pg_proc p on p.oid = t.tgfoid
    where r.name = 'public.business_secrets' and p.proname in ('seal_row', 'reap_row', 'reap_all')
  order by guard`
