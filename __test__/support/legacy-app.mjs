// The legacy app's tables and a little data in them, of every kind that a migration meets.

import { readFileSync } from 'node:fs'

export const legacyApp = readFileSync(new URL('../../dev/legacy-app.sql', import.meta.url), 'utf8')

export const legacyData = `
insert into auth.users (id, email)
select ('00000000-0000-4000-8000-00000000000' || i)::uuid, 'owner' || i || '@example.com' from generate_series(1, 3) i;

insert into public.businesses (
    id, owner_id, name, gemini_api_key, grok_api_key, claude_api_key, youtube_api_key, kling_access_key,
    kling_secret_key, global_sms_api_key, whatsapp_api_key)
select
    ('10000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
    ('00000000-0000-4000-8000-00000000000' || 1 + i % 3)::uuid,
    'Business ' || i,
    'gemini-' || i,
    case when i % 2 = 0 then 'grok-' || i end,
    case when i % 3 = 0 then '  claude-' || i || E' \\n' end,
    case i % 4 when 0 then '' when 1 then '   ' when 2 then 'youtube-' || i end,
    case when i % 5 = 0 then 'kling-access-' || i end,
    case when i % 5 = 0 then 'kling-secret-' || i end,
    case when i % 7 = 0 then 'sms-😀-' || i end,
    -- Looks like a reference, and is none.
    case when i % 6 = 0 then '20000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0') end
from generate_series(1, 40) i;

insert into public.business_secrets (
    business_id, google_access_token, google_refresh_token, google_token_expiry, google_drive_folder_id)
select
    b.id,
    case i % 3 when 0 then '30000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0') when 1 then ' access-' || i else 'access-' || i end,
    case when i % 2 = 0 then 'refresh-' || i end,
    timestamptz '2026-01-31 12:00:00.123456Z' + i * interval '1 minute',
    'folder-' || i
from generate_series(1, 40, 4) i
join public.businesses b on b.name = 'Business ' || i;
`
