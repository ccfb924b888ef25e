-- The application's tables as they were before its secrets moved: eight API keys in plaintext in `businesses`, and
-- Google's tokens in plaintext in `business_secrets`. Runs as `postgres`, on top of platform.sql.

create table public.businesses (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid references auth.users (id),
    name text,
    gemini_api_key text,
    grok_api_key text,
    claude_api_key text,
    youtube_api_key text,
    kling_access_key text,
    kling_secret_key text,
    global_sms_api_key text,
    whatsapp_api_key text,
    settings jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index businesses_owner_id_idx on public.businesses (owner_id);

alter table public.businesses enable row level security;
create policy "Owners manage their businesses" on public.businesses
    for all to authenticated
    using (owner_id = (select auth.uid()))
    with check (owner_id = (select auth.uid()));
revoke all on public.businesses from anon, authenticated, service_role;
grant select, insert, update, delete on public.businesses to authenticated;
grant all on public.businesses to service_role;

create function public.touch_updated_at() returns trigger
    language plpgsql set search_path = ''
as $$
begin
    new.updated_at := pg_catalog.now();
    return new;
end
$$;
revoke all on function public.touch_updated_at() from public, anon, authenticated;

create trigger touch_updated_at before update on public.businesses
    for each row execute function public.touch_updated_at();

create table public.business_secrets (
    business_id uuid primary key references public.businesses (id) on delete cascade,
    google_access_token text,
    google_refresh_token text,
    google_token_expiry timestamptz,
    google_drive_folder_id text
);
revoke all on public.business_secrets from anon, authenticated, service_role;
grant all on public.business_secrets to service_role;
