// What a database looks like, to be compared with itself later or with another one.

/** Every object of `public` and `app_secrets` that a migration could touch: `{ 'kind name': definition }`. */
export async function schemaOf(db) {
  const rows = await db.query(`
    with spaces as (select oid, nspname, nspacl from pg_namespace where nspname in ('public', 'app_secrets')),
    acl as (
        select 'relation' as kind, c.oid, c.relacl as acl from pg_class c join spaces n on n.oid = c.relnamespace
        union all
        select 'function', p.oid, p.proacl from pg_proc p join spaces n on n.oid = p.pronamespace
    ),
    -- Sorted: taking a grant away and giving it back moves it.
    grants as (
        select a.kind, a.oid, string_agg(g.item::text, ' ' order by g.item::text) as list
        from acl a cross join unnest(a.acl) as g(item) group by a.kind, a.oid
    )
    select 'schema ' || nspname as object, nspacl::text as definition from spaces
    union all
    select 'relation ' || c.oid::regclass,
        concat_ws(' | ', c.relkind, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, g.list)
    from pg_class c join spaces n on n.oid = c.relnamespace
    left join grants g on g.kind = 'relation' and g.oid = c.oid
    union all
    select 'column ' || a.attrelid::regclass || '.' || a.attname,
        concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attacl)
    from pg_attribute a join pg_class c on c.oid = a.attrelid join spaces n on n.oid = c.relnamespace
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attnum > 0 and not a.attisdropped
    union all
    select 'constraint ' || c.conrelid::regclass || '.' || c.conname,
        concat_ws(' | ', pg_get_constraintdef(c.oid), c.convalidated)
    from pg_constraint c join spaces n on n.oid = c.connamespace
    union all
    select 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid)
    from pg_index i join pg_class c on c.oid = i.indrelid join spaces n on n.oid = c.relnamespace
    union all
    select 'view ' || c.oid::regclass, pg_get_viewdef(c.oid)
    from pg_class c join spaces n on n.oid = c.relnamespace where c.relkind = 'v'
    union all
    select 'trigger ' || t.tgrelid::regclass || '.' || t.tgname, concat_ws(' | ', pg_get_triggerdef(t.oid), t.tgenabled)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join spaces n on n.oid = c.relnamespace
    where not t.tgisinternal
    union all
    select 'function ' || p.oid::regprocedure,
        concat_ws(' | ', pg_get_functiondef(p.oid), p.proowner::regrole, g.list, obj_description(p.oid, 'pg_proc'))
    from pg_proc p join spaces n on n.oid = p.pronamespace
    left join grants g on g.kind = 'function' and g.oid = p.oid
    union all
    select 'policy ' || p.polrelid::regclass || '.' || p.polname,
        concat_ws(' | ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_policy p join pg_class c on c.oid = p.polrelid join spaces n on n.oid = c.relnamespace
    union all
    select 'publication ' || t.pubname || ' ' || t.schemaname || '.' || t.tablename, '' from pg_publication_tables t
    order by 1`)
  return Object.fromEntries(rows.map(({ object, definition }) => [object, definition]))
}

/** Every row of the tables that hold the application's or our data. When the backfill last looked does not count. */
export async function dataOf(db) {
  const tables = {
    'public.businesses': 'id',
    'public.business_secrets': 'business_id',
    'vault.secrets': 'id',
    'app_secrets.secret_versions': 'business_id, name',
    'app_secrets.audit_log': 'id',
    'app_secrets.migrations': 'version',
    'app_secrets.backfill_progress': 'phase',
  }
  const found = {}
  for (const [table, order] of Object.entries(tables)) {
    const { there } = await db.one('select pg_catalog.to_regclass($1) is not null as there', [table])
    if (!there) continue
    const rows = await db.query(`select to_jsonb(t) as row from ${table} t order by ${order}`)
    found[table] = rows.map(({ row }) => row)
  }
  for (const row of found['app_secrets.backfill_progress'] ?? []) delete row.updated_at
  return found
}

export async function everythingOf(db) {
  return { schema: await schemaOf(db), data: await dataOf(db) }
}
