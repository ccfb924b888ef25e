//! Decides whether what a read brought may be cached, although something may have changed while it was under way.
//!
//! Every change advances an epoch. A read records the epoch at its start; its result is cached only if nothing that
//! concerns it has changed since. Only businesses with a read or a write under way take memory, however many changes of
//! others are announced.

use std::collections::HashMap;

use uuid::Uuid;

use crate::name::SecretName;

/// The reads and writes that are under way, and what changed while they were.
#[derive(Debug, Default)]
pub(super) struct Invalidations {
    by_business: HashMap<Uuid, Business>,
    /// The current epoch.
    changes: u64,
    /// The epoch in which everything may have changed last.
    everything_changed_at: u64,
}

#[derive(Debug, Default)]
struct Business {
    reads: usize,
    writes: usize,
    changed_at: u64,
    /// The announced changes: name, epoch and version, at most one for each name.
    announced: Vec<(SecretName, u64, i64)>,
}

/// The epoch in which a read began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch(u64);

impl Invalidations {
    pub(super) fn begin_read(&mut self, business: Uuid) -> Epoch {
        self.by_business.entry(business).or_default().reads += 1;
        Epoch(self.changes)
    }

    pub(super) fn end_read(&mut self, business: Uuid) {
        self.leave(business, |business| business.reads -= 1);
    }

    /// Until the write ends nothing of the business may be cached: a read could bring the value of before it or of after it.
    pub(super) fn begin_write(&mut self, business: Uuid) {
        self.by_business.entry(business).or_default().writes += 1;
    }

    pub(super) fn end_write(&mut self, business: Uuid) {
        self.changed(business);
        self.leave(business, |business| business.writes -= 1);
    }

    fn leave(&mut self, business: Uuid, leave: impl FnOnce(&mut Business)) {
        if let Some(reads_and_writes) = self.by_business.get_mut(&business) {
            leave(reads_and_writes);
            if reads_and_writes.reads == 0 && reads_and_writes.writes == 0 {
                self.by_business.remove(&business);
            }
        }
    }

    pub(super) fn changed(&mut self, business: Uuid) {
        if let Some(business) = self.by_business.get_mut(&business) {
            self.changes += 1;
            business.changed_at = self.changes;
        }
    }

    /// What a read under way brings at that version or a later one may still be cached.
    pub(super) fn announced(&mut self, business: Uuid, versions: &[(SecretName, i64)]) {
        let Some(business) = self.by_business.get_mut(&business) else { return };
        self.changes += 1;
        for &(name, version) in versions {
            match business.announced.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, at, newest)) => (*at, *newest) = (self.changes, version.max(*newest)),
                None => business.announced.push((name, self.changes, version)),
            }
        }
    }

    pub(super) fn everything_changed(&mut self) {
        self.changes += 1;
        self.everything_changed_at = self.changes;
    }

    /// Whether the result of a read that began in that epoch may be cached.
    pub(super) fn is_current(&self, business: Uuid, since: Epoch) -> bool {
        let business = self.by_business.get(&business);
        business.is_some_and(|business| {
            business.writes == 0 && business.changed_at.max(self.everything_changed_at) <= since.0
        })
    }

    /// As `is_current`, for one secret that was read at that version.
    pub(super) fn is_current_at(&self, business: Uuid, since: Epoch, name: SecretName, version: i64) -> bool {
        let announced =
            self.by_business.get(&business).map(|business| business.announced.as_slice()).unwrap_or_default();
        let newer = |&&(known, at, newest): &&(_, _, _)| known == name && at > since.0 && newest > version;
        announced.iter().find(newer).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_change_invalidates_the_reads_of_its_business_that_began_before_it() {
        let mut invalidations = Invalidations::default();
        let (before, unrelated) = (invalidations.begin_read(ONE), invalidations.begin_read(OTHER));
        invalidations.changed(ONE);
        let after = invalidations.begin_read(ONE);
        assert!(!invalidations.is_current(ONE, before));
        assert!(invalidations.is_current(ONE, after));
        assert!(invalidations.is_current(OTHER, unrelated));
        invalidations.everything_changed();
        assert!(!invalidations.is_current(ONE, after));
        assert!(!invalidations.is_current(OTHER, unrelated));
    }

    #[test]
    fn a_read_at_the_announced_version_is_current_and_a_later_read_at_any() {
        let [grok, gemini] = ["grok_api_key", "gemini_api_key"].map(|name| name.parse().unwrap());
        let mut invalidations = Invalidations::default();
        let before = invalidations.begin_read(ONE);
        invalidations.announced(ONE, &[(grok, 4)]);
        let after = invalidations.begin_read(ONE);
        assert!(invalidations.is_current(ONE, before));
        assert!(!invalidations.is_current_at(ONE, before, grok, 3));
        assert!(invalidations.is_current_at(ONE, before, grok, 4));
        assert!(invalidations.is_current_at(ONE, before, gemini, 1));
        assert!(invalidations.is_current_at(ONE, after, grok, 3));
    }

    #[test]
    fn nothing_that_overlaps_a_write_is_current() {
        let mut invalidations = Invalidations::default();
        let before = invalidations.begin_read(ONE);
        invalidations.begin_write(ONE);
        let during = invalidations.begin_read(ONE);
        assert!(!invalidations.is_current(ONE, before) && !invalidations.is_current(ONE, during));
        invalidations.end_write(ONE);
        assert!(!invalidations.is_current(ONE, before) && !invalidations.is_current(ONE, during));
        let after = invalidations.begin_read(ONE);
        assert!(invalidations.is_current(ONE, after));
    }

    #[test]
    fn what_nobody_reads_or_writes_takes_no_memory() {
        let mut invalidations = Invalidations::default();
        for business in 0..10_000 {
            invalidations.changed(Uuid::from_u128(business));
        }
        invalidations.begin_read(ONE);
        invalidations.begin_write(ONE);
        invalidations.end_write(ONE);
        invalidations.end_read(ONE);
        assert!(invalidations.by_business.is_empty());
    }
}
