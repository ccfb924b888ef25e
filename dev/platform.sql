-- Gives a plain PostgreSQL 15 to 18 the shape that Supabase gives it: roles, schemas, grants and default privileges,
-- as a project of 2026 has them. Only what migrations and clients can notice; no Supabase service is behind it.
--
-- Runs once per cluster, in database `postgres`, as the superuser `supabase_admin`. Passwords are set by the caller.

create role postgres nosuperuser createdb createrole replication bypassrls login;
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

-- Supabase allows this through supautils; a data-only restore needs it. It skips ordinary triggers.
grant set on parameter session_replication_role to postgres;

alter database postgres owner to postgres;
alter role supabase_admin set search_path = "$user", public, extensions;
alter role postgres set search_path = "$user", public, extensions;
alter role authenticator set search_path = "$user", public, extensions;

-- Schema public ----------------------------------------------------------------------------------------------------

grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;

-- Since 2026 a new table is not reachable through the Data API until somebody grants it. What the API roles still get
-- is what Row Level Security does not stop, which is why a migration has to revoke before it grants.
alter default privileges for role postgres in schema public
    grant truncate, references, trigger on tables to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant truncate, references, trigger on tables to anon, authenticated, service_role;

-- Schema extensions ------------------------------------------------------------------------------------------------

create schema extensions;
grant usage on schema extensions to anon, authenticated, service_role;
grant all on schema extensions to postgres with grant option;
create extension pgcrypto with schema extensions;

-- Schema auth ------------------------------------------------------------------------------------------------------

create schema auth;
grant usage on schema auth to anon, authenticated, service_role, postgres;

create table auth.users (
    id uuid primary key default gen_random_uuid(),
    email text,
    role text,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index users_email_idx on auth.users (lower(email));
alter table auth.users enable row level security;
grant all on table auth.users to postgres;

-- The Data API puts the verified token's claims into this setting, for the length of one transaction. The bodies are strings, as
-- the platform's are: names in them are looked up at each call, with the caller's temporary schema first for types.
create function auth.jwt() returns jsonb
    language sql stable
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim', true), ''),
            nullif(current_setting('request.jwt.claims', true), '')
        )::jsonb
    $$;

create function auth.uid() returns uuid
    language sql stable
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.sub', true), ''),
            (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
        )::uuid
    $$;

create function auth.role() returns text
    language sql stable
    as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.role', true), ''),
            (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
        )::text
    $$;

-- Realtime ---------------------------------------------------------------------------------------------------------

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
