//! Keeps what was read before a change from being stored after it.
//!
//! A read notes the time at which it begins, in changes; what changes meanwhile spoils it. Businesses that nobody
//! reads or writes take no memory, however many changes of theirs are announced.

use std::collections::HashMap;

use uuid::Uuid;

use crate::catalogue::SecretName;

/// Who is reading and writing which business right now.
#[derive(Debug, Default)]
pub(super) struct Fences {
    by_business: HashMap<Uuid, Fence>,
    /// The time, in changes.
    changes: u64,
    /// When everything may have changed last.
    all_changed_at: u64,
}

#[derive(Debug, Default)]
struct Fence {
    reads: usize,
    writes: usize,
    changed_at: u64,
    /// The secrets that changed, when, and to which version: one for each name at the most.
    announced: Vec<(SecretName, u64, i64)>,
}

/// When a read began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start(u64);

impl Fences {
    pub(super) fn begin_read(&mut self, business: Uuid) -> Start {
        self.by_business.entry(business).or_default().reads += 1;
        Start(self.changes)
    }

    pub(super) fn end_read(&mut self, business: Uuid) {
        self.leave(business, |fence| fence.reads -= 1);
    }

    /// Until it ends nothing of the business may be stored: it could be from before the write as well as from after.
    pub(super) fn begin_write(&mut self, business: Uuid) {
        self.by_business.entry(business).or_default().writes += 1;
    }

    pub(super) fn end_write(&mut self, business: Uuid) {
        self.changed(business);
        self.leave(business, |fence| fence.writes -= 1);
    }

    fn leave(&mut self, business: Uuid, leave: impl FnOnce(&mut Fence)) {
        if let Some(fence) = self.by_business.get_mut(&business) {
            leave(fence);
            if fence.reads == 0 && fence.writes == 0 {
                self.by_business.remove(&business);
            }
        }
    }

    pub(super) fn changed(&mut self, business: Uuid) {
        if let Some(fence) = self.by_business.get_mut(&business) {
            self.changes += 1;
            fence.changed_at = self.changes;
        }
    }

    /// What is read of it at that version or a later one is as good as new.
    pub(super) fn announced(&mut self, business: Uuid, versions: &[(SecretName, i64)]) {
        let Some(fence) = self.by_business.get_mut(&business) else { return };
        self.changes += 1;
        for &(name, version) in versions {
            match fence.announced.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, at, newest)) => (*at, *newest) = (self.changes, version.max(*newest)),
                None => fence.announced.push((name, self.changes, version)),
            }
        }
    }

    pub(super) fn all_changed(&mut self) {
        self.changes += 1;
        self.all_changed_at = self.changes;
    }

    /// Whether a read that began then may still be stored.
    pub(super) fn admits(&self, business: Uuid, start: Start) -> bool {
        let fence = self.by_business.get(&business);
        fence.is_some_and(|fence| fence.writes == 0 && fence.changed_at.max(self.all_changed_at) <= start.0)
    }

    /// Likewise, of what was read at that version.
    pub(super) fn admits_version(
        &self,
        business: Uuid,
        start: Start,
        name: SecretName,
        version: i64,
    ) -> bool {
        let announced =
            self.by_business.get(&business).map(|fence| fence.announced.as_slice()).unwrap_or_default();
        let newer = |&&(known, at, newest): &&(_, _, _)| known == name && at > start.0 && newest > version;
        announced.iter().find(newer).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_change_spoils_the_reads_of_its_business_that_began_before_it() {
        let mut fences = Fences::default();
        let (before, unrelated) = (fences.begin_read(ONE), fences.begin_read(OTHER));
        fences.changed(ONE);
        let after = fences.begin_read(ONE);
        assert!(!fences.admits(ONE, before));
        assert!(fences.admits(ONE, after));
        assert!(fences.admits(OTHER, unrelated));
        fences.all_changed();
        assert!(!fences.admits(ONE, after));
        assert!(!fences.admits(OTHER, unrelated));
    }

    #[test]
    fn a_read_at_the_announced_version_is_admitted_and_a_later_read_at_any() {
        const GROK: SecretName = SecretName::GrokApiKey;
        let mut fences = Fences::default();
        let before = fences.begin_read(ONE);
        fences.announced(ONE, &[(GROK, 4)]);
        let after = fences.begin_read(ONE);
        assert!(fences.admits(ONE, before));
        assert!(!fences.admits_version(ONE, before, GROK, 3));
        assert!(fences.admits_version(ONE, before, GROK, 4));
        assert!(fences.admits_version(ONE, before, SecretName::GeminiApiKey, 1));
        assert!(fences.admits_version(ONE, after, GROK, 3));
    }

    #[test]
    fn nothing_that_overlaps_a_write_is_admitted() {
        let mut fences = Fences::default();
        let before = fences.begin_read(ONE);
        fences.begin_write(ONE);
        let during = fences.begin_read(ONE);
        assert!(!fences.admits(ONE, before) && !fences.admits(ONE, during));
        fences.end_write(ONE);
        assert!(!fences.admits(ONE, before) && !fences.admits(ONE, during));
        let after = fences.begin_read(ONE);
        assert!(fences.admits(ONE, after));
    }

    #[test]
    fn what_nobody_reads_or_writes_takes_no_memory() {
        let mut fences = Fences::default();
        for business in 0..10_000 {
            fences.changed(Uuid::from_u128(business));
        }
        fences.begin_read(ONE);
        fences.begin_write(ONE);
        fences.end_write(ONE);
        fences.end_read(ONE);
        assert!(fences.by_business.is_empty());
    }
}
