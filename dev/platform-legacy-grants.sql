-- The Data API's default privileges as projects made before 2026 have them: whatever is created in `public` is granted
-- to the API roles in full. Runs after platform.sql, as supabase_admin.

alter default privileges for role postgres in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on sequences to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on functions to anon, authenticated, service_role;
