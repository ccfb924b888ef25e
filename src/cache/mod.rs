//! Caches decrypted secrets. Knows nothing of PostgreSQL, and when an older value may stand in for a fresh one is for
//! the client to decide.
//!
//! Nothing in here is ever corrected: what may have changed is dropped, and read again by whoever asks for it next.

mod entry;
mod invalidation;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lru::LruCache;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::entry::{Entry, Quality};
use self::invalidation::{Epoch, Invalidations};
use crate::config::CachePolicy;
use crate::error::Result;
use crate::name::{NameSet, SecretName};
use crate::secret::{Reading, Values};
use crate::stats::Counters;

/// The secrets that were read lately.
#[derive(Debug)]
pub(crate) struct Cache {
    policy: CachePolicy,
    counters: Arc<Counters>,
    /// std Mutex: never held across an await.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    is_open: bool,
    /// The least recently used last.
    entries: LruCache<(Uuid, SecretName), Entry>,
    invalidations: Invalidations,
    /// Counts what was stored together.
    snapshots: u64,
}

impl Cache {
    pub(crate) fn new(policy: CachePolicy, counters: Arc<Counters>) -> Self {
        let state = State {
            is_open: true,
            // Bounded by `store`: a bounded one would take the memory for all entries at once.
            entries: LruCache::unbounded(),
            invalidations: Invalidations::default(),
            snapshots: 0,
        };
        Self { policy, counters, state: Mutex::new(state) }
    }

    /// One secret, where it is known.
    #[expect(clippy::option_option, reason = "known or not, and if so, set or not")]
    pub(crate) fn get(&self, business: Uuid, name: SecretName) -> Option<Option<Arc<SecretString>>> {
        let now = Instant::now();
        let mut state = self.state();
        let entry = state.entries.get(&(business, name)).filter(|entry| entry.is(Quality::Fresh, now));
        let value = entry.map(|entry| entry.value.clone());
        drop(state);
        if let Some(value) = &value {
            self.counters.hits.add(1);
            self.counters.negative_hits.add(usize::from(value.is_none()));
        }
        value
    }

    /// Several secrets, where all of them are known from one snapshot: keys that work only together also change
    /// together.
    pub(crate) fn get_many(&self, business: Uuid, names: &NameSet) -> Option<Values> {
        let values = self.together(business, names, Quality::Fresh)?;
        self.counters.hits.add(values.len());
        self.counters.negative_hits.add(values.iter().filter(|(_, value)| value.is_none()).count());
        Some(values)
    }

    /// What was known before it expired, within the policy's bound.
    pub(crate) fn stale(&self, business: Uuid, names: &NameSet) -> Option<Values> {
        let values = self.together(business, names, Quality::Stale)?;
        self.counters.stale_served.add(values.len());
        Some(values)
    }

    fn together(&self, business: Uuid, names: &NameSet, quality: Quality) -> Option<Values> {
        let now = Instant::now();
        let mut state = self.state();
        let mut snapshot = None;
        names
            .iter()
            .map(|name| {
                let entry = state.entries.get(&(business, name)).filter(|entry| entry.is(quality, now))?;
                let is_same = *snapshot.get_or_insert(entry.snapshot) == entry.snapshot;
                is_same.then(|| (name, entry.value.as_deref().cloned()))
            })
            .collect()
    }

    /// To be called before a read of what is not cached is sent. The guard stores what the read brings.
    pub(crate) fn begin_read(self: &Arc<Self>, business: Uuid, secrets: usize) -> ReadGuard {
        self.counters.misses.add(secrets);
        let epoch = self.state().invalidations.begin_read(business);
        ReadGuard { cache: Arc::clone(self), business, epoch }
    }

    /// To be held while a write is under way. Drops the secrets concerned now and when the guard is dropped.
    pub(crate) fn begin_write(self: &Arc<Self>, business: Uuid, names: NameSet) -> WriteGuard {
        self.state().invalidations.begin_write(business);
        self.forget(business, &names);
        WriteGuard { cache: Arc::clone(self), business, names }
    }

    /// Secrets have changed. What is known at that version or a later one stays.
    pub(crate) fn changed(&self, business: Uuid, versions: &[(SecretName, i64)]) {
        let mut state = self.state();
        state.invalidations.announced(business, versions);
        let is_outdated = |&&(name, version): &&(SecretName, i64)| {
            state.entries.peek(&(business, name)).is_some_and(|entry| entry.version < version)
        };
        let outdated: NameSet = versions.iter().filter(is_outdated).map(|(name, _)| *name).collect();
        self.counters.invalidations.add(state.remove(business, &outdated));
    }

    /// Drops secrets of one business.
    pub(crate) fn forget(&self, business: Uuid, names: &NameSet) {
        let mut state = self.state();
        state.invalidations.changed(business);
        self.counters.invalidations.add(state.remove(business, names));
    }

    /// Drops every secret of one business.
    pub(crate) fn forget_business(&self, business: Uuid) {
        self.forget(business, &SecretName::met().collect());
    }

    /// Drops everything.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.invalidations.everything_changed();
        self.counters.invalidations.add(state.entries.len());
        state.entries.clear();
    }

    /// Drops everything, except that the policy may keep stale values for an outage: a lost listener usually means one.
    pub(crate) fn expire_all(&self) {
        if self.policy.max_stale.is_zero() {
            return self.clear();
        }
        let now = Instant::now();
        let mut state = self.state();
        state.invalidations.everything_changed();
        self.counters.invalidations.add(state.entries.len());
        for (_, entry) in &mut state.entries {
            entry.expire(now, self.policy.max_stale);
        }
    }

    /// Drops everything and takes in no more.
    pub(crate) fn close(&self) {
        self.state().is_open = false;
        self.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.state().entries.len()
    }

    /// Wipes what is of no use any more, for as long as the cache exists. Otherwise a value that nobody asks for again
    /// would stay in memory until it is evicted.
    pub(crate) async fn sweep(cache: Weak<Self>) {
        while let Some(period) = cache.upgrade().map(|cache| cache.policy.ttl.max(Duration::from_secs(1))) {
            sleep(period).await;
            if let Some(cache) = cache.upgrade() {
                cache.remove_expired();
            }
        }
    }

    fn remove_expired(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let expired = state.entries.iter().filter(|(_, entry)| !entry.is(Quality::Stale, now));
        let expired: Vec<_> = expired.map(|(key, _)| *key).collect();
        for key in expired {
            state.entries.pop(&key);
        }
    }

    fn store(&self, business: Uuid, epoch: Epoch, readings: &[(SecretName, Result<Reading>)]) {
        // Entries that were stored at the same time would expire at the same time, and all be read again then. Those
        // of one read stay together.
        let jitter = 0.9 + fastrand::f64() / 5.0;
        let mut state = self.state();
        let failed: NameSet =
            readings.iter().filter(|(_, reading)| reading.is_err()).map(|(name, _)| *name).collect();
        self.counters.invalidations.add(state.remove(business, &failed));
        if !state.is_open || !state.invalidations.is_current(business, epoch) {
            return;
        }
        state.snapshots += 1;
        let now = Instant::now();
        for (name, reading) in readings {
            let (key, Ok(reading)) = ((business, *name), reading) else { continue };
            if !state.invalidations.is_current_at(business, epoch, *name, reading.version) {
                continue;
            }
            // Two reads overlapped, and the later one was answered first.
            let is_older = |entry: &Entry| entry.version > reading.version && entry.is(Quality::Fresh, now);
            if state.entries.peek(&key).is_some_and(is_older) {
                continue;
            }
            let ttl = if reading.value.is_some() { self.policy.ttl } else { self.policy.negative_ttl };
            let (value, snapshot) = (reading.value.clone().map(Arc::new), state.snapshots);
            let entry =
                Entry::new(value, reading.version, snapshot, ttl.mul_f64(jitter), self.policy.max_stale);
            state.entries.put(key, entry);
            if state.entries.len() > self.policy.max_entries.get() {
                state.entries.pop_lru();
                self.counters.evictions.add(1);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, business: Uuid, names: &NameSet) -> usize {
        names.iter().filter(|name| self.entries.pop(&(business, *name)).is_some()).count()
    }
}

/// A read under way.
#[derive(Debug)]
pub(crate) struct ReadGuard {
    cache: Arc<Cache>,
    business: Uuid,
    epoch: Epoch,
}

impl ReadGuard {
    /// Caches what was read, unless it may have changed since the read began.
    pub(crate) fn store(&self, readings: &[(SecretName, Result<Reading>)]) {
        self.cache.store(self.business, self.epoch, readings);
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.cache.state().invalidations.end_read(self.business);
    }
}

/// A write under way.
#[derive(Debug)]
pub(crate) struct WriteGuard {
    cache: Arc<Cache>,
    business: Uuid,
    names: NameSet,
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        self.cache.forget(self.business, &self.names);
        self.cache.state().invalidations.end_write(self.business);
    }
}

#[cfg(test)]
mod tests;
