-- 005 contract: the plaintext goes. Run LAST, after `npm run verify`, when no code reads the columns any more.
--
-- What     Proves in this very transaction that every plaintext value equals what Vault decrypts to, or raises AS006 with
--          counts and ids and changes nothing; then drops the sync and the eight columns.
-- Locks    None while it compares everything. Then ACCESS EXCLUSIVE on both tables while it looks again at what was written
--          meanwhile and changes the catalogue, which rewrites nothing. It waits 100 ms at a time for them.
-- Again?   Safe: once recorded it does nothing. Columns that views of yours use are not dropped but named in the error.
-- After    The plaintext is still in the table's pages until they are rewritten (`npm run scrub`), and in WAL, backups and
--          replicas after that: rotate the keys at their providers.

begin;
set local lock_timeout = '1s';
-- Comparing every value takes as long as it takes, and blocks nobody.
set local statement_timeout = 0;
set local search_path = '';

do $$
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('app_secrets.migrations', 0));
    if pg_catalog.to_regnamespace('app_secrets') is null then
        raise exception 'migration 4 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(4);
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'this has to see what others commit meanwhile' using errcode = 'AS007',
            hint = 'Run it at the isolation level read committed.';
    end if;
end $$;

-- Whether a row version may not have been there yet for a snapshot of this transaction. Only 32 bits of its xid are stored.
-- A snapshot does not list subtransactions, so what one of them wrote counts as new from the oldest that was running.
create or replace function app_secrets.is_newer(p_xmin xid, p_seen pg_catalog.pg_snapshot) returns boolean
    language plpgsql stable set search_path = ''
as $$
declare
    v_next constant bigint := pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::bigint;
    v_xid bigint := p_xmin::pg_catalog.text::bigint;
begin
    if v_xid < 3 then
        return false;
    end if;
    v_xid := v_xid + (v_next >> 32 << 32);
    if v_xid > v_next then
        v_xid := v_xid - (1::bigint << 32);
    end if;
    return v_xid >= pg_catalog.pg_snapshot_xmin(p_seen)::pg_catalog.text::bigint;
end $$;
revoke all on function app_secrets.is_newer(xid, pg_snapshot) from public, anon, authenticated, service_role;

-- Compares the businesses that were written on either side since a snapshot.
create or replace function app_secrets.require_verified_since(p_seen pg_catalog.pg_snapshot) returns void
    language plpgsql set search_path = ''
as $$
declare
    v_ids pg_catalog.uuid[];
    v_oldest constant integer := pg_catalog.age(pg_catalog.pg_snapshot_xmin(p_seen)::pg_catalog.xid);
begin
    select pg_catalog.array_agg(c.id) into v_ids
    from (
        select b.id
        from public.businesses b
        where pg_catalog.age(b.xmin) <= v_oldest and app_secrets.is_newer(b.xmin, p_seen)
        union
        select s.business_id
        from public.business_secrets s
        where pg_catalog.age(s.xmin) <= v_oldest and app_secrets.is_newer(s.xmin, p_seen)
    ) c;
    if v_ids is not null then
        perform app_secrets.require_verified(v_ids);
    end if;
end $$;
revoke all on function app_secrets.require_verified_since(pg_snapshot) from public, anon, authenticated, service_role;

do $$
declare
    v_seen pg_catalog.pg_snapshot;
    v_seen_again pg_catalog.pg_snapshot;
begin
    if exists (select from app_secrets.migrations m where m.version = 5) then
        return;
    end if;
    v_seen := pg_catalog.pg_current_snapshot();
    perform app_secrets.require_verified();
    -- Once more, so that little is left to do under the locks.
    v_seen_again := pg_catalog.pg_current_snapshot();
    perform app_secrets.require_verified_since(v_seen);

    -- Writers hold one table and want the other, from either side, so whoever waits for both can deadlock with them. It
    -- waits for less than deadlock_timeout, lets go and tries again: none of them is ever the victim.
    for v_attempt in 1 .. 50 loop
        begin
            set local lock_timeout = '100ms';
            lock table public.business_secrets in access exclusive mode;
            lock table public.businesses in access exclusive mode;
            exit;
        exception when lock_not_available then
            if v_attempt = 50 then
                raise;
            end if;
            perform pg_catalog.pg_sleep(0.05);
        end;
    end loop;
    perform app_secrets.require_verified_since(v_seen_again);

    perform app_secrets.remove_sync();
    alter table public.businesses
        drop column if exists gemini_api_key,
        drop column if exists grok_api_key,
        drop column if exists claude_api_key,
        drop column if exists youtube_api_key,
        drop column if exists kling_access_key,
        drop column if exists kling_secret_key,
        drop column if exists global_sms_api_key,
        drop column if exists whatsapp_api_key;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The way back, for `npm run rollback`: the columns come back empty, with the sync; then they are filled from Vault.

create or replace function app_secrets.begin_restore() returns void
    language plpgsql set search_path = ''
as $$
begin
    if not exists (select from app_secrets.migrations m where m.version = 5) then
        return;
    end if;
    -- In the order in which writers lock them.
    lock table public.business_secrets in share row exclusive mode;
    lock table public.businesses in access exclusive mode;
    alter table public.businesses
        add column if not exists gemini_api_key text,
        add column if not exists grok_api_key text,
        add column if not exists claude_api_key text,
        add column if not exists youtube_api_key text,
        add column if not exists kling_access_key text,
        add column if not exists kling_secret_key text,
        add column if not exists global_sms_api_key text,
        add column if not exists whatsapp_api_key text;
    delete from app_secrets.migrations m where m.version = 5;
    perform app_secrets.install_sync();
    insert into app_secrets.backfill_progress (phase) values ('restore')
    on conflict (phase) do update
        set last_id = null, rows_done = 0, finished = false, updated_at = pg_catalog.clock_timestamp();
    notify pgrst, 'reload schema';
end $$;
revoke all on function app_secrets.begin_restore() from public, anon, authenticated, service_role;

-- What a business's plaintext columns lack and its sealed cells reveal: {name: value}, NULL for nothing.
create or replace function app_secrets.legacy_cells_to_restore(p_business_id uuid) returns jsonb
    language plpgsql stable set search_path = ''
as $$
begin
    return (
        select pg_catalog.jsonb_object_agg(c.name, c.value)
        from (
            select n.name, app_secrets.reveal(p_business_id, n.name, pg_catalog.to_jsonb(s) ->> n.name) as value
            from public.businesses b
            join public.business_secrets s on s.business_id = b.id
            cross join pg_catalog.unnest(array[
                'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key',
                'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key']) as n(name)
            where b.id = p_business_id and pg_catalog.to_jsonb(b) ->> n.name is null
        ) c
        where c.value is not null);
end $$;
revoke all on function app_secrets.legacy_cells_to_restore(uuid) from public, anon, authenticated, service_role;

-- One batch, to be committed by the caller: up to p_limit businesses after the checkpoint, then those that were locked.
create or replace function app_secrets.restore_batch(
    p_limit integer, out businesses integer, out secrets integer, out waiting boolean, out finished boolean)
    language plpgsql set search_path = ''
as $$
declare
    v_last pg_catalog.uuid;
    v_is_second boolean;
    v_ids pg_catalog.uuid[];
    v_id pg_catalog.uuid;
    v_row public.businesses;
    v_cells pg_catalog.jsonb;
begin
    businesses := 0;
    secrets := 0;
    waiting := false;
    finished := false;
    select p.last_id, p.finished into v_last, v_is_second
    from app_secrets.backfill_progress p where p.phase = 'restore' for update;
    if v_is_second is null then
        raise exception 'no restore is under way' using errcode = 'AS007', hint = 'Run: npx app-secrets rollback';
    end if;
    -- Looked at without the sync lock, and again under it, where no key can change.
    if v_is_second then
        v_ids := array(
            select b.id from public.businesses b
            where app_secrets.legacy_cells_to_restore(b.id) is not null order by b.id limit p_limit);
        finished := v_ids = '{}';
    else
        v_ids := array(
            select b.id from public.businesses b where v_last is null or b.id > v_last order by b.id limit p_limit);
    end if;
    if v_ids <> '{}' then
        perform app_secrets.lock_sync();
    end if;
    foreach v_id in array v_ids loop
        select b.* into v_row from public.businesses b where b.id = v_id for no key update skip locked;
        if not found then
            waiting := true;
            continue;
        end if;
        businesses := businesses + 1;
        v_cells := app_secrets.legacy_cells_to_restore(v_id);
        continue when v_cells is null;
        v_row := pg_catalog.jsonb_populate_record(v_row, v_cells);
        update public.businesses b set
            gemini_api_key = v_row.gemini_api_key,
            grok_api_key = v_row.grok_api_key,
            claude_api_key = v_row.claude_api_key,
            youtube_api_key = v_row.youtube_api_key,
            kling_access_key = v_row.kling_access_key,
            kling_secret_key = v_row.kling_secret_key,
            global_sms_api_key = v_row.global_sms_api_key,
            whatsapp_api_key = v_row.whatsapp_api_key
        where b.id = v_id;
        secrets := secrets + (select pg_catalog.count(*) from pg_catalog.jsonb_object_keys(v_cells));
    end loop;
    waiting := waiting and v_is_second and businesses = 0;
    update app_secrets.backfill_progress p set
        last_id = coalesce(v_ids[pg_catalog.cardinality(v_ids)], p.last_id), rows_done = p.rows_done + businesses,
        finished = p.finished or pg_catalog.cardinality(v_ids) < p_limit, updated_at = pg_catalog.clock_timestamp()
    where p.phase = 'restore';
    if finished then
        delete from app_secrets.backfill_progress p where p.phase = 'restore';
    end if;
end $$;
revoke all on function app_secrets.restore_batch(integer) from public, anon, authenticated, service_role;

insert into app_secrets.migrations (version, name, checksum, plaintext_filenode)
values (5, 'drop_columns', nullif(pg_catalog.current_setting('app_secrets.migration_checksum', true), ''),
    pg_catalog.pg_relation_filenode('public.businesses'))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
