-- 003 migrate: every plaintext key into Vault, the Google tokens sealed in place, and the proof of both.
--
-- What     Three steps, each a transaction or a statement of its own: seal the Google columns from now on; backfill in
--          short batches; validate. Before it, the code that reads the Google tokens must read
--          decrypted_business_secrets (002), because their columns hold references afterwards.
-- Locks    Step 1: ACCESS EXCLUSIVE on business_secrets for the catalogue change. Step 2: the sync lock for one batch at
--          a time (a writer of keys waits that long, everybody else never). Step 3: SHARE UPDATE EXCLUSIVE on
--          business_secrets, which blocks neither readers nor writers.
-- Again?   Safe at any point: the backfill goes on at its checkpoint and only fills what is still empty.
-- Note     Where this file is sent as one transaction (`supabase db push`, a multi-statement query), step 2 cannot commit
--          its batches: up to 10,000 businesses it runs inside that transaction, beyond that it refuses and says how.

-- Step 1: the Google tokens are sealed from here on.
begin;
set local lock_timeout = '1s';
set local statement_timeout = '1min';
set local search_path = '';

do $$
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('app_secrets.migrations', 0));
    if pg_catalog.to_regnamespace('app_secrets') is null then
        raise exception 'migration 2 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(2);
    perform app_secrets.require_references(array['google_access_token', 'google_refresh_token']);
    perform app_secrets.install_sealing(array[
        'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key', 'kling_secret_key',
        'global_sms_api_key', 'whatsapp_api_key', 'google_access_token', 'google_refresh_token']);
end $$;

-- Businesses whose plaintext is not in the sealed table yet; at most p_limit of them.
create or replace function app_secrets.businesses_to_fill(p_limit integer) returns setof uuid
    language plpgsql stable set search_path = ''
as $$
begin
    -- The columns went with 005.
    if exists (select from app_secrets.migrations m where m.version = 5) then
        return;
    end if;
    return query
        select b.id
        from public.businesses b
        left join public.business_secrets s on s.business_id = b.id
        where (s.gemini_api_key is null and app_secrets.normalize(b.gemini_api_key::pg_catalog.text) is not null)
            or (s.grok_api_key is null and app_secrets.normalize(b.grok_api_key::pg_catalog.text) is not null)
            or (s.claude_api_key is null and app_secrets.normalize(b.claude_api_key::pg_catalog.text) is not null)
            or (s.youtube_api_key is null and app_secrets.normalize(b.youtube_api_key::pg_catalog.text) is not null)
            or (s.kling_access_key is null and app_secrets.normalize(b.kling_access_key::pg_catalog.text) is not null)
            or (s.kling_secret_key is null and app_secrets.normalize(b.kling_secret_key::pg_catalog.text) is not null)
            or (s.global_sms_api_key is null and app_secrets.normalize(b.global_sms_api_key::pg_catalog.text) is not null)
            or (s.whatsapp_api_key is null and app_secrets.normalize(b.whatsapp_api_key::pg_catalog.text) is not null)
        limit p_limit;
end $$;
revoke all on function app_secrets.businesses_to_fill(integer) from public, anon, authenticated, service_role;

-- Google cells from p_from on that are not as they would be had they been written today: tokens that are anything but a
-- reference of their own (one may look like a uuid: Vault decides), and metadata that has no version yet.
create or replace function app_secrets.google_cells_to_seal(p_from uuid, p_limit integer)
    returns table (business_id uuid, name text)
    language plpgsql stable set search_path = ''
as $$
begin
    return query
        select s.business_id, c.name
        from public.business_secrets s
        cross join lateral (values
            ('google_access_token', s.google_access_token, true),
            ('google_refresh_token', s.google_refresh_token, true),
            ('google_token_expiry', s.google_token_expiry::pg_catalog.text, false),
            ('google_drive_folder_id', s.google_drive_folder_id, false)) as c(name, value, sealed)
        where (p_from is null or s.business_id >= p_from) and c.value is not null and case
            when c.sealed then not exists (
                select from vault.secrets v
                where v.name = 'business_secrets/' || s.business_id || '/' || c.name and v.id::pg_catalog.text = c.value)
            else not exists (
                select from app_secrets.secret_versions v where v.business_id = s.business_id and v.name = c.name)
            end
        order by s.business_id
        limit p_limit;
end $$;
revoke all on function app_secrets.google_cells_to_seal(uuid, integer) from public, anon, authenticated, service_role;

create or replace function app_secrets.seal_google_cell(p_business_id uuid, p_name text) returns void
    language plpgsql set search_path = ''
as $$
declare
    v_stored pg_catalog.text;
    v_value pg_catalog.text;
    v_reference pg_catalog.text;
begin
    select pg_catalog.to_jsonb(s) ->> p_name into v_stored
    from public.business_secrets s where s.business_id = p_business_id for update;
    if v_stored is null or exists (
        select from vault.secrets v
        where v.name = 'business_secrets/' || p_business_id || '/' || p_name and v.id::pg_catalog.text = v_stored) then
        return;
    end if;
    if p_name in ('google_token_expiry', 'google_drive_folder_id') then
        if not exists (
            select from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name) then
            perform app_secrets.record_changes(p_business_id, array[p_name], '{}');
            -- A blank one is cleared here, by the trigger.
            if p_name = 'google_drive_folder_id' and app_secrets.normalize(v_stored) is distinct from v_stored then
                update public.business_secrets s set google_drive_folder_id = s.google_drive_folder_id
                where s.business_id = p_business_id;
            end if;
        end if;
        return;
    end if;
    v_value := app_secrets.normalize(v_stored);
    if pg_catalog.octet_length(v_value) > 65536 then
        raise exception '% of business % is longer than 65536 bytes', p_name, p_business_id using errcode = 'AS002';
    end if;
    if v_value is not null then
        v_reference := (app_secrets.seal(p_business_id, p_name, v_value)).reference;
        if app_secrets.reveal(p_business_id, p_name, v_reference) is distinct from v_value then
            raise exception '% of business % does not decrypt to what was sealed', p_name, p_business_id
                using errcode = 'AS006';
        end if;
    end if;
    update public.business_secrets s set
        google_access_token = case p_name when 'google_access_token' then v_reference else s.google_access_token end,
        google_refresh_token = case p_name when 'google_refresh_token' then v_reference else s.google_refresh_token end
    where s.business_id = p_business_id;
    -- The row trigger met a reference that is the cell's own, and that is no change to it.
    if v_reference is not null then
        perform app_secrets.record_changes(p_business_id, array[p_name], '{}');
    end if;
end $$;
revoke all on function app_secrets.seal_google_cell(uuid, text) from public, anon, authenticated, service_role;

-- A plaintext value as it is sealed; NULL for a blank one.
create or replace function app_secrets.legacy_value(p_business_id uuid, p_name text, p_value text) returns text
    language plpgsql immutable set search_path = ''
as $$
declare
    v_value constant pg_catalog.text := app_secrets.normalize(p_value);
begin
    if pg_catalog.octet_length(v_value) > 65536 then
        raise exception '% of business % is % bytes long; at most 65536 are allowed',
            p_name, p_business_id, pg_catalog.octet_length(v_value) using errcode = 'AS002';
    end if;
    return v_value;
end $$;
revoke all on function app_secrets.legacy_value(uuid, text, text) from public, anon, authenticated, service_role;

-- Writes what the sealed cells of these businesses lack, and leaves out businesses that somebody holds locked; the caller
-- holds the sync lock. All of them in one statement: values go from the plaintext column to Vault as arguments, past every
-- sort and store of the executor, and the row trigger meets references that are the cells' own.
-- `offset 0`, no `exists` (it may be hashed) and no sequential scan: each look-up goes by key, since a plan that is made
-- while the tables are empty is still in use when they are full.
create or replace function app_secrets.fill_businesses(p_ids uuid[], out businesses integer, out secrets integer)
    language plpgsql set search_path = '' set enable_seqscan = off
as $$
declare
    v_ids pg_catalog.uuid[];
begin
    if pg_catalog.pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    select coalesce(pg_catalog.array_agg(l.id), '{}') into v_ids
    from (
        select b.id from public.businesses b where b.id = any (p_ids) order by b.id for key share skip locked) l;
    businesses := pg_catalog.cardinality(v_ids);
    with filled as materialized (
        select f.*
        from pg_catalog.unnest(v_ids) as l(id)
        cross join lateral (
            select l.id,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'gemini_api_key') as gemini_api_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'grok_api_key') as grok_api_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'claude_api_key') as claude_api_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'youtube_api_key') as youtube_api_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'kling_access_key') as kling_access_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'kling_secret_key') as kling_secret_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'global_sms_api_key') as global_sms_api_key,
                pg_catalog.max(r.reference::pg_catalog.text) filter (where n.name = 'whatsapp_api_key') as whatsapp_api_key
            from (
                select c.name, app_secrets.legacy_value(l.id, c.name, c.legacy) as value
                from (select b.* from public.businesses b where b.id = l.id offset 0) b
                left join lateral (
                    select s.* from public.business_secrets s where s.business_id = l.id offset 0) s on true
                cross join lateral (values
                    ('gemini_api_key', b.gemini_api_key::pg_catalog.text, s.gemini_api_key),
                    ('grok_api_key', b.grok_api_key::pg_catalog.text, s.grok_api_key),
                    ('claude_api_key', b.claude_api_key::pg_catalog.text, s.claude_api_key),
                    ('youtube_api_key', b.youtube_api_key::pg_catalog.text, s.youtube_api_key),
                    ('kling_access_key', b.kling_access_key::pg_catalog.text, s.kling_access_key),
                    ('kling_secret_key', b.kling_secret_key::pg_catalog.text, s.kling_secret_key),
                    ('global_sms_api_key', b.global_sms_api_key::pg_catalog.text, s.global_sms_api_key),
                    ('whatsapp_api_key', b.whatsapp_api_key::pg_catalog.text, s.whatsapp_api_key)
                ) as c(name, legacy, reference)
                where c.legacy is not null and c.reference is null
                offset 0
            ) n
            cross join lateral (
                select 'business_secrets/' || l.id || '/' || n.name as cell offset 0) c
            cross join lateral (
                -- As app_secrets.seal does it, which is left with cells whose Vault row is there already.
                select case
                    when (select s.id from vault.secrets s where s.name = c.cell) is not null
                        then (app_secrets.seal(l.id, n.name, n.value)).reference::pg_catalog.uuid
                    else vault.create_secret('', c.cell, 'Cell of public.business_secrets: write there, not here')
                end as reference
                offset 0) r
            cross join lateral vault.update_secret(r.reference, n.value) as done
            where n.value is not null
            having pg_catalog.count(*) > 0
        ) f
    ), written as (
        insert into public.business_secrets as s (
            business_id, gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key,
            kling_secret_key, global_sms_api_key, whatsapp_api_key)
        select f.* from filled f
        on conflict (business_id) do update set
            gemini_api_key = coalesce(s.gemini_api_key, excluded.gemini_api_key),
            grok_api_key = coalesce(s.grok_api_key, excluded.grok_api_key),
            claude_api_key = coalesce(s.claude_api_key, excluded.claude_api_key),
            youtube_api_key = coalesce(s.youtube_api_key, excluded.youtube_api_key),
            kling_access_key = coalesce(s.kling_access_key, excluded.kling_access_key),
            kling_secret_key = coalesce(s.kling_secret_key, excluded.kling_secret_key),
            global_sms_api_key = coalesce(s.global_sms_api_key, excluded.global_sms_api_key),
            whatsapp_api_key = coalesce(s.whatsapp_api_key, excluded.whatsapp_api_key)
    )
    select coalesce(pg_catalog.sum(pg_catalog.num_nonnulls(
        f.gemini_api_key, f.grok_api_key, f.claude_api_key, f.youtube_api_key,
        f.kling_access_key, f.kling_secret_key, f.global_sms_api_key, f.whatsapp_api_key)), 0)
    into secrets
    from filled f;
end $$;
revoke all on function app_secrets.fill_businesses(uuid[]) from public, anon, authenticated, service_role;

-- One batch, to be committed by the caller: up to p_limit businesses after the checkpoint; then those that were locked or
-- came around the triggers; then the Google cells. `finished` once nothing is found, `waiting` when what is left is locked.
-- What to do is found without the sync lock and looked at again under it, where no key can change.
create or replace function app_secrets.backfill_batch(
    p_limit integer, out businesses integer, out secrets integer, out waiting boolean, out finished boolean)
    language plpgsql set search_path = ''
as $$
declare
    v_phase pg_catalog.text;
    v_last pg_catalog.uuid;
    v_ids pg_catalog.uuid[];
    v_names pg_catalog.text[];
begin
    businesses := 0;
    secrets := 0;
    waiting := false;
    finished := false;
    insert into app_secrets.backfill_progress (phase) values ('businesses'), ('google') on conflict (phase) do nothing;
    -- Also what a second migrator waits for.
    select p.phase, p.last_id into v_phase, v_last
    from app_secrets.backfill_progress p where p.phase = 'businesses' and not p.finished for update;

    if v_phase = 'businesses' then
        v_ids := array(
            select b.id from public.businesses b where v_last is null or b.id > v_last order by b.id limit p_limit);
    elsif (select p.last_id from app_secrets.backfill_progress p where p.phase = 'google') is null then
        v_ids := array(select f.id from app_secrets.businesses_to_fill(p_limit) as f(id));
    else
        -- In the middle of the Google cells: that scan of all businesses is for their start and their end.
        v_ids := '{}';
    end if;
    if v_phase = 'businesses' or pg_catalog.cardinality(v_ids) > 0 then
        perform app_secrets.lock_sync();
        perform pg_catalog.set_config('app_secrets.origin', 'backfill', true);
        select f.businesses, f.secrets into businesses, secrets from app_secrets.fill_businesses(v_ids) f;
        perform pg_catalog.set_config('app_secrets.origin', '', true);
        update app_secrets.backfill_progress p set
            last_id = coalesce(v_ids[pg_catalog.cardinality(v_ids)], p.last_id), rows_done = p.rows_done + businesses,
            finished = p.finished or pg_catalog.cardinality(v_ids) < p_limit, updated_at = pg_catalog.clock_timestamp()
        where p.phase = 'businesses';
        waiting := v_phase is null and businesses = 0;
        return;
    end if;

    select p.last_id into v_last from app_secrets.backfill_progress p where p.phase = 'google' for update;
    select pg_catalog.array_agg(g.business_id), pg_catalog.array_agg(g.name) into v_ids, v_names
    from app_secrets.google_cells_to_seal(v_last, p_limit) g;
    if v_ids is not null then
        perform app_secrets.lock_sync();
        perform pg_catalog.set_config('app_secrets.origin', 'backfill', true);
        for i in 1 .. pg_catalog.cardinality(v_ids) loop
            perform app_secrets.seal_google_cell(v_ids[i], v_names[i]);
            secrets := secrets + 1;
        end loop;
        perform pg_catalog.set_config('app_secrets.origin', '', true);
    end if;
    -- Nothing after the checkpoint: look once more from the start, then it is done.
    finished := v_ids is null and v_last is null;
    update app_secrets.backfill_progress p set
        last_id = v_ids[pg_catalog.cardinality(v_ids)], rows_done = p.rows_done + secrets,
        finished = backfill_batch.finished, updated_at = pg_catalog.clock_timestamp()
    where p.phase = 'google';
end $$;
revoke all on function app_secrets.backfill_batch(integer) from public, anon, authenticated, service_role;

-- Compares plaintext columns with what Vault decrypts to, inside the database, in one snapshot, for all businesses or
-- those given. Counts and ids only. Vault is asked directly, at a third of reveal's cost, until one secret turns out
-- to be broken: then reveal, which takes that for a mismatch. Values leave the innermost query as booleans only, so that no
-- sort can write them to a temporary file.
create or replace function app_secrets.verify_legacy(p_business_ids uuid[] default null)
    returns table (name text, legacy_values bigint, sealed_values bigint, mismatched bigint, sample_business_ids uuid[])
    language plpgsql stable set search_path = ''
as $$
declare
    v_all_open boolean := true;
begin
    loop
        begin
            return query
                select c.name,
                    pg_catalog.count(*) filter (where c.has_legacy),
                    pg_catalog.count(*) filter (where c.has_sealed),
                    pg_catalog.count(*) filter (where c.differs),
                    coalesce(
                        (pg_catalog.array_agg(c.business_id order by c.business_id) filter (where c.differs))[1:10], '{}')
                from (
                    select b.id as business_id, v.name, n.legacy is not null as has_legacy,
                        v.reference is not null as has_sealed,
                        (n.legacy is null) <> (v.reference is null) or n.legacy is distinct from case
                            when v.reference is null then null
                            when v_all_open then (
                                select d.decrypted_secret from vault.decrypted_secrets d
                                where d.id = v.reference::pg_catalog.uuid
                                    and d.name = 'business_secrets/' || b.id || '/' || v.name)
                            else app_secrets.reveal(b.id, v.name, v.reference)
                        end as differs
                    from public.businesses b
                    left join public.business_secrets s on s.business_id = b.id
                    cross join lateral (values
                        ('gemini_api_key', b.gemini_api_key::pg_catalog.text, s.gemini_api_key),
                        ('grok_api_key', b.grok_api_key::pg_catalog.text, s.grok_api_key),
                        ('claude_api_key', b.claude_api_key::pg_catalog.text, s.claude_api_key),
                        ('youtube_api_key', b.youtube_api_key::pg_catalog.text, s.youtube_api_key),
                        ('kling_access_key', b.kling_access_key::pg_catalog.text, s.kling_access_key),
                        ('kling_secret_key', b.kling_secret_key::pg_catalog.text, s.kling_secret_key),
                        ('global_sms_api_key', b.global_sms_api_key::pg_catalog.text, s.global_sms_api_key),
                        ('whatsapp_api_key', b.whatsapp_api_key::pg_catalog.text, s.whatsapp_api_key)
                    ) as v(name, legacy, reference)
                    cross join lateral (select app_secrets.normalize(v.legacy) as legacy offset 0) n
                    where p_business_ids is null or b.id = any (p_business_ids)
                    offset 0
                ) c
                group by c.name
                order by c.name;
            return;
        exception when data_exception then
            -- Before the first row: it comes after the last value was compared.
            if not v_all_open then
                raise;
            end if;
            v_all_open := false;
        end;
    end loop;
end $$;
revoke all on function app_secrets.verify_legacy(uuid[]) from public, anon, authenticated, service_role;

-- Raises AS006 unless every plaintext value equals its sealed one.
create or replace function app_secrets.require_verified(p_business_ids uuid[] default null) returns void
    language plpgsql stable set search_path = ''
as $$
declare
    v_report pg_catalog.text;
begin
    select pg_catalog.string_agg(pg_catalog.format('%s: %s (businesses %s%s)', v.name, v.mismatched,
        pg_catalog.array_to_string(v.sample_business_ids, ', '),
        case when v.mismatched > pg_catalog.cardinality(v.sample_business_ids) then ', …' else '' end), '; ')
    into v_report
    from app_secrets.verify_legacy(p_business_ids) v
    where v.mismatched > 0;
    if v_report is not null then
        raise exception 'plaintext and sealed values differ: %', v_report using errcode = 'AS006',
            hint = 'Write the right value of each through either side (an UPDATE of businesses, or set), then run this again.';
    end if;
end $$;
revoke all on function app_secrets.require_verified(uuid[]) from public, anon, authenticated, service_role;
commit;

-- Step 2: the backfill. Our runner calls backfill_batch itself here, to show how far it is.
do $backfill$
declare
    -- May it commit? Only where this statement came alone and outside a transaction block.
    v_alone constant boolean := pg_catalog.current_query() ~* '^\s*(--[^\n]*\s*)*do \$backfill\$'
        and pg_catalog.transaction_timestamp() = pg_catalog.statement_timestamp();
    v_waits integer := 0;
    v_batch record;
begin
    if not v_alone and (select pg_catalog.count(*) from app_secrets.businesses_to_fill(10001)) > 10000 then
        raise exception 'more than 10000 businesses are left to backfill, too many for one transaction'
            using errcode = 'AS007', hint = 'Run `npx app-secrets migrate`, or send this file with psql: both commit in batches.';
    end if;
    loop
        v_batch := app_secrets.backfill_batch(250);
        exit when v_batch.finished;
        v_waits := case when v_batch.waiting then v_waits + 1 else 0 end;
        if v_waits > 300 then
            raise exception 'businesses that are left to backfill have been locked for 30 s'
                using errcode = 'lock_not_available',
                hint = 'End the session that holds them (pg_stat_activity), then run this again: it goes on where it stopped.';
        end if;
        if v_alone then
            commit;
        end if;
        if v_batch.waiting then
            perform pg_catalog.pg_sleep(0.1);
        end if;
    end loop;
end $backfill$;

-- Step 3: proof.
begin;
-- Waiting for its lock makes neither readers nor writers wait, and outlasts an autovacuum, which gives way after
-- deadlock_timeout, a second as a rule.
set local lock_timeout = '10s';
-- Comparing every value takes as long as it takes, and blocks nobody.
set local statement_timeout = 0;
set local search_path = '';

do $$
declare
    v_name text;
    v_left bigint;
begin
    if not exists (select from app_secrets.migrations m where m.version >= 5) then
        perform app_secrets.require_verified();
    end if;
    select pg_catalog.count(*) into v_left from app_secrets.google_cells_to_seal(null, 1000);
    if v_left > 0 then
        raise exception '% Google cells are not sealed', v_left using errcode = 'AS006', hint = 'Run this file again.';
    end if;
    for v_name in
        select c.conname from pg_catalog.pg_constraint c
        where c.conrelid = 'public.business_secrets'::pg_catalog.regclass
            and c.conname like '%\_is\_reference' and not c.convalidated
    loop
        execute pg_catalog.format('alter table public.business_secrets validate constraint %I', v_name);
    end loop;
end $$;

-- The planner's samples (pg_stats) hold plaintext tokens until they are taken anew.
analyze public.business_secrets (google_access_token, google_refresh_token);

insert into app_secrets.migrations (version, name, checksum, plaintext_filenode)
values (3, 'migrate_data_and_encrypt', nullif(pg_catalog.current_setting('app_secrets.migration_checksum', true), ''),
    pg_catalog.pg_relation_filenode('public.business_secrets'))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
commit;
