//! What a client counts about itself. Names and units: `docs/metrics.md`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Only ever grows, and orders nothing: it is read on its own.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the parts of one client count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: Counter,
    pub(crate) negative_hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) stale_served: Counter,
    pub(crate) evictions: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) coalesced: Counter,
    pub(crate) batches: Counter,
    pub(crate) elements: Counter,
    pub(crate) opened: Counter,
    /// Connections that are open no more, for whatever reason.
    pub(crate) ended: Counter,
    pub(crate) lost: Counter,
}

/// What a client has done since it was made, and what it is doing. Holds no id and no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Secrets that the cache answered.
    pub hits: u64,
    /// Of these, how many were not set.
    pub negative_hits: u64,
    /// Secrets that the cache could not answer.
    pub misses: u64,
    /// Secrets in the cache, the expired ones that are kept for an outage included.
    pub entries: u64,
    /// Secrets answered from an expired entry, because the database was out of reach.
    pub stale_served: u64,
    /// Secrets dropped from the cache to make room.
    pub evictions: u64,
    /// Secrets dropped from the cache because they changed, or may have.
    pub invalidations: u64,
    /// Reads that joined an identical one under way.
    pub coalesced: u64,
    /// Statements that read secrets.
    pub batches: u64,
    /// Secrets that these statements asked for.
    pub elements: u64,
    /// The connections.
    pub pool: PoolStats,
    /// What hears of changes.
    pub listener: ListenerStats,
}

/// The connections of a client, without its listener's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PoolStats {
    /// Open connections.
    pub connections: u64,
    /// Of these, how many are at work.
    pub busy: u64,
    /// Of these, how many have none.
    pub idle: u64,
    /// Calls that wait for a connection; of reads, the secrets that they ask for.
    pub waiting: u64,
    /// Connections opened so far.
    pub opened: u64,
    /// Connections lost so far, or given up because no answer came.
    pub lost: u64,
}

/// How the listener is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStats {
    /// What it is doing.
    pub state: ListenerState,
    /// How often it has come back after it was lost.
    pub reconnects: u64,
    /// Why it was lost, or did not come about, last. Never a value, a password or a connection string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What the listener is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerState {
    /// There is nothing to listen for: no cache, and nobody watches.
    #[default]
    Off,
    /// It has no session, and is trying to get one. Cached values live by their time to live.
    Connecting,
    /// It hears of every change.
    Listening,
    /// It cannot hear anything through this connection. Cached values live by their time to live.
    Unavailable,
}
