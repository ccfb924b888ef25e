-- app-secrets: expand
--
-- 002: the sealed store beside the plaintext, and a two-way sync between them.
--
-- What     Schema app_secrets with the catalogue of secrets; one column per secret in public.business_secrets; the triggers
--          that seal what is written there into Vault; public.decrypted_business_secrets; the triggers that keep the
--          plaintext columns of the owner table and the sealed cells equal until 005.
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
                        'legacy_column', case when c.legacy_state <> 'dropped' then c.legacy_column end) order by c.position)
                    from app_secrets.catalogue c where c.retired_at is null))
            from app_secrets.settings s
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
        select ''::text as severity, ''::text as code, ''::text as object, ''::text as found, ''::text as needed, null::text as fix where false
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
            using errcode = 'AS007', hint = nullif(array_to_string(v_fixes, E'\n'), '');
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
    -- synced: triggers keep both sides equal; filled: 003 has proven them equal once; dropped: the column is gone.
    legacy_state text not null default 'none' check (legacy_state in ('none', 'synced', 'filled', 'dropped')),
    -- pending: plaintext stands in business_secrets; sealing: 003 seals it, and all that is written from then on.
    in_place text not null default 'none' check (in_place in ('none', 'pending', 'sealing', 'sealed')),
    added_at timestamptz not null default now(),
    retired_at timestamptz,
    check (type = 'text' or not sealed),
    check (legacy_column is not null or legacy_state = 'none'),
    check (legacy_column is null or sealed)
);

-- Versions come from here: they increase, and none ever comes twice, also after a row or a business is made anew.
create sequence if not exists app_secrets.versions;

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
    rotate_every interval check (rotate_every > '0'),
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
create unique index if not exists vault_rows_cell on app_secrets.vault_rows (business_id, name, role) where role in ('current', 'previous');
create index if not exists vault_rows_business on app_secrets.vault_rows (business_id) where role = 'former';

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

-- Who read what: one row for each login, business and day, {name: [last minute of the day, UTC; number of minutes with a
-- read]}.
create table if not exists app_secrets.access_marks (
    business_id uuid not null,
    login name not null,
    day date not null,
    marks jsonb not null,
    primary key (business_id, login, day)
) with (fillfactor = 50);

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
        v_wanted -> 'access' ->> 'function', coalesce(nullif(v_path, ''), 'pg_catalog'))
    on conflict (id) do nothing;

    execute format('lock table %s in share row exclusive mode', v_owner);
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

-- Keeps the value that a cell is about to lose, in a Vault row of its own, for as long as settings.keep_previous says. A cell
-- named in the setting app_secrets.purge keeps none.
create or replace function app_secrets.keep_previous(p_business_id uuid, p_name text, p_value text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_keep constant interval := (select s.keep_previous from app_secrets.settings s);
    v_purge constant boolean := p_name = any (string_to_array(coalesce(current_setting('app_secrets.purge', true), ''), ','));
    v_id uuid;
begin
    select r.vault_id into v_id from app_secrets.vault_rows r
    where r.business_id = p_business_id and r.name = p_name and r.role = 'previous';
    if v_keep > '0' and not v_purge and p_value is not null then
        begin
            if v_id is null or not exists (select from vault.secrets s where s.id = v_id) then
                delete from app_secrets.vault_rows r where r.vault_id = v_id;
                v_id := app_secrets.create_vault_row(p_business_id, p_name, 'previous');
            end if;
            perform vault.update_secret(v_id, p_value);
        exception when data_exception then
            delete from vault.secrets s where s.id = v_id;
            delete from app_secrets.vault_rows r where r.vault_id = v_id;
            v_id := app_secrets.create_vault_row(p_business_id, p_name, 'previous');
            perform vault.update_secret(v_id, p_value);
        end;
        update app_secrets.secret_versions v set previous_until = now() + v_keep
        where v.business_id = p_business_id and v.name = p_name;
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
            hint = 'Names that begin with business_secrets/ belong to app_secrets: give that secret another name.';
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
    v_before text;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    if exists (select from app_secrets.settings s where s.frozen_at is not null) then
        raise exception 'secrets cannot be written while Vault''s root key is being changed' using errcode = 'AS009',
            hint = 'Run `app-secrets rekey finish` or `app-secrets rekey abort`; then write again.';
    end if;
    select r.vault_id into v_id from app_secrets.vault_rows r
    where r.business_id = p_business_id and r.name = p_name and r.role = 'current';
    if v_id is not null then
        begin
            select d.decrypted_secret into v_before from vault.decrypted_secrets d where d.id = v_id;
            if found then
                changed := p_value is distinct from v_before;
                if changed then
                    perform app_secrets.keep_previous(p_business_id, p_name, v_before);
                    perform vault.update_secret(v_id, p_value);
                end if;
            else
                -- Restored without its Vault row.
                delete from app_secrets.vault_rows r where r.vault_id = v_id;
                v_id := null;
            end if;
        exception when data_exception then
            -- Sealed under another root key, or damaged: update_secret would fail on it for ever.
            delete from vault.secrets s where s.id = v_id;
            delete from app_secrets.vault_rows r where r.vault_id = v_id;
            v_id := null;
        end;
    end if;
    if v_id is null then
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

-- The same for a column that held plaintext before 003: what is no reference of ours is the value itself.
create or replace function app_secrets.reveal_in_place(p_business_id uuid, p_name text, p_stored text) returns text
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if p_stored is null or not app_secrets.is_reference(p_stored) or not exists (
        select from app_secrets.vault_rows r
        where r.vault_id = p_stored::uuid and r.business_id = p_business_id and r.name = p_name) then
        return p_stored;
    end if;
    return app_secrets.reveal(p_business_id, p_name, p_stored);
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
-- Who and what: versions and audit.

create or replace function app_secrets.jwt_sub() returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub';
exception when data_exception then
    return null;
end $$;

-- One version and one audit row for each cell that changed; nothing for those that did not.
create or replace function app_secrets.record_changes(p_business_id uuid, p_set text[], p_cleared text[]) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_sub constant text := app_secrets.jwt_sub();
    v_application constant text := nullif(current_setting('application_name'), '');
    v_actor constant text := nullif(current_setting('app_secrets.actor', true), '');
    v_origin constant text := coalesce(nullif(current_setting('app_secrets.origin', true), ''), 'sealed');
    v_undone constant text := nullif(current_setting('app_secrets.undone', true), '');
begin
    if cardinality(p_set) = 0 and cardinality(p_cleared) = 0 then
        return;
    end if;
    with changed as (
        insert into app_secrets.secret_versions as v (
            business_id, name, version, is_set, updated_at, updated_by, transaction_id)
        select p_business_id, c.name, nextval('app_secrets.versions'), c.is_set, clock_timestamp(),
            coalesce(v_sub, concat_ws('/', session_user, v_application, v_actor)), pg_current_xact_id()
        from (
            select s.name, true as is_set from unnest(p_set) as s(name)
            union all
            select s.name, false from unnest(p_cleared) as s(name)
        ) c
        on conflict (business_id, name) do update
            set version = excluded.version, is_set = excluded.is_set,
                updated_at = excluded.updated_at, updated_by = excluded.updated_by, transaction_id = excluded.transaction_id,
                expires_at = null, last_checked_at = null, check_result = null
        returning v.name, v.version, v.is_set
    )
    insert into app_secrets.audit_log (business_id, name, action, version, origin, jwt_sub, login, application_name, actor)
    select p_business_id, c.name,
        case when c.name = v_undone then 'undo' when c.is_set then 'set' else 'clear' end, c.version, v_origin,
        v_sub, session_user, v_application, v_actor
    from changed c
    order by c.name;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Locks, while there is a sync: one order for all, the owner row and then the secrets row, so that no transaction of old
-- code can deadlock that could not before. Old code's statements lock the owner row themselves. New code waits for it only
-- while it holds nothing of ours; where it does (the second row of a bulk upsert, a plain UPDATE or DELETE, which has
-- locked its secrets row already), it takes the owner row at once or is refused with 40001, to be tried again. PostgREST
-- repeats a 40001 without end and answers 409 to PT409.
-- app_secrets.lock_owner_row() is made from the settings, below.

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
    if current_setting('app_secrets.origin', true) = 'backfill' and session_user = current_user then
        return;
    end if;
    if p_may_wait and coalesce(current_setting('app_secrets.holds', true), '') = '' then
        perform app_secrets.lock_owner_row(p_business_id, true);
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
begin
    if app_secrets.sync_is_on() then
        perform app_secrets.lock_owner(p_business_id, true);
    end if;
    select to_jsonb(s) into stored from public.business_secrets s where s.business_id = p_business_id for update;
    if stored is null and not app_secrets.sync_is_on() then
        perform pg_advisory_xact_lock(hashtextextended('business_secrets/' || p_business_id, 0));
        select to_jsonb(s) into stored from public.business_secrets s where s.business_id = p_business_id for update;
    end if;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealing.

-- BEFORE INSERT OR UPDATE, last in line. Its arguments are lists, separated by commas: sealed names, text metadata, points
-- in time, and those of the sealed that have a plaintext column beside them.
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
    v_synced constant text[] := string_to_array(tg_argv[3], ',');
    v_new constant jsonb := to_jsonb(new);
    v_old jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) else '{}' end;
    v_pending jsonb := coalesce(nullif(current_setting('app_secrets.pending', true), ''), '{}')::jsonb;
    v_stash jsonb := '{}';
    v_patch jsonb := '{}';
    v_set text[] := '{}';
    v_cleared text[] := '{}';
    v_conflict boolean := false;
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
    if tg_op = 'INSERT' then
        v_old := app_secrets.lock_row(new.business_id);
        v_conflict := v_old is not null;
        v_old := coalesce(v_old, '{}');
    elsif new.business_id <> old.business_id then
        raise exception 'business_secrets.business_id cannot be changed' using errcode = 'AS002',
            hint = 'A sealed cell belongs to its business: insert a row for the other business instead.';
    elsif exists (select from unnest(v_synced) as n(name) where v_new ->> n.name is distinct from v_old ->> n.name) then
        perform app_secrets.lock_owner(new.business_id, false);
    end if;

    -- From here on this transaction holds a row of ours.
    perform set_config('app_secrets.holds', '1', true);

    foreach v_name in array v_sealed loop
        v_value := v_new ->> v_name;
        v_before := v_old ->> v_name;
        if v_value is null then
            if v_before is not null and tg_op = 'UPDATE' then
                v_cleared := v_cleared || v_name;
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
            elsif exists (select from jsonb_object_keys(v_pending) t(token) where strpos(v_value, t.token) > 0) then
                raise exception '% cannot be computed from excluded.%', v_name, v_name using errcode = 'AS002',
                    hint = 'In ON CONFLICT DO UPDATE assign excluded.<column> as it is.';
            end if;
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
            v_token := gen_random_uuid()::text;
            v_stash := v_stash || jsonb_build_object(v_token, v_value);
            v_patch := v_patch || jsonb_build_object(v_name, v_token);
        else
            v_result := app_secrets.seal(new.business_id, v_name, v_value);
            v_patch := v_patch || jsonb_build_object(v_name, v_result.reference);
            if v_result.changed or v_before is null then
                v_set := v_set || v_name;
            end if;
        end if;
    end loop;

    foreach v_name in array v_texts loop
        v_value := v_new ->> v_name;
        continue when v_value is null or v_value = v_old ->> v_name;
        if v_pending <> '{}' and tg_op = 'UPDATE' and exists (
            select from jsonb_object_keys(v_pending) t(token) where strpos(v_value, t.token) > 0) then
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
    if v_pending <> '{}' then
        perform set_config('app_secrets.pending', '', true);
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
            perform app_secrets.keep_previous(new.business_id, v_name, app_secrets.reveal(new.business_id, v_name, v_old ->> v_name));
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

-- A business is gone: the audit keeps what happened, and nothing needs a version or a way back.
create or replace function app_secrets.forget_business(p_business_id uuid) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from vault.secrets s using app_secrets.vault_rows r
    where s.id = r.vault_id and r.business_id = p_business_id and r.role in ('current', 'previous');
    delete from app_secrets.vault_rows r where r.business_id = p_business_id and r.role in ('current', 'previous');
    delete from app_secrets.vault_rows r where r.business_id = p_business_id and r.role = 'former';
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
    if tg_op = 'INSERT' then
        -- A hand-over is for an UPDATE: a token that reached the table would be a lost secret.
        if v_pending <> '' and exists (
            select from unnest(v_sealed) as c(name) where v_pending::jsonb ? (v_new ->> c.name)) then
            raise exception 'a secret was not handed over from INSERT to UPDATE' using errcode = 'internal_error';
        end if;
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
                perform app_secrets.keep_previous(
                    old.business_id, v_name, app_secrets.reveal(old.business_id, v_name, v_old ->> v_name));
            end if;
        end loop;
        perform app_secrets.record_changes(
            old.business_id, '{}', array(select n.name from unnest(v_all) as n(name) where v_old ->> n.name is not null));
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
    -- TRUNCATE … CASCADE of the owner table.
    delete from app_secrets.secret_versions v where not app_secrets.owner_exists(v.business_id);
    return null;
end $$;

-- AFTER DELETE on the owner table: what may be left of a business without a row of secrets. No foreign key does this, since
-- its check of a new version would wait for the owner row while the secrets row is held.
create or replace function app_secrets.reap_business() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform app_secrets.forget_business((to_jsonb(old) ->> tg_argv[0])::uuid);
    return null;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The mirrors, while a name has both places.

-- business_secrets → owner table: makes the plaintext columns equal to {name: value}. The statement runs under the path that
-- the app's triggers are used to, after refusing temporary types. A column that is NOT NULL is cleared to its default.
create or replace function app_secrets.write_legacy(p_business_id uuid, p_values jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings app_secrets.settings;
    v_assignments text;
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    select s.* into v_settings from app_secrets.settings s;
    select string_agg(case
        when p_values ->> c.name is null and a.attnotnull then format('%I = default', c.legacy_column)
        else format('%I = ($1 operator(pg_catalog.->>) %L)', c.legacy_column, c.name) end, ', ')
    into v_assignments
    from app_secrets.catalogue c
    join pg_attribute a on a.attrelid = v_settings.owner_table::regclass and a.attname = c.legacy_column
    where c.legacy_state in ('synced', 'filled') and p_values ? c.name;
    if v_assignments is not null then
        perform set_config('search_path', v_settings.app_search_path || ', pg_temp', true);
        execute format('update %s set %s where %I operator(pg_catalog.=) $2', v_settings.owner_table, v_assignments, v_settings.owner_key)
        using p_values, p_business_id;
    end if;
end $$;

-- business_secrets → owner table. Only the cells that this transaction changed: others may still wait for the backfill.
-- A reference that reveals nothing is broken, and no reason to wipe the plaintext that is still there.
create or replace function app_secrets.mirror_to_legacy() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_business_id constant uuid := case when tg_op = 'DELETE' then old.business_id else new.business_id end;
    v_sealed constant jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    v_legacy jsonb;
    v_changed jsonb;
begin
    -- The backfill copies from there, under the lock of the owner row; the condition on the login keeps services from
    -- claiming it.
    if current_setting('app_secrets.origin', true) = 'backfill' and session_user = current_user then
        return null;
    end if;
    v_legacy := app_secrets.read_legacy(v_business_id);
    if v_legacy is null then
        return null;
    end if;
    select jsonb_object_agg(c.name, c.value) into v_changed
    from (
        select v.name, app_secrets.reveal(v_business_id, v.name, v_sealed ->> v.name) as value
        from app_secrets.secret_versions v
        where v.business_id = v_business_id and v_legacy ? v.name and v.transaction_id = pg_current_xact_id()
    ) c
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

-- Owner table → business_secrets, for one row: what changed in {name: text} and differs from the sealed value is written.
create or replace function app_secrets.mirror_row(p_business_id uuid, p_new jsonb, p_old jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v_sealed jsonb;
    v_changed jsonb;
    v_origin constant text := current_setting('app_secrets.origin', true);
    v_mirroring constant text := current_setting('app_secrets.mirroring', true);
begin
    if pg_my_temp_schema() <> 0 then
        perform app_secrets.refuse_temporary_types();
    end if;
    -- Waits for a session that has locked the secrets row and is about to be refused the owner row.
    select to_jsonb(s) into v_sealed from public.business_secrets s where s.business_id = p_business_id for update;
    select jsonb_object_agg(c.name, c.value) into v_changed
    from (
        select n.name, app_secrets.normalize(p_new ->> n.name) as value
        from jsonb_object_keys(p_new) as n(name)
        where p_new ->> n.name is distinct from p_old ->> n.name
    ) c
    where c.value is distinct from app_secrets.reveal(p_business_id, c.name, v_sealed ->> c.name)
        or (c.value is null and v_sealed ->> c.name is not null);
    if v_changed is not null then
        perform set_config('app_secrets.origin', 'legacy', true), set_config('app_secrets.mirroring', p_business_id::text, true);
        perform app_secrets.write_cells(p_business_id, v_changed);
        perform set_config('app_secrets.origin', coalesce(v_origin, ''), true),
            set_config('app_secrets.mirroring', coalesce(v_mirroring, ''), true);
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
    v_entry app_secrets.catalogue;
begin
    for v_entry in select c.* from app_secrets.catalogue c where c.retired_at is null order by c.position loop
        if not exists (
            select from pg_attribute a
            where a.attrelid = 'public.business_secrets'::regclass and a.attname = v_entry.name and not a.attisdropped) then
            execute format('alter table public.business_secrets add column %I %s', v_entry.name, v_entry.type);
        end if;
        if v_entry.sealed and v_entry.in_place <> 'pending' and not exists (
            select from pg_constraint c
            where c.conrelid = 'public.business_secrets'::regclass and c.conname = v_entry.name || '_is_reference') then
            execute format(
                'alter table public.business_secrets add constraint %I check '
                '(%I ~ ''^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'') not valid',
                v_entry.name || '_is_reference', v_entry.name);
        end if;
    end loop;
end $$;

-- The view. New columns come last, so that it can be replaced; a retired name stays in it as NULL. Every replacement repeats
-- both options: without them it would show every business to everybody.
create or replace function app_secrets.make_view() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
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
            union all select c.name, c.position, c.type from app_secrets.catalogue c where c.retired_at is null
            union all
            select 'updated_at', case when to_regclass('public.decrypted_business_secrets') is null then 1000 else 0 end, 'timestamptz'
        ) n
        where not exists (
            select from pg_attribute a
            where a.attrelid = to_regclass('public.decrypted_business_secrets') and a.attname = n.name and not a.attisdropped)
    ) w
    left join app_secrets.catalogue c on c.name = w.name;
    execute format(
        E'create or replace view public.decrypted_business_secrets with (security_invoker = true, security_barrier = true) as\n'
        'select\n    %s\nfrom public.business_secrets s', v_columns);
    comment on view public.decrypted_business_secrets is 'app-secrets: the rows of business_secrets in clear';
end $$;

-- `zz_`: after every other BEFORE trigger, on what is really stored, and `zz_app_secrets_sync` after reap, when versions and
-- Vault rows are in place.
create or replace function app_secrets.make_sealing() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_arguments text;
begin
    select format('%L, %L, %L, %L',
        coalesce(string_agg(c.name, ',' order by c.position) filter (where c.sealed), ''),
        coalesce(string_agg(c.name, ',' order by c.position) filter (where not c.sealed and c.type = 'text'), ''),
        coalesce(string_agg(c.name, ',' order by c.position) filter (where not c.sealed and c.type = 'timestamptz'), ''),
        coalesce(string_agg(c.name, ',' order by c.position) filter (where c.legacy_state in ('synced', 'filled')), ''))
    into v_arguments
    from app_secrets.catalogue c where c.retired_at is null and c.in_place <> 'pending';
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

    -- Writes the named cells of one business, {name: text | null}, whatever a text looks like; the one place that sealed
    -- cells are written from by functions of ours. The business must exist.
    perform app_secrets.make_function('app_secrets.write_cells(p_business_id uuid, p_values jsonb)', 'returns void', 'security definer',
        format($body$
declare
    v_stored constant jsonb := app_secrets.lock_row(p_business_id);
    v_row public.business_secrets;
    v_stash jsonb;
    v_cells jsonb;
begin
    -- Values go to the trigger under tokens, past every log and every look at their shape.
    select coalesce(jsonb_object_agg(t.token, t.value) filter (where t.sealed and t.value is not null), '{}'),
        jsonb_object_agg(t.name, case when t.sealed and t.value is not null then t.token else t.value end)
    into v_stash, v_cells
    from (
        select e.name, e.value, e.name = any (%1$L::text[]) as sealed, gen_random_uuid()::text as token
        from jsonb_each_text(p_values) as e(name, value)) t;
    perform set_config('app_secrets.pending', case when v_stash <> '{}' then v_stash::text else '' end, true);
    if v_stored is not null then
        v_row := jsonb_populate_record(jsonb_populate_record(null::public.business_secrets, v_stored), v_cells);
        update public.business_secrets s set %2$s where s.business_id = p_business_id;
    else
        v_row := jsonb_populate_record(null::public.business_secrets, v_cells);
        insert into public.business_secrets (business_id, %3$s) values (p_business_id, %4$s);
    end if;
end$body$,
            array(select c.name from app_secrets.catalogue c where c.sealed and c.in_place <> 'pending' and c.retired_at is null),
            (select string_agg(format('%I = v_row.%I', c.name, c.name), ', ' order by c.position) from app_secrets.catalogue c where c.retired_at is null),
            (select string_agg(format('%I', c.name), ', ' order by c.position) from app_secrets.catalogue c where c.retired_at is null),
            (select string_agg(format('v_row.%I', c.name), ', ' order by c.position) from app_secrets.catalogue c where c.retired_at is null)));
end $$;

-- The owner table as the settings name it, and the sync with its plaintext columns.
create or replace function app_secrets.make_sync() returns void
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
    v_differs text;
    v_any text;
begin
    select s.* into v_settings from app_secrets.settings s;
    v_owner := v_settings.owner_table;
    select array_agg(c.name order by c.position),
        string_agg(format('new.%I::text', c.legacy_column), ', ' order by c.position),
        string_agg(format('old.%I::text', c.legacy_column), ', ' order by c.position),
        -- As bytes: citext and other collations call different keys equal.
        string_agg(format('old.%I::text collate "C" is distinct from new.%I::text collate "C"', c.legacy_column, c.legacy_column),
            E'\n    or ' order by c.position),
        string_agg(format('new.%I is not null', c.legacy_column), ' or ' order by c.position)
    into v_names, v_new, v_old, v_differs, v_any
    from app_secrets.catalogue c where c.legacy_state in ('synced', 'filled');
    v_on := v_names is not null;
    -- An UPDATE of a column in a unique index takes FOR UPDATE: a weaker lock taken before would have to grow, past the
    -- FOR KEY SHARE of children that others insert.
    v_strength := case when exists (
        select from pg_index i
        cross join lateral unnest(i.indkey[:i.indnkeyatts - 1]) as k(attnum)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        join app_secrets.catalogue c on c.legacy_column = a.attname and c.legacy_state in ('synced', 'filled')
        where i.indrelid = v_owner::regclass and i.indisunique and i.indpred is null and i.indexprs is null)
        then 'update' else 'no key update' end;

    perform app_secrets.make_function('app_secrets.sync_is_on()', 'returns boolean', 'stable',
        format('begin return %s; end', v_on::text));
    perform app_secrets.make_function('app_secrets.owner_exists(p_business_id uuid)', 'returns boolean', 'stable security definer set row_security = off',
        format('begin return exists (select from %s b where b.%I = p_business_id); end', v_owner, v_settings.owner_key));
    perform app_secrets.make_function('app_secrets.lock_owner_row(p_business_id uuid, p_wait boolean)', 'returns boolean',
        'security definer set row_security = off',
        -- Not `nowait`: catching its error would cost a subtransaction.
        format('begin if p_wait then perform from %1$s b where b.%2$I = p_business_id for %3$s; '
            'else perform from %1$s b where b.%2$I = p_business_id for %3$s skip locked; end if; return found; end',
            v_owner, v_settings.owner_key, v_strength));
    -- {name: text} of the plaintext columns; NULL where there is no such business.
    perform app_secrets.make_function('app_secrets.read_legacy(p_business_id uuid)', 'returns jsonb', 'stable security definer set row_security = off',
        case when v_on then format('begin return (select jsonb_object(%L::text[], array[%s]) from %s b where b.%I = p_business_id); end',
            v_names, replace(v_new, 'new.', 'b.'), v_owner, v_settings.owner_key)
        else 'begin return null; end' end);
    perform app_secrets.make_function('app_secrets.mirror_to_sealed()', 'returns trigger', 'security definer',
        case when v_on then format($body$
begin
    perform app_secrets.mirror_row(new.%1$I, jsonb_object(%2$L::text[], array[%3$s]),
        case when tg_op = 'UPDATE' then jsonb_object(%2$L::text[], array[%4$s]) else '{}'::jsonb end);
    return null;
end$body$, v_settings.owner_key, v_names, v_new, v_old)
        else 'begin return null; end' end);

    execute format('lock table %s in share row exclusive mode', v_owner);
    execute format('create or replace trigger zz_app_secrets_reap after delete on %s for each row '
        'execute function app_secrets.reap_business(%L)', v_owner, v_settings.owner_key);
    if v_on then
        -- A sign-up without keys fires nothing.
        execute format('create or replace trigger zz_app_secrets_sync after insert on %s for each row when (%s) '
            'execute function app_secrets.mirror_to_sealed()', v_owner, v_any);
        -- By value and not `update of`: a trigger of the app's may change a key that the statement does not name.
        execute format('create or replace trigger zz_app_secrets_sync_update after update on %s for each row when (%s) '
            'execute function app_secrets.mirror_to_sealed()', v_owner, v_differs);
        create or replace trigger aa_app_secrets_lock before delete on public.business_secrets
            for each row execute function app_secrets.lock_deleted();
        create or replace trigger zz_app_secrets_sync after insert or update or delete on public.business_secrets
            for each row execute function app_secrets.mirror_to_legacy();
        create or replace trigger zz_app_secrets_sync_all after truncate on public.business_secrets
            for each statement execute function app_secrets.mirror_truncate();
    else
        execute format('drop trigger if exists zz_app_secrets_sync on %s', v_owner);
        execute format('drop trigger if exists zz_app_secrets_sync_update on %s', v_owner);
        drop trigger if exists aa_app_secrets_lock on public.business_secrets;
        drop trigger if exists zz_app_secrets_sync on public.business_secrets;
        drop trigger if exists zz_app_secrets_sync_all on public.business_secrets;
    end if;
end $$;

-- All of it. DDL takes the owner table first, then ours, and waits for less than deadlock_timeout at a time, so that no
-- other session is ever a deadlock's victim.
create or replace function app_secrets.make_all() returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_make text;
begin
    perform pg_advisory_xact_lock(hashtextextended('app_secrets.migrations', 0));
    perform app_secrets.lock_tables('share row exclusive', 'access exclusive');
    perform app_secrets.make_columns();
    perform app_secrets.make_sync();
    perform app_secrets.make_sealing();
    perform app_secrets.make_view();
    -- Of 003 and 004.
    foreach v_make in array array['make_backfill', 'make_reads', 'make_restore', 'make_grants'] loop
        if to_regprocedure(format('app_secrets.%I()', v_make)) is not null then
            execute format('select app_secrets.%I()', v_make);
        end if;
    end loop;
end $$;

-- Locks the owner table, then business_secrets, each as told. Whoever waits for both could meet a writer that holds
-- one and wants the other: it waits for less than deadlock_timeout, lets go and tries again.
create or replace function app_secrets.lock_tables(p_owner_mode text, p_mode text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
declare
    v_owner constant text := (select s.owner_table from app_secrets.settings s);
begin
    for v_attempt in 1 .. 100 loop
        begin
            execute format('lock table %s in %s mode', v_owner, p_owner_mode);
            execute format('lock table public.business_secrets in %s mode', p_mode);
            return;
        exception when lock_not_available then
            if v_attempt = 100 then
                raise;
            end if;
            perform pg_sleep(0.05);
        end;
    end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- New and old names.

-- Makes a secret known: column, CHECK, triggers, view and RPC. Safe to repeat; label and a newly found legacy column are taken
-- over. A legacy column is synced from here on; `app-secrets migrate` (or 003) fills and proves it.
create or replace function app_secrets.add_secret(
    p_name text, p_label text, p_legacy_column name default null, p_sealed boolean default true, p_type text default 'text')
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
    elsif app_secrets.normalize(p_label) is null then
        raise exception 'a secret needs a label' using errcode = 'AS002';
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
    perform app_secrets.make_all();
    notify pgrst, 'reload schema';
end $$;

-- Takes a name out of use. Its values go, unless there are some and it was not told so; the column stays, empty, and can be
-- used again by add_secret().
create or replace function app_secrets.retire_secret(p_name text, p_even_if_set boolean default false) returns void
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
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
