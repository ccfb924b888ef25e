-- 002 expand: the sealed store beside the plaintext, and a two-way sync between them.
--
-- What     Schema app_secrets; one column per secret in public.business_secrets; the triggers that seal what is written
--          there into Vault; public.decrypted_business_secrets; the triggers that keep the plaintext columns of
--          public.businesses and the sealed cells equal until 005.
-- Locks    ACCESS EXCLUSIVE on business_secrets and SHARE ROW EXCLUSIVE on businesses, for the catalogue changes only:
--          no table is scanned or rewritten. lock_timeout gives up after one second; run the file again.
-- Again?   Safe: everything is `if not exists` or `or replace`, and the sync is not put back once 005 is recorded.
-- Not yet  Policies, grants and RPC (004), and the sealing of the Google tokens (003): the code that reads those has to
--          read decrypted_business_secrets first, and may from here on, as service_role.

begin;
set local lock_timeout = '1s';
set local statement_timeout = '1min';
set local search_path = '';

do $$
declare
    v_missing text;
begin
    -- One migrator at a time: two that make the same object at once get in each other's way.
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('app_secrets.migrations', 0));
    if pg_catalog.current_setting('server_encoding') <> 'UTF8' then
        raise exception 'the database must be encoded in UTF8' using errcode = 'AS007';
    end if;
    if pg_catalog.to_regclass('vault.secrets') is null then
        raise exception 'Supabase Vault is missing' using errcode = 'AS007',
            hint = 'Run: create extension supabase_vault with schema vault cascade';
    end if;
    if pg_catalog.to_regclass('app_secrets.migrations') is not null then
        if exists (select from app_secrets.migrations m where m.version >= 5) then
            return;
        end if;
    end if;
    select pg_catalog.string_agg(c.name, ', ' order by c.position) into v_missing
    from pg_catalog.unnest(array[
        'id', 'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key',
        'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key']) with ordinality as c(name, position)
    where not exists (
        select from pg_catalog.pg_attribute a
        where a.attrelid = pg_catalog.to_regclass('public.businesses') and a.attname = c.name and not a.attisdropped);
    if v_missing is not null then
        raise exception 'public.businesses lacks: %', v_missing using errcode = 'AS007',
            hint = 'These migrations move the plaintext columns of public.businesses: add the missing ones (type text) or check the database.';
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The private schema: nothing in it is exposed to the Data API.
--
-- In function bodies types are qualified too: with search_path '' the caller's temporary schema still comes first for
-- types, and a domain of the caller's named `text` would run its CHECK with the rights of our definer functions.

create schema if not exists app_secrets;
revoke all on schema app_secrets from public, anon, authenticated, service_role;

create table if not exists app_secrets.migrations (
    -- It numbers files.
    -- squawk-ignore prefer-bigint-over-int
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default pg_catalog.now(),
    applied_by text not null default session_user,
    -- SHA-256 of the file, hex; null where something other than our runner sent it.
    checksum text,
    -- The file of the table that held plaintext until then: once it is another one, the pages were rewritten.
    plaintext_filenode oid
);

-- One row per cell that was ever written; it stays when the secret is cleared, so that a version never comes twice.
create table if not exists app_secrets.secret_versions (
    business_id uuid not null,
    name text not null,
    version bigint not null,
    is_set boolean not null,
    updated_at timestamptz not null,
    updated_by text not null,
    -- Who wrote it last: the mirror carries over what its own transaction changed, and nothing else.
    transaction_id xid8 not null,
    primary key (business_id, name)
);

create table if not exists app_secrets.audit_log (
    id bigint generated always as identity,
    at timestamptz not null default pg_catalog.clock_timestamp(),
    business_id uuid not null,
    name text not null,
    action text not null check (action in ('set', 'clear')),
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

-- Where the backfill of 003 and the restore of 005 stand, so that they can be stopped anywhere.
create table if not exists app_secrets.backfill_progress (
    phase text primary key check (phase in ('businesses', 'google', 'restore')),
    last_id uuid,
    rows_done bigint not null default 0,
    finished boolean not null default false,
    updated_at timestamptz not null default pg_catalog.now()
);

-- Only the owner and its definer functions get past this; the advisor wants that said in a policy.
alter table app_secrets.migrations enable row level security;
alter table app_secrets.secret_versions enable row level security;
alter table app_secrets.audit_log enable row level security;
alter table app_secrets.backfill_progress enable row level security;
drop policy if exists nobody on app_secrets.migrations;
drop policy if exists nobody on app_secrets.secret_versions;
drop policy if exists nobody on app_secrets.audit_log;
drop policy if exists nobody on app_secrets.backfill_progress;
create policy nobody on app_secrets.migrations using (false);
create policy nobody on app_secrets.secret_versions using (false);
create policy nobody on app_secrets.audit_log using (false);
create policy nobody on app_secrets.backfill_progress using (false);
revoke all on all tables in schema app_secrets from public, anon, authenticated, service_role;
revoke all on all sequences in schema app_secrets from public, anon, authenticated, service_role;

create or replace function app_secrets.require_migration(p_version integer) returns void
    language plpgsql stable set search_path = ''
as $$
declare
    v_found integer := (select pg_catalog.max(m.version) from app_secrets.migrations m);
begin
    if not exists (select from app_secrets.migrations m where m.version = p_version) then
        raise exception 'migration % must be applied first (found: %)', p_version, coalesce(v_found::pg_catalog.text, 'none')
            using errcode = 'AS007', hint = 'Run: npx app-secrets migrate';
    end if;
end $$;
revoke all on function app_secrets.require_migration(integer) from public, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- The sealed table.

create table if not exists public.business_secrets (
    business_id uuid primary key references public.businesses (id) on delete cascade
);

-- Before any data arrives. RLS does not stop TRUNCATE, which the platform's default privileges hand out.
alter table public.business_secrets enable row level security;
revoke truncate, references, trigger on public.business_secrets from public, anon, authenticated, service_role;

alter table public.business_secrets
    add column if not exists gemini_api_key text,
    add column if not exists grok_api_key text,
    add column if not exists claude_api_key text,
    add column if not exists youtube_api_key text,
    add column if not exists kling_access_key text,
    add column if not exists kling_secret_key text,
    add column if not exists global_sms_api_key text,
    add column if not exists whatsapp_api_key text,
    add column if not exists google_access_token text,
    add column if not exists google_refresh_token text,
    add column if not exists google_token_expiry timestamptz,
    add column if not exists google_drive_folder_id text,
    -- now() is stable, so this is a catalogue change and no rewrite.
    -- squawk-ignore adding-field-with-default
    add column if not exists updated_at timestamptz not null default pg_catalog.now();

-- A sealed cell holds a reference and nothing else, also where triggers are bypassed (session_replication_role).
-- NOT VALID keeps the lock short; 003 validates.
create or replace function app_secrets.require_references(p_names text[]) returns void
    language plpgsql set search_path = ''
as $$
declare
    v_name pg_catalog.text;
begin
    foreach v_name in array p_names loop
        continue when exists (
            select from pg_catalog.pg_constraint c
            where c.conrelid = 'public.business_secrets'::pg_catalog.regclass and c.conname = v_name || '_is_reference');
        execute pg_catalog.format(
            'alter table public.business_secrets add constraint %I check '
            '(%I ~ ''^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'') not valid',
            v_name || '_is_reference', v_name);
    end loop;
end $$;
revoke all on function app_secrets.require_references(text[]) from public, anon, authenticated, service_role;

do $$
begin
    perform app_secrets.require_references(array[
        'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key', 'kling_secret_key',
        'global_sms_api_key', 'whatsapp_api_key']);
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Values: normalise, seal, reveal.

-- Trims what JavaScript's String.prototype.trim() trims (ECMA-262: WhiteSpace and LineTerminator); blank becomes NULL.
create or replace function app_secrets.normalize(p_value text) returns text
    language plpgsql immutable parallel safe set search_path = ''
as $$
begin
    return nullif(pg_catalog.btrim(p_value,
        E' \t\n\u000b\f\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
        '\u2028\u2029\u202f\u205f\u3000\ufeff'), '');
end $$;
revoke all on function app_secrets.normalize(text) from public, anon, authenticated, service_role;

-- supabase_vault (0.3.1) names types without their schema in functions that run as a superuser: a caller's temporary
-- domain named `text` would run its CHECK there.
create or replace function app_secrets.refuse_temporary_types() returns void
    language plpgsql set search_path = ''
as $$
begin
    if exists (
        select from pg_catalog.pg_type t
        join pg_catalog.pg_type b on b.typname = t.typname and b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
        where t.typnamespace = pg_catalog.pg_my_temp_schema()) then
        raise exception 'this session has temporary types named like built-in ones' using errcode = 'insufficient_privilege',
            hint = 'Drop them, or write secrets over another connection.';
    end if;
end $$;
revoke all on function app_secrets.refuse_temporary_types() from public, anon, authenticated, service_role;

-- Stores a value in the cell's Vault row and gives its reference; `changed` tells whether it was another value before.
-- create_secret() writes what it is given to heap and WAL before it encrypts, so it is only ever given ''.
create or replace function app_secrets.seal(
    p_business_id uuid, p_name text, p_value text, out reference text, out changed boolean)
    language plpgsql security definer set search_path = ''
as $$
declare
    v_cell constant pg_catalog.text := 'business_secrets/' || p_business_id || '/' || p_name;
    v_id pg_catalog.uuid := (select s.id from vault.secrets s where s.name = v_cell);
begin
    if pg_catalog.pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    if v_id is not null then
        begin
            changed := p_value is distinct from
                (select d.decrypted_secret from vault.decrypted_secrets d where d.id = v_id);
            if changed then
                perform vault.update_secret(v_id, p_value);
            end if;
        exception when data_exception then
            -- Sealed under another root key, or damaged: update_secret would fail on it for ever.
            delete from vault.secrets s where s.id = v_id;
            v_id := null;
        end;
    end if;
    if v_id is null then
        v_id := vault.create_secret('', v_cell, 'Cell of public.business_secrets: write there, not here');
        perform vault.update_secret(v_id, p_value);
        changed := true;
    end if;
    reference := v_id::pg_catalog.text;
end $$;
revoke all on function app_secrets.seal(uuid, text, text) from public, anon, authenticated, service_role;

-- The value behind a reference, if it is this very cell's. NULL for another cell's, a dangling or an undecryptable one:
-- one broken row must not take the whole view down; the RPC and `doctor` tell these apart. What is not a reference can
-- only be a Google token that 003 has not sealed yet.
create or replace function app_secrets.reveal(p_business_id uuid, p_name text, p_reference text) returns text
    language plpgsql stable security definer set search_path = ''
as $$
begin
    if p_reference is null then
        return null;
    end if;
    if p_reference !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then
        return p_reference;
    end if;
    return (
        select d.decrypted_secret from vault.decrypted_secrets d
        where d.id = p_reference::pg_catalog.uuid and d.name = 'business_secrets/' || p_business_id || '/' || p_name);
exception when data_exception then
    return null;
end $$;
revoke all on function app_secrets.reveal(uuid, text, text) from public, anon;

-- Says that Vault works before anything relies on it, and later on tells a wrong root key, under which nothing can be
-- opened, from a broken row.
do $$
declare
    v_id uuid := (select s.id from vault.secrets s where s.name = 'app_secrets/canary');
begin
    if v_id is null then
        v_id := vault.create_secret('', 'app_secrets/canary', 'Tells a wrong root key from a broken row: leave it as it is');
        perform vault.update_secret(v_id, 'app-secrets canary');
        if (select d.decrypted_secret from vault.decrypted_secrets d where d.id = v_id) is distinct from 'app-secrets canary' then
            raise exception 'Supabase Vault does not give back what it was given' using errcode = 'AS007';
        end if;
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Who and what: versions and audit.

create or replace function app_secrets.jwt_sub() returns text
    language plpgsql stable set search_path = ''
as $$
begin
    return nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::pg_catalog.jsonb ->> 'sub';
exception when data_exception then
    return null;
end $$;
revoke all on function app_secrets.jwt_sub() from public, anon, authenticated, service_role;

-- One version and one audit row for each cell that changed; nothing for those that did not.
create or replace function app_secrets.record_changes(p_business_id uuid, p_set text[], p_cleared text[]) returns void
    language plpgsql security definer set search_path = ''
as $$
declare
    v_sub constant pg_catalog.text := app_secrets.jwt_sub();
    v_application constant pg_catalog.text := nullif(pg_catalog.current_setting('application_name'), '');
    v_actor constant pg_catalog.text := nullif(pg_catalog.current_setting('app_secrets.actor', true), '');
    v_origin constant pg_catalog.text := coalesce(nullif(pg_catalog.current_setting('app_secrets.origin', true), ''), 'sealed');
begin
    if pg_catalog.cardinality(p_set) = 0 and pg_catalog.cardinality(p_cleared) = 0 then
        return;
    end if;
    with changed as (
        insert into app_secrets.secret_versions as v (
            business_id, name, version, is_set, updated_at, updated_by, transaction_id)
        select p_business_id, c.name, 1, c.is_set, pg_catalog.clock_timestamp(),
            coalesce(v_sub, pg_catalog.concat_ws('/', session_user, v_application, v_actor)),
            pg_catalog.pg_current_xact_id()
        from (
            select s.name, true as is_set from pg_catalog.unnest(p_set) as s(name)
            union all
            select s.name, false from pg_catalog.unnest(p_cleared) as s(name)
        ) c
        on conflict (business_id, name) do update
            set version = v.version + 1, is_set = excluded.is_set,
                updated_at = excluded.updated_at, updated_by = excluded.updated_by,
                transaction_id = excluded.transaction_id
        returning v.name, v.version, v.is_set
    )
    insert into app_secrets.audit_log (business_id, name, action, version, origin, jwt_sub, login, application_name, actor)
    select p_business_id, c.name, case when c.is_set then 'set' else 'clear' end, c.version, v_origin,
        v_sub, session_user, v_application, v_actor
    from changed c
    order by c.name;
end $$;
revoke all on function app_secrets.record_changes(uuid, text[], text[]) from public, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealing.

-- Locks the business's row and says whether there is one. Where there is none, the transaction holds the business's
-- advisory lock afterwards, so nobody else can insert it before this transaction ends.
create or replace function app_secrets.lock_row(p_business_id uuid) returns boolean
    language plpgsql security definer set search_path = ''
as $$
begin
    perform from public.business_secrets s where s.business_id = p_business_id for update;
    if found then
        return true;
    end if;
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('business_secrets/' || p_business_id, 0));
    perform from public.business_secrets s where s.business_id = p_business_id for update;
    return found;
end $$;
revoke all on function app_secrets.lock_row(uuid) from public, anon, authenticated, service_role;

-- BEFORE INSERT OR UPDATE, last in line; its arguments name the sealed columns.
-- An insert may still turn into ON CONFLICT DO UPDATE, DO NOTHING or a unique violation. Where the row is there already
-- that is certain, so nothing may be created: each plaintext is handed over to the UPDATE in one transaction-local
-- setting, under a random token of the shape of a reference that stands in its column meanwhile.
create or replace function app_secrets.seal_row() returns trigger
    language plpgsql security definer set search_path = ''
as $$
declare
    c_reference constant pg_catalog.text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    v_new constant pg_catalog.jsonb := pg_catalog.to_jsonb(new);
    v_old constant pg_catalog.jsonb := case when tg_op = 'UPDATE' then pg_catalog.to_jsonb(old) else '{}' end;
    v_pending pg_catalog.jsonb :=
        coalesce(nullif(pg_catalog.current_setting('app_secrets.pending', true), ''), '{}')::pg_catalog.jsonb;
    v_stash pg_catalog.jsonb := '{}';
    v_patch pg_catalog.jsonb := '{}';
    v_set pg_catalog.text[] := '{}';
    v_cleared pg_catalog.text[] := '{}';
    v_own pg_catalog.text[];
    v_conflict boolean := false;
    v_name pg_catalog.text;
    v_value pg_catalog.text;
    v_before pg_catalog.text;
    v_token pg_catalog.text;
    v_sealed pg_catalog.record;
begin
    if new.business_id is null then
        raise exception 'business_secrets.business_id must not be null' using errcode = 'not_null_violation';
    end if;
    if tg_op = 'INSERT' then
        v_conflict := app_secrets.lock_row(new.business_id);
    elsif new.business_id <> old.business_id then
        raise exception 'business_secrets.business_id cannot be changed' using errcode = 'AS002',
            hint = 'A sealed cell belongs to its business: insert a row for the other business instead.';
    end if;

    foreach v_name in array tg_argv loop
        v_value := v_new ->> v_name;
        v_before := v_old ->> v_name;
        if v_value is null then
            if v_before is not null then
                v_cleared := v_cleared || v_name;
            end if;
            continue;
        end if;
        -- Untouched, or a row that was read and is written back.
        continue when v_before is not null and v_value = v_before and v_value ~ c_reference;

        if tg_op = 'UPDATE' and v_pending <> '{}' then
            if v_pending ? v_value then
                v_value := v_pending ->> v_value;
            elsif exists (select from pg_catalog.jsonb_object_keys(v_pending) t(token) where pg_catalog.strpos(v_value, t.token) > 0) then
                raise exception '% cannot be computed from excluded.%', v_name, v_name using errcode = 'AS002',
                    hint = 'In ON CONFLICT DO UPDATE assign excluded.<column> as it is.';
            end if;
        end if;
        -- Only this cell's own reference counts as one. Any other text, another cell's reference included, is a value.
        -- The row's are looked up together, and only where something looks like one: a plain key costs no lookup.
        if v_own is null and pg_catalog.octet_length(v_value) = 36 then
            v_own := array(
                select c.name
                from pg_catalog.unnest(tg_argv) as c(name)
                cross join lateral (
                    select s.id from vault.secrets s
                    where s.name = 'business_secrets/' || new.business_id || '/' || c.name offset 0) s
                where s.id::pg_catalog.text = v_new ->> c.name);
        end if;
        if v_name = any (v_own) then
            if v_before is null and not v_conflict then
                v_set := v_set || v_name;
            end if;
            continue;
        end if;

        v_value := app_secrets.normalize(v_value);
        if v_value is null then
            v_patch := v_patch || pg_catalog.jsonb_build_object(v_name, null);
            if v_before is not null then
                v_cleared := v_cleared || v_name;
            end if;
        elsif pg_catalog.octet_length(v_value) > 65536 then
            raise exception '% of business % is % bytes long; at most 65536 are allowed',
                v_name, new.business_id, pg_catalog.octet_length(v_value) using errcode = 'AS002';
        elsif v_conflict then
            v_token := pg_catalog.gen_random_uuid()::pg_catalog.text;
            v_stash := v_stash || pg_catalog.jsonb_build_object(v_token, v_value);
            v_patch := v_patch || pg_catalog.jsonb_build_object(v_name, v_token);
        else
            v_sealed := app_secrets.seal(new.business_id, v_name, v_value);
            v_patch := v_patch || pg_catalog.jsonb_build_object(v_name, v_sealed.reference);
            if v_sealed.changed or v_before is null then
                v_set := v_set || v_name;
            end if;
        end if;
    end loop;

    if v_patch <> '{}' then
        new := pg_catalog.jsonb_populate_record(new, v_patch);
    end if;
    new.google_drive_folder_id := app_secrets.normalize(new.google_drive_folder_id);
    if v_conflict then
        perform pg_catalog.set_config('app_secrets.pending', v_stash::pg_catalog.text, true);
        return new;
    end if;
    if v_pending <> '{}' then
        if exists (
            select from pg_catalog.jsonb_object_keys(v_pending) t(token)
            where pg_catalog.strpos(new.google_drive_folder_id, t.token) > 0) then
            raise exception 'google_drive_folder_id cannot be computed from a sealed column' using errcode = 'AS002';
        end if;
        perform pg_catalog.set_config('app_secrets.pending', '', true);
    end if;

    -- The two that are not secrets have versions too: caches and watchers follow them like the rest.
    if tg_op = 'INSERT' or new.google_token_expiry is distinct from old.google_token_expiry then
        if not pg_catalog.isfinite(new.google_token_expiry) or new.google_token_expiry < '0001-01-01T00:00:00Z' then
            raise exception 'google_token_expiry must be a point in time of our era' using errcode = 'AS002';
        elsif new.google_token_expiry is not null then
            v_set := v_set || 'google_token_expiry'::pg_catalog.text;
        elsif tg_op = 'UPDATE' then
            v_cleared := v_cleared || 'google_token_expiry'::pg_catalog.text;
        end if;
    end if;
    if tg_op = 'INSERT' or new.google_drive_folder_id is distinct from old.google_drive_folder_id then
        if new.google_drive_folder_id is not null then
            v_set := v_set || 'google_drive_folder_id'::pg_catalog.text;
        elsif tg_op = 'UPDATE' then
            v_cleared := v_cleared || 'google_drive_folder_id'::pg_catalog.text;
        end if;
    end if;
    perform app_secrets.record_changes(new.business_id, v_set, v_cleared);
    if tg_op = 'INSERT' or v_set <> '{}' or v_cleared <> '{}' then
        new.updated_at := pg_catalog.now();
    else
        new.updated_at := old.updated_at;
    end if;
    return new;
end $$;
revoke all on function app_secrets.seal_row() from public, anon, authenticated, service_role;

-- AFTER INSERT, UPDATE OR DELETE: the Vault rows of cells that were cleared or went away with their row go too.
create or replace function app_secrets.reap_row() returns trigger
    language plpgsql security definer set search_path = ''
as $$
declare
    v_old constant pg_catalog.jsonb := case when tg_op = 'INSERT' then '{}' else pg_catalog.to_jsonb(old) end;
    v_new constant pg_catalog.jsonb := case when tg_op = 'DELETE' then '{}' else pg_catalog.to_jsonb(new) end;
    v_pending constant pg_catalog.text := pg_catalog.current_setting('app_secrets.pending', true);
    v_dead pg_catalog.text[];
    v_cleared pg_catalog.text[];
begin
    if tg_op = 'INSERT' then
        -- A hand-over is for an UPDATE: a token that reached the table would be a lost secret.
        if v_pending <> '' and exists (
            select from pg_catalog.unnest(tg_argv) as c(name) where v_pending::pg_catalog.jsonb ? (v_new ->> c.name)) then
            raise exception 'a secret was not handed over from INSERT to UPDATE' using errcode = 'internal_error';
        end if;
        return null;
    end if;
    select pg_catalog.array_agg('business_secrets/' || old.business_id || '/' || c.name) into v_dead
    from pg_catalog.unnest(tg_argv) as c(name)
    where v_old ->> c.name is not null and v_new ->> c.name is null;
    if v_dead is not null then
        delete from vault.secrets s where s.name = any (v_dead);
    end if;
    if tg_op = 'DELETE' then
        if exists (select from public.businesses b where b.id = old.business_id) then
            select pg_catalog.array_agg(c.name) into v_cleared
            from pg_catalog.unnest(tg_argv || array['google_token_expiry', 'google_drive_folder_id']) as c(name)
            where v_old ->> c.name is not null;
            perform app_secrets.record_changes(old.business_id, '{}', coalesce(v_cleared, '{}'));
        else
            -- The business is gone and its id never comes back: the audit keeps what happened, nothing needs a version.
            delete from app_secrets.secret_versions v where v.business_id = old.business_id;
        end if;
    end if;
    return null;
end $$;
revoke all on function app_secrets.reap_row() from public, anon, authenticated, service_role;

create or replace function app_secrets.reap_all() returns trigger
    language plpgsql security definer set search_path = ''
as $$
declare
    v_business_id pg_catalog.uuid;
    v_names pg_catalog.text[];
begin
    delete from vault.secrets s where s.name like 'business\_secrets/%';
    for v_business_id, v_names in
        select v.business_id, pg_catalog.array_agg(v.name)
        from app_secrets.secret_versions v
        where v.is_set
        group by v.business_id
    loop
        perform app_secrets.record_changes(v_business_id, '{}', v_names);
    end loop;
    delete from app_secrets.secret_versions v
    where not exists (select from public.businesses b where b.id = v.business_id);
    return null;
end $$;
revoke all on function app_secrets.reap_all() from public, anon, authenticated, service_role;

-- Puts the sealing triggers on the table. `zz_`: after every other BEFORE trigger, on what is really stored.
create or replace function app_secrets.install_sealing(p_names text[]) returns void
    language plpgsql set search_path = ''
as $$
declare
    v_arguments constant pg_catalog.text := (
        select pg_catalog.string_agg(pg_catalog.quote_literal(n.name), ', ' order by n.position)
        from pg_catalog.unnest(p_names) with ordinality as n(name, position));
begin
    execute pg_catalog.format(
        'create or replace trigger zz_app_secrets_seal before insert or update on public.business_secrets '
        'for each row execute function app_secrets.seal_row(%s)', v_arguments);
    execute pg_catalog.format(
        'create or replace trigger zz_app_secrets_reap after insert or update or delete on public.business_secrets '
        'for each row execute function app_secrets.reap_row(%s)', v_arguments);
    create or replace trigger zz_app_secrets_reap_all after truncate on public.business_secrets
        for each statement execute function app_secrets.reap_all();
end $$;
revoke all on function app_secrets.install_sealing(text[]) from public, anon, authenticated, service_role;

do $$
begin
    -- 003 adds the Google tokens: never take those back.
    if not exists (select from app_secrets.migrations m where m.version >= 3) then
        perform app_secrets.install_sealing(array[
            'gemini_api_key', 'grok_api_key', 'claude_api_key', 'youtube_api_key', 'kling_access_key',
            'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key']);
    end if;
end $$;

-- Writes the named cells of one business, {name: text | null}; the one place that sealed cells are written from by
-- functions of ours. The business must exist and the caller holds the sync lock where there is a sync.
create or replace function app_secrets.write_cells(p_business_id uuid, p_values jsonb) returns void
    language plpgsql security definer set search_path = ''
as $$
declare
    v_row public.business_secrets;
begin
    if app_secrets.lock_row(p_business_id) then
        select s.* into v_row from public.business_secrets s where s.business_id = p_business_id;
        v_row := pg_catalog.jsonb_populate_record(v_row, p_values);
        update public.business_secrets s set
            gemini_api_key = v_row.gemini_api_key,
            grok_api_key = v_row.grok_api_key,
            claude_api_key = v_row.claude_api_key,
            youtube_api_key = v_row.youtube_api_key,
            kling_access_key = v_row.kling_access_key,
            kling_secret_key = v_row.kling_secret_key,
            global_sms_api_key = v_row.global_sms_api_key,
            whatsapp_api_key = v_row.whatsapp_api_key,
            google_access_token = v_row.google_access_token,
            google_refresh_token = v_row.google_refresh_token,
            google_token_expiry = v_row.google_token_expiry,
            google_drive_folder_id = v_row.google_drive_folder_id
        where s.business_id = p_business_id;
    else
        v_row := pg_catalog.jsonb_populate_record(null::public.business_secrets, p_values);
        insert into public.business_secrets (
            business_id, gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key,
            kling_secret_key, global_sms_api_key, whatsapp_api_key, google_access_token, google_refresh_token,
            google_token_expiry, google_drive_folder_id)
        values (
            p_business_id, v_row.gemini_api_key, v_row.grok_api_key, v_row.claude_api_key, v_row.youtube_api_key,
            v_row.kling_access_key, v_row.kling_secret_key, v_row.global_sms_api_key, v_row.whatsapp_api_key,
            v_row.google_access_token, v_row.google_refresh_token, v_row.google_token_expiry,
            v_row.google_drive_folder_id);
    end if;
end $$;
revoke all on function app_secrets.write_cells(uuid, jsonb) from public, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Reading in clear. Here and not in 004, because the code that reads the Google tokens has to move to it before 003.

create or replace view public.decrypted_business_secrets with (security_invoker = true, security_barrier = true) as
select
    s.business_id,
    app_secrets.reveal(s.business_id, 'gemini_api_key', s.gemini_api_key) as gemini_api_key,
    app_secrets.reveal(s.business_id, 'grok_api_key', s.grok_api_key) as grok_api_key,
    app_secrets.reveal(s.business_id, 'claude_api_key', s.claude_api_key) as claude_api_key,
    app_secrets.reveal(s.business_id, 'youtube_api_key', s.youtube_api_key) as youtube_api_key,
    app_secrets.reveal(s.business_id, 'kling_access_key', s.kling_access_key) as kling_access_key,
    app_secrets.reveal(s.business_id, 'kling_secret_key', s.kling_secret_key) as kling_secret_key,
    app_secrets.reveal(s.business_id, 'global_sms_api_key', s.global_sms_api_key) as global_sms_api_key,
    app_secrets.reveal(s.business_id, 'whatsapp_api_key', s.whatsapp_api_key) as whatsapp_api_key,
    app_secrets.reveal(s.business_id, 'google_access_token', s.google_access_token) as google_access_token,
    app_secrets.reveal(s.business_id, 'google_refresh_token', s.google_refresh_token) as google_refresh_token,
    s.google_token_expiry,
    s.google_drive_folder_id,
    s.updated_at
from public.business_secrets s;
revoke all on public.decrypted_business_secrets from public, anon;
do $$
begin
    -- authenticated gets both with its policies in 004.
    if not exists (select from app_secrets.migrations m where m.version >= 4) then
        revoke all on public.decrypted_business_secrets from authenticated, service_role;
        revoke all on function app_secrets.reveal(uuid, text, text) from authenticated, service_role;
    end if;
end $$;
grant select on public.business_secrets, public.decrypted_business_secrets to service_role;
grant execute on function app_secrets.reveal(uuid, text, text) to service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- The sync with the plaintext columns of businesses, until 005.
--
-- Old code locks the businesses row first, new code the business_secrets row, so row locks alone deadlock (13 % of
-- transactions in a measured run). Statement-level BEFORE triggers run ahead of any row lock: there both sides take one
-- transaction-level advisory lock. Writes of keys are rare enough to queue for it.
-- A mirror writes only what differs from what is there, and that ends the loop.

create or replace function app_secrets.lock_sync() returns void
    language plpgsql security definer set search_path = ''
as $$
begin
    if not exists (select from app_secrets.migrations m where m.version = 5) then
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('app_secrets.sync', 0));
    end if;
end $$;
revoke all on function app_secrets.lock_sync() from public, anon, authenticated, service_role;

create or replace function app_secrets.lock_sync_statement() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    perform app_secrets.lock_sync();
    return null;
end $$;
revoke all on function app_secrets.lock_sync_statement() from public, anon, authenticated, service_role;

-- businesses → business_secrets. What of the eight changed in this write and differs from the sealed value is written.
create or replace function app_secrets.mirror_to_sealed() returns trigger
    language plpgsql security definer set search_path = ''
as $$
declare
    v_new constant pg_catalog.jsonb := pg_catalog.to_jsonb(new);
    v_old constant pg_catalog.jsonb := case when tg_op = 'UPDATE' then pg_catalog.to_jsonb(old) else '{}' end;
    v_sealed pg_catalog.jsonb;
    v_changed pg_catalog.jsonb;
    v_origin constant pg_catalog.text := pg_catalog.current_setting('app_secrets.origin', true);
begin
    -- Held already, unless the statement named no key and a trigger of the app's changed one.
    perform app_secrets.lock_sync();
    select pg_catalog.to_jsonb(s) into v_sealed from public.business_secrets s where s.business_id = new.id;
    select pg_catalog.jsonb_object_agg(c.name, c.value) into v_changed
    from (
        select n.name, app_secrets.normalize(v_new ->> n.name) as value
        from pg_catalog.unnest(tg_argv) as n(name)
        where v_new ->> n.name is distinct from v_old ->> n.name
    ) c
    where c.value is distinct from app_secrets.reveal(new.id, c.name, v_sealed ->> c.name)
        or (c.value is null and v_sealed ->> c.name is not null);
    if v_changed is not null then
        perform pg_catalog.set_config('app_secrets.origin', 'legacy', true);
        perform app_secrets.write_cells(new.id, v_changed);
        perform pg_catalog.set_config('app_secrets.origin', coalesce(v_origin, ''), true);
    end if;
    return null;
end $$;
revoke all on function app_secrets.mirror_to_sealed() from public, anon, authenticated, service_role;

-- business_secrets → businesses. Only the cells that this transaction changed: others may still wait for the backfill.
-- A reference that reveals nothing is broken, and no reason to wipe the plaintext that is still there.
create or replace function app_secrets.mirror_to_legacy() returns trigger
    language plpgsql security definer set search_path = ''
as $$
declare
    v_business_id constant pg_catalog.uuid := case when tg_op = 'DELETE' then old.business_id else new.business_id end;
    v_sealed constant pg_catalog.jsonb := case when tg_op = 'DELETE' then '{}' else pg_catalog.to_jsonb(new) end;
    v_row public.businesses;
    v_legacy pg_catalog.jsonb;
    v_changed pg_catalog.jsonb;
begin
    -- The backfill copies from there, under the sync lock; the condition on the login keeps services from claiming it.
    if pg_catalog.current_setting('app_secrets.origin', true) = 'backfill' and session_user = current_user then
        return null;
    end if;
    select b.* into v_row from public.businesses b where b.id = v_business_id;
    if not found then
        return null;
    end if;
    v_legacy := pg_catalog.to_jsonb(v_row);
    select pg_catalog.jsonb_object_agg(c.name, c.value) into v_changed
    from (
        select v.name, app_secrets.reveal(v_business_id, v.name, v_sealed ->> v.name) as value
        from app_secrets.secret_versions v
        where v.business_id = v_business_id and v.name = any (tg_argv)
            and v.transaction_id = pg_catalog.pg_current_xact_id()
    ) c
    where c.value is distinct from app_secrets.normalize(v_legacy ->> c.name)
        and (c.value is not null or v_sealed ->> c.name is null);
    if v_changed is not null then
        v_row := pg_catalog.jsonb_populate_record(v_row, v_changed);
        update public.businesses b set
            gemini_api_key = v_row.gemini_api_key,
            grok_api_key = v_row.grok_api_key,
            claude_api_key = v_row.claude_api_key,
            youtube_api_key = v_row.youtube_api_key,
            kling_access_key = v_row.kling_access_key,
            kling_secret_key = v_row.kling_secret_key,
            global_sms_api_key = v_row.global_sms_api_key,
            whatsapp_api_key = v_row.whatsapp_api_key
        where b.id = v_business_id;
    end if;
    return null;
end $$;
revoke all on function app_secrets.mirror_to_legacy() from public, anon, authenticated, service_role;

create or replace function app_secrets.mirror_truncate() returns trigger
    language plpgsql security definer set search_path = ''
as $$
begin
    update public.businesses b set
        gemini_api_key = case when 'gemini_api_key' = any (m.names) then null else b.gemini_api_key end,
        grok_api_key = case when 'grok_api_key' = any (m.names) then null else b.grok_api_key end,
        claude_api_key = case when 'claude_api_key' = any (m.names) then null else b.claude_api_key end,
        youtube_api_key = case when 'youtube_api_key' = any (m.names) then null else b.youtube_api_key end,
        kling_access_key = case when 'kling_access_key' = any (m.names) then null else b.kling_access_key end,
        kling_secret_key = case when 'kling_secret_key' = any (m.names) then null else b.kling_secret_key end,
        global_sms_api_key = case when 'global_sms_api_key' = any (m.names) then null else b.global_sms_api_key end,
        whatsapp_api_key = case when 'whatsapp_api_key' = any (m.names) then null else b.whatsapp_api_key end
    from (
        select v.business_id, pg_catalog.array_agg(v.name) as names
        from app_secrets.secret_versions v
        where v.name = any (tg_argv) and v.transaction_id = pg_catalog.pg_current_xact_id()
        group by v.business_id
    ) m
    where b.id = m.business_id;
    return null;
end $$;
revoke all on function app_secrets.mirror_truncate() from public, anon, authenticated, service_role;

-- `aa_`: the lock before everything else. `zz_app_secrets_sync`: after reap, when versions and Vault rows are in place.
create or replace function app_secrets.install_sync() returns void
    language plpgsql set search_path = ''
as $$
begin
    create or replace trigger aa_app_secrets_lock
        before insert or delete or update of gemini_api_key, grok_api_key, claude_api_key, youtube_api_key,
            kling_access_key, kling_secret_key, global_sms_api_key, whatsapp_api_key
        on public.businesses
        for each statement execute function app_secrets.lock_sync_statement();
    create or replace trigger zz_app_secrets_sync
        after insert on public.businesses
        for each row execute function app_secrets.mirror_to_sealed('gemini_api_key', 'grok_api_key', 'claude_api_key',
            'youtube_api_key', 'kling_access_key', 'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key');
    -- By value and not `update of`: a BEFORE trigger of the app's may change a key that the statement does not name.
    create or replace trigger zz_app_secrets_sync_update
        after update on public.businesses
        for each row when (
            (old.gemini_api_key, old.grok_api_key, old.claude_api_key, old.youtube_api_key, old.kling_access_key,
                old.kling_secret_key, old.global_sms_api_key, old.whatsapp_api_key)
            is distinct from
            (new.gemini_api_key, new.grok_api_key, new.claude_api_key, new.youtube_api_key, new.kling_access_key,
                new.kling_secret_key, new.global_sms_api_key, new.whatsapp_api_key))
        execute function app_secrets.mirror_to_sealed('gemini_api_key', 'grok_api_key', 'claude_api_key',
            'youtube_api_key', 'kling_access_key', 'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key');
    create or replace trigger aa_app_secrets_lock
        before insert or update or delete on public.business_secrets
        for each statement execute function app_secrets.lock_sync_statement();
    create or replace trigger zz_app_secrets_sync
        after insert or update or delete on public.business_secrets
        for each row execute function app_secrets.mirror_to_legacy('gemini_api_key', 'grok_api_key', 'claude_api_key',
            'youtube_api_key', 'kling_access_key', 'kling_secret_key', 'global_sms_api_key', 'whatsapp_api_key');
    create or replace trigger zz_app_secrets_sync_all
        after truncate on public.business_secrets
        for each statement execute function app_secrets.mirror_truncate('gemini_api_key', 'grok_api_key',
            'claude_api_key', 'youtube_api_key', 'kling_access_key', 'kling_secret_key', 'global_sms_api_key',
            'whatsapp_api_key');
end $$;
revoke all on function app_secrets.install_sync() from public, anon, authenticated, service_role;

create or replace function app_secrets.remove_sync() returns void
    language plpgsql set search_path = ''
as $$
begin
    drop trigger if exists aa_app_secrets_lock on public.businesses;
    drop trigger if exists zz_app_secrets_sync on public.businesses;
    drop trigger if exists zz_app_secrets_sync_update on public.businesses;
    drop trigger if exists aa_app_secrets_lock on public.business_secrets;
    drop trigger if exists zz_app_secrets_sync on public.business_secrets;
    drop trigger if exists zz_app_secrets_sync_all on public.business_secrets;
end $$;
revoke all on function app_secrets.remove_sync() from public, anon, authenticated, service_role;

do $$
begin
    if not exists (select from app_secrets.migrations m where m.version >= 5) then
        perform app_secrets.install_sync();
    end if;
end $$;

insert into app_secrets.migrations (version, name, checksum)
values (2, 'expand_business_secrets', nullif(pg_catalog.current_setting('app_secrets.migration_checksum', true), ''))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
