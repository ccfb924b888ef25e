-- app-secrets: expand
--
-- 002: the sealed store beside the plaintext, and a two-way sync between them.
--
-- What     Schema app_secrets with the catalogue of secrets; one column per secret in public.business_secrets; the triggers
--          that seal what is written there into Vault, with a version, an audit row and a notification of each change;
--          public.decrypted_business_secrets; the triggers that keep the plaintext columns of the owner table and the sealed
--          cells equal until 005.
-- Input    The catalogue that is in the database already, else the setting app_secrets.catalogue (JSON, as app-secrets.json
--          has it), else the default below.
-- Locks    SHARE ROW EXCLUSIVE on the owner table, then ACCESS EXCLUSIVE on business_secrets, for catalogue changes only: no
--          table is scanned or rewritten under them. lock_timeout gives up after half a second, which is less than
--          deadlock_timeout, so that no other session is ever a deadlock's victim; run the file again.
-- Again?   Safe: everything is `if not exists` or `or replace`, and what is done with a name depends on the state that the
--          catalogue records for it.
-- Not yet  Policies, grants and RPC (004), and the sealing of secrets that stand in business_secrets in plaintext already
--          (003): the code that reads those has to read decrypted_business_secrets first.

begin;
set local lock_timeout = '500ms';
set local statement_timeout = '1min';
set local row_security = off;
set local search_path = pg_catalog, pg_temp;

-- One migrator at a time: two that make the same object at once get in each other's way.
select pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));

-- ---------------------------------------------------------------------------------------------------------------------
-- What is wanted, and whether this database can serve it. Nothing is changed before all of it is checked.

do $wanted$
declare
    v_wanted jsonb := nullif(current_setting('app_secrets.catalogue', true), '')::jsonb;
    v_recorded jsonb;
begin
    -- Dynamic, since the tables may not be there yet.
    if to_regclass('app_secrets.catalogue') is not null and to_regclass('app_secrets.settings') is not null then
        execute $query$
            select jsonb_build_object(
                'owner_table', s.owner_table, 'owner_key', s.owner_key,
                'access', case
                    when s.access_function is not null then jsonb_build_object('function', s.access_function)
                    when s.access_column is not null then jsonb_build_object('column', s.access_column) end,
                'secrets', (
                    select jsonb_agg(jsonb_build_object(
                        'name', c.name, 'label', c.label, 'sealed', c.sealed, 'type', c.type,
                        -- Under the name that it has by now.
                        'legacy_column', case when c.legacy_state <> 'dropped' then coalesce((
                            select a.attname from pg_attribute a
                            where a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
                                and (a.attname = c.legacy_column or a.attnum = c.legacy_attnum)
                            order by a.attname <> c.legacy_column limit 1), c.legacy_column) end,
                        'legacy_was', case when c.legacy_state <> 'dropped' then c.legacy_column end) order by c.position)
                    from app_secrets.catalogue c where c.retired_at is null))
            from app_secrets.settings s
            left join (
                select t.oid, format('%I.%I', n.nspname, t.relname) as name
                from pg_class t join pg_namespace n on n.oid = t.relnamespace) o on o.name = s.owner_table
            where exists (select from app_secrets.catalogue)
        $query$ into v_recorded;
    end if;
    v_wanted := coalesce(v_recorded, v_wanted, (
        select jsonb_build_object(
            'owner_table', 'public.businesses', 'owner_key', 'id', 'access', jsonb_build_object('column', 'owner_id'),
            'is_default', true,
            'secrets', jsonb_agg(jsonb_build_object(
                'name', d.name, 'label', d.label, 'sealed', d.sealed, 'type', d.type, 'legacy_column', d.legacy_column)
                order by d.position))
        from (
            -- app-secrets: default catalogue
            values
                (1, 'gemini_api_key', 'Google Gemini', true, 'text', 'gemini_api_key'),
                (2, 'grok_api_key', 'xAI Grok', true, 'text', 'grok_api_key'),
                (3, 'claude_api_key', 'Anthropic Claude', true, 'text', 'claude_api_key'),
                (4, 'youtube_api_key', 'YouTube Data API', true, 'text', 'youtube_api_key'),
                (5, 'kling_access_key', 'Kling access key', true, 'text', 'kling_access_key'),
                (6, 'kling_secret_key', 'Kling secret key', true, 'text', 'kling_secret_key'),
                (7, 'global_sms_api_key', 'Global SMS', true, 'text', 'global_sms_api_key'),
                (8, 'whatsapp_api_key', 'WhatsApp', true, 'text', 'whatsapp_api_key'),
                (9, 'google_access_token', 'Google OAuth access token', true, 'text', null),
                (10, 'google_refresh_token', 'Google OAuth refresh token', true, 'text', null),
                (11, 'google_token_expiry', 'Google OAuth token expiry', false, 'timestamptz', null),
                (12, 'google_drive_folder_id', 'Google Drive folder', false, 'text', null)
            -- app-secrets: end of default catalogue
        ) as d(position, name, label, sealed, type, legacy_column)));
    perform set_config('app_secrets.wanted', v_wanted::text, true);
end $wanted$;

do $preflight$
declare
    v_finding record;
    v_refusals text[] := '{}';
    v_fixes text[] := '{}';
begin
    for v_finding in
        -- app-secrets: pre-flight
        with recursive
        -- What is wanted, read leniently: its own shape is among the findings.
        wanted as materialized (
            select coalesce(nullif(current_setting('app_secrets.wanted', true), ''), '{}')::jsonb as w
        ),
        -- What String.prototype.trim() takes away. chr() fails for most of these where the encoding is not UTF8.
        blanks as materialized (
            select string_agg(case when c.code < 128 or current_setting('server_encoding') = 'UTF8' then chr(c.code) end, '') as chars
            from unnest(array[
                32, 9, 10, 11, 12, 13, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200, 8201, 8202, 8232, 8233,
                8239, 8287, 12288, 65279]) as c (code)
        ),
        login as materialized (
            select r.oid, r.rolname as name, r.rolsuper as super, r.rolsuper or r.rolbypassrls as bypass,
                r.rolsuper or r.rolcreaterole as makes_roles
            from pg_catalog.pg_roles r where r.rolname = current_user
        ),
        -- parse_ident() raises for what is no name, so only what looks like one reaches it.
        spelled as materialized (
            select r.*, case when r.owner_text ~ r.shape then parse_ident(r.owner_text) end as owner_parts,
                case when r.access_function ~ r.shape then parse_ident(r.access_function) end as function_parts
            from (
                select coalesce(w ->> 'owner_table', 'public.businesses') as owner_text,
                    coalesce(w ->> 'owner_key', 'id') as owner_key,
                    nullif(w -> 'access', 'null') as access,
                    case when jsonb_typeof(w -> 'access') = 'object' then w -> 'access' ->> 'column' end as access_column,
                    case when jsonb_typeof(w -> 'access') = 'object'
                        then regexp_replace(w -> 'access' ->> 'function', '\(\)$', '') end as access_function,
                    case when jsonb_typeof(w -> 'secrets') = 'array' then w -> 'secrets' else '[]' end as secrets,
                    '^("([^"]|"")+"|[a-zA-Z_][a-zA-Z0-9_$]*)(\.("([^"]|"")+"|[a-zA-Z_][a-zA-Z0-9_$]*))?$'::text as shape
                from wanted
            ) r
        ),
        -- Relations are found by name and not by to_regclass(), which raises where a schema may not be used.
        owner_table as materialized (
            select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition, c.relowner, c.relreplident,
                c.relrowsecurity, c.relforcerowsecurity, c.reloftype, format('%I.%I', n.nspname, c.relname) as name,
                has_schema_privilege(n.oid, 'USAGE') as usable
            from spelled s
            join pg_catalog.pg_namespace n
                on n.nspname = case when cardinality(s.owner_parts) = 2 then s.owner_parts[1] else 'public' end
            join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = s.owner_parts[cardinality(s.owner_parts)]
            where c.relkind not in ('i', 'I', 't', 'S', 'c')
        ),
        secrets_table as materialized (
            select c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition, c.relowner, c.relreplident,
                c.relrowsecurity, c.relforcerowsecurity, c.reloftype, format('%I.%I', n.nspname, c.relname) as name,
                has_schema_privilege(n.oid, 'USAGE') as usable
            from pg_catalog.pg_namespace n
            join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = 'business_secrets'
            where n.nspname = 'public'
        ),
        tables as materialized (
            select 'owner' as side, t.* from owner_table t
            union all
            select 'secrets', t.* from secrets_table t
        ),
        -- A table that can be worked on at all; what else is wrong with the others is of no use to anybody.
        plain as materialized (
            select t.* from tables t where t.relkind in ('r', 'p')
        ),
        -- Whether an installation of ours is here already.
        ours as materialized (
            select exists (
                select from pg_catalog.pg_class c
                join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'app_secrets'
                where c.relname = 'migrations' and c.relkind = 'r'
                    and 3 = (
                        select count(*) from pg_catalog.pg_attribute a
                        where a.attrelid = c.oid and a.attname in ('version', 'name', 'applied_at') and not a.attisdropped)) as here
        ),
        vault_schema as materialized (
            select n.oid, has_schema_privilege(n.oid, 'USAGE') as usable from pg_catalog.pg_namespace n where n.nspname = 'vault'
        ),
        vault_secrets as materialized (
            select c.oid from vault_schema v
            join pg_catalog.pg_class c on c.relnamespace = v.oid and c.relname = 'secrets' and c.relkind in ('r', 'p', 'v')
            where (
                select count(*) from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attname in ('id', 'name') and not a.attisdropped) = 2
        ),
        names as materialized (
            select e.ord, e.item, e.item ->> 'name' as name, e.item ->> 'label' as label,
                coalesce(e.item ->> 'sealed', 'true') <> 'false' as sealed, coalesce(e.item ->> 'type', 'text') as type,
                e.item ->> 'legacy_column' as legacy_column, e.item ->> 'legacy_was' as legacy_was,
                coalesce(jsonb_typeof(e.item -> 'name') = 'string' and e.item ->> 'name' ~ '^[a-z][a-z0-9_]{0,47}$', false) as valid
            from spelled s
            cross join lateral jsonb_array_elements(s.secrets) with ordinality as e (item, ord)
        ),
        -- The columns of business_secrets that are ours, or will be.
        our_columns as materialized (
            select n.name, n.sealed, n.type, n.legacy_column from names n where n.valid
            union all
            select 'updated_at', false, 'updated_at', null
        ),
        columns as materialized (
            select t.side, t.oid as relid, t.name as table_name, a.attnum, a.attname::text as name, a.atttypid, a.atttypmod,
                a.attnotnull, a.attgenerated, a.attidentity, a.attcollation, a.attinhcount,
                format('%s.%I', t.name, a.attname) as object, format_type(a.atttypid, a.atttypmod) as type_name,
                -- PostgreSQL 18 has NOT NULL constraints that were never validated.
                (select k.conname from pg_catalog.pg_constraint k
                    where k.conrelid = t.oid and k.contype = 'n' and k.conkey = array[a.attnum] and not k.convalidated) as not_valid,
                case when a.attgenerated = '' then (
                    select nullif(pg_get_expr(d.adbin, d.adrelid), '') from pg_catalog.pg_attrdef d
                    where d.adrelid = a.attrelid and d.adnum = a.attnum) end as default_text
            from plain t
            join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
        ),
        -- Domains over domains down to the type that they are made of.
        layers (relid, attnum, depth, type, typmod, not_null) as (
            select c.relid, c.attnum, 0, c.atttypid, c.atttypmod, false from columns c
            union all
            select l.relid, l.attnum, l.depth + 1, t.typbasetype, t.typtypmod, l.not_null or t.typnotnull
            from layers l
            join pg_catalog.pg_type t on t.oid = l.type and t.typtype = 'd'
        ),
        bases as materialized (
            select distinct on (l.relid, l.attnum) l.relid, l.attnum, l.depth > 0 as is_domain, l.not_null as domain_not_null,
                l.type, l.typmod, t.typname::text as typname, t.typtype, t.typcategory, format_type(l.type, null) as base_name,
                case
                    when l.type = 25 then 'text'
                    when l.type = 1043 then 'varchar'
                    when l.type = 1042 then 'char'
                    when t.typname = 'citext' and t.typtype = 'b' then 'citext'
                    else 'other'
                end as kind
            from layers l
            join pg_catalog.pg_type t on t.oid = l.type
            order by l.relid, l.attnum, l.depth desc
        ),
        typed as materialized (
            select c.*, b.is_domain, b.domain_not_null, b.type as base_type, b.typmod as base_typmod, b.typtype, b.typcategory, b.base_name,
                b.kind, b.kind <> 'other' and b.kind <> 'char' as is_text,
                case when b.kind = 'varchar' and b.typmod > 4 then b.typmod - 4 end as length,
                coalesce(btrim((regexp_match(c.default_text, '^\(*''((?:[^'']|'''')*)''\)*(?:::[^'']*)?$'))[1], k.chars) = '', false) as blank_default,
                c.default_text is not null and c.default_text !~ '^\(*NULL\)*(::.*)?$' as has_default,
                exists (
                    select from pg_catalog.pg_collation l where l.oid = c.attcollation and not l.collisdeterministic) as nondeterministic
            from columns c
            join bases b on b.relid = c.relid and b.attnum = c.attnum
            cross join blanks k
        ),
        owner_key as materialized (
            select c.* from spelled s join typed c on c.side = 'owner' and c.name = s.owner_key
        ),
        business_id as materialized (
            select c.* from typed c where c.side = 'secrets' and c.name = 'business_id'
        ),
        -- Legacy columns that exist.
        legacy as materialized (
            select distinct c.* from names n join typed c on c.side = 'owner' and c.name = n.legacy_column where n.valid
        ),
        -- Columns of ours that exist in business_secrets.
        mine as materialized (
            select distinct on (c.attnum) c.*, o.sealed, o.type as wanted_type, o.legacy_column
            from our_columns o join typed c on c.side = 'secrets' and c.name = o.name
            order by c.attnum, o.sealed desc
        ),
        unique_indexes as materialized (
            select t.side, t.oid as relid, t.name as table_name, i.indexrelid, i.indisprimary, i.indimmediate, i.indnkeyatts, i.indisreplident,
                i.indpred is null and i.indexprs is null and i.indisvalid as usable, i.indkey::int2[] as indkey, x.relname as index_name,
                i.indisexclusion, k.conname, k.condeferrable, format('%I.%I', t.nspname, x.relname) as qualified,
                array(select (i.indkey::int2[])[p] from generate_series(0, i.indnkeyatts - 1) p) as keys
            from plain t
            join pg_catalog.pg_index i on i.indrelid = t.oid and (i.indisunique or i.indisexclusion)
            join pg_catalog.pg_class x on x.oid = i.indexrelid
            left join pg_catalog.pg_constraint k on k.conindid = i.indexrelid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
        ),
        foreign_keys as materialized (
            select k.oid, k.conname, k.conrelid, k.confrelid, k.conkey, k.confkey, k.confdeltype, k.confupdtype, k.condeferrable,
                k.convalidated, coalesce(to_jsonb(k) ->> 'conenforced', 'true') <> 'false' as enforced
            from pg_catalog.pg_constraint k
            where k.contype = 'f' and k.conparentid = 0
                and (k.conrelid in (select t.oid from plain t) or k.confrelid in (select t.oid from plain t))
        ),
        -- The foreign key that ties a row to its business, whatever its actions.
        tie as materialized (
            select k.* from foreign_keys k
            join business_id b on k.conrelid = b.relid and k.conkey = array[b.attnum]
            join owner_key o on k.confrelid = o.relid and k.confkey = array[o.attnum]
        ),
        -- CHECK constraints, run over a row of NULLs: only such whose functions are all PostgreSQL's own.
        checks as materialized (
            select k.oid, k.conname, t.side, t.name as table_name, k.conkey,
                pg_get_constraintdef(k.oid) as definition,
                exists (
                    select from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_constraint'::regclass and d.objid = k.oid
                        and d.refclassid in ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_type'::regclass))
                    or 0 = any (k.conkey) as opaque,
                (select format('select case when (%s) is false then 1 else 0 end as c from (select %s) as r', pg_get_expr(k.conbin, k.conrelid),
                        string_agg(
                            case
                                when c.side = 'owner' and c.attnotnull and c.blank_default then format('%L::%s as %I', '', c.base_name, c.name)
                                when c.name = 'business_id' and c.side = 'secrets' and c.base_type = 2950
                                    then format('%L::uuid as %I', '00000000-0000-4000-8000-000000000000', c.name)
                                else format('null::%s as %I', c.base_name, c.name)
                            end, ', '))
                    from typed c where c.relid = k.conrelid and c.attnum = any (k.conkey)) as trial
            from plain t
            join pg_catalog.pg_constraint k on k.conrelid = t.oid and k.contype = 'c'
            where cardinality(k.conkey) > 0
        ),
        judged_checks as materialized (
            select k.*, case when not k.opaque and k.trial is not null
                then substring(query_to_xml(k.trial, false, true, '')::text from '<c>([01])</c>') = '1' end as refuses_null
            from checks k
            where exists (select from legacy l where k.side = 'owner' and l.attnum = any (k.conkey))
                or (k.side = 'secrets' and not exists (
                    select from typed c where c.side = 'secrets' and c.attnum = any (k.conkey) and c.has_default
                        and c.name not in (select o.name from our_columns o)))
        ),
        domain_checks as materialized (
            select l.relid, l.attnum, k.conname,
                case when not exists (
                        select from pg_catalog.pg_depend d
                        where d.classid = 'pg_catalog.pg_constraint'::regclass and d.objid = k.oid
                            and d.refclassid in ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass))
                    then substring(query_to_xml(format('select case when (%s) is false then 1 else 0 end as c',
                        regexp_replace(pg_get_expr(k.conbin, 0), '\mVALUE\M', format('(null::%s)', b.base_name), 'g')), false, true, '')::text
                        from '<c>([01])</c>') = '1' end as refuses_null
            from layers l
            join legacy c on c.relid = l.relid and c.attnum = l.attnum
            join bases b on b.relid = l.relid and b.attnum = l.attnum
            join pg_catalog.pg_constraint k on k.contypid = l.type and k.contype = 'c'
        ),
        -- Rows are counted only where this login sees all of them.
        readable as materialized (
            select t.* from plain t
            where t.usable and has_table_privilege(t.oid, 'SELECT') and not row_security_active(t.oid)
        ),
        -- One scan of the owner table: its values that no secret may have.
        owner_counts as materialized (
            select query_to_xml(q.text, false, true, '')::text as xml
            from (
                select format('select /* app-secrets */ %s from %s', string_agg(format(
                        'count(*) filter (where octet_length(%1$I::text) > 65536 and octet_length(btrim(%1$I::text, %2$L)) > 65536) as c%3$s',
                        l.name, k.chars, l.attnum), ', '), r.name) as text
                from readable r join legacy l on l.relid = r.oid and l.is_text cross join blanks k
                where r.side = 'owner'
                group by r.name
            ) q
        ),
        -- One scan of business_secrets.
        secrets_counts as materialized (
            select query_to_xml(q.text, false, true, '')::text as xml
            from (
                select format('select /* app-secrets */ %s from %s', string_agg(
                        case
                            when m.base_type = 1184 then format(
                                'count(*) filter (where not isfinite(%1$I) or %1$I < %2$L::timestamptz or %1$I >= %3$L::timestamptz) as c%4$s',
                                m.name, '0001-01-01 00:00:00+00', '10000-01-01 00:00:00+00', m.attnum)
                            else format(
                                'count(*) filter (where octet_length(%1$I::text) > 65536 and octet_length(btrim(%1$I::text, %2$L)) > 65536) as c%3$s',
                                m.name, k.chars, m.attnum)
                        end, ', '), r.name) as text
                from readable r
                join mine m on m.relid = r.oid and (m.is_text or (m.base_type = 1184 and m.wanted_type = 'timestamptz')) and m.wanted_type <> 'updated_at'
                cross join blanks k
                where r.side = 'secrets'
                group by r.name
            ) q
        ),
        strays as materialized (
            select substring(query_to_xml(format('select /* app-secrets */ count(*) as c from %s s where not exists (select from %s o where o.%I = s.%I)',
                    rs.name, ro.name, o.name, b.name), false, true, '')::text from '<c>([0-9]+)</c>')::bigint as n
            from readable rs
            join business_id b on b.relid = rs.oid and b.base_type = 2950
            join owner_key o on o.base_type = 2950
            join readable ro on ro.oid = o.relid and ro.side = 'owner'
            where rs.side = 'secrets' and not exists (select from tie t where t.convalidated and t.enforced)
        ),
        -- A secret that stands in both tables: where the two differ, nobody but the app's owner knows which one is in use.
        twins as materialized (
            select m.object, m.table_name, m.name, l.object as legacy_object, substring(query_to_xml(format(
                    'select /* app-secrets */ count(*) as c from %s s join %s o on o.%I = s.%I
                    where nullif(btrim(s.%I::text, %L), %L) is not null
                        and nullif(btrim(s.%I::text, %L), %L) collate "C" is distinct from nullif(btrim(o.%I::text, %L), %L) collate "C"',
                    rs.name, ro.name, k.name, b.name, m.name, w.chars, '', m.name, w.chars, '', l.name, w.chars, ''),
                false, true, '')::text from '<c>([0-9]+)</c>')::bigint as n
            from mine m
            join legacy l on l.name = m.legacy_column and l.is_text
            join readable rs on rs.oid = m.relid
            join readable ro on ro.oid = l.relid
            join owner_key k on k.base_type = 2950
            join business_id b on b.base_type = 2950
            cross join blanks w
            cross join ours o
            where m.is_text and not o.here
        ),
        -- Which rows of Vault are ours stands in app_secrets.vault_rows; a name alone proves nothing.
        foreign_vault as materialized (
            select substring(v.xml from '<c>([0-9]+)</c>')::bigint as n,
                convert_from(decode(coalesce(substring(v.xml from '<f>([0-9a-f]*)</f>'), ''), 'hex'), current_setting('server_encoding')) as first
            from (
                select query_to_xml(format(
                        'select count(*) as c, min(encode(convert_to(v.name, current_setting(%L)), %L)) as f from vault.secrets v
                        where (v.name like %L or v.name like %L)%s', 'server_encoding', 'hex', 'business\_secrets/%', 'app\_secrets/%',
                        case when r.registered then ' and not exists (select from app_secrets.vault_rows r where r.vault_id = v.id)' else '' end),
                        false, true, '')::text as xml
                from vault_secrets s
                join vault_schema vs on vs.usable
                cross join lateral (
                    select exists (
                        select from pg_catalog.pg_class c
                        join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'app_secrets'
                        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'vault_id' and not a.attisdropped
                        where c.relname = 'vault_rows' and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')
                            and not row_security_active(c.oid)) as registered
                ) r
                cross join ours o
                where has_table_privilege(s.oid, 'SELECT') and not row_security_active(s.oid) and (r.registered or not o.here)
            ) v
        ),
        triggers as materialized (
            select t.side, t.name as table_name, g.tgname, g.tgenabled, g.tgtype, p.proname, pn.nspname as function_schema,
                format('%I.%I', pn.nspname, p.proname) as function_name, p.prosrc,
                (select l.lanname from pg_catalog.pg_language l where l.oid = p.prolang) as language,
                exists (select from unnest(p.proconfig) as c (entry) where c.entry like 'search\_path=%') as has_path
            from plain t
            join pg_catalog.pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
            join pg_catalog.pg_proc p on p.oid = g.tgfoid
            join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
        ),
        published as materialized (
            select t.side, t.oid as relid, t.name as table_name, p.pubname, p.pubupdate or p.pubdelete as needs_identity,
                (select r.prattrs::int2[] from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = t.oid) as attrs
            from plain t
            join pg_catalog.pg_publication p on p.puballtables
                or exists (select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = t.oid)
                or exists (
                    select from pg_catalog.pg_publication_namespace s join pg_catalog.pg_class c on c.relnamespace = s.pnnspid
                    where s.pnpubid = p.oid and c.oid = t.oid)
        ),
        identities as materialized (
            select t.side, t.oid as relid, t.name as table_name,
                case t.relreplident
                    when 'f' then true
                    when 'd' then exists (select from unique_indexes u where u.relid = t.oid and u.indisprimary)
                    when 'i' then exists (select from unique_indexes u where u.relid = t.oid and u.indisreplident)
                    else false
                end as known,
                exists (select from unique_indexes u where u.relid = t.oid and u.indisprimary) as has_primary_key
            from plain t
        ),
        our_functions as materialized (
            select p.oid, p.proname, pg_get_function_identity_arguments(p.oid) as arguments,
                coalesce(obj_description(p.oid, 'pg_proc') like 'app-secrets%', false) as ours
            from pg_catalog.pg_proc p
            join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname = 'public'
            where p.proname in (
                'get_business_secrets', 'get_business_secrets_batch', 'get_business_secrets_columns', 'set_business_secrets',
                'list_business_secrets', 'undo_business_secret', 'lease_business_secret', 'release_business_secret',
                'check_business_secret', 'due_business_secrets')
        ),
        role_settings as materialized (
            select s.setrole, s.setdatabase, split_part(c.entry, '=', 1) as name, substr(c.entry, strpos(c.entry, '=') + 1) as value
            from pg_catalog.pg_db_role_setting s
            cross join lateral unnest(s.setconfig) as c (entry)
            cross join login l
            where s.setrole in (0, l.oid)
                and s.setdatabase in (0, (select d.oid from pg_catalog.pg_database d where d.datname = current_database()))
        ),
        findings (severity, code, object, found, needed, fix) as (

            -- The server and this login ---------------------------------------------------------------------------------------
            select 'refuse', 'server_version', 'server', 'PostgreSQL ' || current_setting('server_version'), 'PostgreSQL 15 to 18', null::text
            where current_setting('server_version_num')::int < 150000
            union all
            select 'warn', 'server_version', 'server', 'PostgreSQL ' || current_setting('server_version'),
                'PostgreSQL 15 to 18: a newer one has not been tried', null
            where current_setting('server_version_num')::int >= 190000
            union all
            select 'refuse', 'server_encoding', 'database ' || current_database(), 'the encoding ' || current_setting('server_encoding'),
                'the encoding UTF8: make a new database with it', null
            where current_setting('server_encoding') <> 'UTF8'
            union all
            select 'refuse', 'in_recovery', 'server', 'a standby, which cannot be written', 'the primary', null
            where pg_is_in_recovery()
            union all
            select 'refuse', 'read_only', case when s.setrole = 0 then 'database ' || current_database() else 'role ' || current_user end,
                s.name || ' = ' || s.value, s.name || ' = origin',
                case
                    when s.setrole = 0 and s.setdatabase = 0 then format('alter role all reset %s', s.name)
                    when s.setrole = 0 then format('alter database %I reset %s', current_database(), s.name)
                    when s.setdatabase = 0 then format('alter role %I reset %s', current_user, s.name)
                    else format('alter role %I in database %I reset %s', current_user, current_database(), s.name)
                end
            from role_settings s
            where s.name = 'session_replication_role' and lower(s.value) = 'replica'
            union all
            select 'note', 'role_setting', case when s.setrole = 0 then 'database ' || current_database() else 'role ' || current_user end,
                s.name || ' = ' || s.value,
                'app-secrets sets its own for its sessions; with psql, ' || case s.name
                    when 'default_transaction_read_only' then 'set ' || s.name || ' = off first'
                    when 'standard_conforming_strings' then 'set ' || s.name || ' = on first'
                    else 'set ' || s.name || ' = 0 first where a run may take longer' end, null
            from role_settings s
            where case s.name
                when 'default_transaction_read_only' then lower(s.value) ~ '^(on|t|tr|tru|true|y|ye|yes|1)$'
                when 'standard_conforming_strings' then lower(s.value) ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$'
                else s.name in (
                    'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
                    and s.value !~ '^0' end
            union all
            select 'warn', 'prepared_transactions', 'database ' || current_database(),
                count(*) || ' prepared transactions, the oldest of ' || min(x.prepared)::text,
                'none: each holds its locks until it is committed or rolled back', format('rollback prepared %L', min(x.gid))
            from pg_catalog.pg_prepared_xacts x where x.database = current_database() having count(*) > 0
            union all
            select 'warn', 'two_phase_commit', 'server', 'max_prepared_transactions = ' || current_setting('max_prepared_transactions'),
                'no PREPARE TRANSACTION in which a secret is changed: PostgreSQL refuses it after a NOTIFY, which each change sends', null
            where current_setting('max_prepared_transactions')::int > 0
            union all
            select 'refuse', 'role_missing', 'role ' || r.name, 'no such role', 'the role that the Data API of Supabase uses',
                format('create role %I nologin noinherit', r.name)
            from unnest(array['anon', 'authenticated', 'service_role']) as r (name)
            where not exists (select from pg_catalog.pg_roles p where p.rolname = r.name)
            union all
            select 'refuse', 'createrole', 'role ' || l.name, 'this login may not make roles, and there is no role app_secrets_service',
                'CREATEROLE for this login, or the role', 'create role app_secrets_service nologin'
            from login l
            where not l.makes_roles and not exists (select from pg_catalog.pg_roles r where r.rolname = 'app_secrets_service')
            union all
            select 'refuse', 'group_role', 'role app_secrets_service',
                concat_ws(', ', case when r.rolsuper then 'SUPERUSER' end, case when r.rolcanlogin then 'LOGIN' end,
                    case when r.rolbypassrls then 'BYPASSRLS' end, case when r.rolcreaterole then 'CREATEROLE' end),
                'a group that can do nothing by itself', 'alter role app_secrets_service nosuperuser nologin nobypassrls nocreaterole'
            from pg_catalog.pg_roles r
            where r.rolname = 'app_secrets_service' and (r.rolsuper or r.rolcanlogin or r.rolbypassrls or r.rolcreaterole)
            union all
            select 'refuse', 'group_role_member', 'role app_secrets_service', 'a member of ' || g.rolname,
                'a group that is a member of no other: its members would get those rights too',
                format('revoke %I from app_secrets_service', g.rolname)
            from pg_catalog.pg_roles r
            join pg_catalog.pg_auth_members m on m.member = r.oid
            join pg_catalog.pg_roles g on g.oid = m.roleid
            where r.rolname = 'app_secrets_service'
            union all
            select 'refuse', 'schema_public', 'schema public',
                case when n.oid is null then 'no such schema' else 'this login may not make objects in it' end, 'CREATE and USAGE for this login',
                case when n.oid is null then 'create schema public' else format('grant usage, create on schema public to %I', current_user) end
            from (select 'public'::name as name) w
            left join pg_catalog.pg_namespace n on n.nspname = w.name
            where n.oid is null or not (has_schema_privilege(n.oid, 'CREATE') and has_schema_privilege(n.oid, 'USAGE'))
            union all
            select 'refuse', 'create_schema', 'database ' || current_database(), 'this login may not make schemas', 'CREATE on the database',
                format('grant create on database %I to %I', current_database(), current_user)
            where not has_database_privilege(current_database(), 'CREATE')
                and not exists (select from pg_catalog.pg_namespace n where n.nspname = 'app_secrets')
            union all
            select 'note', 'event_triggers', 'database ' || current_database(), 'event triggers: ' || string_agg(e.evtname, ', ' order by e.evtname),
                'they run for what the migrations make', null
            from pg_catalog.pg_event_trigger e where e.evtenabled <> 'D' having count(*) > 0

            -- Vault -----------------------------------------------------------------------------------------------------------
            union all
            select 'refuse', 'vault_missing', 'vault.' || x.name, 'not there', 'Supabase Vault 0.3.1 or later',
                case when v.oid is null then 'create schema vault; create extension supabase_vault with schema vault cascade' end
            from unnest(array['secrets', 'decrypted_secrets']) as x (name)
            left join vault_schema v on true
            where not exists (select from pg_catalog.pg_class c where c.relnamespace = v.oid and c.relname = x.name)
            union all
            select 'refuse', 'vault_version', 'extension supabase_vault', 'version ' || e.extversion, 'version 0.3.1 or later',
                'alter extension supabase_vault update'
            from pg_catalog.pg_extension e
            where e.extname = 'supabase_vault' and e.extversion ~ '^[0-9]{1,6}(\.[0-9]{1,6})*$'
                and string_to_array(e.extversion, '.')::int[] < array[0, 3, 1]
            union all
            select 'refuse', 'vault_function', format('vault.%s(%s)', listed.name, listed.arguments),
                case when p.oid is null then 'not there' else 'this login may not execute it' end, 'Supabase Vault 0.3.1 or later, and EXECUTE',
                case when p.oid is null then null
                    else format('grant execute on function vault.%s(%s) to %I', listed.name, listed.arguments, current_user) end
            from (values ('create_secret', 'text, text, text, uuid', '25 25 25 2950', 2950), ('update_secret', 'uuid, text, text, text, uuid', '2950 25 25 25 2950', 2278))
                as listed (name, arguments, types, result)
            cross join vault_schema v
            left join pg_catalog.pg_proc p on p.pronamespace = v.oid and p.proname = listed.name
                and p.proargtypes::text = listed.types and p.prorettype = listed.result::oid
            where p.oid is null or not has_function_privilege(p.oid, 'EXECUTE')
            union all
            select 'refuse', 'vault_privilege', 'schema vault', 'this login may not use it', 'USAGE',
                format('grant usage on schema vault to %I', current_user)
            from vault_schema v where not v.usable
            union all
            select 'refuse', 'vault_privilege', 'vault.' || c.relname, 'this login may not read' || case when c.relname = 'secrets' then ' and delete' else '' end,
                case when c.relname = 'secrets' then 'SELECT and DELETE' else 'SELECT' end,
                format('grant select%s on vault.%I to %I', case when c.relname = 'secrets' then ', delete' else '' end, c.relname, current_user)
            from vault_schema v
            join pg_catalog.pg_class c on c.relnamespace = v.oid and c.relname in ('secrets', 'decrypted_secrets')
            where not has_table_privilege(c.oid, 'SELECT') or (c.relname = 'secrets' and not has_table_privilege(c.oid, 'DELETE'))
            union all
            select case when o.here then 'warn' else 'refuse' end, 'vault_names', 'vault.secrets',
                listed.n || ' rows under names of ours, the first of them ' || listed.first,
                'none that app_secrets does not know: they are left from an earlier installation, or somebody else''s',
                -- Another name, since these may be the only copy of what they hold.
                case when o.here then '`app-secrets migrate --reapply` registers those that cells and versions prove to be ours; give what is '
                    'left another name'
                    else 'select vault.update_secret(id, null, ''earlier/'' || name) from vault.secrets '
                        'where name like ''business\_secrets/%'' or name like ''app\_secrets/%''' end
            from foreign_vault listed cross join ours o where listed.n > 0

            -- What is wanted --------------------------------------------------------------------------------------------------
            union all
            select 'refuse', 'wanted_shape', 'app_secrets.wanted', 'no list of secrets', 'a list `secrets`', null
            from wanted where jsonb_typeof(w -> 'secrets') is distinct from 'array'
            union all
            select 'refuse', 'wanted_count', 'app_secrets.wanted', count(*) || ' secrets', '1 to 200', null
            from names cross join wanted where jsonb_typeof(w -> 'secrets') = 'array' having count(*) > 200
            union all
            select 'refuse', 'wanted_count', 'app_secrets.wanted', 'no secret', '1 to 200', null
            from wanted where w -> 'secrets' = '[]'
            union all
            select 'refuse', 'wanted_label', 'secrets[' || n.ord || '].label', 'a blank label', 'a label that can be read, or none: then it is the name', null
            from names n cross join blanks k
            where n.valid and jsonb_typeof(n.item -> 'label') = 'string' and btrim(n.label, k.chars) = ''
            union all
            select 'refuse', 'wanted_owner', 'app_secrets.wanted', 'no ' || f.name, f.name || ', as in the default: ' || f.example, null
            from wanted w cross join (values ('owner_table', 'public.businesses'), ('owner_key', 'id')) as f(name, example)
            where jsonb_typeof(w.w -> f.name) is distinct from 'string'
            union all
            -- By its place and not by its name: a value may have been put where the name belongs.
            select 'refuse', 'wanted_name', 'secrets[' || n.ord || '].name', 'not a name of the shape ^[a-z][a-z0-9_]{0,47}$', 'such a name', null
            from names n where not n.valid
            union all
            select 'refuse', 'wanted_reserved', 'secrets[' || n.ord || '].name', n.name, 'a name that is not reserved', null
            from names n
            where n.valid and n.name in (
                'business_id', 'updated_at', 'tableoid', 'ctid', 'xmin', 'xmax', 'cmin', 'cmax')
            union all
            select 'refuse', 'wanted_twice', 'app_secrets.wanted', n.name || ' ' || count(*) || ' times', 'each name once', null
            from names n where n.valid group by n.name having count(*) > 1
            union all
            select 'refuse', 'wanted_legacy_twice', 'app_secrets.wanted',
                'the legacy column ' || n.legacy_column || ' for ' || string_agg(n.name, ', ' order by n.ord), 'a legacy column of its own for each secret', null
            from names n where n.valid and n.legacy_column is not null group by n.legacy_column having count(*) > 1
            union all
            select 'refuse', 'wanted_type', 'secrets[' || n.ord || '].type',
                case when n.type not in ('text', 'timestamptz') then 'another type' else 'a sealed timestamptz' end,
                'text, or timestamptz where sealed is false', null
            from names n where n.valid and (n.type not in ('text', 'timestamptz') or (n.type = 'timestamptz' and n.sealed))
            union all
            select 'refuse', 'wanted_item', 'secrets[' || n.ord || ']', 'fields of other types',
                'name and label as strings, sealed as a boolean, type and legacy_column as strings or null', null
            from names n
            where jsonb_typeof(n.item) <> 'object'
                or coalesce(jsonb_typeof(n.item -> 'label'), 'null') not in ('string', 'null')
                or coalesce(jsonb_typeof(n.item -> 'sealed'), 'null') not in ('boolean', 'null')
                or coalesce(jsonb_typeof(n.item -> 'type'), 'null') not in ('string', 'null')
                or coalesce(jsonb_typeof(n.item -> 'legacy_column'), 'null') not in ('string', 'null')
            union all
            select 'refuse', 'wanted_legacy_key', 'secrets[' || n.ord || '].legacy_column', 'the key of the owner table', 'a column that holds the secret', null
            from names n join spelled s on n.legacy_column = s.owner_key

            -- The owner table -------------------------------------------------------------------------------------------------
            union all
            select 'refuse', 'owner_name', 'app_secrets.wanted', 'an owner_table that is not the name of a table', 'schema.table', null
            from spelled s where s.owner_parts is null
            union all
            select 'refuse', 'owner_missing', array_to_string(
                    case when cardinality(s.owner_parts) = 1 then array['public'] || s.owner_parts else s.owner_parts end, '.'),
                'no such table', 'the table whose rows own the secrets: name it as owner_table in app-secrets.json', null
            from spelled s where s.owner_parts is not null and not exists (select from owner_table)
            union all
            select 'refuse', 'owner_is_secrets', o.name, 'the table of the secrets itself', 'the table whose rows own them', null
            from owner_table o join secrets_table s on s.oid = o.oid
            union all
            select 'refuse', 'table_kind', t.name,
                case t.relkind when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
                    when 'p' then 'a partitioned table' else 'not a table' end,
                'an ordinary table', null
            from tables t where t.relkind <> 'r'
            union all
            select 'refuse', 'table_persistence', t.name,
                case t.relpersistence when 't' then 'a temporary table' else 'an unlogged table, which a crash empties' end, 'a permanent table',
                case t.relpersistence when 'u' then format('alter table %s set logged', t.name) end
            from tables t where t.relkind in ('r', 'p') and t.relpersistence <> 'p'
            union all
            select 'refuse', 'table_inheritance', t.name, 'a table that inherits from ' || format('%I.%I', n.nspname, c.relname),
                'a table that does not inherit',
                case when t.relispartition then format('alter table %I.%I detach partition %s', n.nspname, c.relname, t.name)
                    else format('alter table %s no inherit %I.%I', t.name, n.nspname, c.relname) end
            from plain t
            join pg_catalog.pg_inherits i on i.inhrelid = t.oid
            join pg_catalog.pg_class c on c.oid = i.inhparent
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            union all
            select 'refuse', 'table_inheritance', t.name, 'a table that ' || format('%I.%I', n.nspname, c.relname) || ' inherits from',
                'a table without heirs: keys and triggers do not reach their rows', format('alter table %I.%I no inherit %s', n.nspname, c.relname, t.name)
            from plain t
            join pg_catalog.pg_inherits i on i.inhparent = t.oid
            join pg_catalog.pg_class c on c.oid = i.inhrelid
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where t.relkind = 'r'
            union all
            select 'refuse', 'table_of_type', t.name, 'a table of the type ' || format_type(t.reloftype, null), 'a table whose columns can be altered',
                format('alter table %s not of', t.name)
            from plain t where t.reloftype <> 0
            union all
            select 'refuse', 'table_owner', t.name, 'owned by ' || pg_get_userbyid(t.relowner) || ', and this login is ' || current_user,
                'the login that migrates owns the table', format('alter table %s owner to %I', t.name, current_user)
            from plain t where not pg_has_role(t.relowner, 'USAGE')
            union all
            select 'refuse', 'table_privilege', t.name, 'this login lacks ' || string_agg(p.name, ', ' order by p.name), 'those rights',
                format('grant %s on %s to %I', string_agg(lower(p.name), ', ' order by p.name), t.name, current_user)
            from plain t
            cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REFERENCES', 'TRIGGER']) as p (name)
            where pg_has_role(t.relowner, 'USAGE') and not has_table_privilege(t.oid, p.name)
                and not (t.side = 'owner' and p.name in ('INSERT', 'DELETE'))
            group by t.name
            union all
            select 'refuse', 'schema_privilege', format('schema %I', t.nspname), 'this login may not use it', 'USAGE',
                format('grant usage on schema %I to %I', t.nspname, current_user)
            from plain t where not t.usable and t.nspname <> 'public'
            union all
            select 'refuse', 'force_rls', t.name, 'FORCE ROW LEVEL SECURITY, and this login has no BYPASSRLS: rows are hidden from it',
                'a login that sees every row: no FORCE, or BYPASSRLS', format('alter table %s no force row level security', t.name)
            from plain t cross join login l
            where t.relrowsecurity and t.relforcerowsecurity and not l.bypass
            union all
            select 'refuse', 'rls_hides_rows', t.name, 'row level security, and this login neither owns the table nor has BYPASSRLS',
                'a login that sees every row', format('alter table %s owner to %I', t.name, current_user)
            from plain t cross join login l
            where t.relrowsecurity and not t.relforcerowsecurity and not l.bypass and not pg_has_role(t.relowner, 'USAGE')
            union all
            select 'refuse', 'owner_key_missing', format('%s.%I', t.name, s.owner_key), 'no such column',
                'the key of the owner table, a uuid: name it as owner_key in app-secrets.json', null
            from plain t cross join spelled s
            where t.side = 'owner' and not exists (select from owner_key)
            union all
            select 'refuse', 'owner_key_type', k.object, 'the type ' || k.type_name, 'uuid', null
            from owner_key k where k.atttypid <> 2950
            union all
            select 'refuse', 'owner_key_nullable', k.object, 'a column that may be NULL', 'NOT NULL',
                case when k.not_valid is null then format('alter table %s alter column %I set not null', k.table_name, k.name)
                    else format('alter table %s validate constraint %I', k.table_name, k.not_valid) end
            from owner_key k where not k.attnotnull or k.not_valid is not null
            union all
            select 'refuse', 'owner_key_unique', k.object, 'a column that is not unique by itself, or only by a deferrable or partial one',
                'a primary key or a unique constraint on it alone, not deferrable',
                format('alter table %s add unique (%I)', k.table_name, k.name)
            from owner_key k
            where not exists (
                select from unique_indexes u
                where u.relid = k.relid and u.usable and u.indimmediate and not u.indisexclusion and u.keys = array[k.attnum])

            -- Who may access --------------------------------------------------------------------------------------------------
            union all
            select 'refuse', 'access_shape', 'app_secrets.wanted', 'an access that is neither a column, nor a function, nor null',
                '{"column": ...}, {"function": ...} or null', null
            from spelled s
            where s.access is not null and ((s.access_column is null) = (s.access_function is null))
            union all
            select 'refuse', 'access_column_missing', format('%s.%I', t.name, s.access_column), 'no such column',
                'the uuid of the user who may access a row; else set access to a function of the app''s, or to null: then no signed-in user reads',
                format('alter table %s add column %I uuid', t.name, s.access_column)
            from spelled s join plain t on t.side = 'owner'
            where s.access_column is not null and not exists (select from columns c where c.relid = t.oid and c.name = s.access_column)
            union all
            select 'refuse', 'access_column_type', c.object, 'the type ' || c.type_name, 'uuid, as auth.uid() gives it',
                format('alter table %s alter column %I type uuid using %I::text::uuid', c.table_name, c.name, c.name)
            from spelled s join typed c on c.side = 'owner' and c.name = s.access_column
            where c.base_type <> 2950
            union all
            select 'refuse', 'auth_uid_missing', 'auth.uid()', 'no such function', 'the function that says who is signed in; else set access to null', null
            from spelled s
            where s.access_column is not null
                and not exists (
                    select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                    where n.nspname = 'auth' and p.proname = 'uid' and p.pronargs = 0 and p.prorettype = 2950)
            union all
            select 'refuse', 'access_function', s.access_function,
                case when p.oid is null then 'no such function without arguments'
                    when not (p.proretset and p.prorettype = 2950) then 'a function that returns ' || pg_get_function_result(p.oid)
                    when not p.prosecdef then 'a function with the rights of its caller: called with ours, it finds the rows of everybody '
                        'where row level security is all that narrows it'
                    else 'a function that this login may not execute' end,
                'a SECURITY DEFINER function without arguments that returns setof uuid: the ids of what the user of auth.uid() may access',
                -- None for the rights: a function that leans on row level security would then be open to everybody.
                case when p.oid is not null and p.proretset and p.prorettype = 2950 and p.prosecdef
                    then format('grant execute on function %I.%I() to %I', p.nspname, p.proname, current_user) end
            from spelled s
            left join lateral (
                select p.oid, p.proname, p.proretset, p.prorettype, p.prosecdef, n.nspname, n.oid as nsp from pg_catalog.pg_proc p
                join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                    and n.nspname = case when cardinality(s.function_parts) = 2 then s.function_parts[1] else 'public' end
                where p.proname = s.function_parts[cardinality(s.function_parts)] and p.pronargs = 0 and p.prokind = 'f'
            ) p on true
            where s.access_function is not null
                and (p.oid is null or not (p.proretset and p.prorettype = 2950 and p.prosecdef) or not has_function_privilege(p.oid, 'EXECUTE')
                    or not has_schema_privilege(p.nsp, 'USAGE'))

            -- Legacy columns --------------------------------------------------------------------------------------------------
            union all
            -- Those of the default catalogue need not all be there; one that somebody has named is misspelt, or gone already.
            select case when (w.w -> 'is_default')::text = 'true' then 'note' else 'warn' end, 'legacy_missing',
                format('%s.%I', t.name, n.legacy_column), 'no such column',
                case when (w.w -> 'is_default')::text = 'true' then 'nothing: the secret ' || n.name || ' has no plaintext to move'
                    else 'the column that holds ' || n.name || ' in plaintext: what stands under another name stays where it is' end, null
            from names n join plain t on t.side = 'owner' cross join ours o cross join wanted w
            where n.valid and n.legacy_column is not null and not o.here
                and not exists (select from columns c where c.relid = t.oid and c.name = n.legacy_column)
            union all
            -- The database has recorded it, and somebody has changed the table since.
            select 'warn', 'legacy_renamed', format('%s.%I', t.name, n.legacy_was), format('its name is %I now', n.legacy_column),
                'nothing: ' || n.name || ' is synced with it under that name', null
            from names n join plain t on t.side = 'owner'
            where n.valid and n.legacy_was <> n.legacy_column
            union all
            select 'warn', 'legacy_dropped', format('%s.%I', t.name, n.legacy_column), 'no such column any more',
                'nothing: ' || n.name || ' is synced with no column from here on', null
            from names n join plain t on t.side = 'owner' join ours o on o.here
            where n.valid and n.legacy_column is not null
                and not exists (select from columns c where c.relid = t.oid and c.name = n.legacy_column)
            union all
            select 'refuse', 'legacy_type', l.object, 'the type ' || l.type_name, 'text, varchar of 255 or more, citext, or a domain over one of these',
                case
                    when l.kind = 'char' or (l.typtype in ('e', 'b') and l.typcategory not in ('A') and l.base_type <> 17)
                        then format('alter table %s alter column %I drop default, alter column %I type text using %I::text', l.table_name, l.name, l.name, l.name)
                end
            from legacy l where not l.is_text
            union all
            -- Keys of providers are up to 255 characters long (GitHub names that length); longer ones are refused one by one.
            select 'refuse', 'legacy_length', l.object, 'the type ' || l.type_name || ', too short for keys to come',
                'text, or varchar of 255 or more', format('alter table %s alter column %I type text', l.table_name, l.name)
            from legacy l where l.length < 255
            union all
            select 'note', 'legacy_length', l.object, 'the type ' || l.type_name, 'nothing: a longer value is refused as long as the column stands', null
            from legacy l where l.length >= 255 and l.length < 65536
            union all
            select 'refuse', 'legacy_generated', l.object, 'a generated column', 'a column that can be written',
                -- A virtual one has no values to keep.
                case when l.attgenerated = 's' then format('alter table %s alter column %I drop expression', l.table_name, l.name)
                    else format('alter table %s drop column %I, add column %I %s', l.table_name, l.name, l.name, l.type_name) end
            from legacy l where l.attgenerated <> ''
            union all
            select 'refuse', 'legacy_not_null', l.object, 'NOT NULL' || coalesce(', with the default ' || l.default_text, ' without a default'),
                'a default that is blank (a cleared key gets it), or no NOT NULL',
                format('alter table %s alter column %I set default %L', l.table_name, l.name, '')
            from legacy l where l.attnotnull and not l.blank_default and l.is_text and l.attgenerated = ''
            union all
            select 'refuse', 'legacy_domain', l.object, 'the domain ' || l.type_name || ', which refuses NULL', 'a type that can be cleared',
                format('alter table %s alter column %I type %s', l.table_name, l.name, l.base_name)
            from legacy l
            where l.is_domain and l.is_text
                and (l.domain_not_null or exists (select from domain_checks d where d.relid = l.relid and d.attnum = l.attnum and d.refuses_null))
            union all
            select 'refuse', 'legacy_collation', l.object, 'a nondeterministic collation, under which different keys are equal', 'a deterministic collation',
                format('alter table %s alter column %I type %s collate pg_catalog."default"', l.table_name, l.name,
                    case when l.is_domain then l.base_name else l.type_name end)
            from legacy l where l.nondeterministic
            union all
            select 'refuse', 'legacy_in_key', l.object,
                case when u.indisprimary then 'part of the primary key ' else 'part of the replica identity ' end || u.index_name,
                'a column that can be cleared and dropped',
                case when not u.indisprimary then format('alter table %s replica identity default', l.table_name) end
            from legacy l join unique_indexes u on u.relid = l.relid and (u.indisprimary or u.indisreplident) and l.attnum = any (u.indkey)
            union all
            select 'refuse', 'legacy_unique_not_null', l.object, 'NOT NULL and unique by ' || u.index_name || ': one row alone could be cleared',
                'a column that may be NULL', format('alter table %s alter column %I drop not null', l.table_name, l.name)
            from legacy l join unique_indexes u on u.relid = l.relid and not u.indisprimary and u.keys = array[l.attnum]
            where l.attnotnull and l.blank_default
            union all
            select 'refuse', 'legacy_in_foreign_key', l.object, 'part of the foreign key ' || k.conname, 'a column that can be cleared and dropped',
                format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname)
            from legacy l join foreign_keys k
                on (k.conrelid = l.relid and l.attnum = any (k.conkey)) or (k.confrelid = l.relid and l.attnum = any (k.confkey))
            union all
            select 'note', 'legacy_unique', l.object, 'part of the unique index ' || u.index_name,
                'nothing: writes of it lock the whole row, and 005 names it before it goes', null
            from legacy l join unique_indexes u on u.relid = l.relid and not u.indisprimary and l.attnum = any (u.keys)
            union all
            select case when k.alone then 'refuse' else 'warn' end, 'legacy_check', string_agg(l.object, ', ' order by l.attnum),
                'the constraint ' || k.conname || ' ' || k.definition,
                case when k.alone then 'a constraint that lets a key be cleared'
                    else 'it stays: what it refuses, a write of the secret is refused for too' end,
                case when k.alone then format('alter table %s drop constraint %I', k.table_name, k.conname) end
            from legacy l
            join (
                -- With other columns in it, it depends on the row: what it refuses was refused before.
                select j.*, coalesce(j.refuses_null and not exists (
                    select from unnest(j.conkey) as c (attnum)
                    where c.attnum not in (select o.attnum from legacy o)), false) as alone
                from judged_checks j
            ) k on k.side = 'owner' and l.attnum = any (k.conkey)
            where k.alone or k.opaque or cardinality(k.conkey) > 1
            group by k.alone, k.table_name, k.conname, k.definition
            union all
            select 'refuse', 'legacy_too_long', l.object, (c.n)::text || ' values over 65,536 bytes', 'values of 65,536 bytes at most', null
            from legacy l
            cross join owner_counts x
            cross join lateral (select substring(x.xml from format('<c%s>([0-9]+)</c', l.attnum))::bigint as n) c
            where c.n > 0

            -- business_secrets as it stands -----------------------------------------------------------------------------------
            union all
            select 'refuse', 'business_id_missing', t.name || '.business_id', 'no such column',
                'the uuid of the business, unique, with a foreign key', null
            from plain t where t.side = 'secrets' and not exists (select from business_id)
            union all
            select 'refuse', 'business_id_type', b.object, 'the type ' || b.type_name, 'uuid', null
            from business_id b where b.atttypid <> 2950
            union all
            select 'refuse', 'business_id_nullable', b.object, 'a column that may be NULL', 'NOT NULL',
                case when b.not_valid is null then format('alter table %s alter column %I set not null', b.table_name, b.name)
                    else format('alter table %s validate constraint %I', b.table_name, b.not_valid) end
            from business_id b where not b.attnotnull or b.not_valid is not null
            union all
            select 'refuse', 'business_id_generated', b.object, 'a generated or identity column', 'a column that can be written',
                case when b.attgenerated <> '' then format('alter table %s alter column %I drop expression', b.table_name, b.name)
                    else format('alter table %s alter column %I drop identity', b.table_name, b.name) end
            from business_id b where b.attgenerated <> '' or b.attidentity <> ''
            union all
            select 'refuse', 'business_id_unique', b.object, 'a column that is not unique by itself, or only by a deferrable or partial one',
                'one row for each business: a primary key or a unique constraint on it alone, not deferrable',
                format('alter table %s add %s (%I)', b.table_name, case when i.has_primary_key then 'unique' else 'primary key' end, b.name)
            from business_id b join identities i on i.relid = b.relid
            where not exists (
                select from unique_indexes u
                where u.relid = b.relid and u.usable and u.indimmediate and not u.indisexclusion and u.keys = array[b.attnum])
            union all
            select 'refuse', 'replica_identity', i.table_name,
                'no replica identity' || coalesce(', and the publication ' || string_agg(p.pubname, ', ' order by p.pubname) || ' sends its updates', ''),
                'a primary key, or a replica identity: without one a published table cannot be updated',
                case
                    when not i.has_primary_key and i.side = 'secrets' and exists (select from business_id)
                        then format('alter table %s add primary key (business_id)', i.table_name)
                    when i.has_primary_key then format('alter table %s replica identity default', i.table_name)
                    else format('alter table %s replica identity full', i.table_name)
                end
            from identities i
            left join published p on p.relid = i.relid and p.needs_identity
            where not i.known and (i.side = 'secrets' or p.pubname is not null)
                -- One primary key mends both.
                and (i.side = 'owner' or i.has_primary_key or exists (
                    select from unique_indexes u join business_id b on b.relid = u.relid
                    where u.usable and u.indimmediate and not u.indisexclusion and u.keys = array[b.attnum]))
            group by i.table_name, i.has_primary_key, i.side
            union all
            select 'refuse', 'other_not_null', c.object, 'NOT NULL without a default: a row of ours has none for it', 'a default, or no NOT NULL',
                case when c.domain_not_null and not c.attnotnull then format('alter table %s alter column %I type %s', c.table_name, c.name, c.base_name)
                    else format('alter table %s alter column %I drop not null', c.table_name, c.name) end
            from typed c
            where c.side = 'secrets' and c.name <> 'business_id' and c.name not in (select o.name from our_columns o)
                and (c.attnotnull or c.domain_not_null) and not c.has_default and c.attgenerated = '' and c.attidentity = ''
            union all
            select 'refuse', 'column_generated', m.object, 'a generated or identity column', 'a column that can be written',
                case when m.attgenerated = 's' then format('alter table %s alter column %I drop expression', m.table_name, m.name)
                    when m.attgenerated = 'v' then format('alter table %s drop column %I', m.table_name, m.name)
                    else format('alter table %s alter column %I drop identity', m.table_name, m.name) end
            from mine m where m.attgenerated <> '' or m.attidentity <> ''
            union all
            select 'refuse', 'column_type', m.object, 'the type ' || m.type_name,
                case when m.wanted_type in ('timestamptz', 'updated_at') then 'timestamptz' else 'text' end,
                case
                    when m.wanted_type = 'text' and m.attidentity = '' and m.base_type <> 17 and m.typcategory <> 'A'
                        then format('alter table %s alter column %I drop default, alter column %I type text using %I::text', m.table_name, m.name, m.name, m.name)
                    when m.wanted_type <> 'text' and m.base_type in (1114, 1184, 1082)
                        then format('alter table %s alter column %I type timestamptz', m.table_name, m.name)
                    when m.wanted_type <> 'text' and m.base_type in (20, 23)
                        then format('alter table %s alter column %I drop default, alter column %I type timestamptz using to_timestamp(%I)', m.table_name, m.name, m.name, m.name)
                    when m.wanted_type <> 'text' and m.is_text
                        then format('alter table %s alter column %I drop default, alter column %I type timestamptz using nullif(%I::text, %L)::timestamptz', m.table_name, m.name, m.name, m.name, '')
                end
            from mine m
            where case
                when m.wanted_type in ('timestamptz', 'updated_at') then m.atttypid <> 1184 or m.atttypmod between 0 and 5
                else m.is_domain or m.kind not in ('text', 'varchar')
            end
            union all
            select 'refuse', 'column_length', m.object, 'the type ' || m.type_name,
                case when m.length < 36 then 'text: a reference has 36 characters' else 'text: the legacy column holds longer values' end,
                format('alter table %s alter column %I type text', m.table_name, m.name)
            from mine m left join legacy l on l.name = m.legacy_column
            where m.wanted_type = 'text' and not m.is_domain and m.kind = 'varchar'
                and ((m.sealed and m.length < 36) or (l.name is not null and m.length < coalesce(l.length, 65536)))
            union all
            select 'note', 'column_length', m.object, 'the type ' || m.type_name, 'nothing: a longer value is refused', null
            from mine m left join legacy l on l.name = m.legacy_column
            where m.wanted_type = 'text' and not m.is_domain and m.kind = 'varchar' and m.length < 65536
                and not ((m.sealed and m.length < 36) or (l.name is not null and m.length < coalesce(l.length, 65536)))
            union all
            select 'refuse', 'column_not_null', m.object, 'NOT NULL', 'a column that can be cleared',
                format('alter table %s alter column %I drop not null', m.table_name, m.name)
            from mine m where m.attnotnull and m.wanted_type <> 'updated_at'
            union all
            select 'refuse', 'updated_at_default', m.object, 'NOT NULL without a default', 'the default now()',
                format('alter table %s alter column %I set default pg_catalog.now()', m.table_name, m.name)
            from mine m where m.wanted_type = 'updated_at' and m.attnotnull and not m.has_default and m.attgenerated = '' and m.attidentity = ''
            union all
            select 'refuse', 'column_default', m.object, 'the default ' || m.default_text, 'no default: a new row has no secret',
                format('alter table %s alter column %I drop default', m.table_name, m.name)
            from mine m where m.has_default and m.wanted_type <> 'updated_at'
            union all
            select 'refuse', 'column_collation', m.object, 'a nondeterministic collation', 'a deterministic collation',
                format('alter table %s alter column %I type %s collate pg_catalog."default"', m.table_name, m.name, m.type_name)
            from mine m where m.nondeterministic
            union all
            select 'refuse', 'column_unique', u.table_name,
                case when u.indisexclusion then 'the exclusion constraint ' when u.conname is null then 'the unique index ' else 'the unique constraint ' end
                    || coalesce(u.conname, u.index_name) || coalesce(' on ' || string_agg(c.name, ', ' order by c.attnum), ''),
                'no other than that of business_id: a row that it turns away would leave a secret behind',
                case when u.conname is not null then format('alter table %s drop constraint %I', u.table_name, u.conname)
                    else format('drop index %s', u.qualified) end
            from unique_indexes u
            left join typed c on c.relid = u.relid and c.attnum = any (u.indkey)
            where u.side = 'secrets'
                and not (u.usable and not u.indisexclusion and u.keys = (select array[b.attnum] from business_id b))
                -- Unique by business_id and more turns no row away that business_id lets pass.
                and not (u.usable and not u.indisexclusion and (select b.attnum from business_id b) = any (u.keys)
                    and not exists (select from mine m where m.attnum = any (u.keys)))
                -- A key of the app's own that makes itself.
                and not (u.indisprimary and u.indimmediate and u.indnkeyatts = 1 and exists (
                    select from typed k where k.relid = u.relid and k.attnum = u.keys[1] and (k.has_default or k.attidentity <> '' or k.attgenerated <> '')
                        and k.attnum not in (select m.attnum from mine m)))
            group by u.table_name, u.indisexclusion, u.conname, u.index_name, u.qualified
            union all
            select 'refuse', 'column_check', string_agg(m.object, ', ' order by m.attnum), 'the constraint ' || k.conname || ' ' || k.definition,
                'no CHECK on a sealed column: it holds a reference, and NULL when cleared',
                format('alter table %s drop constraint %I', k.table_name, k.conname)
            from checks k join mine m on k.side = 'secrets' and (m.attnum = any (k.conkey) or 0 = any (k.conkey)) and m.sealed
            cross join ours o
            where not (o.here and (k.conname = m.name || '_is_reference' or k.conname like 'app\_secrets\_%'))
            group by k.table_name, k.conname, k.definition
            union all
            select 'refuse', 'row_check', k.table_name, 'the constraint ' || k.conname || ' ' || k.definition,
                'a CHECK that a new row without values passes', format('alter table %s drop constraint %I', k.table_name, k.conname)
            from judged_checks k
            where k.side = 'secrets' and k.refuses_null
                and not exists (select from mine m where m.sealed and m.attnum = any (k.conkey))
            union all
            select 'warn', 'row_check', k.table_name, 'the constraint ' || k.conname || ' ' || k.definition,
                'it calls functions of the app''s and was not tried: a new row without values has to pass it', null
            from judged_checks k cross join ours o
            where k.side = 'secrets' and k.opaque and not (o.here and k.conname like 'app\_secrets\_%')
                and not exists (select from mine m where m.sealed and (m.attnum = any (k.conkey) or 0 = any (k.conkey)))
            union all
            select 'refuse', 'foreign_key_missing', b.object, 'no foreign key to ' || o.object,
                'references the owner on delete cascade: else a deleted business leaves its secrets behind',
                format('alter table %s add foreign key (%I) references %s (%I) on delete cascade', b.table_name, b.name, o.table_name, o.name)
            from business_id b cross join owner_key o
            where b.base_type = 2950 and o.base_type = 2950 and not exists (select from tie)
            union all
            select 'refuse', 'foreign_key', b.object,
                'the foreign key ' || t.conname || ' ' || concat_ws(', ',
                    case when t.confdeltype <> 'c' then 'without on delete cascade' end, case when t.condeferrable then 'deferrable' end,
                    case when not t.enforced then 'not enforced' end),
                'references the owner on delete cascade, not deferrable',
                format('alter table %s drop constraint %I, add constraint %I foreign key (%I) references %s (%I) on delete cascade',
                    b.table_name, t.conname, t.conname, b.name, o.table_name, o.name)
            from tie t cross join business_id b cross join owner_key o
            where t.confdeltype <> 'c' or t.condeferrable or not t.enforced
            union all
            select 'refuse', 'foreign_key_not_valid', b.object, 'the foreign key ' || t.conname || ' NOT VALID', 'a validated foreign key',
                format('alter table %s validate constraint %I', b.table_name, t.conname)
            from tie t cross join business_id b where not t.convalidated and t.enforced
            union all
            select 'warn', 'foreign_key_update', b.object, 'the foreign key ' || t.conname || ' changes business_id along with the key',
                'a key that does not change: business_id of a row with secrets is refused another value', null
            from tie t cross join business_id b where t.confupdtype in ('c', 'n', 'd')
            union all
            select 'refuse', 'foreign_key_other', b.object, 'the foreign key ' || k.conname || ' to ' || k.confrelid::regclass::text,
                'no other foreign key than that to the owner: a business that is missing there could have no secrets',
                format('alter table %s drop constraint %I', b.table_name, k.conname)
            from foreign_keys k join business_id b on k.conrelid = b.relid and k.conkey = array[b.attnum]
            where exists (select from owner_key) and not exists (select from tie t where t.oid = k.oid)
            union all
            select 'refuse', 'column_foreign_key', m.object, 'the foreign key ' || k.conname || ' to ' || k.confrelid::regclass::text,
                'no foreign key on a column of a secret', format('alter table %s drop constraint %I', m.table_name, k.conname)
            from foreign_keys k join mine m on k.conrelid = m.relid and m.attnum = any (k.conkey)
            union all
            select 'refuse', 'rows_without_business', b.table_name, s.n || ' rows without a business', 'each row has its business: its secrets are nobody''s',
                format('delete from %s s where not exists (select from %s o where o.%I = s.%I)', b.table_name, o.table_name, o.name, b.name)
            from strays s cross join business_id b cross join owner_key o where s.n > 0
            union all
            select 'refuse', case when m.base_type = 1184 then 'expiry_out_of_range' else 'value_too_long' end, m.object,
                c.n || case when m.base_type = 1184 then ' values that are infinite or not of the years 1 to 9999' else ' values over 65,536 bytes' end,
                case when m.base_type = 1184 then 'dates of the years 1 to 9999, or NULL' else 'values of 65,536 bytes at most' end,
                case when m.base_type = 1184 then format(
                    'update %s set %I = null where not isfinite(%I) or %I < %L or %I >= %L', m.table_name, m.name, m.name, m.name,
                    '0001-01-01 00:00:00+00', m.name, '10000-01-01 00:00:00+00') end
            from mine m
            cross join secrets_counts x
            cross join lateral (select substring(x.xml from format('<c%s>([0-9]+)</c', m.attnum))::bigint as n) c
            where c.n > 0
            union all
            select 'refuse', 'two_values', w.object, w.n || ' values that are others than those in ' || w.legacy_object,
                'one value for each secret: keep the one that is in use in ' || w.legacy_object,
                format('update %s set %I = null', w.table_name, w.name)
            from twins w where w.n > 0
            union all
            select 'refuse', 'subscription', t.name, 'rows that the subscription ' || u.subname || ' writes, past every trigger',
                'the tables where they are written first', format('alter subscription %I disable', u.subname)
            from plain t
            join pg_catalog.pg_subscription_rel r on r.srrelid = t.oid
            join pg_catalog.pg_subscription u on u.oid = r.srsubid and u.subenabled
            union all
            select 'refuse', 'security_label', format('%s.%I', t.name, a.attname), 'a security label of pgsodium: ' || l.label,
                'no transparent column encryption on a column that is sealed', format('security label for pgsodium on column %s.%I is null', t.name, a.attname)
            from plain t
            join pg_catalog.pg_seclabel l on l.classoid = 'pg_catalog.pg_class'::regclass and l.objoid = t.oid and l.objsubid > 0 and l.provider = 'pgsodium'
            join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = l.objsubid

            -- Policies, triggers, rules, publications, views ------------------------------------------------------------------
            union all
            select case when p.polpermissive then 'warn' else 'note' end, case when p.polpermissive then 'policy_dropped' else 'policy_kept' end,
                format('policy %I on %s', p.polname, t.name),
                format('%s for %s to %s%s%s', case when p.polpermissive then 'permissive' else 'restrictive' end,
                    case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                    (select string_agg(case when r.id = 0 then 'public' else pg_get_userbyid(r.id)::text end, ', ') from unnest(p.polroles) as r (id)),
                    coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', ''),
                    coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')),
                case when p.polpermissive then 'it is dropped: who may access, app-secrets.json says' else 'nothing: it stays, since it only narrows' end, null
            from plain t join pg_catalog.pg_policy p on p.polrelid = t.oid cross join ours o
            where t.side = 'secrets' and not (o.here and p.polname like 'business\_secrets\_%')
            union all
            select 'refuse', 'trigger_name', format('trigger %I on %s', g.tgname, g.table_name), 'a trigger of another''s under a name of ours', 'another name',
                format('alter trigger %I on %s rename to %I', g.tgname, g.table_name, 'app_' || g.tgname)
            from triggers g
            where g.tgname ~ '^(zz|aa)_app_secrets_' and g.function_schema <> 'app_secrets'
            union all
            select 'warn', 'owner_trigger', format('trigger %I on %s', g.tgname, g.table_name),
                'its function ' || g.function_name || ' names ' || string_agg(l.name, ', ' order by l.name),
                'a trigger that leaves keys as they are written: a value that it changes is refused as it is set', null
            from triggers g
            join legacy l on g.side = 'owner' and g.prosrc ~* ('\m' || l.name || '\M')
            where g.tgenabled <> 'D' and g.function_schema <> 'app_secrets'
            group by g.tgname, g.table_name, g.function_name
            union all
            select 'warn', 'secrets_trigger', format('trigger %I on %s', g.tgname, g.table_name), 'its function ' || g.function_name || ' sees references instead of tokens',
                'a trigger that needs no plaintext and leaves the columns of the secrets alone', null
            from triggers g
            where g.side = 'secrets' and g.tgenabled <> 'D' and g.function_schema <> 'app_secrets'
            union all
            -- Writes of ours to business_secrets happen under our path. To the owner table they happen under the app's.
            select 'refuse', 'secrets_trigger_path', format('trigger %I on %s', g.tgname, g.table_name),
                'its function ' || g.function_name || ' names ' || string_agg(distinct o.name, ', ' order by o.name) || ' without a schema',
                'a function with a search_path of its own', format('alter function %s() set search_path = %s', g.function_name, p.reset_val)
            from triggers g
            join (
                select c.relname::text as name, c.relnamespace as space from pg_catalog.pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
                union
                select f.proname, f.pronamespace from pg_catalog.pg_proc f
            ) o on g.prosrc ~* ('(?<![.a-z0-9_$"])"?' || regexp_replace(o.name, '([^a-zA-Z0-9_])', '\\\1', 'g') || '\M')
            join pg_catalog.pg_namespace n on n.oid = o.space and n.nspname not in ('pg_catalog', 'information_schema', 'app_secrets')
                and n.nspname !~ '^pg_'
            cross join (select s.reset_val from pg_catalog.pg_settings s where s.name = 'search_path') p
            where g.side = 'secrets' and g.tgenabled <> 'D' and g.function_schema <> 'app_secrets' and not g.has_path
                -- Of a function in C it is a symbol's name.
                and g.language in ('sql', 'plpgsql')
            group by g.tgname, g.table_name, g.function_name, p.reset_val
            union all
            select 'refuse', 'rule', format('rule %I on %s', w.rulename, t.name), 'a rule, which rewrites what is written', 'a table without rules',
                format('drop rule %I on %s', w.rulename, t.name)
            from plain t join pg_catalog.pg_rewrite w on w.ev_class = t.oid
            where w.ev_enabled <> 'D'
            union all
            select 'note', 'publication_columns', format('publication %I', p.pubname), 'a list of columns of ' || p.table_name || ' that holds ' || string_agg(l.name, ', ' order by l.name),
                'nothing now: 005 asks to take them off the list first', null
            from published p join legacy l on l.relid = p.relid and l.attnum = any (p.attrs)
            group by p.pubname, p.table_name
            union all
            select 'warn', 'publication_plaintext', format('publication %I', p.pubname), 'it sends ' || p.table_name || ' with its plaintext keys',
                'a list of columns without them: what subscribers hold, no migration scrubs', null
            from published p
            where p.side = 'owner' and p.attrs is null and exists (select from legacy)
            union all
            select 'warn', 'dependent_view', c.kind || ' ' || c.name, 'it shows ' || string_agg(m.name, ', ' order by m.name) || ' of public.business_secrets',
                'it will show references: read public.decrypted_business_secrets instead', null
            from mine m
            join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = m.relid and d.refobjsubid = m.attnum
                and d.classid = 'pg_catalog.pg_rewrite'::regclass
            join pg_catalog.pg_rewrite w on w.oid = d.objid and w.ev_class <> m.relid
            join lateral (
                select case v.relkind when 'm' then 'materialized view' else 'view' end as kind, format('%I.%I', n.nspname, v.relname) as name,
                    n.nspname, v.relname
                from pg_catalog.pg_class v join pg_catalog.pg_namespace n on n.oid = v.relnamespace where v.oid = w.ev_class
            ) c on true
            where m.sealed and c.nspname <> 'app_secrets'
                and not (c.nspname = 'public' and c.relname in ('decrypted_business_secrets', 'business_secret_names', 'business_secret_status'))
            group by c.kind, c.name

            -- Names of ours that are taken ------------------------------------------------------------------------------------
            union all
            select 'refuse', 'schema_taken', 'schema app_secrets', 'a schema that app-secrets has not made', 'no schema of this name',
                'alter schema app_secrets rename to app_secrets_before'
            from pg_catalog.pg_namespace n cross join ours o where n.nspname = 'app_secrets' and not o.here
            union all
            select 'refuse', 'schema_owner', 'schema app_secrets', 'owned by ' || pg_get_userbyid(n.nspowner) || ', and this login is ' || current_user,
                'the login that made it migrates',
                case when not l.super then format('alter schema app_secrets owner to %I', current_user) end
            from pg_catalog.pg_namespace n cross join ours o cross join login l
            where n.nspname = 'app_secrets' and o.here
                -- A superuser's functions would be its own, and run with all its rights.
                and (not pg_has_role(n.nspowner, 'USAGE') or (
                    l.super and l.oid <> n.nspowner and not (select r.rolsuper from pg_catalog.pg_roles r where r.oid = n.nspowner)))
            union all
            select 'refuse', 'relation_taken', format('public.%I', c.relname),
                case c.relkind when 'v' then 'a view' when 'm' then 'a materialized view' when 'i' then 'an index' when 'S' then 'a sequence'
                    when 'f' then 'a foreign table' when 'c' then 'a type' else 'a table' end || ' that app-secrets has not made', 'no object of this name',
                format('alter %s public.%I rename to %I',
                    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index' when 'S' then 'sequence'
                        when 'f' then 'foreign table' when 'c' then 'type' else 'table' end, c.relname, c.relname || '_before')
            from pg_catalog.pg_class c
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
            cross join ours o
            where c.relname in ('decrypted_business_secrets', 'business_secret_names', 'business_secret_status') and not (o.here and c.relkind = 'v')
            union all
            select 'refuse', 'type_taken', format('public.%I', y.typname), 'a type that app-secrets has not made', 'no type of this name',
                format('alter %s public.%I rename to %I', case y.typtype when 'd' then 'domain' else 'type' end, y.typname, y.typname || '_before')
            from pg_catalog.pg_type y
            join pg_catalog.pg_namespace n on n.oid = y.typnamespace and n.nspname = 'public'
            where y.typname in ('business_secrets', 'decrypted_business_secrets', 'business_secret_names', 'business_secret_status') and y.typrelid = 0
            union all
            select 'refuse', 'function_taken', format('public.%I(%s)', listed.proname, listed.arguments), 'a function that app-secrets has not made', 'no function of this name',
                format('alter routine public.%I(%s) rename to %I', listed.proname, listed.arguments, listed.proname || '_before')
            from our_functions listed where not listed.ours
        )
        select listed.severity, listed.code, listed.object, listed.found, listed.needed, listed.fix
        from findings listed
        -- The statements that mend are in an order in which they can be run: tables, then rows, then keys.
        order by array_position(array['refuse', 'warn', 'note'], listed.severity),
            case when listed.code like 'table%' then 1 when listed.code like 'rows%' then 2 when listed.code like 'business_id%' then 3
                when listed.code like 'foreign%' then 5 else 4 end,
            listed.code, listed.object, listed.found
        -- app-secrets: end of pre-flight
    loop
        if v_finding.severity = 'refuse' then
            v_refusals := v_refusals || format('%s: %s; needed: %s', v_finding.object, v_finding.found, v_finding.needed);
            if v_finding.fix is not null then
                v_fixes := v_fixes || v_finding.fix;
            end if;
        elsif v_finding.severity = 'warn' then
            raise warning '%: %; needed: %', v_finding.object, v_finding.found, v_finding.needed;
        end if;
    end loop;
    if v_refusals <> '{}' then
        raise exception 'this database cannot be served as it is; nothing was changed. %', array_to_string(v_refusals, ' | ')
            using errcode = 'AS007', hint = coalesce(nullif(array_to_string(v_fixes, E'\n'), ''), 'Run `app-secrets doctor` for each of them.');
    end if;
end $preflight$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The private schema: nothing in it is exposed to the Data API.
--
-- Every function says `set search_path = pg_catalog, pg_temp`: the temporary schema comes first for types unless the path
-- names it, and a domain of the caller's named `text` would run its CHECK with the rights of a definer function. Functions
-- of others that ours call (auth.uid(), Vault's, the app's triggers) have paths of their own, so whatever calls them refuses
-- such types first.

create schema if not exists app_secrets;
revoke all on schema app_secrets from public, anon, authenticated, service_role;

create table if not exists app_secrets.migrations (
    -- It numbers files.
    -- squawk-ignore prefer-bigint-over-int
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null default session_user,
    -- SHA-256 of the file, hex; null where something other than our runner sent it.
    checksum text,
    -- The file of the table that held plaintext until then: once it is another one, the pages were rewritten.
    plaintext_filenode oid
);

create table if not exists app_secrets.settings (
    -- One row.
    id boolean primary key default true check (id),
    -- Whose rows own secrets: the table as a qualified, quoted name, and its key.
    owner_table text not null,
    owner_key name not null,
    -- Who may access a business: the column that holds the owner's auth.uid(), or a function that gives business ids.
    access_column name,
    access_function text,
    -- The path that the app's own triggers expect, as the migrating login has it by default.
    app_search_path text not null,
    -- How long the value before the present one is kept, sealed; zero keeps none.
    keep_previous interval not null default '7 days' check (keep_previous >= '0'),
    -- Set while a change of Vault's root key is under way: sealed cells refuse writes.
    frozen_at timestamptz
);

-- Which secrets there are. This is the only list.
create table if not exists app_secrets.catalogue (
    name text primary key check (
        name ~ '^[a-z][a-z0-9_]{0,47}$'
        and name not in ('business_id', 'updated_at', 'tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid')),
    -- The order of lists.
    -- squawk-ignore prefer-bigint-over-int
    position integer not null,
    label text not null check (label <> ''),
    -- Encrypted by Vault. What is not sealed is metadata.
    sealed boolean not null default true,
    type text not null default 'text' check (type in ('text', 'timestamptz')),
    -- The plaintext column of the owner table that it moves out of.
    legacy_column name,
    -- Its number, which stays when somebody gives it another name.
    legacy_attnum bigint,
    -- synced: triggers keep both sides equal; filled: 003 has proven them equal once; dropped: the column is gone.
    legacy_state text not null default 'none' check (legacy_state in ('none', 'synced', 'filled', 'dropped')),
    -- pending: plaintext stands in business_secrets; sealing: 003 seals it, and all that is written from then on.
    in_place text not null default 'none' check (in_place in ('none', 'pending', 'sealing', 'sealed')),
    added_at timestamptz not null default now(),
    retired_at timestamptz,
    check (type = 'text' or not sealed),
    check (legacy_column is not null or legacy_state = 'none'),
    check (legacy_column is null or sealed),
    -- What is out of use is compared by nobody, so no plaintext of it may stand beside.
    check (retired_at is null or legacy_state in ('none', 'dropped'))
);

-- Versions come from here: they increase, and none ever comes twice, also after a row or a business is made anew.
create sequence if not exists app_secrets.versions;

-- A plaintext column moves into one secret.
create unique index if not exists catalogue_legacy_column on app_secrets.catalogue (legacy_column)
    where legacy_state in ('synced', 'filled');

-- One row per cell that was ever written; it stays when the secret is cleared, and goes with the business.
create table if not exists app_secrets.secret_versions (
    business_id uuid not null,
    name text not null,
    version bigint not null,
    is_set boolean not null,
    updated_at timestamptz not null,
    updated_by text not null,
    -- Who wrote it last: the mirror carries over what its own transaction changed, and nothing else.
    transaction_id xid8 not null,
    -- Of the present value.
    expires_at timestamptz,
    rotate_every interval check (rotate_every > '0' and rotate_every <= '100 years'),
    last_checked_at timestamptz,
    check_result text check (check_result in ('works', 'refused', 'not_checked')),
    -- Until when the value before can be put back.
    previous_until timestamptz,
    primary key (business_id, name)
);

-- Our rows in Vault. A name that begins as ours do proves nothing.
create table if not exists app_secrets.vault_rows (
    vault_id uuid primary key,
    business_id uuid,
    name text not null,
    -- former: no row of Vault any more, but a reference that somebody may still hold.
    role text not null check (role in ('current', 'previous', 'former', 'canary')),
    at timestamptz not null default now(),
    transaction_id xid8 not null default pg_current_xact_id()
);
-- A cell has one present and one earlier row, and any number of former ones.
create unique index if not exists vault_rows_cell on app_secrets.vault_rows (
    business_id, name, role, (case role when 'former' then vault_id else '00000000-0000-0000-0000-000000000000'::uuid end));

create table if not exists app_secrets.audit_log (
    id bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    business_id uuid not null,
    name text not null,
    action text not null check (action in ('set', 'clear', 'undo')),
    version bigint not null,
    -- The login cannot be forged; the rest is what the session said of itself.
    login text not null,
    jwt_sub text,
    application_name text,
    actor text,
    -- Which side was written: the sealed table or RPC, the plaintext columns, or the backfill of 003.
    origin text not null check (origin in ('sealed', 'legacy', 'backfill')),
    -- The order in which a business's history is read: one index serves both.
    primary key (business_id, id)
);

-- Who read what: one row for each login, secret and day, with the last minute that had a read, since 1970, and the number of
-- such minutes.
create table if not exists app_secrets.access_marks (
    business_id uuid not null,
    login name not null,
    day date not null,
    name text not null,
    minute bigint not null,
    minutes bigint not null,
    primary key (business_id, login, day, name)
) with (fillfactor = 70);
-- Each read looks up its mark by this hash: one number is found sooner than the columns of the primary key, and those of a whole
-- statement are found in one scan. The functions are those by which PostgreSQL makes hash partitions.
create index if not exists access_marks_hash on app_secrets.access_marks (
    (uuid_hash_extended(business_id, hashtextextended(name, hashtextextended(login::text, (day - '1970-01-01'::date)::bigint)))));

-- One holder at a time, for what only one process may do, as spending a refresh token.
create table if not exists app_secrets.leases (
    business_id uuid not null,
    name text not null,
    token uuid not null,
    login name not null,
    expires_at timestamptz not null,
    primary key (business_id, name)
);

-- Where the backfill of 003 and the restore of 005 stand, so that they can be stopped anywhere.
create table if not exists app_secrets.backfill_progress (
    phase text primary key check (phase in ('fill', 'in_place', 'restore')),
    last_id uuid,
    rows_done bigint not null default 0,
    finished boolean not null default false,
    updated_at timestamptz not null default now()
);

-- What 005 dropped with the columns, so that `rollback` can put it back.
create table if not exists app_secrets.dropped_objects (
    id bigint generated always as identity primary key,
    kind text not null,
    object text not null,
    legacy_column name,
    -- The statement that makes it again; null where there is none.
    definition text,
    dropped_at timestamptz not null default now()
);

-- Only the owner and its definer functions get past this; the advisor wants that said in a policy.
do $$
declare
    v_table name;
begin
    foreach v_table in array array[
        'migrations', 'settings', 'catalogue', 'secret_versions', 'vault_rows', 'audit_log', 'access_marks', 'leases',
        'backfill_progress', 'dropped_objects'] loop
        execute format('alter table app_secrets.%I enable row level security', v_table);
        execute format('drop policy if exists nobody on app_secrets.%I', v_table);
        execute format('create policy nobody on app_secrets.%I using (false)', v_table);
    end loop;
end $$;
revoke all on all tables in schema app_secrets from public, anon, authenticated, service_role;
revoke all on all sequences in schema app_secrets from public, anon, authenticated, service_role;

create or replace function app_secrets.require_migration(p_version integer) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_found integer := (select max(m.version) from app_secrets.migrations m);
begin
    if not exists (select from app_secrets.migrations m where m.version = p_version) then
        raise exception 'migration % must be applied first (found: %)', p_version, coalesce(v_found::text, 'none')
            using errcode = 'AS007', hint = 'Run: npx app-secrets migrate';
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The sealed table.

do $table$
declare
    v_wanted constant jsonb := current_setting('app_secrets.wanted')::jsonb;
    v_owner constant regclass := v_wanted ->> 'owner_table';
    v_key constant name := v_wanted ->> 'owner_key';
    v_has_access_column constant boolean := exists (
        select from pg_attribute a
        where a.attrelid = v_owner and a.attname = v_wanted -> 'access' ->> 'column' and not a.attisdropped);
    v_path text;
begin
    set local search_path to default;
    v_path := current_setting('search_path');
    set local search_path = pg_catalog, pg_temp;
    insert into app_secrets.settings (owner_table, owner_key, access_column, access_function, app_search_path)
    values (v_owner::text, v_key, case when v_has_access_column then v_wanted -> 'access' ->> 'column' end,
        v_wanted -> 'access' ->> 'function', case when v_path in ('', '""') then 'pg_catalog' else v_path end)
    -- Its path may change, and that of others is not the app's.
    on conflict (id) do update set app_search_path = excluded.app_search_path
    where session_user = (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'app_secrets');

    execute format(
        'create table if not exists public.business_secrets (business_id uuid primary key references %s (%I) on delete cascade)',
        v_owner, v_key);

    insert into app_secrets.catalogue (name, position, label, sealed, type, legacy_column, legacy_state, in_place)
    select w.name, w.position, coalesce(w.label, w.name), coalesce(w.sealed, true), coalesce(w.type, 'text'),
        l.attname, case when l.attname is null then 'none' else 'synced' end,
        case when exists (
            select from pg_attribute a
            where a.attrelid = 'public.business_secrets'::regclass and a.attname = w.name and not a.attisdropped)
            then 'pending' else 'none' end
    from jsonb_array_elements(v_wanted -> 'secrets') with ordinality as e(secret, position)
    cross join lateral (
        select e.secret ->> 'name' as name, e.secret ->> 'label' as label, (e.secret ->> 'sealed')::boolean as sealed,
            e.secret ->> 'type' as type, e.secret ->> 'legacy_column' as legacy_column, e.position::integer as position) w
    left join pg_attribute l on l.attrelid = v_owner and l.attname = w.legacy_column and l.attnum > 0 and not l.attisdropped
    where not exists (select from app_secrets.catalogue);

    -- Somebody has given a plaintext column another name, or has dropped it; the pre-flight has said so.
    update app_secrets.catalogue c set legacy_column = w.secret ->> 'legacy_column'
    from jsonb_array_elements(v_wanted -> 'secrets') as w(secret)
    where c.name = w.secret ->> 'name' and c.legacy_column = w.secret ->> 'legacy_was'
        and c.legacy_column <> w.secret ->> 'legacy_column';
    update app_secrets.catalogue c set legacy_state = 'dropped'
    where c.legacy_state in ('synced', 'filled') and not exists (
        select from pg_attribute a where a.attrelid = v_owner and a.attname = c.legacy_column and not a.attisdropped);
end $table$;

-- Before any data arrives. RLS does not stop TRUNCATE, which the platform's default privileges hand out.
alter table public.business_secrets enable row level security;
revoke truncate, references, trigger on public.business_secrets from public, anon, authenticated, service_role;
-- now() is stable, so this is a catalogue change and no rewrite.
-- squawk-ignore adding-field-with-default
alter table public.business_secrets add column if not exists updated_at timestamptz not null default now();

-- ---------------------------------------------------------------------------------------------------------------------
-- Values: normalise, seal, reveal.

-- Trims what JavaScript's String.prototype.trim() trims (ECMA-262: WhiteSpace and LineTerminator); blank becomes NULL.
create or replace function app_secrets.normalize(p_value text) returns text
    language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    return nullif(btrim(p_value,
        E' \t\n\u000b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
        '\u2028\u2029\u202f\u205f\u3000\ufeff'), '');
end $$;

-- A value as it is sealed, or a refusal; NULL for a blank one.
create or replace function app_secrets.checked_value(p_business_id uuid, p_name text, p_value text) returns text
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_value constant text := app_secrets.normalize(p_value);
begin
    if octet_length(v_value) > 65536 then
        raise exception '% of business % is % bytes long; at most 65536 are allowed', p_name, p_business_id, octet_length(v_value)
            using errcode = 'AS002';
    end if;
    return v_value;
end $$;

-- The shape of a reference into Vault.
create or replace function app_secrets.is_reference(p_text text) returns boolean
    language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
begin
    return octet_length(p_text) = 36 and p_text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
end $$;

-- supabase_vault, auth.uid() and the app's triggers name types without their schema: a caller's temporary domain named `text`
-- would run its CHECK as whoever runs them.
create or replace function app_secrets.refuse_temporary_types() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from pg_type t
        join pg_type b on b.typname = t.typname and b.typnamespace = 'pg_catalog'::regnamespace
        where t.typnamespace = pg_my_temp_schema()) then
        raise exception 'this session has temporary types named like built-in ones' using errcode = 'insufficient_privilege',
            hint = 'Drop them, or use secrets over another connection.';
    end if;
end $$;

-- The same for whatever a temporary table or type could stand in for: the app's own access function may name tables
-- without their schema.
create or replace function app_secrets.refuse_temporary_names() returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from pg_type t
        join pg_type b on b.typname = t.typname and b.typnamespace <> t.typnamespace
        join pg_namespace n on n.oid = b.typnamespace and n.nspname !~ '^pg_(temp|toast)'
        where t.typnamespace = pg_my_temp_schema()) then
        raise exception 'this session has temporary tables or types named like permanent ones' using errcode = 'insufficient_privilege',
            hint = 'Drop them, or use secrets over another connection.';
    end if;
end $$;

-- Refuses to write a sealed cell while Vault's root key is being changed: what is sealed then might not open afterwards.
create or replace function app_secrets.require_not_frozen() returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from app_secrets.settings s where s.frozen_at is not null) then
        raise exception 'secrets cannot be written while Vault''s root key is being changed' using errcode = 'AS009',
            hint = 'Run `app-secrets rekey finish` or `app-secrets rekey abort`; then write again.';
    end if;
end $$;

-- Keeps the value that a cell is about to lose, in a Vault row of its own, for as long as settings.keep_previous says. A cell
-- named in the setting app_secrets.purge keeps none. Until when is written by record_changes(), which has to write the cell's
-- version anyway and finds the cell in the setting app_secrets.kept.
create or replace function app_secrets.keep_previous(p_business_id uuid, p_name text, p_value text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_purge constant boolean := p_name = any (string_to_array(current_setting('app_secrets.purge', true), ','));
    v_keep interval;
    v_frozen boolean;
    v_id uuid;
    v_stands uuid;
begin
    select s.keep_previous, s.frozen_at is not null, r.vault_id, (select v.id from vault.secrets v where v.id = r.vault_id)
    into v_keep, v_frozen, v_id, v_stands
    from app_secrets.settings s
    left join app_secrets.vault_rows r on r.business_id = p_business_id and r.name = p_name and r.role = 'previous';
    if v_frozen then
        perform app_secrets.require_not_frozen();
    end if;
    if v_keep > '0' and v_purge is not true and p_value is not null then
        if v_stands is not null then
            begin
                perform vault.update_secret(v_id, p_value);
            exception when data_exception then
                -- Sealed under another root key, or damaged.
                delete from vault.secrets s where s.id = v_id;
                v_stands := null;
            end;
        end if;
        if v_stands is null then
            delete from app_secrets.vault_rows r where r.vault_id = v_id;
            v_id := app_secrets.create_vault_row(p_business_id, p_name, 'previous');
            perform vault.update_secret(v_id, p_value);
        end if;
        perform set_config('app_secrets.kept',
            coalesce(current_setting('app_secrets.kept', true), '') || p_business_id || '/' || p_name || ',', true);
    elsif v_id is not null then
        delete from vault.secrets s where s.id = v_id;
        delete from app_secrets.vault_rows r where r.vault_id = v_id;
        update app_secrets.secret_versions v set previous_until = null where v.business_id = p_business_id and v.name = p_name;
    end if;
end $$;

-- An empty row of Vault, registered as ours. create_secret() writes what it is given to heap and WAL before it encrypts, so
-- it is only ever given ''.
create or replace function app_secrets.create_vault_row(p_business_id uuid, p_name text, p_role text) returns uuid
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_name constant text := case when p_role = 'canary' then 'app_secrets/canary'
        else 'business_secrets/' || p_business_id || '/' || p_name || case when p_role = 'previous' then '/previous' else '' end end;
    v_id uuid;
begin
    if exists (select from vault.secrets s where s.name = v_name) then
        raise exception 'Vault has a secret that is not ours under the name that this cell needs' using errcode = 'AS007',
            hint = 'Run `app-secrets migrate --reapply`: it registers what a cell refers to. Give what is not ours another name; '
                'those that begin with business_secrets/ belong to app_secrets.';
    end if;
    v_id := vault.create_secret('', v_name, case p_role
        when 'canary' then 'Tells a wrong root key from a broken row: leave it as it is'
        when 'previous' then 'The value before the present one of a cell of public.business_secrets'
        else 'Cell of public.business_secrets: write there, not here' end);
    insert into app_secrets.vault_rows (vault_id, business_id, name, role) values (v_id, p_business_id, p_name, p_role);
    return v_id;
end $$;

-- Stores a value in the cell's Vault row and gives its reference; `changed` tells whether it was another value before.
create or replace function app_secrets.seal(
    p_business_id uuid, p_name text, p_value text, out reference text, out changed boolean)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
    v_frozen boolean;
    v_before text;
    v_opens boolean;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    select r.vault_id, s.frozen_at is not null into v_id, v_frozen
    from app_secrets.settings s
    left join app_secrets.vault_rows r on r.business_id = p_business_id and r.name = p_name and r.role = 'current';
    if v_frozen then
        perform app_secrets.require_not_frozen();
    end if;
    if v_id is not null then
        begin
            select d.decrypted_secret into v_before from vault.decrypted_secrets d where d.id = v_id;
            v_opens := found;
        exception when data_exception then
            -- Sealed under another root key, or damaged: update_secret would fail on it for ever.
            v_opens := false;
        end;
        changed := p_value is distinct from v_before;
        if not v_opens then
            -- Also where the row is lost, as after a restore.
            delete from vault.secrets s where s.id = v_id;
            delete from app_secrets.vault_rows r where r.vault_id = v_id;
            v_id := null;
        elsif changed then
            perform app_secrets.keep_previous(p_business_id, p_name, v_before);
            perform vault.update_secret(v_id, p_value);
        end if;
    end if;
    if v_id is null then
        -- The value was lost in Vault, and stands in the plaintext column still: it can be put back like any other.
        if app_secrets.sync_is_on() and exists (
            select from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name and v.is_set) then
            v_before := app_secrets.normalize(app_secrets.read_legacy(p_business_id) ->> p_name);
            if v_before is not null and v_before is distinct from p_value then
                perform app_secrets.keep_previous(p_business_id, p_name, v_before);
            end if;
        end if;
        v_id := app_secrets.create_vault_row(p_business_id, p_name, 'current');
        perform vault.update_secret(v_id, p_value);
        changed := true;
    end if;
    reference := v_id::text;
end $$;

-- The value behind a reference, if it is this very cell's. NULL for another cell's, a dangling or an undecryptable one: one
-- broken row must not take the whole view down; the RPC and `doctor` tell these apart.
create or replace function app_secrets.reveal(p_business_id uuid, p_name text, p_reference text) returns text
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_reference is null or not app_secrets.is_reference(p_reference) then
        return null;
    end if;
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    return (
        select d.decrypted_secret from vault.decrypted_secrets d
        where d.id = p_reference::uuid and d.name = 'business_secrets/' || p_business_id || '/' || p_name);
exception when data_exception then
    return null;
end $$;

-- Whether a text of a reference's shape is one in this cell: it is registered, or the cell has had a version, so that it held
-- references before. Vault and its register may both be lost.
create or replace function app_secrets.is_known(p_business_id uuid, p_name text, p_text text) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from app_secrets.vault_rows r
        where r.vault_id = p_text::uuid and r.business_id = p_business_id and r.name = p_name)
        or exists (
            select from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name and v.is_set);
end $$;

-- The same for a column that held plaintext before 003: what is no reference of ours is the value itself.
create or replace function app_secrets.reveal_in_place(p_business_id uuid, p_name text, p_stored text) returns text
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_stored is null or not app_secrets.is_reference(p_stored) or not app_secrets.is_known(p_business_id, p_name, p_stored) then
        return p_stored;
    end if;
    return app_secrets.reveal(p_business_id, p_name, p_stored);
end $$;

-- After a restore that lacked app_secrets.vault_rows: registers rows of Vault that are proven ours, and gives how many. A
-- cell refers to the row that has its name; a version knows of a present or an earlier value, where no other row is
-- registered for it; the probe opens to its own text.
create or replace function app_secrets.register_vault_rows() returns bigint
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
declare
    v_row record;
    v_cell text;
    v_role text;
    v_probe text;
    v_registered bigint := 0;
begin
    for v_row in
        select v.id, v.name, substr(v.name, 18, 36) as business_id, split_part(v.name, '/', 3) as cell, split_part(v.name, '/', 4) as kind
        from vault.secrets v
        where (v.name like 'business\_secrets/%' or v.name = 'app_secrets/canary')
            and not exists (select from app_secrets.vault_rows r where r.vault_id = v.id and r.role <> 'former')
    loop
        v_role := null;
        if v_row.name = 'app_secrets/canary' then
            begin
                select d.decrypted_secret into v_probe from vault.decrypted_secrets d where d.id = v_row.id;
            exception when data_exception then
                v_probe := null;
            end;
            if v_probe = 'app-secrets canary' then
                delete from app_secrets.vault_rows r where r.role = 'canary';
                v_role := 'canary';
            end if;
        elsif app_secrets.is_reference(v_row.business_id) and exists (
            select from app_secrets.catalogue c where c.name = v_row.cell and c.sealed)
            and v_row.name = concat_ws('/', 'business_secrets', v_row.business_id, v_row.cell, nullif(v_row.kind, '')) then
            select to_jsonb(s.*) ->> v_row.cell into v_cell from public.business_secrets s where s.business_id = v_row.business_id::uuid;
            select case
                when v_row.kind = '' and (v_cell = v_row.id::text or v.is_set) then 'current'
                when v_row.kind = 'previous' and (v.previous_until is not null or v.name is null) then 'previous' end
            into v_role
            from (select) one
            left join app_secrets.secret_versions v on v.business_id = v_row.business_id::uuid and v.name = v_row.cell;
            -- One that is registered for the cell and is not in Vault any more gives way.
            delete from app_secrets.vault_rows r
            where v_role is not null and r.business_id = v_row.business_id::uuid and r.name = v_row.cell and r.role = v_role
                and not exists (select from vault.secrets v where v.id = r.vault_id);
        end if;
        if v_role is not null then
            insert into app_secrets.vault_rows as r (vault_id, business_id, name, role)
            values (v_row.id, case when v_role <> 'canary' then v_row.business_id::uuid end,
                case when v_role = 'canary' then 'canary' else v_row.cell end, v_role)
            on conflict (vault_id) do update set role = excluded.role, at = now();
            v_registered := v_registered + 1;
        end if;
    end loop;
    return v_registered;
end $$;

do $$
begin
    if exists (select from app_secrets.migrations m where m.version >= 2) then
        perform app_secrets.register_vault_rows();
    end if;
end $$;

-- Says that Vault works before anything relies on it, and later on tells a wrong root key, under which nothing can be
-- opened, from a broken row.
do $$
declare
    v_id uuid := (select r.vault_id from app_secrets.vault_rows r where r.role = 'canary');
begin
    if v_id is null or not exists (select from vault.secrets s where s.id = v_id) then
        delete from app_secrets.vault_rows r where r.role = 'canary';
        v_id := app_secrets.create_vault_row(null, 'canary', 'canary');
        perform vault.update_secret(v_id, 'app-secrets canary');
        if (select d.decrypted_secret from vault.decrypted_secrets d where d.id = v_id) is distinct from 'app-secrets canary' then
            raise exception 'Supabase Vault does not give back what it was given' using errcode = 'AS007';
        end if;
    end if;
end $$;

-- Refuses to work on where the root key is not the one that secrets were sealed under.
create or replace function app_secrets.require_root_key() returns void
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_found text;
begin
    begin
        select d.decrypted_secret into v_found
        from vault.decrypted_secrets d join app_secrets.vault_rows r on r.vault_id = d.id and r.role = 'canary';
    exception when data_exception then
        v_found := null;
    end;
    if v_found is distinct from 'app-secrets canary' then
        raise exception 'Vault does not open what was sealed here: its root key is another one, or Vault was restored without its rows'
            using errcode = 'AS007', hint = 'Give Vault its root key back, then run this again. `app-secrets doctor` says more.';
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Who and what: versions, audit and push.

create or replace function app_secrets.jwt_sub() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub';
exception when data_exception then
    return null;
end $$;

-- Push: ids, names and versions, never values; a hint to read again, since anyone can listen to it and anyone can forge it.
-- A payload ends at 8,000 bytes: beyond that `versions` is null, and everything of that business may have changed.
create or replace function app_secrets.notify_business(p_business_id uuid, p_versions jsonb) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_payload text := jsonb_build_object('business_id', p_business_id, 'versions', p_versions);
begin
    if octet_length(v_payload) > 7900 then
        v_payload := jsonb_build_object('business_id', p_business_id, 'versions', null);
    end if;
    perform pg_notify('business_secrets_changed', v_payload);
end $$;

-- One version and one audit row for each cell that changed, and a notification of them; nothing for those that did not. Planned
-- once a session: left to itself, PostgreSQL plans it for every number of names anew.
create or replace function app_secrets.record_changes(p_business_id uuid, p_set text[], p_cleared text[]) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
    v_sub constant text := case when current_setting('request.jwt.claims', true) <> '' then app_secrets.jwt_sub() end;
    v_application constant text := nullif(current_setting('application_name'), '');
    v_actor constant text := nullif(current_setting('app_secrets.actor', true), '');
    v_origin constant text := coalesce(nullif(current_setting('app_secrets.origin', true), ''), 'sealed');
    v_undone constant text := nullif(current_setting('app_secrets.undone', true), '');
    v_names constant text[] := p_set || p_cleared;
    v_kept text := coalesce(current_setting('app_secrets.kept', true), '');
    v_versions jsonb;
    v_name text;
begin
    if cardinality(v_names) = 0 then
        return;
    end if;
    with changed as (
        insert into app_secrets.secret_versions as v (
            business_id, name, version, is_set, updated_at, updated_by, transaction_id, previous_until)
        select p_business_id, c.name, nextval('app_secrets.versions'), c.ord <= cardinality(p_set), clock_timestamp(),
            coalesce(v_sub, concat_ws('/', session_user, v_application, v_actor)), pg_current_xact_id(),
            -- Anybody may have set the setting: a time without a value would offer an undo that is none.
            case when strpos(v_kept, p_business_id || '/' || c.name || ',') > 0 then (
                select now() + s.keep_previous from app_secrets.settings s, app_secrets.vault_rows r
                where r.business_id = p_business_id and r.name = c.name and r.role = 'previous') end
        from unnest(v_names) with ordinality as c(name, ord)
        on conflict (business_id, name) do update
            set version = excluded.version, is_set = excluded.is_set,
                updated_at = excluded.updated_at, updated_by = excluded.updated_by, transaction_id = excluded.transaction_id,
                previous_until = coalesce(excluded.previous_until, v.previous_until),
                expires_at = null, last_checked_at = null, check_result = null
        returning v.name, v.version, v.is_set
    ), audited as (
        insert into app_secrets.audit_log (business_id, name, action, version, origin, jwt_sub, login, application_name, actor)
        select p_business_id, c.name,
            case when c.name = v_undone then 'undo' when c.is_set then 'set' else 'clear' end, c.version, v_origin,
            v_sub, session_user, v_application, v_actor
        from changed c
        order by c.name
    )
    select jsonb_object_agg(c.name, c.version) into v_versions from changed c;
    -- The backfill changes nothing for those who read; the condition on the login keeps services from claiming it.
    if v_origin <> 'backfill' or not pg_has_role(session_user, current_user, 'member') then
        perform app_secrets.notify_business(p_business_id, v_versions);
    end if;
    if v_kept <> '' then
        foreach v_name in array v_names loop
            v_kept := replace(v_kept, p_business_id || '/' || v_name || ',', '');
        end loop;
        perform set_config('app_secrets.kept', v_kept, true);
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Locks, while there is a sync: one order for all, the owner row and then the secrets row, so that no transaction of old
-- code can deadlock that could not before. Old code's statements lock the owner row themselves. New code waits for it only
-- while it holds nothing of ours; where it does (the second row of a bulk upsert, a plain UPDATE or DELETE, which has
-- locked its secrets row already), it takes the owner row at once or is refused with 40001, to be tried again. PostgREST
-- repeats a 40001 without end and answers 409 to PT409.
-- app_secrets.lock_owner_row() is made from the settings, below.

-- lock_timeout counts anew for each lock, and a caller waits once: the client names the point in time, in milliseconds since
-- 1970 by this server's clock, after which nobody waits for its write any more. Each lock that follows another is given what
-- is left, and a write that is late is not carried out.
create or replace function app_secrets.keep_deadline() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_left constant bigint := nullif(current_setting('app_secrets.wait_until', true), '')::bigint
        - (extract(epoch from clock_timestamp()) * 1000)::bigint;
begin
    if v_left <= 0 then
        raise exception 'the time for this write is over' using errcode = 'lock_not_available', hint = 'Nothing was changed. Try again.';
    elsif v_left is not null then
        perform set_config('lock_timeout', v_left::text, true);
    end if;
end $$;

create or replace function app_secrets.lock_owner(p_business_id uuid, p_may_wait boolean) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Old code's write came first: the mirror runs under the lock of its owner row. The depth keeps a session from
    -- claiming that by itself.
    if pg_trigger_depth() > 0 and current_setting('app_secrets.mirroring', true) = p_business_id::text then
        return;
    end if;
    -- The backfill has locked all that it fills; the condition on the login keeps services from claiming it.
    if current_setting('app_secrets.origin', true) = 'backfill' and pg_has_role(session_user, current_user, 'member') then
        return;
    end if;
    if p_may_wait and coalesce(current_setting('app_secrets.holds', true), '') = '' then
        perform app_secrets.lock_owner_row(p_business_id, true);
        perform app_secrets.keep_deadline();
    elsif not app_secrets.lock_owner_row(p_business_id, false) and app_secrets.owner_exists(p_business_id) then
        raise exception 'business % is being written by another transaction', p_business_id
            using errcode = case when session_user = 'authenticator' then 'PT409' else '40001' end,
            hint = 'Nothing was changed. Try again.';
    end if;
    perform set_config('app_secrets.holds', '1', true);
end $$;

-- Locks the business and says whether it has a row of secrets. Where it has none, nobody else can insert one before this
-- transaction ends.
create or replace function app_secrets.lock_row(p_business_id uuid, out stored jsonb)
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    if app_secrets.sync_is_on() then
        perform app_secrets.lock_owner(p_business_id, true);
    end if;
    select to_jsonb(s.*) into stored from public.business_secrets s where s.business_id = p_business_id for update;
    if stored is null and not app_secrets.sync_is_on() then
        perform pg_advisory_xact_lock(hashtextextended('business_secrets/' || p_business_id, 0));
        perform app_secrets.keep_deadline();
        select to_jsonb(s.*) into stored from public.business_secrets s where s.business_id = p_business_id for update;
    end if;
    perform app_secrets.keep_deadline();
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealing.

-- Whether a text was computed from one of these tokens, which are its keys: eight digits of one in a row, in whatever case and
-- with whatever between them. A hash of one cannot be told from a value.
create or replace function app_secrets.resembles_token(p_text text, p_pending jsonb) returns boolean
    language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
declare
    v_text constant text := regexp_replace(lower(p_text), '[^0-9a-f]', '', 'g');
begin
    return exists (
        select from jsonb_object_keys(p_pending) as t(token)
        cross join generate_series(1, 25) as p(place)
        where strpos(v_text, substr(replace(t.token, '-', ''), p.place, 8)) > 0);
end $$;

-- BEFORE INSERT OR UPDATE, last in line. Its arguments are lists, separated by commas: sealed names, text metadata and points
-- in time.
--
-- An insert may still turn into ON CONFLICT DO UPDATE, DO NOTHING or a unique violation. Where the row is there already that
-- is certain, so nothing may be created: each plaintext is handed over to the UPDATE in one transaction-local setting, under
-- a random token of the shape of a reference that stands in its column meanwhile. Functions of ours hand values over in the
-- same way, since in the table itself a text of that shape may be a reference that was read.
create or replace function app_secrets.seal_row() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_sealed constant text[] := string_to_array(tg_argv[0], ',');
    v_texts constant text[] := string_to_array(tg_argv[1], ',');
    v_times constant text[] := string_to_array(tg_argv[2], ',');
    v_new constant jsonb := to_jsonb(new);
    v_old jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) else '{}' end;
    v_pending jsonb := coalesce(nullif(current_setting('app_secrets.pending', true), ''), '{}')::jsonb;
    v_stash jsonb := '{}';
    v_patch jsonb := '{}';
    v_set text[] := '{}';
    v_cleared text[] := '{}';
    v_conflict boolean := false;
    -- How many values came from functions of ours; NULL once anything else was changed.
    v_taken integer := 0;
    v_is_value boolean;
    v_name text;
    v_value text;
    v_before text;
    v_role text;
    v_token text;
    v_result record;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    if new.business_id is null then
        raise exception 'business_secrets.business_id must not be null' using errcode = 'not_null_violation';
    end if;
    -- `rekey finish` puts one reference in the place of another; the condition on the login keeps services from claiming it.
    if current_setting('app_secrets.origin', true) = 'rekey' and pg_has_role(session_user, current_user, 'member') then
        return new;
    end if;
    if tg_op = 'INSERT' then
        v_old := app_secrets.lock_row(new.business_id);
        v_conflict := v_old is not null;
        v_old := coalesce(v_old, '{}');
    elsif new.business_id <> old.business_id then
        raise exception 'business_secrets.business_id cannot be changed' using errcode = 'AS002',
            hint = 'A sealed cell belongs to its business: insert a row for the other business instead.';
    else
        foreach v_name in array app_secrets.synced_names() loop
            if v_new ->> v_name is distinct from v_old ->> v_name then
                perform app_secrets.lock_owner(new.business_id, false);
                exit;
            end if;
        end loop;
    end if;

    -- From here on this transaction holds a row of ours.
    perform set_config('app_secrets.holds', '1', true);

    foreach v_name in array v_sealed loop
        v_value := v_new ->> v_name;
        v_before := v_old ->> v_name;
        if v_value is null then
            if v_before is not null and tg_op = 'UPDATE' then
                v_cleared := v_cleared || v_name;
                v_taken := null;
            end if;
            continue;
        end if;
        -- Untouched, or a row that was read and is written back; also where the reference opens nothing any more.
        continue when v_value = v_before and app_secrets.is_reference(v_value);

        v_is_value := false;
        if v_pending <> '{}' then
            if v_pending ? v_value then
                if v_conflict then
                    v_stash := v_stash || jsonb_build_object(v_value, v_pending -> v_value);
                    continue;
                end if;
                v_value := v_pending ->> v_value;
                v_is_value := true;
                v_taken := v_taken + 1;
            elsif app_secrets.resembles_token(v_value, v_pending) then
                raise exception '% cannot be computed from excluded.%', v_name, v_name using errcode = 'AS002',
                    hint = 'In ON CONFLICT DO UPDATE assign excluded.<column> as it is.';
            end if;
        end if;
        if not v_is_value then
            v_taken := null;
        end if;
        -- Only this cell's own reference counts as one. Any other text, another cell's reference included, is a value.
        if not v_is_value and app_secrets.is_reference(v_value) then
            select r.role into v_role from app_secrets.vault_rows r
            where r.vault_id = v_value::uuid and r.business_id = new.business_id and r.name = v_name;
            if v_role = 'current' then
                if not v_conflict then
                    v_set := v_set || v_name;
                end if;
                continue;
            elsif v_role is not null then
                raise exception '% of business % has changed since it was read', v_name, new.business_id using errcode = 'AS002',
                    hint = 'Read the row again; to write a value, write it in clear.';
            end if;
        end if;

        v_value := app_secrets.checked_value(new.business_id, v_name, v_value);
        if v_value is null then
            v_patch := v_patch || jsonb_build_object(v_name, null);
            if v_before is not null and not v_conflict then
                v_cleared := v_cleared || v_name;
            end if;
        elsif v_conflict then
            -- Its parts begin with letters: what is computed with initcap() or upper() differs from it.
            v_token := (
                select string_agg(translate(left(t.part, 1), '0123456789', 'abcdefabcd') || substr(t.part, 2), '-' order by t.ord)
                from regexp_split_to_table(gen_random_uuid()::text, '-') with ordinality as t(part, ord));
            v_stash := v_stash || jsonb_build_object(v_token, v_value);
            v_patch := v_patch || jsonb_build_object(v_name, v_token);
        else
            v_result := app_secrets.seal(new.business_id, v_name, v_value);
            v_patch := v_patch || jsonb_build_object(v_name, v_result.reference);
            -- Text stood in the cell: that is the value before, whatever Vault held.
            if v_before is not null and not app_secrets.is_reference(v_before)
                and app_secrets.normalize(v_before) is distinct from v_value then
                perform app_secrets.keep_previous(new.business_id, v_name, app_secrets.normalize(v_before));
                v_result.changed := true;
            end if;
            if v_result.changed or v_before is null then
                v_set := v_set || v_name;
            end if;
        end if;
    end loop;

    foreach v_name in array v_texts loop
        v_value := v_new ->> v_name;
        continue when v_value is null or v_value = v_old ->> v_name;
        if v_pending <> '{}' and tg_op = 'UPDATE' and app_secrets.resembles_token(v_value, v_pending) then
            raise exception '% cannot be computed from a sealed column', v_name using errcode = 'AS002';
        end if;
        v_patch := v_patch || jsonb_build_object(v_name, app_secrets.checked_value(new.business_id, v_name, v_value));
    end loop;
    foreach v_name in array v_times loop
        continue when v_new ->> v_name is null or v_new ->> v_name = v_old ->> v_name;
        -- The last one is the last that JavaScript's Date can say.
        if not isfinite((v_new ->> v_name)::timestamptz)
            or (v_new ->> v_name)::timestamptz not between '0001-01-01T00:00:00Z' and '275760-09-13T00:00:00Z' then
            raise exception '% must be a point in time from year 1 to 275760', v_name using errcode = 'AS002';
        end if;
    end loop;

    if v_patch <> '{}' then
        new := jsonb_populate_record(new, v_patch);
    end if;
    if v_conflict then
        perform set_config('app_secrets.pending', v_stash::text, true);
        return new;
    end if;
    if current_setting('app_secrets.pending', true) <> '' then
        perform set_config('app_secrets.pending', '', true);
    end if;
    if current_setting('app_secrets.mirrored', true) <> '' then
        perform set_config('app_secrets.mirrored',
            case when current_setting('app_secrets.mirrored', true) = v_taken::text then 'as given' else '' end, true);
    end if;

    if tg_op = 'INSERT' then
        -- Whether the row is really inserted is known after it only: reap_row() records what was written, and
        -- reap_statement() removes what was sealed for a row that another constraint kept out.
        perform set_config('app_secrets.inserting',
            (coalesce(nullif(current_setting('app_secrets.inserting', true), ''), '0')::integer + 1)::text, true);
        new.updated_at := now();
        return new;
    end if;
    -- Metadata has versions too: caches and watchers follow it like the rest.
    v_patch := to_jsonb(new);
    foreach v_name in array v_texts || v_times loop
        if v_patch ->> v_name is distinct from v_old ->> v_name then
            if v_patch ->> v_name is null then
                v_cleared := v_cleared || v_name;
            else
                v_set := v_set || v_name;
            end if;
        end if;
    end loop;
    foreach v_name in array v_cleared loop
        if v_name = any (v_sealed) then
            perform app_secrets.keep_previous(new.business_id, v_name,
                app_secrets.normalize(app_secrets.reveal_in_place(new.business_id, v_name, v_old ->> v_name)));
        end if;
    end loop;
    perform app_secrets.record_changes(new.business_id, v_set, v_cleared);
    new.updated_at := case when v_set <> '{}' or v_cleared <> '{}' then now() else old.updated_at end;
    return new;
end $$;

-- BEFORE DELETE of a row that a plaintext column stands beside: the owner row first, without waiting. A cascade comes from
-- the owner row, which is gone then.
create or replace function app_secrets.lock_deleted() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform app_secrets.lock_owner(old.business_id, false);
    return old;
end $$;

-- A business is gone: the audit keeps what happened, and nothing needs a version or a way back. Caches are told a version of each
-- name that is later than what they know.
create or replace function app_secrets.forget_business(p_business_id uuid) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_versions jsonb;
begin
    select jsonb_object_agg(v.name, nextval('app_secrets.versions')) into v_versions
    from app_secrets.secret_versions v where v.business_id = p_business_id;
    if v_versions is not null then
        perform app_secrets.notify_business(p_business_id, v_versions);
    end if;
    delete from vault.secrets s using app_secrets.vault_rows r
    where s.id = r.vault_id and r.business_id = p_business_id and r.role in ('current', 'previous');
    delete from app_secrets.vault_rows r where r.business_id = p_business_id;
    delete from app_secrets.secret_versions v where v.business_id = p_business_id;
    delete from app_secrets.access_marks a where a.business_id = p_business_id;
    delete from app_secrets.leases l where l.business_id = p_business_id;
end $$;

-- AFTER INSERT, UPDATE OR DELETE: records what an insert wrote; the Vault rows of cells that were cleared, or went away with
-- their row, go too.
create or replace function app_secrets.reap_row() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_sealed constant text[] := string_to_array(tg_argv[0], ',');
    v_all constant text[] := v_sealed || string_to_array(tg_argv[1], ',') || string_to_array(tg_argv[2], ',');
    v_old constant jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    v_new constant jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    v_pending constant text := current_setting('app_secrets.pending', true);
    v_dead uuid[];
    v_name text;
begin
    -- A token that reached the table would be a lost secret: an INSERT was to turn into an UPDATE, or seal_row() did not run.
    if v_pending <> '' then
        if exists (select from unnest(v_sealed) as c(name) where v_pending::jsonb ? (v_new ->> c.name)) then
            raise exception 'business_secrets does not seal what is written to it' using errcode = 'AS007',
                hint = 'Nothing was written. A trigger is disabled or gone: `app-secrets doctor` names it.';
        end if;
    end if;
    if tg_op = 'INSERT' then
        perform set_config('app_secrets.inserting',
            (coalesce(nullif(current_setting('app_secrets.inserting', true), ''), '0')::integer - 1)::text, true);
        perform app_secrets.record_changes(
            new.business_id, array(select n.name from unnest(v_all) as n(name) where v_new ->> n.name is not null), '{}');
        return null;
    end if;
    if tg_op = 'DELETE' and not app_secrets.owner_exists(old.business_id) then
        perform app_secrets.forget_business(old.business_id);
        return null;
    end if;
    if tg_op = 'DELETE' then
        foreach v_name in array v_sealed loop
            if v_old ->> v_name is not null then
                perform app_secrets.keep_previous(old.business_id, v_name,
                    app_secrets.normalize(app_secrets.reveal_in_place(old.business_id, v_name, v_old ->> v_name)));
            end if;
        end loop;
        perform app_secrets.record_changes(
            old.business_id, '{}', array(select n.name from unnest(v_all) as n(name) where v_old ->> n.name is not null));
    end if;
    -- Nothing was cleared: every name that had a value has one.
    if jsonb_strip_nulls(v_old) || jsonb_strip_nulls(v_new) = jsonb_strip_nulls(v_new) then
        return null;
    end if;
    select array_agg(r.vault_id) into v_dead
    from unnest(v_sealed) as c(name)
    join app_secrets.vault_rows r on r.business_id = old.business_id and r.name = c.name and r.role = 'current'
    where v_old ->> c.name is not null and v_new ->> c.name is null;
    if v_dead is not null then
        delete from vault.secrets s where s.id = any (v_dead);
        -- Whoever read the reference before may still write it back.
        update app_secrets.vault_rows r set role = 'former', at = now() where r.vault_id = any (v_dead);
    end if;
    return null;
end $$;

-- AFTER each INSERT statement, also of no row: what was sealed for rows that were not inserted.
create or replace function app_secrets.reap_statement() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_dead uuid[];
begin
    if coalesce(nullif(current_setting('app_secrets.inserting', true), ''), '0') <> '0' then
        perform set_config('app_secrets.inserting', '', true);
        select array_agg(r.vault_id) into v_dead
        from app_secrets.vault_rows r
        where r.transaction_id = pg_current_xact_id() and r.role in ('current', 'previous')
            and not exists (select from public.business_secrets s where s.business_id = r.business_id)
            and not exists (
                select from app_secrets.secret_versions v where v.business_id = r.business_id and v.name = r.name);
        delete from vault.secrets s where s.id = any (v_dead);
        delete from app_secrets.vault_rows r where r.vault_id = any (v_dead);
    end if;
    return null;
end $$;

create or replace function app_secrets.reap_all() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_business_id uuid;
    v_names text[];
begin
    delete from vault.secrets s using app_secrets.vault_rows r where s.id = r.vault_id and r.role <> 'canary';
    delete from app_secrets.vault_rows r where r.role <> 'canary';
    update app_secrets.secret_versions v set previous_until = null where v.previous_until is not null;
    for v_business_id, v_names in
        select v.business_id, array_agg(v.name)
        from app_secrets.secret_versions v
        where v.is_set
        group by v.business_id
    loop
        perform app_secrets.record_changes(v_business_id, '{}', v_names);
    end loop;
    -- TRUNCATE ... CASCADE of the owner table.
    delete from app_secrets.secret_versions v where not app_secrets.owner_exists(v.business_id);
    -- Everything may have changed.
    perform pg_notify('business_secrets_changed', '{"business_id": null, "versions": null}');
    return null;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The mirrors, while a name has both places.

-- business_secrets to owner table: makes the plaintext columns equal to {name: value}, and sees that they are. A trigger of the
-- app's may make another value of one, which the sync carries back; where it withholds the write, the two sides would differ.
create or replace function app_secrets.write_legacy(p_business_id uuid, p_values jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_path constant text := (select s.app_search_path || ', pg_temp' from app_secrets.settings s);
    -- One value, as most writes are, has a statement of its own, which is planned once a session.
    v_name constant text := jsonb_path_query_first(p_values, '$.keyvalue().key') #>> '{}';
    v_after jsonb;
    v_constraint text;
    v_table text;
    v_schema text;
    v_column text;
    v_type text;
    v_hint text;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    begin
        perform set_config('app_secrets.writing_legacy', p_business_id::text, true);
        if p_values ->> v_name is not null and p_values - v_name = '{}' then
            v_after := jsonb_build_object(v_name, app_secrets.write_legacy_value(p_business_id, v_name, p_values ->> v_name, v_path));
        else
            v_after := app_secrets.write_legacy_values(p_business_id, p_values, v_path);
        end if;
        if current_setting('server_version_num')::integer < 180000 and not pg_has_role(session_user, current_user, 'member') then
            perform app_secrets.run_deferred_triggers(v_path);
        end if;
        perform set_config('app_secrets.writing_legacy', '', true);
    exception when integrity_constraint_violation then
        -- Its DETAIL shows the whole row, with columns that the caller may not read.
        get stacked diagnostics v_constraint = constraint_name, v_table = table_name, v_schema = schema_name, v_column = column_name,
            v_type = pg_datatype_name, v_hint = pg_exception_hint;
        raise exception '%', sqlerrm using errcode = sqlstate, constraint = v_constraint, table = v_table, schema = v_schema,
            column = v_column, datatype = v_type, hint = v_hint;
    end;
    if v_after is null or exists (
        select from jsonb_each_text(p_values) e
        where (v_after ->> e.key) is distinct from e.value and app_secrets.normalize(v_after ->> e.key) is distinct from e.value) then
        perform app_secrets.require_equal_sides(p_business_id, p_values);
    end if;
end $$;

-- The statement of write_legacy() for several values, or to clear one: a column that is NOT NULL is cleared to its default. It runs
-- under the path that the app's triggers are used to, after refusing temporary types. Gives what stands there then.
create or replace function app_secrets.write_legacy_values(p_business_id uuid, p_values jsonb, p_path text) returns jsonb
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings app_secrets.settings;
    v_assignments text;
    v_returned text;
    v_after jsonb;
begin
    select s.* into v_settings from app_secrets.settings s;
    select string_agg(case
            when p_values ->> c.name is null and a.attnotnull then format('%I = default', c.legacy_column)
            else format('%I = ($1 operator(pg_catalog.->>) %L)', c.legacy_column, c.name) end, ', '),
        format('pg_catalog.jsonb_object(%L::text[], array[%s])', array_agg(c.name), string_agg(format('b.%I::pg_catalog.text', c.legacy_column), ', '))
    into v_assignments, v_returned
    from app_secrets.catalogue c
    join pg_attribute a on a.attrelid = v_settings.owner_table::regclass and a.attname = c.legacy_column
    where c.legacy_state in ('synced', 'filled') and p_values ? c.name;
    if v_assignments is null then
        return p_values;
    end if;
    perform set_config('search_path', p_path, true);
    execute pg_catalog.format('update /* app-secrets */ %s b set %s where b.%I operator(pg_catalog.=) $2 returning %s',
        v_settings.owner_table, v_assignments, v_settings.owner_key, v_returned)
    into v_after using p_values, p_business_id;
    return v_after;
end $$;

-- Runs the app's deferred triggers on the owner table at once, for what was written so far. Before PostgreSQL 18 they run as whoever
-- is the user at the end of the transaction, and a service has no rights there: for it they run with ours, as every other trigger does.
-- For whoever may act as the owner they stay deferred. A name that another constraint has too is left out, since that one would be
-- switched along with it.
create or replace function app_secrets.run_deferred_triggers(p_path text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_names text;
begin
    select string_agg(format('%s.%I', k.connamespace::regnamespace, k.conname), ', ') into v_names
    from pg_trigger g
    join pg_constraint k on k.oid = g.tgconstraint and k.contype = 't'
    where g.tgrelid = (select s.owner_table::regclass from app_secrets.settings s) and g.tgenabled <> 'D' and g.tginitdeferred
        and not exists (
            select from pg_constraint o where o.connamespace = k.connamespace and o.conname = k.conname and o.oid <> k.oid);
    if v_names is not null then
        perform set_config('search_path', p_path, true);
        execute pg_catalog.format('set constraints %s immediate', v_names);
    end if;
end $$;

-- Refuses what would leave the plaintext columns and the sealed cells of these names different.
create or replace function app_secrets.require_equal_sides(p_business_id uuid, p_values jsonb) returns void
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_legacy constant jsonb := app_secrets.read_legacy(p_business_id);
    v_sealed jsonb;
    v_bad text;
begin
    if v_legacy is null then
        return;
    end if;
    select to_jsonb(s.*) into v_sealed from public.business_secrets s where s.business_id = p_business_id;
    select string_agg(k.name, ', ') into v_bad
    from jsonb_object_keys(p_values) as k(name)
    where v_legacy ? k.name and app_secrets.normalize(v_legacy ->> k.name)
        is distinct from app_secrets.reveal_in_place(p_business_id, k.name, v_sealed ->> k.name);
    if v_bad is not null then
        raise exception '% would not stand in the plaintext column as it was written: a trigger changes or withholds it', v_bad
            using errcode = 'AS002', hint = 'Nothing was written. Look at the triggers of the table that holds the plaintext.';
    end if;
end $$;

-- business_secrets to owner table. Only the cells that this transaction changed: others may still wait for the backfill.
-- A reference that reveals nothing is broken, and no reason to wipe the plaintext that is still there.
create or replace function app_secrets.mirror_to_legacy() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_business_id constant uuid := case when tg_op = 'DELETE' then old.business_id else new.business_id end;
    v_sealed jsonb;
    v_legacy jsonb;
    v_changed jsonb;
begin
    -- The backfill copies from there, under the lock of the owner row; the condition on the login keeps services from
    -- claiming it.
    if current_setting('app_secrets.origin', true) = 'backfill' and pg_has_role(session_user, current_user, 'member') then
        return null;
    end if;
    -- mirror_row() wrote what stands in the plaintext columns, and seal_row() sealed it as it was given. The depth keeps statements
    -- of a session from claiming that, and write_checked() its calls.
    if tg_op <> 'DELETE' and pg_trigger_depth() > 1 and current_setting('app_secrets.mirroring', true) = v_business_id::text
        and current_setting('app_secrets.mirrored', true) = 'as given' then
        return null;
    end if;
    v_legacy := app_secrets.read_legacy(v_business_id);
    if v_legacy is null then
        return null;
    end if;
    -- As it stands by now: a trigger of the app's may have written the row once more, and that came here before.
    select to_jsonb(s.*) into v_sealed from public.business_secrets s where s.business_id = v_business_id;
    select jsonb_object_agg(c.name, c.value) into v_changed
    from (
        select v.name, app_secrets.reveal(v_business_id, v.name, v_sealed ->> v.name) as value
        from app_secrets.secret_versions v
        where v.business_id = v_business_id and v_legacy ? v.name and v.transaction_id = pg_current_xact_id()
        -- Else each use of the value below would open it once more.
        offset 0) c
    where c.value is distinct from app_secrets.normalize(v_legacy ->> c.name)
        and (c.value is not null or v_sealed ->> c.name is null);
    if v_changed is not null then
        perform app_secrets.write_legacy(v_business_id, v_changed);
    end if;
    return null;
end $$;

create or replace function app_secrets.mirror_truncate() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_business_id uuid;
    v_names text[];
begin
    for v_business_id, v_names in
        select v.business_id, array_agg(v.name order by v.name)
        from app_secrets.secret_versions v
        join app_secrets.catalogue c on c.name = v.name and c.legacy_state in ('synced', 'filled')
        where v.transaction_id = pg_current_xact_id()
        group by v.business_id
    loop
        perform app_secrets.write_legacy(v_business_id, jsonb_object(v_names, array_fill(null::text, array[cardinality(v_names)])));
    end loop;
    return null;
end $$;

-- Owner table to business_secrets, for one row: what changed in {name: text} is written, as it stands by now, since a trigger of
-- the app's may have written the row once more, and that came here before. Where write_legacy() is what changed it, only what
-- differs from the sealed value is written: a trigger of the app's may have made something else of it. Nowhere else is a value opened
-- for that, since seal() compares it with the one before.
create or replace function app_secrets.mirror_row(p_business_id uuid, p_new jsonb, p_old jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_sealed jsonb;
    v_legacy constant jsonb := app_secrets.read_legacy(p_business_id);
    v_changed jsonb;
    v_origin constant text := current_setting('app_secrets.origin', true);
    v_mirroring constant text := current_setting('app_secrets.mirroring', true);
    v_table text;
    v_schema text;
    v_echoed constant boolean := current_setting('app_secrets.writing_legacy', true) is not distinct from p_business_id::text;
    v_clears boolean;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    -- Waits for a session that has locked the secrets row and is about to be refused the owner row.
    select to_jsonb(s.*) into v_sealed from public.business_secrets s where s.business_id = p_business_id for update;
    select jsonb_object_agg(c.name, c.value), bool_or(c.value is null) into v_changed, v_clears
    from (
        select n.name, app_secrets.normalize(v_legacy ->> n.name) as value
        from jsonb_object_keys(v_legacy) as n(name)
        where p_new ->> n.name is distinct from p_old ->> n.name
    ) c
    where c.value is not null or v_sealed ->> c.name is not null;
    if v_echoed then
        select jsonb_object_agg(c.key, c.value), bool_or(c.value is null) into v_changed, v_clears
        from jsonb_each_text(v_changed) c
        where c.value is distinct from app_secrets.reveal(p_business_id, c.key, v_sealed ->> c.key) or c.value is null;
    end if;
    if v_changed is not null then
        -- How many values seal_row() has to find as they are given, for mirror_to_legacy() to have nothing to compare.
        perform set_config('app_secrets.origin', 'legacy', true), set_config('app_secrets.mirroring', p_business_id::text, true),
            set_config('app_secrets.mirrored', case when v_clears then '' else
                (select count(*)::text from jsonb_object_keys(v_changed)) end, true);
        if v_sealed is not null or current_setting('transaction_isolation') = 'read committed' then
            perform app_secrets.write_cells(p_business_id, v_changed, v_sealed);
        else
            begin
                perform app_secrets.write_cells(p_business_id, v_changed, v_sealed);
            exception when unique_violation then
                get stacked diagnostics v_table = table_name, v_schema = schema_name;
                if (v_schema, v_table) not in (('public', 'business_secrets'), ('vault', 'secrets')) and v_schema <> 'app_secrets' then
                    raise;
                end if;
                -- Somebody made the row after this transaction's snapshot, which does not show it.
                raise exception 'business % was written by another transaction', p_business_id using errcode = '40001',
                    hint = 'Nothing was changed. Try again.';
            end;
        end if;
        perform set_config('app_secrets.origin', coalesce(v_origin, ''), true),
            set_config('app_secrets.mirroring', coalesce(v_mirroring, ''), true), set_config('app_secrets.mirrored', '', true);
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- What is made from the catalogue and the settings. Every statement that runs often is static text in the end; no list of
-- names is kept by hand anywhere.

-- Runs a statement that makes a function and takes everybody's right to call it.
create or replace function app_secrets.make_function(p_signature text, p_returns text, p_attributes text, p_body text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('create or replace function %s %s language plpgsql %s set search_path = pg_catalog, pg_temp as %L',
        p_signature, p_returns, p_attributes, p_body);
    execute format('revoke all on function %s from public, anon, authenticated, service_role',
        regexp_replace(p_signature, '(, )?out [^,)]+| default null', '', 'g'));
end $$;

-- Columns and their CHECKs. A sealed cell holds a reference and nothing else, also where triggers are bypassed
-- (session_replication_role). NOT VALID keeps the lock short; 003 validates.
create or replace function app_secrets.make_columns() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_lacking record;
begin
    for v_lacking in select l.* from app_secrets.lacking_columns() l loop
        if v_lacking.lacks_column then
            execute format('alter table public.business_secrets add column %I %s', v_lacking.name, v_lacking.type);
        end if;
        if v_lacking.lacks_check then
            execute format(
                'alter table public.business_secrets add constraint %I check '
                '(%I ~ ''^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'') not valid',
                v_lacking.name || '_is_reference', v_lacking.name);
        end if;
    end loop;
end $$;

-- The names in use whose column or CHECK is not there.
create or replace function app_secrets.lacking_columns()
    returns table (name text, type text, lacks_column boolean, lacks_check boolean)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select l.*
    from (
        select c.name, c.type,
            not exists (
                select from pg_attribute a
                where a.attrelid = 'public.business_secrets'::regclass and a.attname = c.name and not a.attisdropped) as lacks_column,
            c.sealed and c.in_place <> 'pending' and not exists (
                select from pg_constraint k
                where k.conrelid = 'public.business_secrets'::regclass and k.conname = c.name || '_is_reference') as lacks_check
        from app_secrets.catalogue c where c.retired_at is null order by c.position) l
    where l.lacks_column or l.lacks_check;
end $$;

-- The view. New columns come last, so that it can be replaced; a retired name stays in it as NULL. Every replacement repeats
-- both options: without them it would show every business to everybody.
create or replace function app_secrets.view_columns() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_columns text;
begin
    select string_agg(case
        when w.name in ('business_id', 'updated_at') then format('s.%I', w.name)
        when c.retired_at is not null or c.name is null then
            format('null::%s as %I', coalesce(c.type, w.type), w.name)
        when not c.sealed then format('s.%I', c.name)
        when c.in_place in ('pending', 'sealing') then format('app_secrets.reveal_in_place(s.business_id, %L, s.%I) as %I', c.name, c.name, c.name)
        else format('app_secrets.reveal(s.business_id, %L, s.%I) as %I', c.name, c.name, c.name)
        end, E',\n    ' order by w.position)
    into v_columns
    from (
        select a.attname as name, a.attnum::integer as position, format_type(a.atttypid, a.atttypmod) as type
        from pg_attribute a
        where a.attrelid = to_regclass('public.decrypted_business_secrets') and a.attnum > 0 and not a.attisdropped
        union all
        select n.name, 10000 + n.position, n.type
        from (
            select 'business_id' as name, -1 as position, 'uuid' as type
            -- Those out of use too: whoever names one gets NULL, also where the view is made anew.
            union all select c.name, c.position, c.type from app_secrets.catalogue c
            union all
            select 'updated_at', case when to_regclass('public.decrypted_business_secrets') is null then 1000 else 0 end, 'timestamptz'
        ) n
        where not exists (
            select from pg_attribute a
            where a.attrelid = to_regclass('public.decrypted_business_secrets') and a.attname = n.name and not a.attisdropped)
    ) w
    left join app_secrets.catalogue c on c.name = w.name;
    return v_columns;
end $$;

-- Whether the view stands as it is wanted. Every column must be there.
create or replace function app_secrets.view_stands() returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_stands boolean;
begin
    execute format('create view app_secrets.probe as select %s from public.business_secrets s', app_secrets.view_columns());
    v_stands := exists (
        select from pg_class c
        where c.oid = to_regclass('public.decrypted_business_secrets')
            and c.reloptions @> array['security_invoker=true', 'security_barrier=true']
            and pg_get_viewdef(c.oid) = pg_get_viewdef('app_secrets.probe'::regclass));
    drop view app_secrets.probe;
    return v_stands;
end $$;

create or replace function app_secrets.make_view() returns void
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
declare
    v_columns constant text := app_secrets.view_columns();
    v_attempts constant integer := greatest(1, coalesce(nullif(current_setting('app_secrets.lock_attempts', true), '')::integer, 100));
begin
    -- Replacing it waits for its readers and holds up new ones, so it is left alone where nothing differs.
    if app_secrets.view_stands() then
        return;
    end if;
    for v_attempt in 1 .. v_attempts loop
        begin
            execute format(
                E'create or replace view public.decrypted_business_secrets with (security_invoker = true, security_barrier = true) as\n'
                'select\n    %s\nfrom public.business_secrets s', v_columns);
            comment on view public.decrypted_business_secrets is 'app-secrets: the rows of business_secrets in clear';
            exit;
        exception when lock_not_available then
            if v_attempt = v_attempts then
                raise;
            end if;
            perform pg_sleep(0.05);
        end;
    end loop;
end $$;

-- `zz_`: after every other BEFORE trigger, on what is really stored, and `zz_app_secrets_sync` after reap, when versions and
-- Vault rows are in place.
create or replace function app_secrets.sealing_arguments() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (select format('%L, %L, %L',
        coalesce(string_agg(c.name, ',' order by c.position) filter (where c.sealed), ''),
        coalesce(string_agg(c.name, ',' order by c.position) filter (where not c.sealed and c.type = 'text'), ''),
        coalesce(string_agg(c.name, ',' order by c.position) filter (where not c.sealed and c.type = 'timestamptz'), ''))
    from app_secrets.catalogue c where c.retired_at is null and c.in_place <> 'pending');
end $$;

create or replace function app_secrets.make_sealing() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_arguments constant text := app_secrets.sealing_arguments();
begin
    perform app_secrets.make_writes();
    if app_secrets.sealing_stands() then
        return;
    end if;
    execute format(
        'create or replace trigger zz_app_secrets_seal before insert or update on public.business_secrets '
        'for each row execute function app_secrets.seal_row(%s)', v_arguments);
    execute format(
        'create or replace trigger zz_app_secrets_reap after insert or update or delete on public.business_secrets '
        'for each row execute function app_secrets.reap_row(%s)', v_arguments);
    create or replace trigger zz_app_secrets_reap_insert after insert on public.business_secrets
        for each statement execute function app_secrets.reap_statement();
    create or replace trigger zz_app_secrets_reap_all after truncate on public.business_secrets
        for each statement execute function app_secrets.reap_all();
end $$;

-- Whether those triggers stand as they are wanted.
create or replace function app_secrets.sealing_stands() returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_arguments constant text := app_secrets.sealing_arguments();
begin
    return (
        select count(*)
        from (values
            ('zz_app_secrets_seal', 'BEFORE INSERT OR UPDATE', 'ROW', format('seal_row(%s)', v_arguments)),
            ('zz_app_secrets_reap', 'AFTER INSERT OR DELETE OR UPDATE', 'ROW', format('reap_row(%s)', v_arguments)),
            ('zz_app_secrets_reap_insert', 'AFTER INSERT', 'STATEMENT', 'reap_statement()'),
            ('zz_app_secrets_reap_all', 'AFTER TRUNCATE', 'STATEMENT', 'reap_all()')) as w(name, event, level, call)
        join pg_trigger t on t.tgrelid = 'public.business_secrets'::regclass and t.tgname = w.name and t.tgenabled = 'O'
            and pg_get_triggerdef(t.oid) = format('CREATE TRIGGER %s %s ON public.business_secrets FOR EACH %s EXECUTE FUNCTION app_secrets.%s',
                w.name, w.event, w.level, w.call)) = 4;
end $$;

create or replace function app_secrets.make_writes() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- Writes the named cells of one business, {name: text | null}, whatever a text looks like; the one place that sealed
    -- cells are written from by functions of ours. The business must exist, and its row, p_stored, be locked.
    perform app_secrets.make_function('app_secrets.write_cells(p_business_id uuid, p_values jsonb, p_stored jsonb)', 'returns void', 'security definer',
        format($body$
#variable_conflict use_variable
declare
    v_name constant text := jsonb_path_query_first(p_values, '$.keyvalue().key') #>> '{}';
    v_token constant text := gen_random_uuid()::text;
    v_stash jsonb;
    v_cells jsonb;
    v_written bigint;
begin
    -- Values go to the trigger under tokens, past every log and every look at their shape. A cell that is cleared has a token
    -- too, which stands nowhere: it tells below whether the trigger ran.
    if p_stored is not null and p_values - v_name = '{}' and p_values ->> v_name is not null and v_name = any (%1$L::text[]) then
        -- One sealed value, as most writes are: nothing but its column.
        v_stash := jsonb_build_object(v_token, p_values -> v_name);
        perform set_config('app_secrets.pending', v_stash::text, true);
        %2$s
    else
        select coalesce(jsonb_object_agg(t.token, t.value) filter (where t.sealed), '{}'),
            jsonb_object_agg(t.name, case when t.sealed and t.value is not null then t.token else t.value end)
        into v_stash, v_cells
        from (
            select e.name, e.value, e.name = any (%1$L::text[]) as sealed, gen_random_uuid()::text as token
            from jsonb_each_text(p_values) as e(name, value)) t;
        perform set_config('app_secrets.pending', v_stash::text, true);
        if p_stored is not null then
            update /* app-secrets */ public.business_secrets s set %3$s where s.business_id = p_business_id;
        else
            insert /* app-secrets */ into public.business_secrets (business_id, %4$s) values (p_business_id, %5$s);
        end if;
    end if;
    get diagnostics v_written = row_count;
    -- seal_row() takes what is handed to it. Where it did not run, what a cell held would be gone. Another hand-over may be left
    -- by then, of a statement in a trigger of the app's.
    if v_written > 0 and v_stash <> '{}' and current_setting('app_secrets.pending', true) = v_stash::text then
        raise exception 'business_secrets does not seal what is written to it' using errcode = 'AS007',
            hint = 'Nothing was written. A trigger is disabled or gone: `app-secrets doctor` names it.';
    end if;
    perform set_config('app_secrets.pending', '', true);
end$body$,
            array(select c.name from app_secrets.catalogue c where c.sealed and c.in_place <> 'pending' and c.retired_at is null order by c.position),
            coalesce((
                select 'case v_name' || string_agg(format(
                    E'\n        when %L then update /* app-secrets */ public.business_secrets s set %I = v_token where s.business_id = p_business_id;',
                    c.name, c.name), '' order by c.position) || E'\n        end case;'
                from app_secrets.catalogue c where c.sealed and c.in_place <> 'pending' and c.retired_at is null), 'null;'),
            (select string_agg(format('%1$I = case when v_cells ? %1$L then (v_cells ->> %1$L)%2$s else s.%1$I end', c.name,
                case c.type when 'text' then '' else '::' || c.type end), ', ' order by c.position)
            from app_secrets.catalogue c where c.retired_at is null),
            (select string_agg(format('%I', c.name), ', ' order by c.position) from app_secrets.catalogue c where c.retired_at is null),
            (select string_agg(format('(v_cells ->> %L)%s', c.name, case c.type when 'text' then '' else '::' || c.type end), ', ' order by c.position)
            from app_secrets.catalogue c where c.retired_at is null)));
end $$;

-- The owner table as the settings name it, and the sync with its plaintext columns; without p_owner its triggers are left as
-- they are.
create or replace function app_secrets.make_sync(p_owner boolean) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings app_secrets.settings;
    v_owner text;
    v_on boolean;
    v_strength text;
    v_names text[];
    v_new text;
    v_old text;
    v_read text;
    v_differs text;
    v_any text;
begin
    select s.* into v_settings from app_secrets.settings s;
    v_owner := v_settings.owner_table;
    select array_agg(c.name order by c.position),
        string_agg(format('new.%I::text', c.legacy_column), ', ' order by c.position),
        string_agg(format('old.%I::text', c.legacy_column), ', ' order by c.position),
        string_agg(format('b.%I::text', c.legacy_column), ', ' order by c.position),
        -- As bytes: citext and other collations call different keys equal.
        string_agg(format('old.%I::text collate "C" is distinct from new.%I::text collate "C"', c.legacy_column, c.legacy_column),
            E'\n    or ' order by c.position),
        string_agg(format('new.%I is not null', c.legacy_column), ' or ' order by c.position)
    into v_names, v_new, v_old, v_read, v_differs, v_any
    from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled');
    v_on := v_names is not null;
    update app_secrets.catalogue c set legacy_attnum = a.attnum
    from pg_attribute a
    where c.legacy_state in ('synced', 'filled') and a.attrelid = v_owner::regclass and a.attname = c.legacy_column
        and not a.attisdropped and c.legacy_attnum is distinct from a.attnum;
    if v_on and v_settings.frozen_at is not null then
        raise exception 'plaintext columns cannot be synced while Vault''s root key is being changed' using errcode = 'AS007',
            hint = 'Run `app-secrets rekey finish` or `app-secrets rekey abort` first.';
    end if;
    -- An UPDATE of a column in a unique index takes FOR UPDATE: a weaker lock taken before would have to grow, past the
    -- FOR KEY SHARE of children that others insert.
    v_strength := case when exists (
        select from pg_index i
        cross join lateral unnest(i.indkey[:i.indnkeyatts - 1]) as k(attnum)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        join app_secrets.catalogue c on c.legacy_column = a.attname and c.legacy_state in ('synced', 'filled')
        where i.indrelid = v_owner::regclass and i.indisunique and i.indpred is null and i.indexprs is null)
        then 'update' else 'no key update' end;

    -- AFTER DELETE on the owner table: what may be left of a business without a row of secrets. No foreign key does this, since
    -- its check of a new version would wait for the owner row while the secrets row is held.
    perform app_secrets.make_function('app_secrets.reap_business()', 'returns trigger', 'security definer',
        format('begin perform app_secrets.forget_business(old.%I); return null; end', v_settings.owner_key));
    perform app_secrets.make_function('app_secrets.sync_is_on()', 'returns boolean', 'stable',
        format('begin return %s; end', v_on::text));
    perform app_secrets.make_function('app_secrets.synced_names()', 'returns text[]', 'stable',
        format('begin return %L::text[]; end', coalesce(v_names, '{}')));
    perform app_secrets.make_function('app_secrets.owner_exists(p_business_id uuid)', 'returns boolean', 'stable security definer set row_security = off',
        format(E'#variable_conflict use_variable\nbegin return exists (select from %s b where b.%I = p_business_id); end', v_owner, v_settings.owner_key));
    -- PostgreSQL takes row locks along all versions of a row. With FOR UPDATE a session may hold a newer version while it still waits
    -- for an older one, which the check of a child's foreign key holds that wants the newer; and SKIP LOCKED waits for a newer
    -- version, though not for the first. Either way old code ran into a deadlock, about once in 40,000 transactions. So such a lock is
    -- waited for in turns that end before anybody looks for a deadlock, and between which nothing is held; where nobody
    -- should wait at all, a turn is as short as it can be. FOR NO KEY UPDATE is in no child's way, and waits as it is.
    perform app_secrets.make_function('app_secrets.lock_owner_row(p_business_id uuid, p_wait boolean)', 'returns boolean',
        'security definer set row_security = off', format($body$
#variable_conflict use_variable
declare
    v_timeout constant text := current_setting('lock_timeout');
    -- NULL: without end, as 0 has it.
    v_limit constant timestamptz := clock_timestamp() + nullif(v_timeout::interval, '0');
    v_turn constant interval := case when p_wait then current_setting('deadlock_timeout')::interval / 2 else '1ms' end;
    v_found boolean;
begin
    if p_wait and not %4$s then
        perform from %1$s b where b.%2$I = p_business_id for %3$s;
        return found;
    end if;
    loop
        begin
            perform set_config('lock_timeout',
                ceil(greatest(extract(epoch from least(v_turn, v_limit - clock_timestamp())) * 1000, 1))::text, true);
            if p_wait then
                perform from %1$s b where b.%2$I = p_business_id for %3$s;
            else
                perform from %1$s b where b.%2$I = p_business_id for %3$s skip locked;
            end if;
            v_found := found;
            perform set_config('lock_timeout', v_timeout, true);
            return v_found;
        exception when lock_not_available then
            if not p_wait then
                return false;
            elsif clock_timestamp() >= v_limit then
                raise;
            end if;
        end;
    end loop;
end$body$, v_owner, v_settings.owner_key, v_strength, (v_strength = 'update')::text));
    -- {name: text} of the plaintext columns; NULL where there is no such business.
    perform app_secrets.make_function('app_secrets.read_legacy(p_business_id uuid)', 'returns jsonb', 'stable security definer set row_security = off',
        case when v_on then format(E'#variable_conflict use_variable\nbegin return (select /* app-secrets */ jsonb_object(%L::text[], array[%s]) from %s b where b.%I = p_business_id); end',
            v_names, v_read, v_owner, v_settings.owner_key)
        else 'begin return null; end' end);
    -- The path changes after all conditions, whose operators it must not choose.
    perform app_secrets.make_function('app_secrets.write_legacy_value(p_business_id uuid, p_name text, p_value text, p_path text)',
        'returns text', 'security definer',
        case when v_on then (
            select E'#variable_conflict use_variable\ndeclare v_after text; begin ' || string_agg(format(
                'if p_name = %L then perform set_config(''search_path'', p_path, true); '
                'update /* app-secrets */ %s b set %I = p_value where b.%I operator(pg_catalog.=) p_business_id '
                'returning b.%I::pg_catalog.text into v_after; return v_after; end if; ',
                c.name, v_owner, c.legacy_column, v_settings.owner_key, c.legacy_column), E'\n' order by c.position) || 'return p_value; end'
            from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled'))
        else 'begin return p_value; end' end);
    perform app_secrets.make_function('app_secrets.mirror_to_sealed()', 'returns trigger', 'security definer',
        case when v_on then format($body$
begin
    perform /* app-secrets */ app_secrets.mirror_row(new.%1$I, jsonb_object(%2$L::text[], array[%3$s]),
        case when tg_op = 'UPDATE' then jsonb_object(%2$L::text[], array[%4$s]) else '{}'::jsonb end);
    return null;
end$body$, v_settings.owner_key, v_names, v_new, v_old)
        else 'begin return null; end' end);

    if not app_secrets.table_sync_stands() then
        if v_on then
            create or replace trigger aa_app_secrets_lock before delete on public.business_secrets
                for each row execute function app_secrets.lock_deleted();
            create or replace trigger zz_app_secrets_sync after insert or update or delete on public.business_secrets
                for each row execute function app_secrets.mirror_to_legacy();
            create or replace trigger zz_app_secrets_sync_all after truncate on public.business_secrets
                for each statement execute function app_secrets.mirror_truncate();
        else
            drop trigger if exists aa_app_secrets_lock on public.business_secrets;
            drop trigger if exists zz_app_secrets_sync on public.business_secrets;
            drop trigger if exists zz_app_secrets_sync_all on public.business_secrets;
        end if;
    end if;
    if not p_owner or app_secrets.owner_sync_stands() then
        return;
    end if;
    execute format('lock table %s in share row exclusive mode', v_owner);
    execute format('create or replace trigger zz_app_secrets_reap after delete on %s for each row '
        'execute function app_secrets.reap_business()', v_owner);
    if v_on then
        -- A sign-up without keys fires nothing.
        execute format('create or replace trigger zz_app_secrets_sync after insert on %s for each row when (%s) '
            'execute function app_secrets.mirror_to_sealed()', v_owner, v_any);
        -- By value and not `update of`: a trigger of the app's may change a key that the statement does not name.
        execute format('create or replace trigger zz_app_secrets_sync_update after update on %s for each row when (%s) '
            'execute function app_secrets.mirror_to_sealed()', v_owner, v_differs);
    else
        execute format('drop trigger if exists zz_app_secrets_sync on %s', v_owner);
        execute format('drop trigger if exists zz_app_secrets_sync_update on %s', v_owner);
    end if;
    execute format('comment on function app_secrets.mirror_to_sealed() is %L', app_secrets.sync_wanted());
end $$;

-- What the triggers of the sync are made from, in one line.
create or replace function app_secrets.sync_wanted() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select format('app-secrets sync of %s (%I): %s', s.owner_table, s.owner_key, coalesce((
            select string_agg(format('%s from %I', c.name, c.legacy_column), ', ' order by c.position)
            from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled')), 'nothing'))
        from app_secrets.settings s);
end $$;

-- Whether the sync's triggers on the owner table stand as they are wanted: then nothing has to lock it.
create or replace function app_secrets.owner_sync_stands() returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return obj_description(to_regprocedure('app_secrets.mirror_to_sealed()'), 'pg_proc') is not distinct from app_secrets.sync_wanted()
        and (
            select array_agg(t.tgname::text order by t.tgname::text collate "C")
            from pg_trigger t
            where t.tgenabled = 'O' and t.tgrelid = (select s.owner_table::regclass from app_secrets.settings s)
                and t.tgname in ('zz_app_secrets_reap', 'zz_app_secrets_sync', 'zz_app_secrets_sync_update'))
            = case when app_secrets.sync_is_wanted() then array['zz_app_secrets_reap', 'zz_app_secrets_sync', 'zz_app_secrets_sync_update']
                else array['zz_app_secrets_reap'] end;
end $$;

-- The same of its triggers on business_secrets.
create or replace function app_secrets.table_sync_stands() returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*) from pg_trigger t
        where t.tgenabled = 'O' and t.tgrelid = 'public.business_secrets'::regclass
            and t.tgname in ('aa_app_secrets_lock', 'zz_app_secrets_sync', 'zz_app_secrets_sync_all'))
        = case when app_secrets.sync_is_wanted() then 3 else 0 end;
end $$;

create or replace function app_secrets.sync_is_wanted() returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled'));
end $$;

-- All of it; without p_owner all but the triggers of the owner table. What stands is left alone and its table is not locked:
-- a writer of either table goes on to the other, so whoever wants both can wait for a gap between writers that never comes.
-- DDL that does need both takes the owner table first, then ours, and waits for less than deadlock_timeout at a time, so that
-- no other session is ever a deadlock's victim.
create or replace function app_secrets.make_all(p_owner boolean default true) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_make text;
    v_table boolean;
begin
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    -- The view can be compared once every column is there.
    v_table := exists (select from app_secrets.lacking_columns())
        or not app_secrets.sealing_stands() or not app_secrets.table_sync_stands() or not app_secrets.view_stands();
    perform app_secrets.lock_tables(
        case when p_owner and not app_secrets.owner_sync_stands() then 'share row exclusive' end,
        case when v_table then 'access exclusive' end);
    perform app_secrets.make_columns();
    perform app_secrets.make_sync(p_owner);
    perform app_secrets.make_sealing();
    perform app_secrets.make_view();
    -- Of 003 and 004.
    foreach v_make in array array['make_backfill', 'make_reads', 'make_restore', 'make_grants'] loop
        -- A restore into a new cluster lacks the group role until 004 has made it.
        if to_regprocedure(format('app_secrets.%I()', v_make)) is not null and (
            v_make <> 'make_grants' or exists (select from pg_roles r where r.rolname = 'app_secrets_service')) then
            execute format('select app_secrets.%I()', v_make);
        end if;
    end loop;
end $$;

-- Locks the owner table, then the view where it may be replaced, then business_secrets, each as told or, with NULL, not. Whoever
-- waits for several can meet a writer that holds one and wants another: it waits for less than deadlock_timeout in all, lets go and
-- tries again. Most attempts are short, because a writer in the way stays there for as long as this waits; some are longer,
-- because of readers that take their time.
create or replace function app_secrets.lock_tables(p_owner_mode text, p_mode text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
declare
    v_owner constant text := (select s.owner_table from app_secrets.settings s);
    -- A migrator that tries again by itself, and tells meanwhile who holds it up, asks for fewer.
    v_attempts constant integer := greatest(1, coalesce(nullif(current_setting('app_secrets.lock_attempts', true), '')::integer, 200));
begin
    for v_attempt in 1 .. v_attempts loop
        perform set_config('lock_timeout', case when v_attempt % 4 = 1 then '200ms' else '50ms' end, true);
        begin
            if p_owner_mode is not null then
                execute format('lock table %s in %s mode', v_owner, p_owner_mode);
            end if;
            if p_mode is null then
                return;
            end if;
            -- Who reads the view has it before the table, so whoever replaces it does too.
            if p_mode = 'access exclusive' and to_regclass('public.decrypted_business_secrets') is not null then
                lock table public.decrypted_business_secrets in access exclusive mode;
            end if;
            execute format('lock table public.business_secrets in %s mode', p_mode);
            return;
        exception when lock_not_available then
            if v_attempt = v_attempts then
                raise;
            end if;
            perform pg_sleep(0.01 + random() * 0.05);
        end;
    end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- New and old names.

-- Makes a secret known: column, CHECK, triggers, view and RPC. Safe to repeat; label and a newly found legacy column are taken
-- over. A legacy column is synced from here on; `app-secrets migrate` (or 003) fills and proves it.
--
-- With a legacy column it changes both tables. Where they are never quiet, call it twice, in two transactions, the first time
-- with p_owner false: that one changes business_secrets, which writes to the plaintext column from then on, and the second
-- one the owner table, which writes back.
create or replace function app_secrets.add_secret(
    p_name text, p_label text, p_legacy_column name default null, p_sealed boolean default true, p_type text default 'text',
    p_owner boolean default true)
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_owner constant regclass := (select s.owner_table::regclass from app_secrets.settings s);
    v_known app_secrets.catalogue;
    v_type regtype;
begin
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    if p_name is null or p_name !~ '^[a-z][a-z0-9_]{0,47}$' then
        raise exception 'a secret''s name is 1 to 48 lower-case letters, digits and underscores, beginning with a letter'
            using errcode = 'AS002';
    elsif p_name in ('business_id', 'updated_at') or exists (
        select from pg_attribute a where a.attrelid = 'public.business_secrets'::regclass and a.attnum < 0 and a.attname = p_name) then
        raise exception '% is reserved', p_name using errcode = 'AS002', hint = 'Give the secret another name.';
    elsif app_secrets.normalize(p_label) is null then
        raise exception 'a secret needs a label' using errcode = 'AS002';
    elsif p_type is null or p_sealed is null or p_type not in ('text', 'timestamptz') or (p_sealed and p_type <> 'text') then
        raise exception 'a secret is text; what is not sealed may be a timestamptz' using errcode = 'AS002';
    elsif p_legacy_column is not null and not p_sealed then
        raise exception 'a secret that moves out of a plaintext column is sealed' using errcode = 'AS002';
    end if;
    select c.* into v_known from app_secrets.catalogue c where c.name = p_name;
    if v_known.name is null and (select count(*) from app_secrets.catalogue c where c.retired_at is null) >= 200 then
        raise exception 'there are 200 secrets already, the most there may be' using errcode = 'AS007';
    elsif v_known.name is not null and (v_known.sealed, v_known.type) is distinct from (p_sealed, p_type) then
        raise exception '% is there already as %, %', p_name, v_known.type, case when v_known.sealed then 'sealed' else 'not sealed' end
            using errcode = 'AS007', hint = 'Give the new secret another name.';
    end if;
    if p_legacy_column is not null then
        select a.atttypid::regtype into v_type from pg_attribute a
        where a.attrelid = v_owner and a.attname = p_legacy_column and a.attnum > 0 and not a.attisdropped;
        if v_type is null then
            raise exception '% has no column %', v_owner, p_legacy_column using errcode = 'AS007';
        elsif (select t.typcategory from pg_type t where t.oid = v_type) <> 'S' or v_type in ('bpchar'::regtype, 'name'::regtype) then
            raise exception '%.% is of type %; needed: text', v_owner, p_legacy_column, v_type using errcode = 'AS007',
                hint = format('alter table %s alter column %I type text', v_owner, p_legacy_column);
        elsif exists (
            select from app_secrets.catalogue c
            where c.legacy_column = p_legacy_column and c.legacy_state in ('synced', 'filled') and c.name <> p_name) then
            raise exception '%.% belongs to another secret already', v_owner, p_legacy_column using errcode = 'AS007';
        end if;
    end if;

    insert into app_secrets.catalogue as c (name, position, label, sealed, type, legacy_column, legacy_state, in_place)
    values (p_name, coalesce((select max(o.position) from app_secrets.catalogue o), 0) + 1, p_label, p_sealed, p_type,
        p_legacy_column, case when p_legacy_column is null then 'none' else 'synced' end,
        case when exists (
            select from pg_attribute a
            where a.attrelid = 'public.business_secrets'::regclass and a.attname = p_name and not a.attisdropped)
            then 'pending' else 'none' end)
    on conflict (name) do update set
        label = excluded.label, retired_at = null,
        legacy_column = coalesce(excluded.legacy_column, c.legacy_column),
        legacy_state = case
            when excluded.legacy_column is null or (c.legacy_state in ('synced', 'filled') and c.legacy_column = excluded.legacy_column)
                then c.legacy_state
            else 'synced' end;
    if p_legacy_column is not null then
        -- What 003 has to do again.
        delete from app_secrets.backfill_progress p where p.phase = 'fill';
    end if;
    perform app_secrets.make_all(p_owner);
    notify pgrst, 'reload schema';
end $$;

-- Takes a name out of use. Its values go, unless there are some and it was not told so; the column stays, empty, and can be
-- used again by add_secret().
create or replace function app_secrets.retire_secret(p_name text, p_even_if_set boolean default false) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_known app_secrets.catalogue;
    v_set bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    select c.* into v_known from app_secrets.catalogue c where c.name = p_name and c.retired_at is null;
    if v_known.name is null then
        raise exception 'unknown secret name' using errcode = 'AS001';
    elsif v_known.legacy_state in ('synced', 'filled') then
        raise exception '% still stands in %.%', p_name, (select s.owner_table from app_secrets.settings s), v_known.legacy_column
            using errcode = 'AS007', hint = 'Drop the plaintext first: npx app-secrets migrate --drop-legacy';
    end if;
    if (select count(*) from app_secrets.catalogue c where c.retired_at is null) = 1 then
        raise exception '% is the only secret there is', p_name using errcode = 'AS007', hint = 'Add another one first.';
    end if;
    perform app_secrets.lock_tables('share row exclusive', 'access exclusive');
    execute format('select count(s.%I) from public.business_secrets s', p_name) into v_set;
    if v_set > 0 and not p_even_if_set then
        raise exception '% is set for % businesses', p_name, v_set using errcode = 'AS007',
            hint = 'Clear it first, or retire it even though it is set: its values are deleted then.';
    end if;
    execute format('update public.business_secrets s set %I = null where s.%I is not null', p_name, p_name);
    delete from vault.secrets s using app_secrets.vault_rows r where s.id = r.vault_id and r.name = p_name and r.role <> 'canary';
    delete from app_secrets.vault_rows r where r.name = p_name and r.role <> 'canary';
    update app_secrets.secret_versions v set previous_until = null where v.name = p_name;
    update app_secrets.catalogue c set retired_at = now(), in_place = 'none' where c.name = p_name;
    perform app_secrets.make_all();
    notify pgrst, 'reload schema';
end $$;

do $$
begin
    perform app_secrets.make_all();
end $$;
revoke all on public.decrypted_business_secrets from public, anon;
revoke execute on all functions in schema app_secrets from public, anon;
do $$
begin
    -- authenticated gets both with its policies in 004.
    if not exists (select from app_secrets.migrations m where m.version >= 4) then
        revoke all on public.decrypted_business_secrets from authenticated, service_role;
        revoke execute on all functions in schema app_secrets from authenticated, service_role;
    end if;
end $$;
grant select on public.business_secrets, public.decrypted_business_secrets to service_role;
grant execute on function app_secrets.reveal(uuid, text, text), app_secrets.reveal_in_place(uuid, text, text) to service_role;

insert into app_secrets.migrations (version, name, checksum)
values (2, 'expand_business_secrets', nullif(current_setting('app_secrets.migration_checksum', true), ''))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
