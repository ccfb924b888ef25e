-- app-secrets: expand
--
-- 003: every plaintext value into Vault, the secrets that stand in business_secrets in plaintext sealed where they are, and
-- the proof of both.
--
-- What     Three steps, each a transaction or a statement of its own: seal in place from now on; backfill in short batches;
--          validate. Before it, the code that reads secrets out of business_secrets itself (the Google tokens) must read
--          decrypted_business_secrets (002), because their columns hold references afterwards.
-- Acts on  the names that the catalogue has in the state for it: legacy_state `synced`, in_place `pending` and `sealing`. It
--          can be run again for names that come later.
-- Locks    Step 1: as 002. Step 2: the owner rows of one batch at a time, and none that somebody else holds. Step 3: SHARE
--          UPDATE EXCLUSIVE on business_secrets, which blocks neither readers nor writers.
-- Again?   Safe at any point: the backfill goes on at its checkpoint and only fills what is still empty.
-- Note     Where this file is sent as one transaction (`supabase db push`, a multi-statement query), step 2 cannot commit
--          its batches: up to 1,000 businesses it runs inside that transaction; beyond that it fills nothing, leaves the names
--          in their state, and `app-secrets migrate` fills them.

-- Step 1: what stands there in plaintext is sealed from here on.
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
        raise exception 'migration 2 must be applied first (found: none)' using errcode = 'AS007',
            hint = 'Run: npx app-secrets migrate';
    end if;
    perform app_secrets.require_migration(2);
end $$;

-- What `app-secrets verify` found, and when: `status` shows the last one instead of comparing every value anew.
create table if not exists app_secrets.verifications (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    login text not null default session_user,
    mismatched bigint not null,
    dangling bigint not null,
    undecryptable bigint not null,
    unsealed bigint not null,
    orphans bigint not null,
    -- Every value is in Vault and opens, and every trigger is in place.
    proven boolean not null
);
alter table app_secrets.verifications enable row level security;
drop policy if exists nobody on app_secrets.verifications;
create policy nobody on app_secrets.verifications using (false);
revoke all on app_secrets.verifications from public, anon, authenticated, service_role;
revoke all on all sequences in schema app_secrets from public, anon, authenticated, service_role;

-- The statements of the backfill and the proof, as the catalogue has it now.
create or replace function app_secrets.make_backfill() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $make$
declare
    v_settings app_secrets.settings;
    v_names text[];
    -- A legacy column beside its cell, one for each synced name: ('name', b.column::text, s.name).
    v_pairs text;
    v_missing text;
    v_columns text;
    v_references text;
    v_coalesced text;
    v_in_place text;
begin
    select s.* into v_settings from app_secrets.settings s;
    select array_agg(c.name order by c.position),
        string_agg(format('(%L, b.%I::text, s.%I)', c.name, c.legacy_column, c.name), E',\n            ' order by c.position),
        string_agg(format('(s.%I is null and app_secrets.normalize(b.%I::text) is not null)', c.name, c.legacy_column),
            E'\n            or ' order by c.position),
        string_agg(format('%I', c.name), ', ' order by c.position),
        string_agg(format('max(r.reference::text) filter (where n.name = %L) as %I', c.name, c.name), E',\n            ' order by c.position),
        string_agg(format('%I = coalesce(s.%I, excluded.%I)', c.name, c.name, c.name), E',\n        ' order by c.position)
    into v_names, v_pairs, v_missing, v_columns, v_references, v_coalesced
    from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled') and c.retired_at is null;
    select string_agg(format('(%L, s.%I::text, %L::boolean)', c.name, c.name, c.sealed), ', ' order by c.position)
    into v_in_place
    from app_secrets.catalogue c where c.in_place in ('pending', 'sealing') and c.retired_at is null;

    -- Businesses whose plaintext is not in the sealed table yet; at most p_limit of them.
    perform app_secrets.make_function('app_secrets.businesses_to_fill(p_limit integer)', 'returns setof uuid', 'stable set row_security = off',
        case when v_names is null then 'begin return; end' else format($body$
#variable_conflict use_variable
begin
    return query
        select /* app-secrets */ b.%1$I
        from %2$s b
        left join public.business_secrets s on s.business_id = b.%1$I
        where %3$s
        limit p_limit;
end$body$, v_settings.owner_key, v_settings.owner_table, v_missing) end);

    perform app_secrets.make_function('app_secrets.businesses_after(p_last uuid, p_limit integer)', 'returns uuid[]', 'stable set row_security = off',
        format(E'#variable_conflict use_variable\nbegin return array(select b.%1$I from %2$s b where p_last is null or b.%1$I > p_last order by b.%1$I limit p_limit); end',
            v_settings.owner_key, v_settings.owner_table));

    -- Locks those businesses that nobody else holds, and gives them: no key of theirs changes meanwhile. SKIP LOCKED may wait for a
    -- newer version of a row all the same (see lock_owner_row()): then all of them are let go and tried again.
    perform app_secrets.make_function('app_secrets.lock_businesses(p_ids uuid[])', 'returns uuid[]', 'set row_security = off',
        format($body$
#variable_conflict use_variable
declare
    v_timeout constant text := current_setting('lock_timeout');
    v_locked uuid[];
begin
    -- The table itself has the caller's time.
    lock table %2$s in row share mode;
    loop
        begin
            perform set_config('lock_timeout', '1ms', true);
            v_locked := array(select b.%1$I from %2$s b where b.%1$I = any (p_ids) order by b.%1$I for no key update skip locked);
            perform set_config('lock_timeout', v_timeout, true);
            return v_locked;
        exception when lock_not_available then
            null;
        end;
    end loop;
end$body$, v_settings.owner_key, v_settings.owner_table));

    -- Writes what the sealed cells of these businesses lack; the caller holds their owner rows. All of them in one statement:
    -- values go from the plaintext column to Vault as arguments, past every sort and store of the executor, and the row
    -- trigger meets references that are the cells' own.
    -- `offset 0`, no `exists` (it may be hashed) and no sequential scan: each look-up goes by key, since a plan that is made
    -- while the tables are empty is still in use when they are full. Before PostgreSQL 18 a scan that cannot be avoided, as of the
    -- one row of settings, then has a cost beyond all bounds, for which a server with JIT would compile every statement.
    perform app_secrets.make_function('app_secrets.fill_businesses(p_ids uuid[])', 'returns void',
        'set row_security = off set enable_seqscan = off set jit = off',
        case when v_names is null then 'begin end' else format($body$
#variable_conflict use_variable
begin
    with /* app-secrets */ filled as materialized (
        select f.*
        from unnest(p_ids) as l(id)
        cross join lateral (
            select l.id,
            %1$s
            from (
                select c.name, app_secrets.checked_value(l.id, c.name, c.legacy) as value
                from (select b.* from %2$s b where b.%3$I = l.id offset 0) b
                left join lateral (
                    select s.* from public.business_secrets s where s.business_id = l.id offset 0) s on true
                cross join lateral (values
            %4$s
                ) as c(name, legacy, reference)
                where c.legacy is not null and c.reference is null
                offset 0
            ) n
            cross join lateral (
                select (app_secrets.seal(l.id, n.name, n.value)).reference as reference offset 0) r
            where n.value is not null
            having count(*) > 0
        ) f
    )
    insert into public.business_secrets as s (business_id, %5$s)
    select f.* from filled f
    on conflict (business_id) do update set
        %6$s;
end$body$, v_references, v_settings.owner_table, v_settings.owner_key, v_pairs, v_columns, v_coalesced) end);

    -- Compares plaintext columns with what Vault decrypts to, inside the database, in one snapshot, for all businesses or
    -- those given, or those of a range of keys. Counts and ids only. Vault is asked directly, at a third of reveal's cost,
    -- until one secret turns out to be broken: then reveal, which takes that for a mismatch. Values leave the innermost query
    -- as booleans only, so that no sort can write them to a temporary file.
    perform app_secrets.make_function(
        'app_secrets.verify_legacy(p_business_ids uuid[] default null, p_from uuid default null, p_to uuid default null)',
        'returns table (name text, legacy_values bigint, sealed_values bigint, mismatched bigint, sample_business_ids uuid[])',
        'stable set row_security = off',
        case when v_names is null then 'begin return; end' else format($body$
#variable_conflict use_variable
declare
    v_all_open boolean := true;
begin
    loop
        begin
            return query
                select /* app-secrets */ c.name, count(*) filter (where c.has_legacy), count(*) filter (where c.has_sealed),
                    count(*) filter (where c.differs),
                    coalesce((array_agg(c.business_id order by c.business_id) filter (where c.differs))[1:10], '{}')
                from (
                    select b.%1$I as business_id, v.name, n.legacy is not null as has_legacy,
                        v.reference is not null as has_sealed,
                        (n.legacy is null) <> (v.reference is null) or n.legacy collate "C" is distinct from (case
                            when v.reference is null then null
                            when v_all_open then (
                                select d.decrypted_secret from vault.decrypted_secrets d
                                where d.id = v.reference::uuid and d.name = 'business_secrets/' || b.%1$I || '/' || v.name)
                            else app_secrets.reveal(b.%1$I, v.name, v.reference)
                        end) collate "C" as differs
                    from %2$s b
                    left join public.business_secrets s on s.business_id = b.%1$I
                    cross join lateral (values
            %3$s
                    ) as v(name, legacy, reference)
                    cross join lateral (select app_secrets.normalize(v.legacy) as legacy offset 0) n
                    where (p_business_ids is null or b.%1$I = any (p_business_ids))
                        and (p_from is null or b.%1$I >= p_from) and (p_to is null or b.%1$I < p_to)
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
end$body$, v_settings.owner_key, v_settings.owner_table, v_pairs) end);

    -- Cells from p_from on that stand in business_secrets as they stood before: plaintext that has to be sealed, and metadata
    -- that has no version yet. A text of a reference's shape is one where the cell is known.
    perform app_secrets.make_function('app_secrets.cells_to_seal(p_from uuid, p_limit integer)',
        'returns table (business_id uuid, name text)', 'stable set row_security = off',
        case when v_in_place is null then 'begin return; end' else format($body$
#variable_conflict use_variable
begin
    return query
        select s.business_id, c.name
        from public.business_secrets s
        cross join lateral (values %s) as c(name, value, sealed)
        where (p_from is null or s.business_id >= p_from) and c.value is not null and case
            when c.sealed then not app_secrets.is_reference(c.value) or not app_secrets.is_known(s.business_id, c.name, c.value)
            else not exists (
                select from app_secrets.secret_versions v where v.business_id = s.business_id and v.name = c.name)
            end
        order by s.business_id
        limit p_limit;
end$body$, v_in_place) end);
end $make$;

-- Seals one cell where it stands.
create or replace function app_secrets.seal_cell(p_business_id uuid, p_name text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
declare
    v_entry app_secrets.catalogue;
    v_stored text;
    v_value text;
    v_reference text;
begin
    select c.* into v_entry from app_secrets.catalogue c where c.name = p_name;
    select to_jsonb(s.*) ->> p_name into v_stored
    from public.business_secrets s where s.business_id = p_business_id for update;
    if v_stored is null or (v_entry.sealed and app_secrets.is_reference(v_stored)
        and app_secrets.is_known(p_business_id, p_name, v_stored)) then
        return;
    end if;
    if not v_entry.sealed then
        if not exists (
            select from app_secrets.secret_versions v where v.business_id = p_business_id and v.name = p_name) then
            if v_entry.type = 'text' and app_secrets.normalize(v_stored) is distinct from v_stored then
                -- The row trigger records it.
                execute format('update public.business_secrets s set %I = $2 where s.business_id = $1', p_name)
                using p_business_id, app_secrets.checked_value(p_business_id, p_name, v_stored);
            else
                perform app_secrets.record_changes(p_business_id, array[p_name], '{}');
            end if;
        end if;
        return;
    end if;
    v_value := app_secrets.checked_value(p_business_id, p_name, v_stored);
    if v_value is not null then
        v_reference := (app_secrets.seal(p_business_id, p_name, v_value)).reference;
        if app_secrets.reveal(p_business_id, p_name, v_reference) is distinct from v_value then
            raise exception '% of business % does not decrypt to what was sealed', p_name, p_business_id
                using errcode = 'AS006';
        end if;
    end if;
    -- The row trigger meets a reference of the cell's own where plaintext was, and records it.
    execute format('update public.business_secrets s set %I = $2 where s.business_id = $1', p_name)
    using p_business_id, v_reference;
end $$;

-- How many values of these businesses this transaction has sealed, whoever did it: a row's trigger seals its other cells too.
-- No sequential scan, for the reason that fill_businesses has.
create or replace function app_secrets.sealed_here(p_ids uuid[]) returns integer
    language plpgsql stable set search_path = pg_catalog, pg_temp set row_security = off set enable_seqscan = off set jit = off
as $$
begin
    return (
        select count(*) from app_secrets.vault_rows r
        where r.business_id = any (p_ids) and r.role = 'current' and r.transaction_id = pg_current_xact_id_if_assigned());
end $$;

-- The backfill in several sessions at once: each takes the next p_limit businesses after the checkpoint, commits, so that the
-- next session can take its own, and fills them by fill_claimed. Empty at the end. Whatever a session leaves, because it was
-- killed or because somebody holds the row, backfill_batch finds afterwards.
create or replace function app_secrets.claim_businesses(p_limit integer) returns uuid[]
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_last uuid;
    v_ids uuid[];
begin
    insert into app_secrets.backfill_progress (phase) values ('fill'), ('in_place') on conflict (phase) do nothing;
    select p.last_id into v_last
    from app_secrets.backfill_progress p where p.phase = 'fill' and not p.finished for update;
    if not found then
        return '{}';
    end if;
    v_ids := app_secrets.businesses_after(v_last, p_limit);
    update app_secrets.backfill_progress p set
        last_id = coalesce(v_ids[cardinality(v_ids)], p.last_id), finished = cardinality(v_ids) < p_limit,
        updated_at = clock_timestamp()
    where p.phase = 'fill';
    return v_ids;
end $$;

-- Fills those of these businesses that nobody else holds, and counts them.
create or replace function app_secrets.fill_claimed(p_ids uuid[], out businesses integer, out secrets integer)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_locked uuid[];
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    v_locked := app_secrets.lock_businesses(p_ids);
    businesses := cardinality(v_locked);
    perform set_config('app_secrets.origin', 'backfill', true);
    perform app_secrets.fill_businesses(v_locked);
    secrets := app_secrets.sealed_here(v_locked);
    perform set_config('app_secrets.origin', '', true);
    -- At the end, because the other sessions wait for this row until the transaction is through.
    update app_secrets.backfill_progress p set
        rows_done = p.rows_done + fill_claimed.businesses, updated_at = clock_timestamp()
    where p.phase = 'fill';
end $$;

-- One batch, to be committed by the caller: up to p_limit businesses after the checkpoint; then those that were locked or
-- came around the triggers; then the cells that are sealed in place. `finished` once nothing is found, `waiting` when what is
-- left is locked.
create or replace function app_secrets.backfill_batch(
    p_limit integer, out businesses integer, out secrets integer, out waiting boolean, out finished boolean)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_phase text;
    v_last uuid;
    v_ids uuid[];
    v_locked uuid[];
    v_names text[];
    v_done integer := 0;
begin
    businesses := 0;
    secrets := 0;
    waiting := false;
    finished := false;
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    insert into app_secrets.backfill_progress (phase) values ('fill'), ('in_place') on conflict (phase) do nothing;
    -- Also what a second migrator waits for.
    select p.phase, p.last_id into v_phase, v_last
    from app_secrets.backfill_progress p where p.phase = 'fill' and not p.finished for update;

    if v_phase = 'fill' then
        v_ids := app_secrets.businesses_after(v_last, p_limit);
    elsif (select p.last_id from app_secrets.backfill_progress p where p.phase = 'in_place') is null then
        v_ids := array(select f.id from app_secrets.businesses_to_fill(p_limit) as f(id));
    else
        -- In the middle of the cells in place: that scan of all businesses is for their start and their end.
        v_ids := '{}';
    end if;
    if v_phase = 'fill' or cardinality(v_ids) > 0 then
        select f.businesses, f.secrets into businesses, secrets from app_secrets.fill_claimed(v_ids) f;
        update app_secrets.backfill_progress p set
            last_id = coalesce(v_ids[cardinality(v_ids)], p.last_id),
            finished = p.finished or cardinality(v_ids) < p_limit
        where p.phase = 'fill';
        waiting := v_phase is null and businesses = 0;
        return;
    end if;

    select p.last_id into v_last from app_secrets.backfill_progress p where p.phase = 'in_place' for update;
    select array_agg(g.business_id), array_agg(g.name) into v_ids, v_names
    from app_secrets.cells_to_seal(v_last, p_limit) g;
    if v_ids is not null then
        v_locked := app_secrets.lock_businesses(v_ids);
        perform set_config('app_secrets.origin', 'backfill', true);
        for i in 1 .. cardinality(v_ids) loop
            continue when v_ids[i] <> all (v_locked);
            perform app_secrets.seal_cell(v_ids[i], v_names[i]);
            v_done := v_done + 1;
        end loop;
        secrets := app_secrets.sealed_here(v_ids);
        perform set_config('app_secrets.origin', '', true);
    end if;
    -- Nothing after the checkpoint: look once more from the start, then it is done.
    finished := v_ids is null and v_last is null;
    waiting := v_ids is not null and v_done = 0;
    update app_secrets.backfill_progress p set
        last_id = v_ids[cardinality(v_ids)], rows_done = p.rows_done + v_done,
        finished = backfill_batch.finished, updated_at = clock_timestamp()
    where p.phase = 'in_place';
end $$;

-- Rows of Vault that are ours and that nothing refers to, of all businesses or one. What is not registered in
-- app_secrets.vault_rows is not ours, whatever its name. `wanted`: nothing says that the value was cleared, so a restore has
-- lost the cell that referred to it, or the version that knew of it.
create or replace function app_secrets.orphans(p_business_id uuid default null)
    returns table (vault_id uuid, business_id uuid, name text, role text, wanted boolean)
    language plpgsql stable set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
begin
    return query
        select r.vault_id, r.business_id, r.name, r.role, r.role in ('current', 'previous')
            and app_secrets.owner_exists(r.business_id)
            and case r.role when 'current' then w.is_set is distinct from false else w.name is null end
        from app_secrets.vault_rows r
        join vault.secrets v on v.id = r.vault_id
        left join public.business_secrets s on s.business_id = r.business_id
        left join app_secrets.secret_versions w on w.business_id = r.business_id and w.name = r.name
        where (p_business_id is null or r.business_id = p_business_id) and case r.role
            when 'current' then to_jsonb(s.*) ->> r.name is distinct from r.vault_id::text
            when 'previous' then w.previous_until is null
            else r.role = 'former' end;
end $$;

-- Of one business and under its lock: rows that nothing wants are removed, and with p_put_back cells that a restore has lost
-- refer to their rows again, as a new version. Only where somebody asks for it: if the business was deleted past our triggers
-- and its id given to another, the row is its predecessor's secret, and nothing here can tell that from a restore. A cell that
-- holds something else, or whose plaintext differs, is left for somebody to decide.
create or replace function app_secrets.fix_orphans(
    p_business_id uuid, p_put_back boolean default false, out put_back bigint, out removed bigint)
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_stored jsonb;
    v_legacy jsonb;
    v_row record;
    v_value text;
    v_ids uuid[];
begin
    put_back := 0;
    v_stored := app_secrets.lock_row(p_business_id);
    v_legacy := coalesce(app_secrets.read_legacy(p_business_id), '{}');
    for v_row in
        select o.* from app_secrets.orphans(p_business_id) o where p_put_back and o.wanted and o.role = 'current'
    loop
        v_value := app_secrets.reveal(p_business_id, v_row.name, v_row.vault_id::text);
        continue when v_value is null
            or app_secrets.normalize(v_legacy ->> v_row.name) is distinct from v_value and app_secrets.normalize(v_legacy ->> v_row.name) is not null
            or v_stored ->> v_row.name is not null and (
                not app_secrets.is_reference(v_stored ->> v_row.name)
                or exists (select from vault.secrets s where s.id::text = v_stored ->> v_row.name));
        execute format('insert into public.business_secrets as s (business_id, %1$I) values ($1, $2) '
            'on conflict (business_id) do update set %1$I = excluded.%1$I', v_row.name)
        using p_business_id, v_row.vault_id::text;
        put_back := put_back + 1;
    end loop;
    select array_agg(o.vault_id) into v_ids from app_secrets.orphans(p_business_id) o where not o.wanted;
    delete from vault.secrets v where v.id = any (v_ids);
    delete from app_secrets.vault_rows r where r.vault_id = any (v_ids) and r.role in ('current', 'previous');
    removed := coalesce(cardinality(v_ids), 0);
end $$;

-- After a restore that lacked app_secrets.secret_versions: one for each cell that is set and has none, and a time for the
-- earlier values that are still there.
create or replace function app_secrets.record_versions() returns void
    language plpgsql set search_path = pg_catalog, pg_temp set row_security = off
as $$
#variable_conflict use_variable
declare
    v_business_id uuid;
    v_names text[];
begin
    for v_business_id, v_names in
        select s.business_id, array_agg(c.name order by c.position)
        from public.business_secrets s
        cross join app_secrets.catalogue c
        where c.retired_at is null and c.in_place not in ('pending', 'sealing') and to_jsonb(s.*) ->> c.name is not null and not exists (
            select from app_secrets.secret_versions v where v.business_id = s.business_id and v.name = c.name)
        group by s.business_id
    loop
        perform app_secrets.record_changes(v_business_id, v_names, '{}');
        update app_secrets.secret_versions v set previous_until = now() + (select s.keep_previous from app_secrets.settings s)
        from app_secrets.vault_rows r
        where v.business_id = v_business_id and v.name = any (v_names)
            and r.business_id = v.business_id and r.name = v.name and r.role = 'previous';
    end loop;
end $$;

-- What goes with the plaintext columns when they are dropped, or still names them. `own`: it is of these columns alone, and a
-- rollback makes it again; `shared`: it concerns other columns or code too, so its loss needs consent by name; `blocks`: DROP
-- COLUMN refuses while it is there. `definition` makes it again.
create or replace function app_secrets.legacy_dependents()
    returns table (weight text, kind text, object text, legacy_column name, definition text)
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_owner constant regclass := (select s.owner_table::regclass from app_secrets.settings s);
begin
    return query
        with dropped as (
            select a.attnum, a.attname, a.attnotnull, a.attacl, a.atttypid, a.atttypmod
            from app_secrets.catalogue c
            join pg_attribute a on a.attrelid = v_owner and a.attname = c.legacy_column and not a.attisdropped
            where c.legacy_state in ('synced', 'filled')
        ), dependents as (
            -- What the catalogue ties to a column. An index that a constraint owns is told of as the constraint.
            select d.classid, d.objid, min(a.attname::text) as attname, bool_or(d.deptype = 'n') as blocks,
                bool_and(exists (select from dropped o where o.attnum = d.refobjsubid)) as own
            from pg_depend d
            left join pg_attribute a on a.attrelid = v_owner and a.attnum = d.refobjsubid
                and exists (select from dropped o where o.attnum = d.refobjsubid)
            where d.refclassid = 'pg_class'::regclass and d.refobjid = v_owner and d.refobjsubid > 0
            group by d.classid, d.objid
            having bool_or(exists (select from dropped o where o.attnum = d.refobjsubid))
        )
        select 'own', 'not null', format('%s.%I', v_owner, o.attname), o.attname,
            format('alter table %s alter column %I set not null', v_owner, o.attname)
        from dropped o where o.attnotnull
        union all
        select 'own', 'default', format('%s.%I', v_owner, o.attname), o.attname,
            format('alter table %s alter column %I set default %s', v_owner, o.attname, pg_get_expr(f.adbin, f.adrelid))
        from dropped o join pg_attrdef f on f.adrelid = v_owner and f.adnum = o.attnum
        union all
        select 'own', 'comment', format('%s.%I', v_owner, o.attname), o.attname,
            format('comment on column %s.%I is %L', v_owner, o.attname, col_description(v_owner, o.attnum))
        from dropped o where col_description(v_owner, o.attnum) is not null
        union all
        select 'own', 'grant', format('%s.%I', v_owner, o.attname), o.attname,
            format('grant %s (%I) on %s to %s%s', g.privilege_type, o.attname, v_owner,
                case when g.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
                case when g.is_grantable then ' with grant option' else '' end)
        from dropped o cross join lateral aclexplode(o.attacl) g
        union all
        select case when exists (select from pg_constraint f where f.contype = 'f' and f.conindid = d.objid) then 'blocks'
            when d.own then 'own' else 'shared' end, 'index', d.objid::regclass::text, d.attname::name, pg_get_indexdef(d.objid)
            || case when obj_description(d.objid, 'pg_class') <> '' then
                format('; comment on index %s is %L', d.objid::regclass, obj_description(d.objid, 'pg_class')) else '' end
        from dependents d
        join pg_class c on c.oid = d.objid and c.relkind in ('i', 'I')
        where d.classid = 'pg_class'::regclass and not exists (select from pg_constraint k where k.conindid = d.objid and k.conrelid = v_owner)
        union all
        select case when k.conrelid <> v_owner or exists (
                select from pg_constraint f where f.contype = 'f' and f.conindid = k.conindid and k.contype in ('p', 'u')) then 'blocks'
            when d.own then 'own' else 'shared' end, 'constraint',
            quote_ident(k.conname) || case when k.conrelid <> v_owner then format(' on %s', k.conrelid::regclass) else '' end, d.attname::name,
            format('alter table %s add constraint %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
                || case when obj_description(k.oid, 'pg_constraint') <> '' then
                    format('; comment on constraint %I on %s is %L', k.conname, k.conrelid::regclass, obj_description(k.oid, 'pg_constraint')) else '' end
        from dependents d
        join pg_constraint k on k.oid = d.objid and k.contype <> 'n'
        where d.classid = 'pg_constraint'::regclass
        union all
        select case when d.own then 'own' else 'shared' end, 'statistics', format('%I.%I', x.stxnamespace::regnamespace, x.stxname), d.attname::name,
            pg_get_statisticsobjdef(x.oid) || case when obj_description(x.oid, 'pg_statistic_ext') <> '' then
                format('; comment on statistics %I.%I is %L', x.stxnamespace::regnamespace, x.stxname, obj_description(x.oid, 'pg_statistic_ext')) else '' end
        from dependents d join pg_statistic_ext x on x.oid = d.objid
        where d.classid = 'pg_statistic_ext'::regclass
        union all
        -- Views, policies, triggers `of` the column, generated columns, functions with a parsed body.
        select 'blocks',
            case (select c.relkind from pg_rewrite r join pg_class c on c.oid = r.ev_class where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid)
                when 'v' then 'view' when 'm' then 'materialized view'
                else split_part(pg_describe_object(d.classid, d.objid, 0), ' ', 1) end,
            case when d.classid = 'pg_rewrite'::regclass then (select r.ev_class::regclass::text from pg_rewrite r where r.oid = d.objid)
            else pg_describe_object(d.classid, d.objid, 0) end, d.attname::name, null
        from dependents d
        where d.blocks and d.classid not in ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
            and not exists (
                select from pg_trigger t
                where d.classid = 'pg_trigger'::regclass and t.oid = d.objid and t.tgname like '%app\_secrets\_%')
        union all
        select 'blocks', 'generated column', format('%s.%I', v_owner, a.attname), d.attname::name, null
        from dependents d
        join pg_attrdef f on f.oid = d.objid
        join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum and a.attgenerated <> ''
        where d.classid = 'pg_attrdef'::regclass and not d.blocks
        union all
        select 'blocks', 'publication', format('publication %s with a column list', quote_ident(p.pubname)), o.attname, null
        from pg_publication_rel r
        join pg_publication p on p.oid = r.prpubid
        join dropped o on o.attnum = any (r.prattrs)
        where r.prrelid = v_owner
        union all
        -- Bodies that are text: nothing in the catalogue ties them to the column, and they fail when they run.
        select distinct on (f.oid) 'shared', 'function', f.oid::regprocedure::text, o.attname, pg_get_functiondef(f.oid)
        from pg_proc f
        join pg_namespace n on n.oid = f.pronamespace
        cross join dropped o
        where f.prokind in ('f', 'p') and f.prosqlbody is null
            and n.nspname not in ('pg_catalog', 'information_schema', 'app_secrets') and n.nspname !~ '^pg_'
            and coalesce(obj_description(f.oid, 'pg_proc'), '') not like 'app-secrets %'
            and f.prosrc ~* format('\m%s\M', regexp_replace(o.attname, '([^a-zA-Z0-9_])', '\\\1', 'g'))
            and (
                f.prosrc ~* format('\m%s\M', (select regexp_replace(c.relname, '([^a-zA-Z0-9_])', '\\\1', 'g') from pg_class c where c.oid = v_owner))
                or exists (select from pg_trigger t where t.tgrelid = v_owner and t.tgfoid = f.oid));
end $$;

-- Raises AS006 unless every plaintext value equals its sealed one.
create or replace function app_secrets.require_verified(p_business_ids uuid[] default null) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp set row_security = off
as $$
declare
    v_report text;
begin
    select string_agg(format('%s: %s (businesses %s%s)', v.name, v.mismatched,
        array_to_string(v.sample_business_ids, ', '),
        case when v.mismatched > cardinality(v.sample_business_ids) then ', …' else '' end), '; ')
    into v_report
    from app_secrets.verify_legacy(p_business_ids) v
    where v.mismatched > 0;
    if v_report is not null then
        raise exception 'plaintext and sealed values differ: %', v_report using errcode = 'AS006',
            hint = 'Write the right value of each through either side (an UPDATE of the plaintext column, or set), then run this again.';
    end if;
end $$;

do $$
begin
    update app_secrets.catalogue c set in_place = 'sealing' where c.in_place = 'pending';
    perform app_secrets.make_all();
    revoke execute on all functions in schema app_secrets from public, anon;
end $$;
commit;

-- Step 2: the backfill. Our runner calls backfill_batch itself here, to show how far it is.
do $backfill$
declare
    -- May it commit? Only where this statement came alone and outside a transaction block.
    v_alone constant boolean := current_query() ~* '^\s*(--[^\n]*\s*)*do \$backfill\$'
        and transaction_timestamp() = statement_timestamp();
    v_waits integer := 0;
    v_batch record;
begin
    if not v_alone and (
        (select count(*) from app_secrets.businesses_to_fill(1001)) > 1000
        or (select count(*) from app_secrets.cells_to_seal(null, 1001)) > 1000) then
        raise warning 'more than 1000 businesses are left to fill, too many for one transaction: run `npx app-secrets migrate` after this';
        return;
    end if;
    loop
        v_batch := app_secrets.backfill_batch(100);
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
            perform pg_sleep(0.1);
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
set local row_security = off;
set local search_path = pg_catalog, pg_temp;

do $$
declare
    v_name text;
    v_left bigint;
begin
    if exists (select from app_secrets.backfill_progress p where p.phase = 'restore') then
        -- The plaintext columns are coming back: `app-secrets rollback` proves them at its end.
        raise warning 'a rollback is under way: run `npx app-secrets rollback` to finish it';
        return;
    elsif exists (select from app_secrets.businesses_to_fill(1)) or exists (select from app_secrets.cells_to_seal(null, 1)) then
        -- Sent as one transaction, with too much left: the names keep their state, and the runner fills them.
        raise warning 'not everything is filled yet: run `npx app-secrets migrate`';
        return;
    end if;
    if exists (select from app_secrets.catalogue c where c.legacy_state = 'synced' or c.in_place = 'sealing') then
        perform app_secrets.require_verified();
    end if;
    select count(*) into v_left from app_secrets.cells_to_seal(null, 1000);
    if v_left > 0 then
        raise exception '% cells are not sealed', v_left using errcode = 'AS006', hint = 'Run this file again.';
    end if;
    for v_name in
        select c.conname from pg_constraint c
        where c.conrelid = 'public.business_secrets'::regclass and c.conname like '%\_is\_reference' and not c.convalidated
    loop
        execute format('alter table public.business_secrets validate constraint %I', v_name);
    end loop;
    update app_secrets.catalogue c set legacy_state = 'filled' where c.legacy_state = 'synced';
    update app_secrets.catalogue c set in_place = 'sealed' where c.in_place = 'sealing';
    if found then
        -- From here on what has the shape of a reference is one, everywhere.
        perform app_secrets.make_view();
        perform app_secrets.make_backfill();
        -- The planner's samples (pg_stats) hold plaintext until they are taken anew. Those of indexes over expressions and of extended
        -- statistics are taken with the whole table only.
        analyze public.business_secrets;
    end if;
    if exists (select from app_secrets.migrations m where m.version = 3) then
        perform app_secrets.record_versions();
    end if;
    revoke execute on all functions in schema app_secrets from public, anon;
end $$;

insert into app_secrets.migrations (version, name, checksum, plaintext_filenode)
values (3, 'migrate_data_and_encrypt', nullif(current_setting('app_secrets.migration_checksum', true), ''),
    pg_relation_filenode('public.business_secrets'))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
commit;
