//! One secret as it was read, and for how long that counts.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

/// A secret as it was read.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` where it is not set. Wiped when the last of those who look at it is done.
    pub(super) value: Option<Arc<SecretString>>,
    pub(super) version: i64,
    /// Secrets that were read together have the same one: only these may be answered together.
    pub(super) snapshot: u64,
    fresh_until: Instant,
    stale_until: Instant,
}

impl Entry {
    pub(super) fn new(
        value: Option<Arc<SecretString>>,
        version: i64,
        snapshot: u64,
        ttl: Duration,
        stale: Duration,
    ) -> Self {
        let fresh_until = Instant::now() + ttl;
        Self { value, version, snapshot, fresh_until, stale_until: fresh_until + stale }
    }

    /// From now on it counts as stale, for as long as that lasts.
    pub(super) fn expire(&mut self, now: Instant, stale: Duration) {
        self.fresh_until = self.fresh_until.min(now);
        self.stale_until = self.stale_until.min(now + stale);
    }

    pub(super) fn is(&self, quality: Quality, now: Instant) -> bool {
        now < match quality {
            Quality::Fresh => self.fresh_until,
            Quality::Stale => self.stale_until,
        }
    }
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quality {
    /// Read less than its time to live ago.
    Fresh,
    /// Still good enough for an outage.
    Stale,
}
