//! Every statement that the client sends. Each is one round trip and qualifies each name.

use uuid::Uuid;

/// `$1 uuid[]`, `$2 text[]`, in parallel; `$3`: whether versions are wanted. One row of three arrays.
pub(super) const READ_COLUMNS: &str =
    "select \"values\", versions, statuses from public.get_business_secrets_columns($1, $2, $3)";

/// `$1 uuid`, `$2` values, `$3` expected versions or null, `$4` options or null, `$5` actor, `$6` lock timeout.
///
/// The settings are evaluated first and end with the transaction, so that a transaction pooler's next client never
/// sees them. Without the lock timeout a write that waits for a lock would be carried out long after its caller
/// gave up on it; it counts anew for each lock, so the functions shorten it to what is left until `wait_until`.
pub(super) const WRITE: &str = "\
select public.set_business_secrets($1, $2::text::jsonb, $3::text::jsonb, $4::text::jsonb)::text
from pg_catalog.set_config('app_secrets.actor', $5, true) as actor,
    pg_catalog.set_config('lock_timeout', $6, true) as lock_timeout,
    pg_catalog.set_config('app_secrets.wait_until',
        ((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint + $6::text::bigint)::text, true) as wait_until";

/// `$1 uuid`, `$2` name, `$3` expected version or null, `$4` actor, `$5` lock timeout.
pub(super) const UNDO: &str = "\
select public.undo_business_secret($1, $2, $3)
from pg_catalog.set_config('app_secrets.actor', $4, true) as actor,
    pg_catalog.set_config('lock_timeout', $5, true) as lock_timeout,
    pg_catalog.set_config('app_secrets.wait_until',
        ((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint + $5::text::bigint)::text, true) as wait_until";

/// `$1 uuid`, `$2` name, `$3` seconds, `$4` actor, `$5` lock timeout.
pub(super) const LEASE: &str = "\
select l.token, l.version, (extract(epoch from l.expires_at) * 1000)::bigint
from pg_catalog.set_config('app_secrets.actor', $4, true) as actor,
    pg_catalog.set_config('lock_timeout', $5, true) as lock_timeout,
    pg_catalog.set_config('app_secrets.wait_until',
        ((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint + $5::text::bigint)::text, true) as wait_until,
    public.lease_business_secret($1, $2, pg_catalog.make_interval(secs => $3)) as l";

/// `$1 uuid`, `$2` name, `$3` token, `$4` actor, `$5` lock timeout.
pub(super) const RELEASE: &str = "\
select public.release_business_secret($1, $2, $3)
from pg_catalog.set_config('app_secrets.actor', $4, true) as actor,
    pg_catalog.set_config('lock_timeout', $5, true) as lock_timeout,
    pg_catalog.set_config('app_secrets.wait_until',
        ((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint + $5::text::bigint)::text, true) as wait_until";

/// `$1 uuid`, `$2` name, `$3` version, `$4` result, `$5` actor, `$6` lock timeout.
pub(super) const CHECK: &str = "\
select public.check_business_secret($1, $2, $3, $4)
from pg_catalog.set_config('app_secrets.actor', $5, true) as actor,
    pg_catalog.set_config('lock_timeout', $6, true) as lock_timeout,
    pg_catalog.set_config('app_secrets.wait_until',
        ((extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint + $6::text::bigint)::text, true) as wait_until";

/// `$1 uuid`.
pub(super) const LIST: &str = "\
select name, label, sealed, is_set, last4, version, (extract(epoch from updated_at) * 1000)::bigint,
    (extract(epoch from last_read_at) * 1000)::bigint, (extract(epoch from last_checked_at) * 1000)::bigint,
    check_result::text, (extract(epoch from expires_at) * 1000)::bigint, rotate_every::text, can_undo
from public.list_business_secrets($1)";

/// `$1` seconds.
pub(super) const DUE: &str = "\
select business_id, name, (extract(epoch from due_at) * 1000)::bigint, reason::text
from public.due_business_secrets(pg_catalog.make_interval(secs => $1))";

pub(super) const NAMES: &str = "select name from public.business_secret_names";
pub(super) const PING: &str = "select 1";
pub(super) const BEGIN: &str = "begin";
pub(super) const COMMIT: &str = "commit";

/// A statement of one parameter with that parameter's text in its place: an id or a number, which need no quoting.
pub(super) fn literal(sql: &str, parameter: &str) -> String {
    sql.replace("$1", parameter)
}

/// Reads without parameters, for the simple protocol: the one way to read in one round trip behind a transaction
/// pooler that knows no prepared statements. Ids and names hold nothing that would need quoting.
pub(super) fn read_literal(businesses: &[Uuid], names: &[&'static str]) -> String {
    let mut sql = String::with_capacity(128 + businesses.len() * 64);
    sql.push_str("select ord, value, version, status from public.get_business_secrets_batch('{");
    for (at, business) in businesses.iter().enumerate() {
        if at > 0 {
            sql.push(',');
        }
        sql.push_str(business.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    }
    sql.push_str("}'::uuid[], '{");
    sql.push_str(&names.join(","));
    sql.push_str("}'::text[])");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_hold_nothing_but_ids_and_names() {
        let business = Uuid::from_u128(1);
        assert_eq!(
            read_literal(&[business, business], &["gemini_api_key", "grok_api_key"]),
            "select ord, value, version, status from public.get_business_secrets_batch(\
             '{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000001}'::uuid[], \
             '{gemini_api_key,grok_api_key}'::text[])"
        );
    }
}
