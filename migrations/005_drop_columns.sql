-- app-secrets: contract
--
-- 005: the plaintext goes. Run LAST, after `npm run verify`, when no code reads the columns any more.
--
-- What     Names all that goes with the columns or still names them, and refuses what nobody has consented to by name (the
--          setting app_secrets.drop_also: a JSON array of names). Proves in this very transaction that every plaintext value
--          equals what Vault decrypts to, or raises AS006 with counts and ids and changes nothing; then drops the sync and the
--          columns, and keeps what it takes to make them again.
-- Acts on  the names whose legacy_state is `filled`; it can be run again for names that come later.
-- Locks    None while it compares everything. Then ACCESS EXCLUSIVE on both tables, the owner table first, while it looks
--          again at what was written meanwhile and changes the catalogue, which rewrites nothing. It waits 200 ms at a time.
-- Again?   Safe: where there is nothing to drop it does nothing.
-- After    The plaintext is still in the table's pages until they are rewritten (`npm run scrub`), and in WAL, backups and
--          replicas after that: rotate the keys at their providers.

begin;
set local lock_timeout = '500ms';
-- Comparing every value takes as long as it takes, and blocks nobody.
set local statement_timeout = 0;
set local row_security = off;
set local search_path = pg_catalog, pg_temp;

do $$
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    if to_regnamespace('app_secrets') is null then
        raise exception 'migration 4 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(3);
    perform app_secrets.require_migration(4);
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'this has to see what others commit meanwhile' using errcode = 'AS007',
            hint = 'Run it at the isolation level read committed.';
    end if;
    if exists (select from app_secrets.catalogue c where c.legacy_state = 'synced') then
        raise exception 'not everything is filled yet: %', (
            select string_agg(c.name, ', ' order by c.position) from app_secrets.catalogue c where c.legacy_state = 'synced')
            using errcode = 'AS007', hint = 'Run: npx app-secrets migrate';
    end if;
end $$;

-- Whether a row version may not have been there yet for a snapshot of this transaction. Only 32 bits of its xid are stored.
-- A snapshot does not list subtransactions, so what one of them wrote counts as new from the oldest that was running.
create or replace function app_secrets.is_newer(p_xmin xid, p_seen pg_snapshot) returns boolean
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    v_next constant bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    v_xid bigint := p_xmin::text::bigint;
begin
    if v_xid < 3 then
        return false;
    end if;
    v_xid := v_xid + (v_next >> 32 << 32);
    if v_xid > v_next then
        v_xid := v_xid - (1::bigint << 32);
    end if;
    return v_xid >= pg_snapshot_xmin(p_seen)::text::bigint;
end $$;

-- Compares the businesses that were written on either side since a snapshot.
create or replace function app_secrets.require_verified_since(p_seen pg_snapshot) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
declare
    v_settings app_secrets.settings;
    v_ids uuid[];
begin
    select s.* into v_settings from app_secrets.settings s;
    execute format($query$
        select array_agg(c.id)
        from (
            select b.%1$I as id from %2$s b where age(b.xmin) <= $2 and app_secrets.is_newer(b.xmin, $1)
            union
            select s.business_id from public.business_secrets s where age(s.xmin) <= $2 and app_secrets.is_newer(s.xmin, $1)
        ) c$query$, v_settings.owner_key, v_settings.owner_table)
    into v_ids using p_seen, age(pg_snapshot_xmin(p_seen)::xid);
    if v_ids is not null then
        perform app_secrets.require_verified(v_ids);
    end if;
end $$;

do $$
declare
    v_owner constant text := (select s.owner_table from app_secrets.settings s);
    v_consent constant jsonb := coalesce(nullif(current_setting('app_secrets.drop_also', true), ''), '[]')::jsonb;
    v_blocking text;
    v_shared text;
    v_columns text;
    v_seen pg_snapshot;
    v_seen_again pg_snapshot;
begin
    if not exists (select from app_secrets.catalogue c where c.legacy_state = 'filled') then
        return;
    end if;
    select string_agg(format('%s %s (of %s)', d.kind, d.object, d.legacy_column), '; ' order by d.kind, d.object) filter (where d.weight = 'blocks'),
        string_agg(format('%s %s (of %s)', d.kind, d.object, d.legacy_column), '; ' order by d.kind, d.object)
            filter (where d.weight = 'shared' and not v_consent ? d.object and not v_consent ? '*')
    into v_blocking, v_shared
    from app_secrets.legacy_dependents() d;
    if v_blocking is not null then
        raise exception 'the columns cannot be dropped while these use them: %', v_blocking using errcode = 'AS007',
            hint = 'Nothing was changed. Replace or drop each of them, then run this again.';
    elsif v_shared is not null then
        raise exception 'these go with the columns, or still name them: %', v_shared using errcode = 'AS007',
            hint = 'Nothing was changed. Replace each of them, or consent to its loss by name: '
                'npx app-secrets migrate --drop-legacy --also-drop NAME; in SQL, set app_secrets.drop_also to a JSON array of the names.';
    end if;

    v_seen := pg_current_snapshot();
    perform app_secrets.require_verified();
    -- Once more, so that little is left to do under the locks.
    v_seen_again := pg_current_snapshot();
    perform app_secrets.require_verified_since(v_seen);
    perform app_secrets.lock_tables('access exclusive', 'access exclusive');
    perform app_secrets.require_verified_since(v_seen_again);

    -- What was dropped with other columns stays on record, and what a rollback could not put back.
    delete from app_secrets.dropped_objects d
    where (d.kind = 'column' and exists (
            select from app_secrets.catalogue c where c.legacy_state = 'filled' and c.legacy_column = d.legacy_column))
        or exists (select from app_secrets.legacy_dependents() l where l.kind = d.kind and l.object = d.object);
    insert into app_secrets.dropped_objects (kind, object, legacy_column, definition)
    select 'column', format('%s.%I', v_owner, a.attname), a.attname,
        format('alter table %s add column %I %s%s%s', v_owner, a.attname, format_type(a.atttypid, a.atttypmod),
            case when a.attcollation <> t.typcollation then format(' collate %s', a.attcollation::regcollation) else '' end,
            -- A default that is a value of its own is set afterwards: rows that had none keep none.
            coalesce(case when a.attnotnull then '' else format('; alter table %s alter column %I set', v_owner, a.attname) end
                || ' default ' || pg_get_expr(f.adbin, f.adrelid), ''))
            || coalesce((
                select string_agg(format('; alter table %s alter column %I set %s', v_owner, a.attname, k.setting), '')
                from (values
                    (case when a.attstattarget >= 0 then 'statistics ' || a.attstattarget end),
                    (case when a.attstorage <> t.typstorage then 'storage '
                        || case a.attstorage when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end end),
                    (case a.attcompression when 'p' then 'compression pglz' when 'l' then 'compression lz4' end),
                    (format('(%s)', array_to_string(a.attoptions, ', ')))) as k(setting)
                where k.setting is not null and k.setting <> '()'), '')
    from app_secrets.catalogue c
    join pg_attribute a on a.attrelid = v_owner::regclass and a.attname = c.legacy_column and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    where c.legacy_state = 'filled'
    order by a.attnum;
    insert into app_secrets.dropped_objects (kind, object, legacy_column, definition)
    select d.kind, d.object, d.legacy_column, d.definition
    from app_secrets.legacy_dependents() d
    where d.kind not in ('default', 'function')
    order by array_position(array['not null', 'index', 'constraint', 'statistics', 'grant', 'comment'], d.kind), d.object;

    select string_agg(format('drop column %I', c.legacy_column), ', ') into v_columns
    from app_secrets.catalogue c where c.legacy_state = 'filled';
    update app_secrets.catalogue c set legacy_state = 'dropped' where c.legacy_state = 'filled';
    perform app_secrets.make_all();
    execute format('alter table %s %s', v_owner, v_columns);
    delete from app_secrets.backfill_progress p where p.phase = 'restore';
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The way back, for `npm run rollback`: the columns come back with their types and defaults, and the sync; then they are
-- filled from Vault; then comes what hung on them.

create or replace function app_secrets.begin_restore() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_statement text;
begin
    if not exists (select from app_secrets.catalogue c where c.legacy_state = 'dropped') then
        return;
    end if;
    perform app_secrets.require_root_key();
    perform app_secrets.lock_tables('access exclusive', 'access exclusive');
    for v_statement in
        select coalesce(d.definition, format('alter table %s add column %I text', s.owner_table, c.legacy_column))
        from app_secrets.catalogue c
        cross join app_secrets.settings s
        left join app_secrets.dropped_objects d on d.kind = 'column' and d.legacy_column = c.legacy_column
        where c.legacy_state = 'dropped' and not exists (
            select from pg_attribute a
            where a.attrelid = s.owner_table::regclass and a.attname = c.legacy_column and not a.attisdropped)
        order by d.id, c.position
    loop
        execute v_statement;
    end loop;
    -- A name that was taken out of use meanwhile is in use again, since old code may write its column.
    -- Of several that had one column after the other, the one in use is meant, or the last.
    update app_secrets.catalogue c set legacy_state = 'synced', retired_at = null
    where c.legacy_state = 'dropped'
        and not exists (
            select from app_secrets.catalogue o where o.legacy_column = c.legacy_column and o.legacy_state in ('synced', 'filled'))
        and c.name = (
            select o.name from app_secrets.catalogue o
            where o.legacy_column = c.legacy_column and o.legacy_state = 'dropped'
            order by o.retired_at is not null, o.position desc limit 1);
    delete from app_secrets.migrations m where m.version = 5;
    perform app_secrets.make_all();
    insert into app_secrets.backfill_progress (phase) values ('restore')
    on conflict (phase) do update
        set last_id = null, rows_done = 0, finished = false, updated_at = clock_timestamp();
    notify pgrst, 'reload schema';
end $$;

-- The statements of the restore, as the catalogue has it now.
create or replace function app_secrets.make_restore() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $make$
declare
    v_settings app_secrets.settings;
    v_assignments text;
    v_missing text;
    v_counts text;
begin
    select s.* into v_settings from app_secrets.settings s;
    select string_agg(format('%1$I = case when app_secrets.normalize(b.%1$I::text) is null and r.%2$I is not null then r.%2$I::%3$s else b.%1$I end',
            c.legacy_column, c.name, format_type(a.atttypid, a.atttypmod)), E',\n        ' order by c.position),
        string_agg(format('(s.%2$I is not null and app_secrets.normalize(b.%1$I::text) is null and app_secrets.reveal(s.business_id, %2$L, s.%2$I) is not null)',
            c.legacy_column, c.name), E'\n            or ' order by c.position),
        string_agg(format('case when app_secrets.normalize(b.%1$I::text) is null then app_secrets.reveal(s.business_id, %2$L, s.%2$I) end as %2$I',
            c.legacy_column, c.name), E',\n            ' order by c.position)
    into v_assignments, v_missing, v_counts
    from app_secrets.catalogue c
    join pg_attribute a on a.attrelid = v_settings.owner_table::regclass and a.attname = c.legacy_column and not a.attisdropped
    where c.legacy_state in ('synced', 'filled');

    perform app_secrets.make_function('app_secrets.businesses_to_restore(p_limit integer)', 'returns setof uuid', 'stable set row_security = off',
        case when v_missing is null then 'begin return; end' else format($body$
#variable_conflict use_variable
begin
    return query
        select /* app-secrets */ b.%1$I from %2$s b join public.business_secrets s on s.business_id = b.%1$I
        where %3$s
        limit p_limit;
end$body$, v_settings.owner_key, v_settings.owner_table, v_missing) end);
    -- The app's triggers run under the path that they are used to.
    execute format('create or replace function app_secrets.restore_businesses(p_ids uuid[]) returns integer language plpgsql '
        'set search_path = %s, pg_temp set row_security = off as %L', v_settings.app_search_path,
        case when v_missing is null then 'begin return 0; end' else format($body$
#variable_conflict use_variable
declare
    v_secrets integer;
begin
    select /* app-secrets */ coalesce(sum(cardinality(array_remove(array[%5$s], null))), 0) into v_secrets
    from (
        select %4$s
        from %2$s b join public.business_secrets s on s.business_id = b.%1$I
        where b.%1$I = any (p_ids)) r;
    update /* app-secrets */ %2$s b set
        %3$s
    from (
        select s.business_id, %4$s
        from %2$s b join public.business_secrets s on s.business_id = b.%1$I
        where b.%1$I = any (p_ids)
        offset 0) r
    where b.%1$I = r.business_id and array_remove(array[%5$s], null) <> '{}';
    return v_secrets;
end$body$, v_settings.owner_key, v_settings.owner_table, v_assignments, v_counts,
            (select string_agg(format('r.%I', c.name), ', ' order by c.position) from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled'))) end);
    revoke all on function app_secrets.restore_businesses(uuid[]) from public, anon, authenticated, service_role;
end $make$;

-- One batch, to be committed by the caller: up to p_limit businesses after the checkpoint, then those that were locked.
create or replace function app_secrets.restore_batch(
    p_limit integer, out businesses integer, out secrets integer, out waiting boolean, out finished boolean)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_last uuid;
    v_is_second boolean;
    v_ids uuid[];
    v_locked uuid[];
begin
    businesses := 0;
    secrets := 0;
    waiting := false;
    finished := false;
    perform app_secrets.require_root_key();
    select p.last_id, p.finished into v_last, v_is_second
    from app_secrets.backfill_progress p where p.phase = 'restore' for update;
    if v_is_second is null then
        raise exception 'no restore is under way' using errcode = 'AS007', hint = 'Run: npx app-secrets rollback';
    end if;
    if v_is_second then
        v_ids := array(select r.id from app_secrets.businesses_to_restore(p_limit) as r(id));
        finished := v_ids = '{}';
    else
        v_ids := app_secrets.businesses_after(v_last, p_limit);
    end if;
    if v_ids <> '{}' then
        v_locked := app_secrets.lock_businesses(v_ids);
        businesses := cardinality(v_locked);
        secrets := app_secrets.restore_businesses(v_locked);
    end if;
    waiting := v_is_second and not finished and businesses = 0;
    update app_secrets.backfill_progress p set
        last_id = coalesce(v_ids[cardinality(v_ids)], p.last_id), rows_done = p.rows_done + businesses,
        finished = p.finished or cardinality(v_ids) < p_limit, updated_at = clock_timestamp()
    where p.phase = 'restore';
end $$;

-- Puts back what hung on the columns, after the values, and gives what it could not put back, which is kept for another
-- run. Constraints are proven against all rows, and indexes block writers while they are made.
create or replace function app_secrets.finish_restore() returns table (kind text, object text, restored boolean, problem text)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_column
declare
    v_object app_secrets.dropped_objects;
begin
    for v_object in
        select d.* from app_secrets.dropped_objects d where d.kind <> 'column' order by d.id
    loop
        kind := v_object.kind;
        object := v_object.object;
        problem := null;
        begin
            execute v_object.definition;
            restored := true;
        exception when duplicate_table or duplicate_object then
            restored := true;
        when lock_not_available or deadlock_detected then
            raise;
        when others then
            restored := false;
            problem := sqlerrm;
        end;
        if restored then
            delete from app_secrets.dropped_objects d where d.id = v_object.id;
        end if;
        return next;
    end loop;
    delete from app_secrets.dropped_objects d where d.kind = 'column';
    delete from app_secrets.backfill_progress p where p.phase = 'restore';
    if not exists (select from app_secrets.verify_legacy() v where v.mismatched > 0) then
        update app_secrets.catalogue c set legacy_state = 'filled' where c.legacy_state = 'synced';
    end if;
end $$;

do $$
begin
    perform app_secrets.make_restore();
    perform app_secrets.make_grants();
end $$;

insert into app_secrets.migrations (version, name, checksum, plaintext_filenode)
select 5, 'drop_columns', nullif(current_setting('app_secrets.migration_checksum', true), ''),
    pg_relation_filenode(s.owner_table::regclass)
from app_secrets.settings s
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
