// What Supabase's advisor (splinter) would say about our objects, in queries of our own: { id, says, sql, control }.
// `sql` gives one row a finding, `control` plants one under the name `planted`, to show that the query finds it.
// https://supabase.com/docs/guides/database/database-advisors

const ours = (name) =>
  `(n.nspname = 'app_secrets' or (n.nspname = 'public' and ${name} ~ 'business_secrets|planted'))`

const relations = `
  with relation as (
    select c.oid, c.relkind, c.relrowsecurity, c.reloptions, n.nspname, c.relname as name
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where ${ours('c.relname')}
  )`

const routines = `
  with routine as (
    select p.oid, p.proname as name, p.prosecdef, p.proconfig, n.nspname
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where ${ours('p.proname')}
  )`

const policies = `${relations}, policy as (
    select r.oid, r.name, r.relrowsecurity, p.polname, p.polcmd, p.polpermissive, p.polroles,
      coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') as using_,
      coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '') as check_
    from pg_catalog.pg_policy p join relation r on r.oid = p.polrelid
  )`

const publiclyReadable = `
  (pg_catalog.has_table_privilege('anon', r.oid, 'select') or pg_catalog.has_table_privilege('authenticated', r.oid, 'select'))`

const definersFor = (role) => `${routines}
  select r.name from routine r
  where r.nspname = 'public' and r.prosecdef and pg_catalog.has_function_privilege('${role}', r.oid, 'execute')`

const plantedTable = 'create table public.planted (id uuid primary key, note text)'
const plantedFunction =
  "create function public.planted() returns int language sql security definer set search_path = '' return 1"

export const checks = [
  {
    id: '0001',
    says: 'a foreign key without an index that covers it',
    sql: `${relations}
      select r.name from pg_catalog.pg_constraint k join relation r on r.oid = k.conrelid
      where k.contype = 'f' and not exists (
        select from pg_catalog.pg_index i
        where i.indrelid = k.conrelid
          and (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] operator(pg_catalog.=) k.conkey)`,
    control:
      'create table public.planted (id uuid primary key, business_id uuid references public.businesses (id))',
  },
  {
    id: '0003',
    says: 'a policy that asks auth or a setting for every row',
    sql: `${policies}
      select p.name from policy p,
        pg_catalog.regexp_replace(p.using_ || p.check_, 'select +(auth\\.\\w+|current_setting)\\(', '', 'gi') as bare
      where bare ~* '(auth\\.(uid|jwt|role|email)|current_setting)\\('`,
    control: `${plantedTable}; alter table public.planted enable row level security;
      create policy planted on public.planted using (id = auth.uid())`,
  },
  {
    id: '0004',
    says: 'a table without a primary key',
    sql: `${relations}
      select r.name from relation r
      where r.relkind = 'r' and not exists (
        select from pg_catalog.pg_index i where i.indrelid = r.oid and i.indisprimary)`,
    control: 'create table public.planted (id uuid)',
  },
  {
    id: '0005',
    says: 'an index that nothing has used yet',
    sql: `${relations}
      select r.name from pg_catalog.pg_index i join relation r on r.oid = i.indrelid
      join pg_catalog.pg_stat_all_indexes s on s.indexrelid = i.indexrelid
      where r.relkind = 'r' and not i.indisunique and s.idx_scan = 0`,
    control: `${plantedTable}; create index on public.planted (note)`,
  },
  {
    id: '0006',
    says: 'two permissive policies for one role and command',
    sql: `${policies}
      select p.name from policy p
      cross join lateral pg_catalog.unnest(
        case p.polcmd when '*' then array['r', 'a', 'w', 'd'] else array[p.polcmd::text] end) as command
      join pg_catalog.pg_roles o on (o.oid = any (p.polroles) or p.polroles = '{0}') and not o.rolbypassrls
      where p.polpermissive and o.rolname !~ '^pg_'
      group by p.name, o.rolname, command
      having pg_catalog.count(*) > 1`,
    control: `${plantedTable}; create policy one on public.planted for select using (false);
      create policy two on public.planted to anon using (false)`,
  },
  {
    id: '0007',
    says: 'policies on a table whose row level security is off',
    sql: `${policies} select p.name from policy p where not p.relrowsecurity`,
    control: `${plantedTable}; create policy planted on public.planted using (false)`,
  },
  {
    id: '0008',
    says: 'row level security without a policy',
    sql: `${relations}
      select r.name from relation r
      where r.relkind = 'r' and r.relrowsecurity
        and not exists (select from pg_catalog.pg_policy p where p.polrelid = r.oid)`,
    control: `${plantedTable}; alter table public.planted enable row level security`,
  },
  {
    id: '0009',
    says: 'two indexes of the same columns',
    sql: `${relations}
      select r.name from pg_catalog.pg_index i join relation r on r.oid = i.indrelid
      where r.relkind = 'r'
      group by r.name, i.indkey::text, i.indclass::text, coalesce(i.indpred::text, ''), coalesce(i.indexprs::text, '')
      having pg_catalog.count(*) > 1`,
    control: `${plantedTable}; create index on public.planted (note); create index on public.planted (note)`,
  },
  {
    id: '0010',
    says: "a readable view that runs with its owner's rights",
    sql: `${relations}
      select r.name from relation r
      where r.relkind = 'v' and r.nspname = 'public' and ${publiclyReadable}
        and not coalesce(r.reloptions && '{security_invoker=true,security_invoker=on,security_invoker=1}', false)`,
    control: 'create view public.planted as select 1 as one; grant select on public.planted to authenticated',
  },
  {
    id: '0011',
    says: 'a function whose search_path the caller decides',
    sql: `${routines}
      select r.name from routine r
      where not exists (select from pg_catalog.unnest(r.proconfig) as o(setting) where o.setting like 'search\\_path=%')`,
    control: 'create function public.planted() returns int language sql return 1',
  },
  {
    id: '0013',
    says: 'a readable table without row level security',
    sql: `${relations}
      select r.name from relation r
      where r.relkind = 'r' and r.nspname = 'public' and not r.relrowsecurity and ${publiclyReadable}`,
    control: `${plantedTable}; grant select on public.planted to anon`,
  },
  {
    id: '0023',
    says: 'columns named like secrets on a table without row level security',
    sql: `${relations}
      select distinct r.name from relation r join pg_catalog.pg_attribute a on a.attrelid = r.oid
      where r.relkind = 'r' and not r.relrowsecurity and a.attname ~ '(api_key|secret|token|password|access_key)'`,
    control: 'create table public.planted (id uuid primary key, api_key text)',
  },
  {
    id: '0024',
    says: 'a policy that lets users write whatever they like',
    sql: `${policies}
      select p.name from policy p
      where p.relrowsecurity and p.polpermissive and p.polcmd <> 'r'
        and (p.using_ ~* '^\\(*true\\)*$' or p.check_ ~* '^\\(*true\\)*$')
        and (p.polroles = '{0}' or p.polroles && array(
          select r.oid from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated')))`,
    control: `${plantedTable}; alter table public.planted enable row level security;
      create policy planted on public.planted for update to authenticated using (true)`,
  },
  {
    id: '0028',
    says: 'a definer function that anybody may call',
    sql: definersFor('anon'),
    control: plantedFunction,
  },
  {
    id: '0029',
    says: 'a definer function that every user may call',
    sql: definersFor('authenticated'),
    control: `${plantedFunction}; revoke all on function public.planted() from public;
      grant execute on function public.planted() to authenticated`,
  },
]
