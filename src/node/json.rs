//! What comes back, as JSON that lib/native.js parses. Times are milliseconds since 1970. Holds no value of a secret.

use serde_json::{Map, Value, json};

use crate::secret::{Due, Lease, Listed, Versions};
use crate::stats::Stats;
use crate::timestamp::Timestamp;
use crate::watch::Event;

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.0.into())
}

/// `{ name: version }`
pub(super) fn versions(versions: &Versions) -> Value {
    let pairs = versions.iter().map(|(name, version)| (name.as_str().to_owned(), (*version).into()));
    Value::Object(pairs.collect::<Map<_, _>>())
}

pub(super) fn listed(listed: &[Listed]) -> Value {
    let one = |secret: &Listed| {
        json!({
            "name": secret.name.as_str(),
            "label": secret.label,
            "sealed": secret.sealed,
            "isSet": secret.is_set,
            "last4": secret.last4,
            "version": secret.version,
            "updatedAt": time(secret.updated_at),
            "lastReadAt": time(secret.last_read_at),
            "lastCheckedAt": time(secret.last_checked_at),
            "checkResult": secret.check_result,
            "expiresAt": time(secret.expires_at),
            "rotateEvery": secret.rotate_every,
            "canUndo": secret.can_undo,
        })
    };
    listed.iter().map(one).collect()
}

pub(super) fn lease(lease: &Lease) -> Value {
    json!({
        "token": lease.token.map(|token| token.to_string()),
        "version": lease.version,
        "expiresAt": time(lease.expires_at),
    })
}

pub(super) fn due(due: &[Due]) -> Value {
    let one = |due: &Due| {
        json!({
            "businessId": due.business.to_string(),
            "name": due.name.as_str(),
            "dueAt": due.due_at.0,
            "reason": due.reason,
        })
    };
    due.iter().map(one).collect()
}

pub(super) fn event(event: &Event) -> Value {
    match event {
        Event::Resync => json!({ "kind": "resync" }),
        Event::Changed { business, versions: changed } => json!({
            "kind": "changed",
            "businessId": business.to_string(),
            "names": changed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            "versions": versions(changed),
        }),
    }
}

pub(super) fn stats(stats: &Stats) -> Value {
    json!({
        "hits": stats.hits,
        "negativeHits": stats.negative_hits,
        "misses": stats.misses,
        "entries": stats.entries,
        "staleServed": stats.stale_served,
        "evictions": stats.evictions,
        "invalidations": stats.invalidations,
        "coalesced": stats.coalesced,
        "batches": stats.batches,
        "elements": stats.elements,
        "pool": {
            "connections": stats.pool.connections,
            "busy": stats.pool.busy,
            "idle": stats.pool.idle,
            "waiting": stats.pool.waiting,
            "opened": stats.pool.opened,
            "lost": stats.pool.lost,
        },
        "listener": listener(stats),
    })
}

fn listener(stats: &Stats) -> Value {
    let mut listener = Map::new();
    listener.insert("state".into(), stats.listener.state.as_str().into());
    listener.insert("reconnects".into(), stats.listener.reconnects.into());
    if let Some(error) = &stats.listener.last_error {
        listener.insert("lastError".into(), error.as_str().into());
    }
    Value::Object(listener)
}
