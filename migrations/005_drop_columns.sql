-- 005 contract: the plaintext goes. Run LAST, after `npm run verify`, when no code reads the columns any more.
--
-- What     Proves in this very transaction that every plaintext value equals what Vault decrypts to, or raises AS006 with
--          counts and ids and changes nothing; then drops the sync and the eight columns.
-- Locks    The sync lock while it verifies (writers of keys wait, nobody else); then ACCESS EXCLUSIVE on businesses while
--          it looks once more at the rows written meanwhile and drops the columns, which rewrites nothing.
-- Again?   Safe: once recorded it does nothing. Columns that views of yours use are not dropped but named in the error.
-- After    The plaintext is still in the table's pages until they are rewritten (`npm run scrub`), and in WAL, backups and
--          replicas after that: rotate the keys at their providers.

begin;
set local lock_timeout = '1s';
set local search_path = '';

do $$
begin
    perform app_secrets.require_migration(4);
end $$;

do $$
declare
    v_before xid;
    v_ids uuid[];
begin
    if exists (select from app_secrets.migrations m where m.version = 5) then
        return;
    end if;
    perform app_secrets.lock_sync();
    v_before := pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::xid;
    perform app_secrets.require_verified();

    lock table public.businesses in access exclusive mode;
    -- Around the triggers (session_replication_role) a key could still be written until now.
    select pg_catalog.array_agg(b.id) into v_ids
    from public.businesses b
    where pg_catalog.age(b.xmin) <= pg_catalog.age(v_before);
    if v_ids is not null then
        perform app_secrets.require_verified(v_ids);
    end if;

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

insert into app_secrets.migrations (version, name, checksum)
values (5, 'drop_columns', nullif(pg_catalog.current_setting('app_secrets.migration_checksum', true), ''))
on conflict (version) do update set checksum = coalesce(excluded.checksum, migrations.checksum);
notify pgrst, 'reload schema';
commit;
