-- app-secrets: expand
--
-- 004: who may read and write what, and the RPC that services use.
--
-- What     Policies and grants on business_secrets and its views; the group role app_secrets_service; scopes and access marks;
--          the RPC functions; Realtime where its publication exists.
-- Locks    As 002, for catalogue changes only.
-- Again?   Safe, and the one thing to do after a restore: it makes the group role, takes every right that is not meant, and
--          gives those that are. accessible_business_ids() is created once and then yours to change: running this again leaves
--          it alone.

begin;
set local lock_timeout = '500ms';
set local statement_timeout = '1min';
set local row_security = off;
set local search_path = pg_catalog, pg_temp;

do $$
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    if to_regnamespace('app_secrets') is null then
        raise exception 'migration 3 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(3);
end $$;

-- Roles belong to the cluster: the migration of another of its databases may be making the same one, and then this waits
-- for its end, before it holds any table.
set local lock_timeout = '30s';
do $$
begin
    if not exists (select from pg_roles r where r.rolname = 'app_secrets_service') then
        create role app_secrets_service nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;
end $$;
set local lock_timeout = '500ms';
do $$ begin perform app_secrets.lock_tables(null, 'access exclusive'); end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- What each login may do, and what it did.

do $$
begin
    if to_regclass('app_secrets.scopes') is null then
        create table app_secrets.scopes (
            login name not null,
            -- '*': every secret.
            name text not null,
            may_read boolean not null,
            may_write boolean not null,
            granted_at timestamptz not null default now(),
            granted_by text not null default session_user,
            primary key (login, name)
        );
        -- The platform's own role, which can be removed; and logins whose comment says so, which somebody made before there were
        -- scopes. No login can comment on itself.
        insert into app_secrets.scopes (login, name, may_read, may_write)
        select r.rolname, '*', true, true from pg_roles r
        where r.rolname = 'service_role' or (
            shobj_description(r.oid, 'pg_authid') = 'app-secrets: a scope of every secret'
            and exists (
                select from pg_auth_members m
                where m.member = r.oid and m.roleid = 'app_secrets_service'::regrole));
    end if;
end $$;

alter table app_secrets.scopes enable row level security;
drop policy if exists nobody on app_secrets.scopes;
create policy nobody on app_secrets.scopes using (false);

-- As whom a session calls: the role that is set, as PostgREST and `set role` set it, else the login.
create or replace function app_secrets.caller() returns name
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(nullif(current_setting('role'), 'none'), session_user);
end $$;

-- Whether it is the functions' owner or a superuser, who could do everything anyway. Their reads leave marks too.
create or replace function app_secrets.is_administrator(p_caller name) returns boolean
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return p_caller = current_user or exists (select from pg_roles r where r.rolname = p_caller and r.rolsuper);
end $$;

-- Who calls. Refuses whoever may not call at all, whatever a restore or a default privilege has granted; and refuses everybody
-- while the functions are open to anon.
create or replace function app_secrets.admitted_caller() returns name
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller constant name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    if has_function_privilege('anon', 'public.set_business_secrets(uuid,jsonb,jsonb,jsonb)'::regprocedure, 'execute') then
        raise exception 'the functions of app_secrets are open to anon, as after a restore' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate --reapply';
    end if;
    if v_caller <> 'service_role' and not pg_has_role(v_caller, 'app_secrets_service', 'member')
        and not app_secrets.is_administrator(v_caller) then
        raise exception 'only logins in app_secrets_service may use secrets' using errcode = 'insufficient_privilege',
            hint = 'Run: npx app-secrets login add';
    end if;
    return v_caller;
end $$;

-- Which names a caller may read or write: NULL for all of them.
create or replace function app_secrets.scope_of_caller(p_write boolean, out caller name, out names text[])
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    caller := app_secrets.admitted_caller();
    names := array(
        select s.name from app_secrets.scopes s
        where s.login = scope_of_caller.caller and case when p_write then s.may_write else s.may_read end);
    if '*' = any (names) or (names = '{}' and app_secrets.is_administrator(caller)) then
        names := null;
    end if;
end $$;

create or replace function app_secrets.grant_scope(
    p_login name, p_names text[], p_may_read boolean default true, p_may_write boolean default false) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_unknown text;
begin
    if not exists (select from pg_roles r where r.rolname = p_login) then
        raise exception 'there is no login %', quote_ident(p_login) using errcode = 'undefined_object';
    elsif coalesce(cardinality(p_names), 0) = 0 then
        raise exception 'a scope needs at least one name, or ''*''' using errcode = '22023';
    end if;
    select string_agg(n.name, ', ') into v_unknown
    from unnest(p_names) as n(name)
    where n.name is distinct from '*' and not exists (
        select from app_secrets.catalogue c where c.name = n.name and c.retired_at is null);
    if v_unknown is not null then
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || (select string_agg(c.name, ', ' order by c.position) from app_secrets.catalogue c where c.retired_at is null);
    end if;
    insert into app_secrets.scopes as s (login, name, may_read, may_write)
    select p_login, n.name, p_may_read, p_may_write from (select distinct name from unnest(p_names) as u(name)) n
    on conflict (login, name) do update
        set may_read = excluded.may_read, may_write = excluded.may_write, granted_at = now(), granted_by = session_user;
    delete from app_secrets.scopes s where s.login = p_login and not s.may_read and not s.may_write;
end $$;

-- Takes names, or all of them, from a login's scope; gives how many rows went.
create or replace function app_secrets.revoke_scope(p_login name, p_names text[] default null) returns bigint
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_removed bigint;
begin
    delete from app_secrets.scopes s where s.login = p_login and (p_names is null or s.name = any (p_names));
    get diagnostics v_removed = row_count;
    return v_removed;
end $$;

-- Marks what was read. Written at most once a minute for each name, and only where a lock can be had at once, so that no read
-- waits for another's mark; never in a read-only transaction or on a standby, which cannot write. p_minute counts from 1970.
create or replace function app_secrets.mark_reads(
    p_login name, p_business_ids uuid[], p_names text[], p_statuses smallint[], p_minute bigint) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into app_secrets.access_marks as a (business_id, login, day, name, minute, minutes)
    select r.business_id, p_login, '1970-01-01'::date + (p_minute / 1440)::integer, n.name, p_minute, 1
    from (
        select u.business_id, array_agg(distinct u.name) as names
        from unnest(p_business_ids, p_names, p_statuses) as u(business_id, name, status)
        where u.status = 0
        group by u.business_id
        having pg_try_advisory_xact_lock(hashtextextended(format('app_secrets.mark/%s/%s', p_login, u.business_id), 0))) r
    cross join lateral unnest(r.names) as n(name)
    on conflict (business_id, login, day, name) do update set minute = excluded.minute, minutes = a.minutes + 1
    where a.minute < excluded.minute;
end $$;

-- Who read what of a business: by login, name and day. A day's reads are the minutes in which there was at least one.
create or replace function app_secrets.access_of(
    p_business_id uuid, p_name text default null, p_since timestamptz default null)
    returns table (login name, name text, day date, last_read_at timestamptz, minutes integer)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        select a.login, a.name, a.day, to_timestamp(a.minute * 60), a.minutes::integer
        from app_secrets.access_marks a
        where a.business_id = p_business_id and (p_name is null or a.name = p_name)
            and (p_since is null or to_timestamp(a.minute * 60) >= p_since)
        order by 4 desc, 1, 2;
end $$;

-- Logins that read more than ten times what is usual for them today: the median of their days of the last 30.
create or replace function app_secrets.unusual_access()
    returns table (login name, minutes_today bigint, usual_minutes double precision)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query
        with days as (
            select a.login, a.day, sum(a.minutes)::bigint as minutes
            from app_secrets.access_marks a
            where a.day >= (now() at time zone 'UTC')::date - 30
            group by a.login, a.day
        )
        select t.login, t.minutes, u.usual
        from days t
        join (
            select d.login, percentile_cont(0.5) within group (order by d.minutes) as usual
            from days d where d.day < (now() at time zone 'UTC')::date group by d.login) u on u.login = t.login
        where t.day = (now() at time zone 'UTC')::date and t.minutes > 10 * u.usual
        order by t.login;
end $$;

-- Forgets marks, audit rows and references that are older, and earlier values whose time is over.
create or replace function app_secrets.trim(p_older_than interval) returns table (what text, removed bigint)
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if p_older_than is null or p_older_than < '0' then
        raise exception 'an age is needed, as interval ''90 days''' using errcode = '22023';
    end if;
    what := 'access marks';
    delete from app_secrets.access_marks a where a.day < (now() - p_older_than)::date;
    get diagnostics removed = row_count;
    return next;
    what := 'audit rows';
    delete from app_secrets.audit_log a where a.at < now() - p_older_than;
    get diagnostics removed = row_count;
    return next;
    what := 'references of cleared secrets';
    delete from app_secrets.vault_rows r where r.role = 'former' and r.at < now() - p_older_than;
    get diagnostics removed = row_count;
    return next;
    what := 'earlier values';
    with expired as (
        update app_secrets.secret_versions v set previous_until = null
        where v.previous_until < now()
        returning v.business_id, v.name
    ), dead as (
        delete from app_secrets.vault_rows r
        using expired e
        where r.business_id = e.business_id and r.name = e.name and r.role = 'previous'
        returning r.vault_id
    )
    delete from vault.secrets s using dead d where s.id = d.vault_id;
    get diagnostics removed = row_count;
    return next;
    what := 'leases';
    delete from app_secrets.leases l where l.expires_at < now();
    get diagnostics removed = row_count;
    return next;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Who may access a business: this function and nothing else. Definer, so that the app's own policies on the owner table do
-- not decide about secrets by accident.

do $outer$
declare
    v_settings app_secrets.settings;
    v_function text[];
begin
    select s.* into v_settings from app_secrets.settings s;
    if to_regprocedure('app_secrets.accessible_business_ids()') is null then
        if v_settings.access_function is not null then
            v_function := parse_ident(regexp_replace(v_settings.access_function, '[(][)]$', ''));
            -- The app's own function may name tables without their schema.
            execute format('create function app_secrets.accessible_business_ids() returns setof uuid '
                'language plpgsql stable security definer set search_path = %s, pg_temp as %L',
                v_settings.app_search_path, format('begin return query select f.id from %I.%I() as f(id); end',
                    case when cardinality(v_function) = 2 then v_function[1] else 'public' end, v_function[cardinality(v_function)]));
        else
            execute format('create function app_secrets.accessible_business_ids() returns setof uuid '
                'language plpgsql stable security definer set search_path = pg_catalog, pg_temp set row_security = off as %L',
                case when v_settings.access_column is null then 'begin return; end'
                else format('begin return query select b.%I from %s b where b.%I = (select auth.uid()); end',
                    v_settings.owner_key, v_settings.owner_table, v_settings.access_column) end);
        end if;
    end if;
end $outer$;

-- What the policies ask. auth.uid() and the app's function have paths of their own, so temporary names are refused first.
create or replace function app_secrets.current_business_ids() returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
        perform app_secrets.refuse_temporary_names();
    end if;
    return query select a.id from app_secrets.accessible_business_ids() as a(id);
end $$;

-- Policies are permissive and add up: one that somebody left on the table would open it again. RESTRICTIVE ones only narrow,
-- and stay.
do $$
declare
    v_policy record;
begin
    for v_policy in
        select p.polname, p.polpermissive from pg_policy p where p.polrelid = 'public.business_secrets'::regclass
    loop
        if v_policy.polname in ('business_secrets_select', 'business_secrets_insert', 'business_secrets_update',
            'business_secrets_delete', 'business_secrets_service') then
            execute format('drop policy %I on public.business_secrets', v_policy.polname);
        elsif v_policy.polpermissive then
            raise warning 'dropping policy % on public.business_secrets: accessible_business_ids() decides now', quote_ident(v_policy.polname);
            execute format('drop policy %I on public.business_secrets', v_policy.polname);
        else
            raise notice 'policy % on public.business_secrets is restrictive and stays', quote_ident(v_policy.polname);
        end if;
    end loop;
end $$;

create policy business_secrets_select on public.business_secrets for select to authenticated
    using (business_id in (select app_secrets.current_business_ids()));
create policy business_secrets_insert on public.business_secrets for insert to authenticated
    with check (business_id in (select app_secrets.current_business_ids()));
create policy business_secrets_update on public.business_secrets for update to authenticated
    using (business_id in (select app_secrets.current_business_ids()))
    with check (business_id in (select app_secrets.current_business_ids()));
create policy business_secrets_delete on public.business_secrets for delete to authenticated
    using (business_id in (select app_secrets.current_business_ids()));
create policy business_secrets_service on public.business_secrets for all to service_role
    using (true) with check (true);

-- ---------------------------------------------------------------------------------------------------------------------
-- Reading.

-- The read itself, made from the catalogue. Statuses: 0 ok, 1 not set, 2 undecryptable, 3 unknown secret, 4 no such
-- business, 5 outside the scope of p_caller (NULL: everything is within), which is looked up in the same statement, since one of
-- its own would take as long as two secrets more. Values and versions come from one snapshot. `unmarked`
-- tells whether something was read that has no mark in p_minute yet, which for a secret that is asked for twice it may say without need;
-- p_marks is the hash of who reads and the day, as in the index of access_marks, or NULL where nobody leaves marks.
--
-- Everything is looked up by key, element by element: `offset 0` keeps the planner from turning the lookups into joins, which
-- it would answer with a scan of the table while that is small (220 µs a call instead of 25 at 1,000 rows), and with the
-- decryption of the whole Vault in the worst case. The name's column is chosen inside a fenced subquery: outside of one the
-- planner repeats the CASE wherever its result is used. Only marks are looked up all at once where there are many, which takes
-- two thirds of the time; for few it takes more.
create or replace function app_secrets.make_reads() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $make$
declare
    v_settings app_secrets.settings;
    v_names text[];
    v_metadata text[];
    v_cases text;
    v_elements text;
    v_key constant text :=
        'uuid_hash_extended(a.business_id, hashtextextended(a.name, hashtextextended(a.login::text, (a.day - ''1970-01-01''::date)::bigint)))';
begin
    select s.* into v_settings from app_secrets.settings s;
    select array_agg(c.name order by c.position),
        coalesce(array_agg(c.name order by c.position) filter (where not c.sealed), '{}'),
        string_agg(format('when %L then %s', c.name, case
            when c.type = 'timestamptz' then
                format('to_char(b.%I at time zone ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.US"Z"'')', c.name)
            else format('b.%I', c.name) end), E'\n                    ' order by c.position)
    into v_names, v_metadata, v_cases
    from app_secrets.catalogue c where c.retired_at is null;

    perform app_secrets.make_function('app_secrets.secret_names()', 'returns text[]', 'immutable', format('begin return %L::text[]; end', v_names));
    v_elements := format($body$
        select f.value,
            case when p_with_versions then coalesce((
                select w.version from app_secrets.secret_versions w
                where w.business_id = r.business_id and w.name = r.name), 0) end as version,
            case
                when f.value is not null then 0::smallint
                when r.name is null or r.name <> all (%1$L::text[]) then 3::smallint
                when r.name <> all (c.names) then 5::smallint
                when s.business_id is null and not exists (
                    select from %2$s b where b.%3$I = r.business_id) then 4::smallint
                when s.stored is null then 1::smallint
                else 2::smallint
            end as status,
            case when f.value is not null then uuid_hash_extended(r.business_id, hashtextextended(r.name, p_marks)) end as key
        from (
            select case when p_caller is not null then (
                select case when bool_or(g.name = '*') then null else coalesce(array_agg(g.name), '{}') end
                from app_secrets.scopes g where g.login = p_caller and g.may_read) end as names
            offset 0) c
        cross join unnest(p_business_ids, p_names) with ordinality as r(business_id, name, ord)
        left join lateral (
            select b.business_id, case r.name
                    %4$s
                end as stored
            from public.business_secrets b
            where b.business_id = r.business_id and (c.names is null or r.name = any (c.names))
            offset 0) s on true
        cross join lateral (
            select case
                when r.name = any (%5$L::text[]) then s.stored
                when s.stored is not null then (
                    select d.decrypted_secret from vault.decrypted_secrets d
                    where d.id = s.stored::uuid and d.name = 'business_secrets/' || r.business_id || '/' || r.name)
                end as value
            offset 0) f
        order by r.ord
        offset 0$body$, v_names, v_settings.owner_table, v_settings.owner_key, v_cases, v_metadata);
    perform app_secrets.make_function(
        'app_secrets.read_cells(p_business_ids uuid[], p_names text[], p_with_versions boolean, p_caller name, p_marks bigint, p_minute bigint, out "values" text[], out versions bigint[], out statuses smallint[], out unmarked boolean)',
        '', 'security definer set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set jit = off set row_security = off',
        format($body$
#variable_conflict use_variable
begin
    if cardinality(p_names) < 8 then
        select /* app-secrets */ array_agg(x.value), array_agg(x.version), array_agg(x.status), bool_or(
            x.key is not null and not exists (
                select from app_secrets.access_marks a where %1$s = x.key and a.minute = p_minute offset 0))
        into "values", versions, statuses, unmarked
        from (%2$s) x;
    else
        select /* app-secrets */ y.read, y.versions, y.statuses, coalesce((
            select count(*) from app_secrets.access_marks a where %1$s = any (y.keys) and a.minute = p_minute) < cardinality(y.keys), false)
        into "values", versions, statuses, unmarked
        from (
            select array_agg(x.value) as read, array_agg(x.version) as versions, array_agg(x.status) as statuses,
                array_agg(x.key) filter (where x.key is not null) as keys
            from (%2$s) x
            offset 0) y;
    end if;
end$body$, v_key, v_elements));
end $make$;

-- Element i asks for name i of business i; three arrays in that order, versions only where they are asked for. One broken
-- secret makes the set-based read fail: then, and only then, each element is read on its own.
-- What does not fit into work_mem goes to temporary files, in clear: 64 MB hold the longest values of 512 elements, the most
-- that our client asks for at once. Volatile, since it marks what was read.
create or replace function public.get_business_secrets_columns(
    p_business_ids uuid[], p_names text[], p_with_versions boolean default true,
    out "values" text[], out versions bigint[], out statuses smallint[])
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set work_mem = '64MB'
as $$
declare
    v_caller constant name := app_secrets.admitted_caller();
    v_minute constant bigint := floor(date_part('epoch', statement_timestamp()) / 60);
    -- NULL where nothing can be written.
    v_marks constant bigint := case when current_setting('transaction_read_only') = 'off' then
        hashtextextended(v_caller::text, v_minute / 1440) end;
    -- Whose scope counts: nobody's for an administrator who has none.
    v_reader name := v_caller;
    v_cells record;
begin
    if p_business_ids is null or p_names is null or cardinality(p_business_ids) <> cardinality(p_names) then
        raise exception 'p_business_ids and p_names must be arrays of one length' using errcode = '22023';
    elsif cardinality(p_names) > 10000 then
        raise exception 'at most 10000 elements in one batch' using errcode = '22023';
    elsif cardinality(p_names) = 0 then
        "values" := '{}';
        statuses := '{}';
        return;
    end if;
    begin
        v_cells := app_secrets.read_cells(p_business_ids, p_names, p_with_versions, v_reader, v_marks, v_minute);
        if 5 = any (v_cells.statuses) and (app_secrets.scope_of_caller(false)).names is null then
            v_reader := null;
            v_cells := app_secrets.read_cells(p_business_ids, p_names, p_with_versions, v_reader, v_marks, v_minute);
        end if;
        "values" := v_cells."values";
        versions := case when p_with_versions then v_cells.versions end;
        statuses := v_cells.statuses;
        if not v_cells.unmarked then
            return;
        end if;
    exception when data_exception then
        "values" := array_fill(null::text, array[cardinality(p_names)]);
        versions := array_fill(0::bigint, array[cardinality(p_names)]);
        statuses := array_fill(2::smallint, array[cardinality(p_names)]);
        -- Slices go by subscript: from 1 and in one dimension, whatever bounds the caller's arrays have.
        p_business_ids := array(select unnest(p_business_ids));
        p_names := array(select unnest(p_names));
        for i in 1 .. cardinality(p_names) loop
            begin
                v_cells := app_secrets.read_cells(p_business_ids[i:i], p_names[i:i], true, v_reader, null, v_minute);
                "values"[i] := v_cells."values"[1];
                versions[i] := v_cells.versions[1];
                statuses[i] := v_cells.statuses[1];
            exception when data_exception then
                versions[i] := coalesce((
                    select v.version from app_secrets.secret_versions v
                    where v.business_id = p_business_ids[i] and v.name = p_names[i]), 0);
            end;
        end loop;
        versions := case when p_with_versions then versions end;
    end;
    if v_marks is not null then
        perform app_secrets.mark_reads(v_caller, p_business_ids, p_names, statuses, v_minute);
    end if;
end $$;
comment on function public.get_business_secrets_columns(uuid[], text[], boolean) is 'app-secrets contract 2';

-- The same as rows, with the status in words.
create or replace function public.get_business_secrets_batch(p_business_ids uuid[], p_names text[])
    returns table (ord integer, value text, version bigint, status text)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set work_mem = '64MB'
as $$
begin
    return query
        select u.ord::integer, u.value, u.version,
            (array['ok', 'not_set', 'undecryptable', 'unknown_secret', 'business_not_found', 'permission_denied'])[u.status + 1]
        from public.get_business_secrets_columns(p_business_ids, p_names, true) c
        cross join lateral unnest(c."values", c.versions, c.statuses) with ordinality as u(value, version, status, ord);
end $$;
comment on function public.get_business_secrets_batch(uuid[], text[]) is 'app-secrets contract 2';

-- {name: value | null} of all names that the caller may read, or of those asked for. What cannot be given is left out and
-- named in "$errors".
create or replace function public.get_business_secrets(p_business_id uuid, p_names text[] default null) returns jsonb
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_scope record;
    v_names text[];
    v_values jsonb;
    v_errors jsonb;
    v_unknown boolean;
    v_no_business boolean;
begin
    v_scope := app_secrets.scope_of_caller(false);
    v_names := coalesce(p_names, array(
        select n.name from unnest(app_secrets.secret_names()) as n(name)
        where v_scope.names is null or n.name = any (v_scope.names)));
    if p_business_id is null then
        raise exception 'p_business_id must not be null' using errcode = '22023';
    elsif p_names is null and v_names = '{}' then
        raise exception 'this login may read no secret' using errcode = 'AS005', hint = 'Run: npx app-secrets login add';
    end if;
    select
        jsonb_object_agg(n.name, b.value) filter (where b.status in ('ok', 'not_set')),
        jsonb_object_agg(n.name, case b.status when 'undecryptable' then 'DECRYPT_FAILED' else 'PERMISSION_DENIED' end)
            filter (where b.status in ('undecryptable', 'permission_denied')),
        bool_or(b.status = 'unknown_secret'),
        bool_or(b.status = 'business_not_found')
    into v_values, v_errors, v_unknown, v_no_business
    from public.get_business_secrets_batch(array_fill(p_business_id, array[cardinality(v_names)]), v_names) b
    join unnest(v_names) with ordinality as n(name, ord) on n.ord = b.ord;
    if v_unknown then
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || array_to_string(app_secrets.secret_names(), ', ');
    elsif v_no_business or (cardinality(v_names) = 0 and not app_secrets.owner_exists(p_business_id)) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    return coalesce(v_values, '{}') || case when v_errors is null then '{}' else jsonb_build_object('$errors', v_errors) end;
end $$;
comment on function public.get_business_secrets(uuid, text[]) is 'app-secrets contract 2';

-- ---------------------------------------------------------------------------------------------------------------------
-- Writing.

-- A point in time as ISO 8601 has it, with date and time, or as HTTP has it; without a zone it is UTC. Words and local formats
-- mean something else on every server.
create or replace function app_secrets.parse_timestamp(p_name text, p_text text) returns timestamptz
    language plpgsql stable set search_path = pg_catalog, pg_temp set datestyle = 'ISO, MDY' set timezone = 'UTC'
as $$
declare
    v_at timestamptz;
begin
    -- Without a backslash, which means something else where the caller has standard_conforming_strings off.
    if p_text ~ '^[+]?[0-9]{4,6}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$'
        or p_text ~ '^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|UTC)$' then
        begin
            v_at := replace(ltrim(p_text, '+'), ',', case when p_text ~ '^[A-Z]' then ' ' else '.' end)::timestamptz;
        exception when data_exception then
            v_at := null;
        end;
    end if;
    if v_at is null or v_at not between '0001-01-01T00:00:00Z' and '275760-09-13T00:00:00Z' then
        raise exception '% must be a point in time, as 2026-01-31T12:00:00Z', p_name using errcode = 'AS002';
    end if;
    return v_at;
end $$;

-- What a write needs to know before it locks anything; gives the values, normalised.
create or replace function app_secrets.checked_values(p_business_id uuid, p_values jsonb, p_scope text[]) returns jsonb
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_unknown bigint;
    v_forbidden text;
    v_bad text;
begin
    select count(*) filter (where e.key <> all (app_secrets.secret_names())), min(e.key) filter (where e.key <> all (p_scope)),
        min(e.key) filter (where jsonb_typeof(e.value) not in ('string', 'null'))
    into v_unknown, v_forbidden, v_bad
    from jsonb_each(p_values) e;
    if v_unknown > 0 then
        -- Never name it: a caller who mixed up name and value would find the value in a log.
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || array_to_string(app_secrets.secret_names(), ', ');
    elsif v_forbidden is not null then
        raise exception 'this login may not write %', v_forbidden using errcode = 'AS005',
            hint = 'Nothing was written. Run: npx app-secrets login add';
    elsif v_bad is not null then
        raise exception '% must be a string or null', v_bad using errcode = 'AS002';
    end if;
    return (
        select coalesce(jsonb_object_agg(v.name, case
            when v.value is null or c.type = 'text' then to_jsonb(v.value)
            else to_jsonb(app_secrets.parse_timestamp(v.name, v.value)) end), '{}')
        from (
            select e.key as name, app_secrets.checked_value(p_business_id, e.key, e.value) as value
            from jsonb_each_text(p_values) e) v
        join app_secrets.catalogue c on c.name = v.name);
end $$;

-- Refuses what is no {name: version}.
create or replace function app_secrets.check_expected(p_expected jsonb) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(p_expected) <> 'object' or exists (
        select from jsonb_each(case when jsonb_typeof(p_expected) = 'object' then p_expected else '{}' end) e
        where jsonb_typeof(e.value) <> 'number' or e.value::text !~ '^[0-9]{1,18}$') then
        raise exception 'p_expected must be an object of versions, whole numbers from 0' using errcode = '22023';
    elsif exists (select from jsonb_object_keys(p_expected) as k(name) where k.name <> all (app_secrets.secret_names())) then
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || array_to_string(app_secrets.secret_names(), ', ');
    end if;
end $$;

-- Refuses to write over a version other than the one that was read; 0 is a cell that was never set. The caller holds the row.
create or replace function app_secrets.require_versions(p_business_id uuid, p_expected jsonb) returns void
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_bad text;
begin
    select string_agg(format('%s is at version %s, not %s', e.key, coalesce(v.version, 0), e.value), ', ' order by e.key)
    into v_bad
    from jsonb_each(p_expected) e
    left join app_secrets.secret_versions v on v.business_id = p_business_id and v.name = e.key
    where coalesce(v.version, 0) <> e.value::text::bigint;
    if v_bad is not null then
        raise exception '%', v_bad using errcode = 'AS004';
    end if;
end $$;

-- Writes checked values and sees that what was written is what will be read: a trigger of the app's on the owner table may
-- make something else of it, and the sync would carry that back.
create or replace function app_secrets.write_checked(p_business_id uuid, p_values jsonb, p_stored jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    v_cells jsonb;
    v_bad text;
begin
    if p_values = '{}' then
        return;
    end if;
    -- The audit's word for this side, whatever the session has set, and nothing that only the mirror may say.
    perform set_config('app_secrets.origin', '', true), set_config('app_secrets.mirrored', '', true);
    perform app_secrets.write_cells(p_business_id, p_values, p_stored);
    select to_jsonb(s.*) into v_cells from public.business_secrets s where s.business_id = p_business_id;
    select string_agg(e.key, ', ') into v_bad
    from jsonb_each_text(p_values) e
    join app_secrets.catalogue c on c.name = e.key and c.type = 'text'
    where e.value is distinct from case when c.sealed then app_secrets.reveal(p_business_id, e.key, v_cells ->> e.key) else v_cells ->> e.key end;
    if v_bad is not null then
        raise exception '% would not be read as it was written: a trigger or the type of the plaintext column changes it', v_bad
            using errcode = 'AS002', hint = 'Nothing was written. Look at the triggers and column types of the table that holds the plaintext.';
    end if;
end $$;

-- Writes {name: text | null}, all or nothing; gives {name: version}. p_expected {name: version} refuses to write over a version
-- other than the one that was read. p_options {name: {expires_at, rotate_every, purge}}: when the value ends and how often it
-- is to be replaced, which nothing enforces, and whether the value before is forgotten at once.
create or replace function public.set_business_secrets(
    p_business_id uuid, p_values jsonb, p_expected jsonb default null, p_options jsonb default null) returns jsonb
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_scope record;
    v_values jsonb;
    v_stored jsonb;
    v_purge text := '';
    v_option record;
    v_until timestamptz;
    v_every interval;
begin
    v_scope := app_secrets.scope_of_caller(true);
    if p_business_id is null or jsonb_typeof(p_values) is distinct from 'object' then
        raise exception 'set_business_secrets needs a business id and an object of values' using errcode = '22023';
    end if;
    if p_expected is not null then
        perform app_secrets.check_expected(p_expected);
    end if;
    if p_options is not null then
        if jsonb_typeof(p_options) <> 'object' or exists (
            select from jsonb_each(case when jsonb_typeof(p_options) = 'object' then p_options else '{}' end) e
            where not p_values ? e.key or jsonb_typeof(e.value) <> 'object') then
            raise exception 'p_options must be an object of options for names in p_values' using errcode = '22023';
        end if;
        select coalesce(string_agg(o.key, ','), '') into v_purge from jsonb_each(p_options) o where o.value -> 'purge' = 'true';
    end if;
    v_values := app_secrets.checked_values(p_business_id, p_values, v_scope.names);

    v_stored := app_secrets.lock_row(p_business_id);
    if not app_secrets.owner_exists(p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    if p_expected is not null then
        perform app_secrets.require_versions(p_business_id, p_expected);
    end if;
    perform set_config('app_secrets.purge', v_purge, true);
    perform app_secrets.write_checked(p_business_id, v_values, v_stored);
    perform set_config('app_secrets.purge', '', true);

    for v_option in select o.key as name, o.value from jsonb_each(p_options) o loop
        if v_option.value -> 'purge' = 'true' then
            perform app_secrets.keep_previous(p_business_id, v_option.name, null);
        end if;
        continue when not v_option.value ?| array['expires_at', 'rotate_every'];
        v_until := case when v_option.value ->> 'expires_at' is not null then
            app_secrets.parse_timestamp('expires_at', v_option.value ->> 'expires_at') end;
        begin
            v_every := v_option.value ->> 'rotate_every';
        exception when data_exception then
            v_every := '0';
        end;
        -- Beyond that the day on which it is due might be no date.
        if v_every <= '0' or v_every > '100 years' then
            raise exception 'rotate_every must be a length of time, as 90 days, and at most 100 years' using errcode = 'AS002';
        end if;
        update app_secrets.secret_versions v set
            expires_at = case when v_option.value ? 'expires_at' then v_until else v.expires_at end,
            rotate_every = case when v_option.value ? 'rotate_every' then v_every else v.rotate_every end
        where v.business_id = p_business_id and v.name = v_option.name;
    end loop;
    perform app_secrets.keep_deadline();
    return (
        select coalesce(jsonb_object_agg(k.name, coalesce(v.version, 0)), '{}')
        from jsonb_object_keys(p_values) as k(name)
        left join app_secrets.secret_versions v on v.business_id = p_business_id and v.name = k.name);
end $$;
comment on function public.set_business_secrets(uuid, jsonb, jsonb, jsonb) is 'app-secrets contract 2';

-- The value before the present one, while it is kept.
create or replace function app_secrets.previous_value(p_business_id uuid, p_name text) returns text
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_value text;
begin
    select d.decrypted_secret into v_value
    from app_secrets.secret_versions v
    join app_secrets.vault_rows r on r.business_id = v.business_id and r.name = v.name and r.role = 'previous'
    join vault.decrypted_secrets d on d.id = r.vault_id
    where v.business_id = p_business_id and v.name = p_name and v.previous_until > now();
    if v_value is null then
        raise exception 'there is no earlier value of % to put back', p_name using errcode = 'AS008';
    end if;
    return v_value;
end $$;

-- Puts the value before the present one back, as a new version. The present one can then be put back in turn.
create or replace function public.undo_business_secret(p_business_id uuid, p_name text, p_expected bigint default null)
    returns bigint
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_scope record;
    v_values jsonb;
    v_stored jsonb;
begin
    v_scope := app_secrets.scope_of_caller(true);
    if p_business_id is null or p_name is null then
        raise exception 'undo_business_secret needs a business id and a name' using errcode = '22023';
    end if;
    perform app_secrets.checked_values(p_business_id, jsonb_build_object(p_name, null), v_scope.names);
    v_stored := app_secrets.lock_row(p_business_id);
    if not app_secrets.owner_exists(p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    if p_expected is not null then
        perform app_secrets.require_versions(p_business_id, jsonb_build_object(p_name, p_expected));
    end if;
    v_values := jsonb_build_object(p_name, app_secrets.previous_value(p_business_id, p_name));
    perform set_config('app_secrets.undone', p_name, true);
    perform app_secrets.write_checked(p_business_id, v_values, v_stored);
    perform set_config('app_secrets.undone', '', true);
    perform app_secrets.keep_deadline();
    return (
        select v.version from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name);
end $$;
comment on function public.undo_business_secret(uuid, text, bigint) is 'app-secrets contract 2';

-- ---------------------------------------------------------------------------------------------------------------------
-- What may be shown.

-- What may be shown of one cell: last4 of sealed values of 12 characters or more, as providers' own consoles show.
create or replace function app_secrets.cell_status(
    p_business_id uuid, p_name text, out is_set boolean, out last4 text, out version bigint, out updated_at timestamptz,
    out last_read_at timestamptz, out last_checked_at timestamptz, out check_result text, out expires_at timestamptz,
    out rotate_every interval, out can_undo boolean)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_value text;
    v_status smallint;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    begin
        select c."values"[1], c.statuses[1] into v_value, v_status
        from app_secrets.read_cells(array[p_business_id], array[p_name], false, null, null, null) c;
    exception when data_exception then
        v_status := 2;
    end;
    is_set := v_status in (0, 2);
    last4 := case when length(v_value) >= 12 and (select c.sealed from app_secrets.catalogue c where c.name = p_name)
        then right(v_value, 4) end;
    select v.version, v.updated_at, v.last_checked_at, v.check_result, v.expires_at, v.rotate_every,
        coalesce(v.previous_until > now(), false)
    into version, updated_at, last_checked_at, check_result, expires_at, rotate_every, can_undo
    from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name;
    version := coalesce(version, 0);
    can_undo := coalesce(can_undo, false);
    select to_timestamp(max(a.minute) * 60) into last_read_at
    from app_secrets.access_marks a where a.business_id = p_business_id and a.name = p_name;
end $$;

-- What is set, never what it is: of the names that the caller may read or write.
create or replace function public.list_business_secrets(p_business_id uuid)
    returns table (
        name text, label text, sealed boolean, is_set boolean, last4 text, version bigint, updated_at timestamptz,
        last_read_at timestamptz, last_checked_at timestamptz, check_result text, expires_at timestamptz,
        rotate_every interval, can_undo boolean)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_read record;
    v_write record;
begin
    v_read := app_secrets.scope_of_caller(false);
    v_write := app_secrets.scope_of_caller(true);
    if p_business_id is null then
        raise exception 'p_business_id must not be null' using errcode = '22023';
    elsif not app_secrets.owner_exists(p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    return query
        select c.name, c.label, c.sealed, x.is_set, case when v_read.names is null or c.name = any (v_read.names) then x.last4 end,
            x.version, x.updated_at, x.last_read_at, x.last_checked_at, x.check_result, x.expires_at, x.rotate_every, x.can_undo
        from app_secrets.catalogue c
        cross join lateral app_secrets.cell_status(p_business_id, c.name) x
        where c.retired_at is null
            and (v_read.names is null or v_write.names is null or c.name = any (v_read.names) or c.name = any (v_write.names))
        order by c.position;
end $$;
comment on function public.list_business_secrets(uuid) is 'app-secrets contract 2';

-- Cells whose value expires or is to be replaced within a time, of the names that the caller may read.
create or replace function public.due_business_secrets(p_within interval)
    returns table (business_id uuid, name text, due_at timestamptz, reason text)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_scope record;
begin
    v_scope := app_secrets.scope_of_caller(false);
    return query
        select v.business_id, v.name, d.due_at, d.reason
        from app_secrets.secret_versions v
        cross join lateral (values (v.expires_at, 'expires'), (v.updated_at + v.rotate_every, 'rotate')) as d(due_at, reason)
        where v.is_set and d.due_at <= now() + coalesce(p_within, '0') and (v_scope.names is null or v.name = any (v_scope.names))
        order by d.due_at, v.business_id, v.name;
end $$;
comment on function public.due_business_secrets(interval) is 'app-secrets contract 2';

-- Records what a provider said of the present value. False where it has changed since.
create or replace function public.check_business_secret(p_business_id uuid, p_name text, p_version bigint, p_result text)
    returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_scope record;
begin
    v_scope := app_secrets.scope_of_caller(false);
    if p_result is null or p_result not in ('works', 'refused', 'not_checked') then
        raise exception 'a result is works, refused or not_checked' using errcode = '22023';
    end if;
    perform app_secrets.checked_values(p_business_id, jsonb_build_object(coalesce(p_name, ''), null), v_scope.names);
    update app_secrets.secret_versions v set last_checked_at = now(), check_result = p_result
    where v.business_id = p_business_id and v.name = p_name and v.version = p_version and v.is_set;
    return found;
end $$;
comment on function public.check_business_secret(uuid, text, bigint, text) is 'app-secrets contract 2';

-- Makes the caller the one holder of a secret for a time: a token and the version. Without a token somebody else holds it until
-- expires_at.
create or replace function public.lease_business_secret(p_business_id uuid, p_name text, p_ttl interval default '30 seconds')
    returns table (token uuid, version bigint, expires_at timestamptz)
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_scope record;
    v_token constant uuid := gen_random_uuid();
begin
    v_scope := app_secrets.scope_of_caller(true);
    if p_ttl is null or p_ttl <= '0' or p_ttl > '1 hour' then
        raise exception 'a lease lasts up to an hour' using errcode = '22023';
    end if;
    perform app_secrets.checked_values(p_business_id, jsonb_build_object(coalesce(p_name, ''), null), v_scope.names);
    if not app_secrets.owner_exists(p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    insert into app_secrets.leases as l (business_id, name, token, login, expires_at)
    values (p_business_id, p_name, v_token, v_scope.caller, clock_timestamp() + p_ttl)
    on conflict (business_id, name) do update
        set token = excluded.token, login = excluded.login, expires_at = excluded.expires_at
        where l.expires_at < clock_timestamp();
    return query
        select case when l.token = v_token then l.token end,
            coalesce((select v.version from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name), 0),
            l.expires_at
        from app_secrets.leases l where l.business_id = p_business_id and l.name = p_name;
end $$;
comment on function public.lease_business_secret(uuid, text, interval) is 'app-secrets contract 2';

-- Ends a lease early. False where it had ended by itself.
create or replace function public.release_business_secret(p_business_id uuid, p_name text, p_token uuid) returns boolean
    language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform app_secrets.scope_of_caller(true);
    delete from app_secrets.leases l where l.business_id = p_business_id and l.name = p_name and l.token = p_token;
    return found;
end $$;
comment on function public.release_business_secret(uuid, text, uuid) is 'app-secrets contract 2';

-- ---------------------------------------------------------------------------------------------------------------------
-- For pages, through the Data API.

create or replace function app_secrets.shown_names() returns table (name text, label text, sealed boolean, "position" integer)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query select c.name, c.label, c.sealed, c.position from app_secrets.catalogue c where c.retired_at is null order by c.position;
end $$;

create or replace view public.business_secret_names with (security_invoker = true, security_barrier = true) as
select n.name, n.label, n.sealed from app_secrets.shown_names() n;
comment on view public.business_secret_names is 'app-secrets: which secrets there are';

-- Businesses that the caller may see and that have no row of secrets yet.
create or replace function app_secrets.businesses_without_secrets() returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_caller constant name := app_secrets.caller();
begin
    if v_caller = 'service_role' or app_secrets.is_administrator(v_caller) then
        return query select b.id from app_secrets.all_business_ids() as b(id)
            where not exists (select from public.business_secrets s where s.business_id = b.id);
    else
        return query select b.id from app_secrets.current_business_ids() as b(id)
            where not exists (select from public.business_secrets s where s.business_id = b.id);
    end if;
end $$;

-- A row for each visible business and name, without a value. To write: set value, is_set = false, undo or check_result; OLD.version
-- is compared under the row's lock, so `where version = …` makes it compare-and-set.
create or replace view public.business_secret_status with (security_invoker = true, security_barrier = true) as
select b.business_id, n.name, n.label, n.sealed, x.is_set, x.last4, x.version, x.updated_at, x.last_read_at, x.last_checked_at,
    x.check_result, x.expires_at, x.rotate_every, x.can_undo, null::text as value, false as undo
from (
    select s.business_id from public.business_secrets s
    union all
    select w.id from app_secrets.businesses_without_secrets() as w(id)
) b
cross join app_secrets.shown_names() n
cross join lateral app_secrets.cell_status(b.business_id, n.name) x;
comment on view public.business_secret_status is 'app-secrets: what may be shown of each secret';

-- INSTEAD OF UPDATE, in two halves. This one has our rights: it locks the row, compares the version, records a check, and
-- hands the value over under a token. The other one writes with the caller's rights, so that every policy of theirs decides.
create or replace function app_secrets.status_begin() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_version bigint;
    v_value text;
    v_token constant text := gen_random_uuid()::text;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    if (new.business_id, new.name) is distinct from (old.business_id, old.name) then
        raise exception 'business_id and name cannot be changed' using errcode = 'AS002';
    elsif (new.label, new.sealed, new.last4, new.version, new.updated_at, new.last_read_at, new.expires_at, new.rotate_every, new.can_undo)
        is distinct from
        (old.label, old.sealed, old.last4, old.version, old.updated_at, old.last_read_at, old.expires_at, old.rotate_every, old.can_undo)
        or (new.is_set and not old.is_set and new.value is null and not new.undo) then
        raise exception 'of business_secret_status only value, is_set = false, undo and check_result can be written' using errcode = 'AS002',
            hint = 'Nothing was written. An expiry and a rotation interval are set by a service, with set_business_secrets().';
    end if;
    perform app_secrets.lock_row(old.business_id);
    select v.version into v_version from app_secrets.secret_versions v
    where v.business_id = old.business_id and v.name = old.name;
    if coalesce(v_version, 0) <> old.version then
        raise exception '% of business % has changed since it was read', old.name, old.business_id
            using errcode = case when session_user = 'authenticator' then 'PT409' else '40001' end,
            hint = 'Nothing was written. Read it again, then decide.';
    end if;
    if new.undo then
        v_value := app_secrets.previous_value(old.business_id, old.name);
        perform set_config('app_secrets.undone', old.name, true);
    elsif new.value is not null then
        v_value := app_secrets.checked_values(old.business_id, jsonb_build_object(old.name, new.value), null) ->> old.name;
        -- Blank clears.
        new.is_set := v_value is not null;
        new.value := null;
    end if;
    if v_value is not null then
        if old.sealed then
            perform set_config('app_secrets.pending', jsonb_build_object(v_token, v_value)::text, true);
            new.value := v_token;
        else
            new.value := v_value;
        end if;
        new.is_set := true;
    -- A check that finds what the last one found is another check: whoever tells of one names its time too, which is ours.
    elsif new.check_result is distinct from old.check_result or new.last_checked_at is distinct from old.last_checked_at then
        update app_secrets.secret_versions v set last_checked_at = now(), check_result = new.check_result
        where v.business_id = old.business_id and v.name = old.name and v.is_set;
    end if;
    return new;
end $$;

create or replace function app_secrets.status_write() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    if new.value is not null or (old.is_set and not new.is_set) then
        execute format(
            'insert into public.business_secrets (business_id, %1$I) values ($1, ($2)::%2$s) '
            'on conflict (business_id) do update set %1$I = excluded.%1$I',
            new.name, (select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                where a.attrelid = 'public.business_secrets'::regclass and a.attname = new.name))
        using new.business_id, new.value;
        perform set_config('app_secrets.undone', '', true);
        new.value := null;
        new.undo := false;
    end if;
    return new;
end $$;
-- What the caller gets back is as it is afterwards.
create or replace function app_secrets.status_end() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    select x.is_set, x.last4, x.version, x.updated_at, x.last_read_at, x.last_checked_at, x.check_result, x.expires_at,
        x.rotate_every, x.can_undo
    into new.is_set, new.last4, new.version, new.updated_at, new.last_read_at, new.last_checked_at, new.check_result,
        new.expires_at, new.rotate_every, new.can_undo
    from app_secrets.cell_status(new.business_id, new.name) x;
    return new;
end $$;
create or replace trigger aa_app_secrets_begin instead of update on public.business_secret_status
    for each row execute function app_secrets.status_begin();
create or replace trigger bb_app_secrets_write instead of update on public.business_secret_status
    for each row execute function app_secrets.status_write();
create or replace trigger cc_app_secrets_end instead of update on public.business_secret_status
    for each row execute function app_secrets.status_end();

-- ---------------------------------------------------------------------------------------------------------------------
-- Realtime sends the rows of the table, so references, to those whom RLS lets read them.
do $$
begin
    if exists (select from pg_publication p where p.pubname = 'supabase_realtime' and not p.puballtables)
        and not exists (
            select from pg_publication_tables t
            where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'business_secrets') then
        alter publication supabase_realtime add table public.business_secrets;
    end if;
exception when insufficient_privilege then
    raise warning 'the publication supabase_realtime belongs to another role, which alone can add public.business_secrets to it';
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Another root key for Vault, which opens with its present one only. `app-secrets rekey begin` wraps every value under a key
-- that the operator's file alone holds; after the change `rekey finish` seals all of them anew, without a new version of any.

create table if not exists app_secrets.rekey (
    id uuid primary key,
    begun_at timestamptz not null default clock_timestamp(),
    begun_by text not null default session_user,
    -- Opens with the operator's key: tells a wrong file.
    proof bytea not null,
    -- Since the first value was sealed anew there is no way back.
    finishing_at timestamptz,
    ended_at timestamptz,
    outcome text check (outcome in ('finished', 'aborted'))
);
create unique index if not exists rekey_under_way on app_secrets.rekey ((true)) where ended_at is null;

create table if not exists app_secrets.rekey_wraps (
    vault_id uuid primary key,
    -- SHA-256 of the ciphertext that was wrapped: another one means that the value has changed since.
    fingerprint bytea not null,
    -- NULL: it did not open then already.
    wrap bytea,
    -- The row that holds the value since it was sealed anew.
    sealed_id uuid
);
create unique index if not exists rekey_wraps_sealed on app_secrets.rekey_wraps (sealed_id);

do $$
declare
    v_table name;
begin
    foreach v_table in array array['rekey', 'rekey_wraps'] loop
        execute format('alter table app_secrets.%I enable row level security', v_table);
        execute format('drop policy if exists nobody on app_secrets.%I', v_table);
        execute format('create policy nobody on app_secrets.%I using (false)', v_table);
    end loop;
end $$;

-- Nothing stands in plaintext that would have to be kept equal to what is sealed anew.
create or replace function app_secrets.require_sealed_alone() returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    if app_secrets.sync_is_on() then
        raise exception 'the plaintext columns are still kept equal to what is sealed' using errcode = 'AS007',
            hint = 'Drop the plaintext first: npx app-secrets migrate --drop-legacy';
    elsif exists (select from app_secrets.catalogue c where c.in_place in ('pending', 'sealing') and c.retired_at is null) then
        raise exception 'not everything is sealed yet' using errcode = 'AS007', hint = 'Run: npx app-secrets migrate';
    end if;
end $$;

-- Begins a change of the root key, or goes on with the one of this id.
create or replace function app_secrets.begin_rekey(p_id uuid, p_proof bytea) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
begin
    perform app_secrets.require_root_key();
    perform app_secrets.require_sealed_alone();
    if exists (select from app_secrets.rekey k where k.id = p_id and k.ended_at is not null) then
        raise exception 'this file was used for a change of the root key before' using errcode = 'AS007',
            hint = 'Nothing was changed. Name a new file.';
    elsif exists (select from app_secrets.rekey k where k.ended_at is null and k.id <> p_id) then
        raise exception 'another change of the root key is under way' using errcode = 'AS007',
            hint = 'Nothing was changed. Finish or abort that one first.';
    elsif exists (select from app_secrets.rekey k where k.id = p_id and k.finishing_at is not null) then
        raise exception 'values are being sealed anew already' using errcode = 'AS007', hint = 'Run: npx app-secrets rekey finish';
    end if;
    insert into app_secrets.rekey (id, proof) values (p_id, p_proof) on conflict (id) do nothing;
end $$;

-- Values that have no wrap, or have changed since they were wrapped; NULL for one that does not open. What does not fit into
-- work_mem goes to temporary files, in clear: 64 MB hold 500 of the longest.
create or replace function app_secrets.values_to_wrap(p_after uuid, p_limit integer)
    returns table (vault_id uuid, cell text, value text, fingerprint bytea)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
    for vault_id, cell, fingerprint in
        select r.vault_id, concat_ws('/', r.business_id, r.name, r.role), f.fingerprint
        from app_secrets.vault_rows r
        cross join lateral (
            select sha256(convert_to(s.secret, 'UTF8')) as fingerprint from vault.secrets s where s.id = r.vault_id offset 0) f
        where r.role <> 'former' and (p_after is null or r.vault_id > p_after)
            and not exists (
                select from app_secrets.rekey_wraps w where w.vault_id = r.vault_id and w.fingerprint = f.fingerprint)
        order by r.vault_id
        limit p_limit
    loop
        begin
            select d.decrypted_secret into value from vault.decrypted_secrets d where d.id = vault_id;
        exception when data_exception then
            value := null;
        end;
        return next;
    end loop;
end $$;

-- From here on sealed cells refuse writes, until the change is finished or aborted. Waits for the writers that there are.
create or replace function app_secrets.freeze_for_rekey() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    perform app_secrets.lock_tables('row share', 'share row exclusive');
    perform app_secrets.require_sealed_alone();
    if not exists (select from app_secrets.rekey k where k.ended_at is null) then
        raise exception 'no change of the root key is under way' using errcode = 'AS007', hint = 'Run: npx app-secrets rekey begin';
    end if;
    update app_secrets.settings s set frozen_at = now() where s.frozen_at is null;
end $$;

-- Seals these values anew, each in a row of Vault that is made under the present root key, and puts its reference in the place
-- of the one before. What has changed since it was wrapped, or is gone, is left as it is.
create or replace function app_secrets.seal_anew(p_vault_ids uuid[], p_values text[]) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
declare
    v_row app_secrets.vault_rows;
    v_id uuid;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    update app_secrets.rekey k set finishing_at = coalesce(k.finishing_at, clock_timestamp()) where k.ended_at is null;
    if not found then
        raise exception 'no change of the root key is under way' using errcode = 'AS007';
    end if;
    perform set_config('app_secrets.origin', 'rekey', true);
    for i in 1 .. cardinality(p_vault_ids) loop
        -- The row of secrets first, as whoever deletes a business locks it.
        perform from public.business_secrets s
        where s.business_id = (select r.business_id from app_secrets.vault_rows r where r.vault_id = p_vault_ids[i])
        for update;
        select r.* into v_row from app_secrets.vault_rows r where r.vault_id = p_vault_ids[i] and r.role <> 'former' for update;
        continue when v_row.vault_id is null or not exists (
            select from vault.secrets s
            join app_secrets.rekey_wraps w on w.vault_id = s.id and w.fingerprint = sha256(convert_to(s.secret, 'UTF8'))
            where s.id = v_row.vault_id);
        delete from vault.secrets s where s.id = v_row.vault_id;
        if v_row.role = 'canary' then
            delete from app_secrets.vault_rows r where r.vault_id = v_row.vault_id;
        else
            -- Whoever read the reference before may still write it back.
            update app_secrets.vault_rows r set role = 'former', at = now() where r.vault_id = v_row.vault_id;
        end if;
        v_id := app_secrets.create_vault_row(v_row.business_id, v_row.name, v_row.role);
        perform vault.update_secret(v_id, p_values[i]);
        if (select d.decrypted_secret from vault.decrypted_secrets d where d.id = v_id) is distinct from p_values[i] then
            raise exception 'Supabase Vault does not give back what it was given' using errcode = 'AS006';
        end if;
        if v_row.role = 'current' then
            execute format('update public.business_secrets s set %I = $2 where s.business_id = $1 and s.%I = $3', v_row.name, v_row.name)
            using v_row.business_id, v_id::text, v_row.vault_id::text;
            if not found then
                raise exception 'there is no cell for a registered row of Vault, % of business %', v_row.name, v_row.business_id
                    using errcode = 'AS006';
            end if;
        end if;
        update app_secrets.rekey_wraps w set sealed_id = v_id where w.vault_id = v_row.vault_id;
    end loop;
    perform set_config('app_secrets.origin', '', true);
end $$;

-- Registered rows of Vault that do not open and did when they were wrapped.
create or replace function app_secrets.lost_in_rekey() returns table (business_id uuid, name text, role text)
    language plpgsql stable set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_column
declare
    v_id uuid;
    v_opens boolean;
begin
    for v_id, business_id, name, role in
        select r.vault_id, r.business_id, r.name, r.role
        from app_secrets.vault_rows r
        where r.role <> 'former'
            and not exists (select from app_secrets.rekey_wraps w where w.sealed_id = r.vault_id)
            and not exists (
                select from app_secrets.rekey_wraps w
                join vault.secrets s on s.id = w.vault_id and w.fingerprint = sha256(convert_to(s.secret, 'UTF8'))
                where w.vault_id = r.vault_id and w.wrap is null)
    loop
        begin
            select d.decrypted_secret is not null into v_opens from vault.decrypted_secrets d where d.id = v_id;
        exception when data_exception then
            v_opens := false;
        end;
        if v_opens is distinct from true then
            return next;
        end if;
    end loop;
end $$;

-- Ends it: the wraps go, and cells can be written again.
create or replace function app_secrets.end_rekey(p_outcome text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_rekey app_secrets.rekey;
    v_lost bigint;
begin
    select k.* into v_rekey from app_secrets.rekey k where k.ended_at is null for update;
    if v_rekey.id is null then
        raise exception 'no change of the root key is under way' using errcode = 'AS007';
    elsif p_outcome = 'aborted' and v_rekey.finishing_at is not null then
        raise exception 'values are sealed under the new root key already' using errcode = 'AS007',
            hint = 'Run: npx app-secrets rekey finish';
    end if;
    perform app_secrets.require_root_key();
    if p_outcome = 'finished' then
        select count(*) into v_lost from app_secrets.lost_in_rekey();
        if v_lost > 0 then
            raise exception '% values do not open', v_lost using errcode = 'AS006';
        end if;
    end if;
    truncate app_secrets.rekey_wraps;
    update app_secrets.rekey k set ended_at = clock_timestamp(), outcome = p_outcome where k.id = v_rekey.id;
    update app_secrets.settings s set frozen_at = null where s.frozen_at is not null;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Grants: explicit and in one place, so that they come out the same under both of the platform's default privileges, after a
-- restore and after a new name.

create or replace function app_secrets.make_grants() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure;
    v_grantee text;
begin
    -- Whoever else got them, by a default privilege as a rule: functions run with our rights, and some give values.
    for v_function, v_grantee in
        select p.oid::regprocedure, case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end
        from pg_proc p
        cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
        where (p.pronamespace = 'app_secrets'::regnamespace
                or (p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') like 'app-secrets contract %'))
            and g.grantee <> p.proowner
        group by 1, 2
    loop
        execute format('revoke all on function %s from %s cascade', v_function, v_grantee);
    end loop;
    revoke all on schema app_secrets from public, anon, authenticated, service_role, app_secrets_service;
    revoke all on all tables in schema app_secrets from public, anon, authenticated, service_role, app_secrets_service;
    revoke all on all sequences in schema app_secrets from public, anon, authenticated, service_role, app_secrets_service;
    revoke all on public.business_secrets, public.decrypted_business_secrets, public.business_secret_names, public.business_secret_status
        from public, anon, authenticated, service_role, app_secrets_service;
    grant select, insert, update, delete on public.business_secrets to authenticated, service_role;
    grant select on public.decrypted_business_secrets to authenticated, service_role;
    grant select on public.business_secret_names to authenticated, service_role, app_secrets_service;
    grant select, update on public.business_secret_status to authenticated, service_role;
    grant execute on function app_secrets.reveal(uuid, text, text), app_secrets.reveal_in_place(uuid, text, text),
        app_secrets.cell_status(uuid, text), app_secrets.businesses_without_secrets() to authenticated, service_role;
    grant execute on function app_secrets.current_business_ids() to authenticated;
    grant execute on function app_secrets.shown_names() to authenticated, service_role, app_secrets_service;
    for v_function in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') like 'app-secrets contract %'
    loop
        execute format('grant execute on function %s to service_role, app_secrets_service', v_function);
    end loop;
end $$;

-- What stands otherwise than it would be made now: functions, the view, the triggers' arguments, what it misses. Makes
-- everything once and undoes it, and locks no table: neither readers nor writers notice.
create or replace function app_secrets.stale_objects() returns table (object text, problem text)
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
#variable_conflict use_column
declare
    v_before jsonb;
    v_after jsonb;
    v_view text;
    v_make text;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0)) then
        raise exception 'a migration is at work' using errcode = 'lock_not_available';
    end if;
    begin
        select jsonb_object_agg(p.oid::regprocedure, md5(concat_ws('|', p.prosrc, p.prosecdef, p.provolatile, p.proconfig::text))) into v_before
        from pg_proc p where p.pronamespace = 'app_secrets'::regnamespace;
        if app_secrets.table_sync_stands() then
            perform app_secrets.make_sync(false);
        end if;
        foreach v_make in array array['make_writes', 'make_backfill', 'make_reads', 'make_restore'] loop
            if to_regprocedure(format('app_secrets.%I()', v_make)) is not null then
                execute format('select app_secrets.%I()', v_make);
            end if;
        end loop;
        select jsonb_object_agg(p.oid::regprocedure, md5(concat_ws('|', p.prosrc, p.prosecdef, p.provolatile, p.proconfig::text))) into v_after
        from pg_proc p where p.pronamespace = 'app_secrets'::regnamespace;
        execute format('create view app_secrets.probe as select %s from public.business_secrets s', app_secrets.view_columns());
        v_view := pg_get_viewdef('app_secrets.probe'::regclass);
        raise exception 'undone' using errcode = 'AS000';
    exception when sqlstate 'AS000' then
        null;
    end;
    return query
        select a.key, case when v_before ? a.key then 'is altered' else 'is missing' end
        from jsonb_each(v_after) a where a.value is distinct from v_before -> a.key
        union all
        select 'public.decrypted_business_secrets', 'is missing' where to_regclass('public.decrypted_business_secrets') is null
        union all
        select 'public.decrypted_business_secrets', 'is altered'
        where to_regclass('public.decrypted_business_secrets') is not null
            and pg_get_viewdef(to_regclass('public.decrypted_business_secrets')) <> v_view
        union all
        select c.oid::regclass::text, 'is a view without ' || o.name
        from pg_class c
        cross join (values ('security_invoker'), ('security_barrier')) as o(name)
        where c.relnamespace = 'public'::regnamespace
            and c.relname in ('decrypted_business_secrets', 'business_secret_names', 'business_secret_status')
            and not coalesce(c.reloptions, '{}') && array[o.name || '=true', o.name || '=on']
        union all
        select format('trigger %I on public.business_secrets', t.tgname), 'is made for other names'
        from pg_trigger t
        where t.tgrelid = to_regclass('public.business_secrets') and t.tgname in ('zz_app_secrets_seal', 'zz_app_secrets_reap')
            and strpos(pg_get_triggerdef(t.oid), format('(%s)', app_secrets.sealing_arguments())) = 0
        union all
        select 'the sync with the plaintext columns', 'is made for other names, or a trigger of it is missing or disabled'
        where not (app_secrets.owner_sync_stands() and app_secrets.table_sync_stands())
        union all
        select format('%s.%I', s.owner_table, c.legacy_column), 'is not there any more: `app-secrets migrate --reapply` follows it to its new name, or takes it as dropped'
        from app_secrets.settings s
        join app_secrets.catalogue c on c.legacy_state in ('synced', 'filled')
        where not exists (
            select from pg_attribute a
            where a.attrelid = s.owner_table::regclass and a.attname = c.legacy_column and not a.attisdropped)
        union all
        select format('public.business_secrets.%I', c.name), 'has no CHECK that it holds references'
        from app_secrets.lacking_columns() c where c.lacks_check;
end $$;
revoke all on function app_secrets.stale_objects() from public, anon, authenticated, service_role;

do $$
declare
    v_settings app_secrets.settings;
begin
    select s.* into v_settings from app_secrets.settings s;
    perform app_secrets.make_function('app_secrets.all_business_ids()', 'returns setof uuid', 'stable security definer set row_security = off',
        format('begin return query select b.%I from %s b; end', v_settings.owner_key, v_settings.owner_table));
    perform app_secrets.make_all();
end $$;

insert into app_secrets.migrations (version, name, checksum)
values (4, 'rls_and_rpc', nullif(current_setting('app_secrets.migration_checksum', true), ''))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
