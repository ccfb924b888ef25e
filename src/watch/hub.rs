//! The watchers of one client, and the events that wait for each of them.
//!
//! A slow watcher finds one event for each business, with everything that changed meanwhile. A still slower one finds a
//! single `Resync`: the memory for what waits is bounded.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::{Event, Filter};
use crate::secret::Versions;

/// The most businesses whose changes wait for one watcher.
const MAX_WAITING: usize = 256;

/// All watchers of one client.
#[derive(Debug, Default)]
pub(super) struct Hub {
    /// std Mutex: never held across an await. Taken before a mailbox's.
    mailboxes: Mutex<HashMap<u64, Arc<Mailbox>>>,
}

impl Hub {
    pub(super) fn insert(&self, number: u64, mailbox: Arc<Mailbox>) {
        self.mailboxes().insert(number, mailbox);
    }

    pub(super) fn remove(&self, number: u64) {
        self.mailboxes().remove(&number);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.mailboxes().is_empty()
    }

    pub(super) fn changed(&self, business: Uuid, versions: &Versions) {
        for mailbox in self.mailboxes().values() {
            mailbox.changed(business, versions);
        }
    }

    /// Every secret of that business may have changed.
    pub(super) fn resync_business(&self, business: Uuid) {
        for mailbox in self.mailboxes().values().filter(|mailbox| mailbox.concerns(business)) {
            mailbox.resync();
        }
    }

    pub(super) fn resync(&self) {
        for mailbox in self.mailboxes().values() {
            mailbox.resync();
        }
    }

    /// Ends every watcher.
    pub(super) fn close(&self) {
        for mailbox in mem::take(&mut *self.mailboxes()).values() {
            mailbox.close();
        }
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mailbox>>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for one watcher.
#[derive(Debug)]
pub(super) struct Mailbox {
    filter: Filter,
    /// std Mutex: never held across an await.
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug)]
enum Waiting {
    /// In the order of their first change.
    Changes(Vec<(Uuid, Versions)>),
    /// Any further change is part of it.
    Resync,
    Closed,
}

impl Mailbox {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, waiting: Mutex::new(Waiting::Changes(Vec::new())), arrived: Notify::new() }
    }

    /// The next event; `None` once it is closed. To be awaited by one task at a time.
    pub(super) async fn next(&self) -> Option<Event> {
        loop {
            match &mut *self.waiting() {
                Waiting::Closed => return None,
                waiting @ Waiting::Resync => {
                    *waiting = Waiting::Changes(Vec::new());
                    return Some(Event::Resync);
                }
                Waiting::Changes(changes) if !changes.is_empty() => {
                    let (business, versions) = changes.remove(0);
                    return Some(Event::Changed { business, versions });
                }
                Waiting::Changes(_) => {}
            }
            // A permit is kept where it arrived just now.
            self.arrived.notified().await;
        }
    }

    fn concerns(&self, business: Uuid) -> bool {
        self.filter.business.is_none_or(|wanted| wanted == business)
    }

    fn changed(&self, business: Uuid, versions: &Versions) {
        if !self.concerns(business) {
            return;
        }
        let wanted = |name| self.filter.names.is_empty() || self.filter.names.contains(name);
        let versions: Versions = versions.iter().copied().filter(|(name, _)| wanted(*name)).collect();
        if versions.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        let Waiting::Changes(changes) = &mut *waiting else { return };
        if let Some((_, earlier)) = changes.iter_mut().find(|(waits, _)| *waits == business) {
            merge(earlier, versions);
        } else if changes.len() < MAX_WAITING {
            changes.push((business, versions));
        } else {
            *waiting = Waiting::Resync;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn resync(&self) {
        let mut waiting = self.waiting();
        if let Waiting::Changes(_) = *waiting {
            *waiting = Waiting::Resync;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    pub(super) fn close(&self) {
        *self.waiting() = Waiting::Closed;
        self.arrived.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(earlier: &mut Versions, later: Versions) {
    for (name, version) in later {
        match earlier.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = version.max(*known),
            None => earlier.push((name, version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::SecretName;

    const ONE: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn grok() -> SecretName {
        "grok_api_key".parse().unwrap()
    }

    fn gemini() -> SecretName {
        "gemini_api_key".parse().unwrap()
    }

    fn watching(filter: Filter) -> (Hub, Arc<Mailbox>) {
        let (hub, mailbox) = (Hub::default(), Arc::new(Mailbox::new(filter)));
        hub.insert(1, Arc::clone(&mailbox));
        (hub, mailbox)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as what it is compared with")]
    fn changed(business: Uuid, versions: &[(SecretName, i64)]) -> Option<Event> {
        Some(Event::Changed { business, versions: versions.to_vec() })
    }

    #[tokio::test]
    async fn a_slow_watcher_finds_one_event_a_business_with_all_its_names() {
        let (hub, mailbox) = watching(Filter::default());
        hub.changed(ONE, &vec![(grok(), 4)]);
        hub.changed(OTHER, &vec![(grok(), 1)]);
        hub.changed(ONE, &vec![(grok(), 5), (gemini(), 2)]);
        hub.changed(ONE, &vec![(grok(), 4)]);
        assert_eq!(mailbox.next().await, changed(ONE, &[(grok(), 5), (gemini(), 2)]));
        assert_eq!(mailbox.next().await, changed(OTHER, &[(grok(), 1)]));
        hub.close();
        assert_eq!(mailbox.next().await, None);
    }

    #[tokio::test]
    async fn a_resync_takes_the_place_of_all_that_waits() {
        let (hub, mailbox) = watching(Filter::default());
        hub.changed(ONE, &vec![(grok(), 4)]);
        hub.resync();
        hub.changed(ONE, &vec![(grok(), 5)]);
        assert_eq!(mailbox.next().await, Some(Event::Resync));
        hub.changed(ONE, &vec![(grok(), 6)]);
        assert_eq!(mailbox.next().await, changed(ONE, &[(grok(), 6)]));
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let (hub, mailbox) = watching(Filter::default());
        for business in 0..100_000 {
            hub.changed(Uuid::from_u128(business), &vec![(grok(), 1)]);
        }
        assert_eq!(mailbox.next().await, Some(Event::Resync));
        hub.close();
        assert_eq!(mailbox.next().await, None);
    }

    #[tokio::test]
    async fn a_filter_lets_through_what_it_names() {
        let (hub, mailbox) = watching(Filter { business: Some(ONE), names: grok().into() });
        hub.changed(OTHER, &vec![(grok(), 1)]);
        hub.changed(ONE, &vec![(gemini(), 1)]);
        hub.changed(ONE, &vec![(gemini(), 2), (grok(), 7)]);
        assert_eq!(mailbox.next().await, changed(ONE, &[(grok(), 7)]));
    }

    #[tokio::test]
    async fn a_watcher_that_waits_is_woken() {
        let (hub, mailbox) = watching(Filter::default());
        let waiter = Arc::clone(&mailbox);
        let waiter = tokio::spawn(async move { waiter.next().await });
        tokio::task::yield_now().await;
        hub.resync();
        assert_eq!(waiter.await.unwrap(), Some(Event::Resync));
    }
}
