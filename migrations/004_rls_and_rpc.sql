-- 004 protect: who may read and write what, and the RPC that services use.
--
-- What     Policies and grants on business_secrets and its view; the group role app_secrets_service; the four RPC
--          functions; the notification; Realtime where its publication exists.
-- Locks    ACCESS EXCLUSIVE on business_secrets, for the catalogue changes only.
-- Again?   Safe. accessible_business_ids() is created once and then yours to change: running this again leaves it alone.

begin;
set local lock_timeout = '1s';
set local statement_timeout = '1min';
set local search_path = '';

do $$
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('app_secrets.migrations', 0));
    if pg_catalog.to_regnamespace('app_secrets') is null then
        raise exception 'migration 3 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(3);
end $$;

do $$
begin
    if not exists (select from pg_catalog.pg_roles r where r.rolname = 'app_secrets_service') then
        create role app_secrets_service nologin;
    end if;
exception when duplicate_object or unique_violation then
    -- Roles belong to the cluster: the migration of another of its databases was faster.
    null;
end $$;
revoke all on schema app_secrets from app_secrets_service;

-- ---------------------------------------------------------------------------------------------------------------------
-- Who may access a business: this function and nothing else. Definer, so that the app's own policies on businesses do
-- not decide about secrets by accident.

do $outer$
begin
    if pg_catalog.to_regprocedure('app_secrets.accessible_business_ids()') is null then
        create function app_secrets.accessible_business_ids() returns setof uuid
            language plpgsql stable security definer set search_path = ''
        as $$
        begin
            return query select b.id from public.businesses b where b.owner_id = (select auth.uid());
        end $$;
    end if;
end $outer$;
revoke all on function app_secrets.accessible_business_ids() from public, anon, authenticated, service_role;
grant execute on function app_secrets.accessible_business_ids() to authenticated;

-- Policies are permissive and add up: one that somebody left on the table would open it again.
do $$
declare
    v_policy name;
begin
    for v_policy in
        select p.polname from pg_catalog.pg_policy p
        where p.polrelid = 'public.business_secrets'::pg_catalog.regclass
    loop
        if v_policy not in ('business_secrets_select', 'business_secrets_insert', 'business_secrets_update',
            'business_secrets_delete', 'business_secrets_service') then
            raise warning 'dropping policy % on public.business_secrets: accessible_business_ids() decides now', v_policy;
        end if;
        execute pg_catalog.format('drop policy %I on public.business_secrets', v_policy);
    end loop;
end $$;

create policy business_secrets_select on public.business_secrets for select to authenticated
    using (business_id in (select app_secrets.accessible_business_ids()));
create policy business_secrets_insert on public.business_secrets for insert to authenticated
    with check (business_id in (select app_secrets.accessible_business_ids()));
create policy business_secrets_update on public.business_secrets for update to authenticated
    using (business_id in (select app_secrets.accessible_business_ids()))
    with check (business_id in (select app_secrets.accessible_business_ids()));
create policy business_secrets_delete on public.business_secrets for delete to authenticated
    using (business_id in (select app_secrets.accessible_business_ids()));
create policy business_secrets_service on public.business_secrets for all to service_role
    using (true) with check (true);

-- Explicit, so that it comes out the same under both of the platform's default privileges.
revoke all on public.business_secrets, public.decrypted_business_secrets
    from public, anon, authenticated, service_role, app_secrets_service;
grant select, insert, update, delete on public.business_secrets to authenticated, service_role;
grant select on public.decrypted_business_secrets to authenticated, service_role;
-- Executable, but in a schema that neither may use: reachable through the view only.
grant execute on function app_secrets.reveal(uuid, text, text) to authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- RPC. SQLSTATEs: AS001 unknown name, AS002 invalid value, AS003 unknown business, AS004 version conflict,
-- 22023 malformed argument. No message holds a value.

create or replace function app_secrets.secret_names() returns text[]
    language plpgsql immutable parallel safe set search_path = ''
as $$
begin
    return array[
        'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key', 'kling_secret_key',
        'global_sms_api_key', 'whatsapp_api_key', 'google_access_token', 'google_refresh_token', 'google_token_expiry',
        'google_drive_folder_id'];
end $$;
revoke all on function app_secrets.secret_names() from public, anon, authenticated, service_role;

do $$
begin
    if pg_catalog.to_regtype('app_secrets.cell') is null then
        create type app_secrets.cell as (ord integer, value text, version bigint, status text);
    end if;
end $$;

-- Element i asks for name i of business i. Rows come in that order; status is one of ok, not_set, undecryptable,
-- unknown_secret, business_not_found. One broken secret makes the set-based read fail: then, and only then, each element
-- is read on its own.
-- What does not fit into work_mem goes to temporary files, in clear: 64 MB hold the longest values of 512 elements, the most
-- that our client asks for at once.
create or replace function public.get_business_secrets_batch(p_business_ids uuid[], p_names text[])
    returns table (ord integer, value text, version bigint, status text)
    language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan
    set work_mem = '64MB'
as $$
declare
    v_cells app_secrets.cell[];
begin
    if p_business_ids is null or p_names is null
        or pg_catalog.cardinality(p_business_ids) <> pg_catalog.cardinality(p_names) then
        raise exception 'p_business_ids and p_names must be arrays of one length' using errcode = '22023';
    elsif pg_catalog.cardinality(p_names) > 10000 then
        raise exception 'at most 10000 elements in one batch' using errcode = '22023';
    end if;
    begin
        v_cells := app_secrets.read_cells(p_business_ids, p_names);
    exception when data_exception then
        v_cells := null;
        -- Slices go by subscript: from 1 and in one dimension, whatever bounds the caller's arrays have.
        p_business_ids := array(select pg_catalog.unnest(p_business_ids));
        p_names := array(select pg_catalog.unnest(p_names));
        for i in 1 .. pg_catalog.cardinality(p_names) loop
            begin
                v_cells[i] := (app_secrets.read_cells(p_business_ids[i:i], p_names[i:i]))[1];
            exception when data_exception then
                v_cells[i] := row(i, null, coalesce((
                    select v.version from app_secrets.secret_versions v
                    where v.business_id = p_business_ids[i] and v.name = p_names[i]), 0), 'undecryptable');
            end;
            v_cells[i].ord := i;
        end loop;
    end;
    return query select c.ord, c.value, c.version, c.status from pg_catalog.unnest(v_cells) as c;
end $$;
revoke all on function public.get_business_secrets_batch(uuid[], text[]) from public, anon, authenticated, service_role;
grant execute on function public.get_business_secrets_batch(uuid[], text[]) to service_role, app_secrets_service;
comment on function public.get_business_secrets_batch(uuid[], text[]) is 'app-secrets contract 1';

-- Everything is looked up by key, element by element: `offset 0` keeps the planner from turning the lookups into joins,
-- which it would answer with a scan of the table while that is small (220 µs a call instead of 25 at 1,000 rows), and
-- with the decryption of the whole Vault in the worst case.
create or replace function app_secrets.read_cells(p_business_ids uuid[], p_names text[]) returns app_secrets.cell[]
    language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
    return array(
        select row(
            r.ord,
            f.value,
            coalesce(v.version, 0),
            case
                when f.value is not null then 'ok'
                when r.name is null or r.name <> all (app_secrets.secret_names()) then 'unknown_secret'
                when s.business_id is null and not exists (
                    select from public.businesses b where b.id = r.business_id) then 'business_not_found'
                when c.stored is null then 'not_set'
                else 'undecryptable'
            end)::app_secrets.cell
        from unnest(p_business_ids, p_names) with ordinality as r(business_id, name, ord)
        left join lateral (
            select b.* from public.business_secrets b where b.business_id = r.business_id offset 0) s on true
        left join lateral (
            select w.version from app_secrets.secret_versions w
            where w.business_id = r.business_id and w.name = r.name offset 0) v on true
        cross join lateral (
            select case r.name
                when 'gemini_api_key' then s.gemini_api_key
                when 'grok_api_key' then s.grok_api_key
                when 'claude_api_key' then s.claude_api_key
                when 'youtube_api_key' then s.youtube_api_key
                when 'kling_access_key' then s.kling_access_key
                when 'kling_secret_key' then s.kling_secret_key
                when 'global_sms_api_key' then s.global_sms_api_key
                when 'whatsapp_api_key' then s.whatsapp_api_key
                when 'google_access_token' then s.google_access_token
                when 'google_refresh_token' then s.google_refresh_token
                when 'google_token_expiry' then
                    pg_catalog.to_char(s.google_token_expiry at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                when 'google_drive_folder_id' then s.google_drive_folder_id
            end as stored
        ) c
        cross join lateral (
            select case
                when r.name in ('google_token_expiry', 'google_drive_folder_id') then c.stored
                when c.stored is not null then (
                    select d.decrypted_secret from vault.decrypted_secrets d
                    where d.id = c.stored::pg_catalog.uuid and d.name = 'business_secrets/' || r.business_id || '/' || r.name)
            end as value
            offset 0
        ) f
        order by r.ord);
end $$;
revoke all on function app_secrets.read_cells(uuid[], text[]) from public, anon, authenticated, service_role;

-- {name: value | null} of all names, or of those asked for. An undecryptable one is left out and named in "$errors".
create or replace function public.get_business_secrets(p_business_id uuid, p_names text[] default null) returns jsonb
    language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan
as $$
declare
    v_names constant pg_catalog.text[] := coalesce(p_names, app_secrets.secret_names());
    v_values pg_catalog.jsonb;
    v_errors pg_catalog.jsonb;
    v_unknown boolean;
    v_no_business boolean;
begin
    if p_business_id is null then
        raise exception 'p_business_id must not be null' using errcode = '22023';
    end if;
    select
        pg_catalog.jsonb_object_agg(n.name, b.value) filter (where b.status in ('ok', 'not_set')),
        pg_catalog.jsonb_object_agg(n.name, 'DECRYPT_FAILED') filter (where b.status = 'undecryptable'),
        pg_catalog.bool_or(b.status = 'unknown_secret'),
        pg_catalog.bool_or(b.status = 'business_not_found')
    into v_values, v_errors, v_unknown, v_no_business
    from public.get_business_secrets_batch(
        pg_catalog.array_fill(p_business_id, array[pg_catalog.cardinality(v_names)]), v_names) b
    join pg_catalog.unnest(v_names) with ordinality as n(name, ord) on n.ord = b.ord;
    if v_unknown then
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || pg_catalog.array_to_string(app_secrets.secret_names(), ', ');
    elsif v_no_business or (
        pg_catalog.cardinality(v_names) = 0
        and not exists (select from public.businesses b where b.id = p_business_id)) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    return coalesce(v_values, '{}') || case
        when v_errors is null then '{}' else pg_catalog.jsonb_build_object('$errors', v_errors) end;
end $$;
revoke all on function public.get_business_secrets(uuid, text[]) from public, anon, authenticated, service_role;
grant execute on function public.get_business_secrets(uuid, text[]) to service_role, app_secrets_service;

-- Writes {name: text | null}, all or nothing; gives {name: version}. p_expected {name: version} refuses to write over a
-- version other than the one that was read; 0 is a cell that was never set.
create or replace function public.set_business_secrets(p_business_id uuid, p_values jsonb, p_expected jsonb default null)
    returns jsonb
    language plpgsql security definer set search_path = ''
as $$
declare
    v_bad pg_catalog.text;
    v_at pg_catalog.timestamptz;
begin
    if p_business_id is null or pg_catalog.jsonb_typeof(p_values) is distinct from 'object' then
        raise exception 'set_business_secrets needs a business id and an object of values' using errcode = '22023';
    elsif p_expected is not null and (
        pg_catalog.jsonb_typeof(p_expected) <> 'object' or exists (
            select from pg_catalog.jsonb_each(case when pg_catalog.jsonb_typeof(p_expected) = 'object' then p_expected else '{}' end) e
            where pg_catalog.jsonb_typeof(e.value) <> 'number' or e.value::pg_catalog.text !~ '^[0-9]{1,18}$')) then
        raise exception 'p_expected must be an object of versions, whole numbers from 0' using errcode = '22023';
    end if;
    -- Never name it: a caller who mixed up name and value would find the value in a log.
    if exists (
        select from pg_catalog.jsonb_object_keys(p_values || coalesce(p_expected, '{}')) as k(name)
        where k.name <> all (app_secrets.secret_names())) then
        raise exception 'unknown secret name' using errcode = 'AS001',
            hint = 'Known are: ' || pg_catalog.array_to_string(app_secrets.secret_names(), ', ');
    end if;
    select pg_catalog.min(e.key) into v_bad
    from pg_catalog.jsonb_each(p_values) e where pg_catalog.jsonb_typeof(e.value) not in ('string', 'null');
    if v_bad is not null then
        raise exception '% must be a string or null', v_bad using errcode = 'AS002';
    end if;
    if app_secrets.normalize(p_values ->> 'google_token_expiry') is null then
        if p_values ? 'google_token_expiry' then
            p_values := p_values || '{"google_token_expiry": null}';
        end if;
    else
        begin
            v_at := (p_values ->> 'google_token_expiry')::pg_catalog.timestamptz;
        exception when data_exception then
            v_at := 'infinity';
        end;
        if not pg_catalog.isfinite(v_at) then
            raise exception 'google_token_expiry must be a timestamp, as 2026-01-31T12:00:00Z' using errcode = 'AS002';
        end if;
    end if;
    if pg_catalog.octet_length(app_secrets.normalize(p_values ->> 'google_drive_folder_id')) > 65536 then
        raise exception 'google_drive_folder_id is longer than 65536 bytes' using errcode = 'AS002';
    end if;

    -- The audit's word for this side, whatever the session has set.
    perform pg_catalog.set_config('app_secrets.origin', '', true);
    perform app_secrets.lock_sync();
    if not exists (select from public.businesses b where b.id = p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    if p_expected is not null then
        perform app_secrets.lock_row(p_business_id);
        select pg_catalog.string_agg(pg_catalog.format('%s is at version %s, not %s', e.key, coalesce(v.version, 0), e.value), ', ' order by e.key)
        into v_bad
        from pg_catalog.jsonb_each(p_expected) e
        left join app_secrets.secret_versions v on v.business_id = p_business_id and v.name = e.key
        where coalesce(v.version, 0) <> e.value::pg_catalog.text::bigint;
        if v_bad is not null then
            raise exception '%', v_bad using errcode = 'AS004';
        end if;
    end if;

    if p_values <> '{}' then
        perform app_secrets.write_cells(p_business_id, p_values);
    end if;
    return (
        select coalesce(pg_catalog.jsonb_object_agg(k.name, coalesce(v.version, 0)), '{}')
        from pg_catalog.jsonb_object_keys(p_values) as k(name)
        left join app_secrets.secret_versions v on v.business_id = p_business_id and v.name = k.name);
end $$;
revoke all on function public.set_business_secrets(uuid, jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.set_business_secrets(uuid, jsonb, jsonb) to service_role, app_secrets_service;

-- What is set, never what it is: last4 of sealed values of 12 characters or more, as providers' own consoles show.
create or replace function public.list_business_secrets(p_business_id uuid)
    returns table (name text, is_set boolean, last4 text, version bigint, updated_at timestamptz)
    language plpgsql stable security definer set search_path = '' set plan_cache_mode = force_generic_plan
as $$
begin
    if p_business_id is null then
        raise exception 'p_business_id must not be null' using errcode = '22023';
    elsif not exists (select from public.businesses b where b.id = p_business_id) then
        raise exception 'no business %', p_business_id using errcode = 'AS003';
    end if;
    return query
        select n.name, b.status in ('ok', 'undecryptable'),
            case when pg_catalog.length(b.value) >= 12
                and n.name not in ('google_token_expiry', 'google_drive_folder_id') then pg_catalog.right(b.value, 4) end,
            b.version, v.updated_at
        from public.get_business_secrets_batch(
            pg_catalog.array_fill(p_business_id, array[pg_catalog.cardinality(app_secrets.secret_names())]),
            app_secrets.secret_names()) b
        join pg_catalog.unnest(app_secrets.secret_names()) with ordinality as n(name, ord) on n.ord = b.ord
        left join app_secrets.secret_versions v on v.business_id = p_business_id and v.name = n.name
        order by n.ord;
end $$;
revoke all on function public.list_business_secrets(uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_business_secrets(uuid) to service_role, app_secrets_service;

-- ---------------------------------------------------------------------------------------------------------------------
-- Push: ids, names and versions, never values; a hint to read again, since anyone can listen to it and anyone can forge it.
-- {"business_id": null} after a truncate: everything may have changed.

create or replace function app_secrets.notify_changes() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    perform pg_catalog.pg_notify('business_secrets_changed', pg_catalog.jsonb_build_object(
        'business_id', c.business_id, 'versions', c.versions)::pg_catalog.text)
    from (
        select n.business_id, pg_catalog.jsonb_object_agg(n.name, n.version) as versions
        from new_versions n
        group by n.business_id
    ) c;
    return null;
end $$;
revoke all on function app_secrets.notify_changes() from public, anon, authenticated, service_role;

create or replace function app_secrets.notify_deleted() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    perform pg_catalog.pg_notify('business_secrets_changed', pg_catalog.jsonb_build_object(
        'business_id', c.business_id, 'versions', c.versions)::pg_catalog.text)
    from (
        select o.business_id, pg_catalog.jsonb_object_agg(o.name, o.version + 1) as versions
        from old_versions o
        group by o.business_id
    ) c;
    return null;
end $$;
revoke all on function app_secrets.notify_deleted() from public, anon, authenticated, service_role;

create or replace function app_secrets.notify_all() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    perform pg_catalog.pg_notify('business_secrets_changed', '{"business_id": null}');
    return null;
end $$;
revoke all on function app_secrets.notify_all() from public, anon, authenticated, service_role;

create or replace trigger app_secrets_notify_insert after insert on app_secrets.secret_versions
    referencing new table as new_versions for each statement execute function app_secrets.notify_changes();
create or replace trigger app_secrets_notify_update after update on app_secrets.secret_versions
    referencing new table as new_versions for each statement execute function app_secrets.notify_changes();
create or replace trigger app_secrets_notify_delete after delete on app_secrets.secret_versions
    referencing old table as old_versions for each statement execute function app_secrets.notify_deleted();
create or replace trigger zz_app_secrets_notify_all after truncate on public.business_secrets
    for each statement execute function app_secrets.notify_all();

-- Realtime sends the rows of the table, so references, to those whom RLS lets read them.
do $$
begin
    if exists (
        select from pg_catalog.pg_publication p where p.pubname = 'supabase_realtime' and not p.puballtables)
        and not exists (
            select from pg_catalog.pg_publication_tables t
            where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = 'business_secrets') then
        alter publication supabase_realtime add table public.business_secrets;
    end if;
end $$;

insert into app_secrets.migrations (version, name, checksum)
values (4, 'rls_and_rpc', nullif(pg_catalog.current_setting('app_secrets.migration_checksum', true), ''))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
