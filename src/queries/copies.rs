//! Tables that may hold copies of what stood in plaintext, as far as triggers show them.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::Answer;

/// What the app's own trigger functions of both tables write to, as their text has it. A body that is put together when
/// it runs shows nothing.
const COPIES: &str = "
    select distinct /* app-secrets */ pg_catalog.format('%s (trigger %s on %s)', m.found[1], t.tgname, t.tgrelid::pg_catalog.regclass)
    from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc p on p.oid = t.tgfoid
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace and n.nspname <> 'app_secrets'
    cross join lateral pg_catalog.regexp_matches(
        p.prosrc, '\\m(?:insert\\s+into|merge\\s+into|update(?!\\s+of\\M))\\s+(?:only\\s+)?((?:\"[^\"]+\"|\\w+)(?:\\.(?:\"[^\"]+\"|\\w+))?)', 'gi') as m(found)
    where not t.tgisinternal and t.tgrelid in (
            pg_catalog.to_regclass('public.business_secrets'),
            (select pg_catalog.to_regclass(s.owner_table) from app_secrets.settings s))
        and coalesce(pg_catalog.to_regclass(m.found[1]), pg_catalog.to_regclass('public.' || m.found[1]), 0) <> t.tgrelid
        and pg_catalog.lower(m.found[1]) not in ('set', 'on')
    order by 1";

/// `audit.log (trigger keep_history on public.businesses)`
pub(crate) async fn read(connection: &mut PgConnection) -> Answer<Vec<String>> {
    let rows = connection.fetch_all(COPIES).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
