//! What a client counts, as JavaScript objects.

use napi_derive::napi;

use crate::{stats, watch};

/// What a client has done since it was made, and what it is doing. Holds no id and no value.
#[napi(object, object_from_js = false)]
pub struct Stats {
    /// Secrets that the cache answered.
    pub hits: i64,
    /// Of these, how many were not set.
    pub negative_hits: i64,
    /// Secrets that the cache could not answer.
    pub misses: i64,
    /// Secrets in the cache, the expired ones that are kept for an outage included.
    pub entries: i64,
    /// Secrets answered from an expired entry, because the database was out of reach.
    pub stale_served: i64,
    /// Secrets dropped from the cache to make room.
    pub evictions: i64,
    /// Secrets dropped from the cache because they changed, or may have.
    pub invalidations: i64,
    /// Reads that joined an identical one under way.
    pub coalesced: i64,
    /// Statements that read secrets.
    pub batches: i64,
    /// Secrets that these statements asked for.
    pub elements: i64,
    /// The connections, without the listener's.
    pub pool: PoolStats,
    /// What hears of changes.
    pub listener: ListenerStats,
}

/// The connections of a client, without its listener's.
#[napi(object, object_from_js = false)]
pub struct PoolStats {
    /// Open connections.
    pub connections: i64,
    /// Of these, how many are at work.
    pub busy: i64,
    /// Of these, how many have none.
    pub idle: i64,
    /// Calls that wait for a connection; of reads, the secrets that they ask for.
    pub waiting: i64,
    /// Connections opened so far.
    pub opened: i64,
    /// Connections lost so far, or given up because no answer came.
    pub lost: i64,
}

/// How the listener is doing.
#[napi(object, object_from_js = false)]
pub struct ListenerStats {
    /// What it is doing.
    ///
    /// - `off`: there is no cache, and nobody watches.
    /// - `connecting`: it has no session, and is trying to get one. What is cached lives by its `ttlMs`.
    /// - `listening`: it hears of every change.
    /// - `unavailable`: it cannot hear through this connection: pass `listenUrl`. What is cached lives by its `ttlMs`.
    #[napi(ts_type = "'off' | 'connecting' | 'listening' | 'unavailable'")]
    pub state: &'static str,
    /// How often it has come back after it was lost.
    pub reconnects: i64,
    /// Why it was lost, or did not come about, last. Never a value, a password or a connection string.
    pub last_error: Option<String>,
}

/// `JavaScript` counts exactly up to 2^53: at a million a second that takes 285 years.
fn count(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

impl From<stats::Stats> for Stats {
    fn from(stats: stats::Stats) -> Self {
        Self {
            hits: count(stats.hits),
            negative_hits: count(stats.negative_hits),
            misses: count(stats.misses),
            entries: count(stats.entries),
            stale_served: count(stats.stale_served),
            evictions: count(stats.evictions),
            invalidations: count(stats.invalidations),
            coalesced: count(stats.coalesced),
            batches: count(stats.batches),
            elements: count(stats.elements),
            pool: stats.pool.into(),
            listener: stats.listener.into(),
        }
    }
}

impl From<stats::PoolStats> for PoolStats {
    fn from(pool: stats::PoolStats) -> Self {
        Self {
            connections: count(pool.connections),
            busy: count(pool.busy),
            idle: count(pool.idle),
            waiting: count(pool.waiting),
            opened: count(pool.opened),
            lost: count(pool.lost),
        }
    }
}

impl From<watch::ListenerStats> for ListenerStats {
    fn from(listener: watch::ListenerStats) -> Self {
        Self {
            state: listener.state.as_str(),
            reconnects: count(listener.reconnects),
            last_error: listener.last_error,
        }
    }
}
