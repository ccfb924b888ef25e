-- An app of another shape: organizations own the secrets, several people belong to one, and whose they are is a function's answer.
-- Its keys stand in plaintext, as they did before the migration.

create table public.organizations (
    uid uuid primary key default gen_random_uuid(),
    title text not null,
    plan text not null default 'free',
    "stripeSecretKey" text,
    sendgrid_key varchar(255),
    slack_bot_token text,
    smtp_password text not null default ''
);

create table public.members (
    organization_uid uuid not null references public.organizations (uid) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    is_admin boolean not null default false,
    primary key (organization_uid, user_id)
);
create index members_user_id_idx on public.members (user_id);

-- Who may see and change an organization's secrets: its admins.
create function public.administered_organizations() returns setof uuid
    language sql stable security definer set search_path = ''
as $$ select m.organization_uid from public.members m where m.user_id = (select auth.uid()) and m.is_admin $$;

alter table public.organizations enable row level security;
alter table public.members enable row level security;
create policy "Members see their organizations" on public.organizations for select to authenticated
    using (uid in (select m.organization_uid from public.members m where m.user_id = (select auth.uid())));
create policy "Admins change their organizations" on public.organizations for update to authenticated
    using (uid in (select public.administered_organizations()));
create policy "People see their memberships" on public.members for select to authenticated
    using (user_id = (select auth.uid()));
