//! Every statement that the client sends. Each is one round trip and qualifies each name.

use uuid::Uuid;

/// `$1 uuid[]`, `$2 text[]`, in parallel.
pub(super) const READ: &str =
    "select ord, value, version, status from public.get_business_secrets_batch($1, $2)";

/// `$1 uuid`, `$2` values, `$3` expected versions or null, `$4` actor, `$5` lock timeout.
///
/// The settings are evaluated first and end with the transaction, so that a transaction pooler's next client never
/// sees them. Without the lock timeout a write that waits for a lock would be carried out long after its caller
/// gave up on it.
pub(super) const WRITE: &str = "\
select public.set_business_secrets($1, $2::text::jsonb, $3::text::jsonb)::text
from pg_catalog.set_config('app_secrets.actor', $4, true) as actor,
    pg_catalog.set_config('lock_timeout', $5, true) as lock_timeout";

/// `$1 uuid`.
pub(super) const LIST: &str = "\
select name, is_set, last4, version, (extract(epoch from updated_at) * 1000)::bigint as updated_at
from public.list_business_secrets($1)";

pub(super) const PING: &str = "select 1";
pub(super) const BEGIN: &str = "begin";
pub(super) const COMMIT: &str = "commit";

/// [`READ`] without parameters, for the simple protocol: the one way to read in one round trip behind a transaction
/// pooler that knows no prepared statements. Ids and names of the catalogue need no quoting.
pub(super) fn read_literal(businesses: &[Uuid], names: &[&'static str]) -> String {
    let mut sql = String::with_capacity(READ.len() + businesses.len() * 64);
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

/// [`LIST`] likewise.
pub(super) fn list_literal(business: Uuid) -> String {
    LIST.replace("$1", &format!("'{}'", business.hyphenated()))
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
        assert!(
            list_literal(business).ends_with("list_business_secrets('00000000-0000-0000-0000-000000000001')")
        );
    }
}
