//! Single flight: identical reads that are under way at the same time travel once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::bulk::Bulk;
use super::lost_work;
use crate::error::{Error, Result};
use crate::name::NameSet;
use crate::secret::{Reading, Readings};

/// Where a caller in Rust waits.
pub(super) type Receiver = oneshot::Receiver<Result<Readings>>;

/// Two reads with the same key are the same read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ReadKey {
    pub(super) business: Uuid,
    pub(super) names: NameSet,
}

/// One read and everybody who waits for it.
#[derive(Debug)]
pub(super) struct InFlightRead {
    pub(super) key: ReadKey,
    /// std Mutex: never held across an await.
    waiters: Mutex<Waiters>,
}

#[derive(Debug)]
struct Waiters {
    /// Apart from the others, so that the usual single waiter takes no allocation.
    first: Option<Waiter>,
    others: Vec<Waiter>,
    is_complete: bool,
    /// When the last of them gives up.
    deadline: Instant,
}

#[derive(Debug)]
enum Waiter {
    /// A task that awaits the outcome.
    Caller(oneshot::Sender<Result<Readings>>),
    /// A get of JavaScript's.
    Slot(Slot),
}

/// One get of a bulk.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) bulk: Arc<Bulk>,
    pub(super) number: u32,
    /// The get joined a read that was under way. Such a read may fail with the little time that its first caller had
    /// left, while this caller has more.
    pub(super) has_joined: bool,
}

/// A get that is to be read again.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) key: ReadKey,
    pub(super) slot: Slot,
}

impl Waiter {
    fn has_given_up(&self) -> bool {
        match self {
            Self::Caller(sender) => sender.is_closed(),
            Self::Slot(slot) => slot.bulk.is_over(),
        }
    }
}

impl Slot {
    fn answer(self, key: &ReadKey, outcome: Result<Reading>) -> Option<Retry> {
        if let Err(error) = &outcome
            && self.has_joined
            && error.is_transient()
            && Instant::now() < self.bulk.deadline
        {
            return Some(Retry { key: key.clone(), slot: Self { has_joined: false, ..self } });
        }
        self.bulk.answer(self.number, outcome);
        None
    }
}

impl InFlightRead {
    pub(super) fn for_caller(key: ReadKey, deadline: Instant) -> (Arc<Self>, Receiver) {
        let (sender, receiver) = oneshot::channel();
        (Self::new(key, Waiter::Caller(sender), deadline), receiver)
    }

    pub(super) fn for_slot(key: ReadKey, slot: Slot) -> Arc<Self> {
        let deadline = slot.bulk.deadline;
        Self::new(key, Waiter::Slot(slot), deadline)
    }

    fn new(key: ReadKey, first: Waiter, deadline: Instant) -> Arc<Self> {
        let waiters = Waiters { first: Some(first), others: Vec::new(), is_complete: false, deadline };
        Arc::new(Self { key, waiters: Mutex::new(waiters) })
    }

    fn join(&self, waiter: Waiter, deadline: Instant) -> bool {
        let mut waiters = self.waiters();
        if waiters.is_complete {
            return false;
        }
        waiters.others.push(waiter);
        waiters.deadline = waiters.deadline.max(deadline);
        true
    }

    fn complete(&self) -> impl DoubleEndedIterator<Item = Waiter> + use<> {
        let mut waiters = self.waiters();
        waiters.is_complete = true;
        waiters.first.take().into_iter().chain(std::mem::take(&mut waiters.others))
    }

    /// The read as a whole failed. Returns the gets that are to be read again.
    pub(super) fn fail(&self, error: &Error) -> Vec<Retry> {
        let fail = |waiter| match waiter {
            // A receiver that has given up meanwhile needs no answer.
            Waiter::Caller(sender) => {
                let _ = sender.send(Err(error.clone()));
                None
            }
            Waiter::Slot(slot) => slot.answer(&self.key, Err(error.clone())),
        };
        self.complete().filter_map(fail).collect()
    }

    /// The outcome of a read of one secret. Every waiter but the last gets a copy.
    pub(super) fn complete_one(&self, outcome: Result<Reading>) -> Vec<Retry> {
        let Some(name) = self.key.names.iter().next() else { return self.fail(&lost_work()) };
        let mut retries = Vec::new();
        let mut waiters = self.complete();
        let Some(last) = waiters.next_back() else { return retries };
        let mut tell = |waiter, outcome: Result<Reading>| match waiter {
            Waiter::Caller(sender) => {
                let readings = match outcome {
                    Err(error @ Error::BusinessNotFound { .. }) => Err(error),
                    outcome => Ok(vec![(name, outcome)]),
                };
                let _ = sender.send(readings);
            }
            Waiter::Slot(slot) => retries.extend(slot.answer(&self.key, outcome)),
        };
        for waiter in waiters {
            tell(waiter, outcome.clone());
        }
        tell(last, outcome);
        retries
    }

    /// The outcome of a read of several secrets, for which only callers in Rust wait.
    pub(super) fn complete_many(&self, outcome: &Result<Readings>) {
        for waiter in self.complete() {
            if let Waiter::Caller(sender) = waiter {
                let _ = sender.send(outcome.clone());
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.waiters().deadline
    }

    pub(super) fn is_abandoned(&self) -> bool {
        let waiters = self.waiters();
        waiters.is_complete || waiters.first.iter().chain(&waiters.others).all(Waiter::has_given_up)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reads that a further caller may join.
#[derive(Debug, Default)]
pub(super) struct InFlightReads {
    /// Looked into at every get: std's hasher, which withstands keys that are made to collide, took a tenth of the client's time.
    by_key: HashMap<ReadKey, Arc<InFlightRead>, RandomState>,
}

impl InFlightReads {
    pub(super) fn join(&self, key: &ReadKey, deadline: Instant) -> Option<Receiver> {
        let read = self.by_key.get(key)?;
        let (sender, receiver) = oneshot::channel();
        read.join(Waiter::Caller(sender), deadline).then_some(receiver)
    }

    /// Joins the slot to the read that is under way, or begins one, which is the caller's to send.
    pub(super) fn join_or_begin(&mut self, key: ReadKey, slot: Slot) -> Option<Arc<InFlightRead>> {
        let entry = self.by_key.entry(key);
        if let Entry::Occupied(read) = &entry {
            let waiter = Waiter::Slot(Slot { has_joined: true, ..slot.clone() });
            if read.get().join(waiter, slot.bulk.deadline) {
                return None;
            }
        }
        let read = InFlightRead::for_slot(entry.key().clone(), slot);
        entry.insert_entry(Arc::clone(&read));
        Some(read)
    }

    pub(super) fn insert(&mut self, read: Arc<InFlightRead>) {
        self.by_key.insert(read.key.clone(), read);
    }

    pub(super) fn remove(&mut self, read: &Arc<InFlightRead>) {
        if let Entry::Occupied(known) = self.by_key.entry(read.key.clone())
            && Arc::ptr_eq(known.get(), read)
        {
            known.remove();
        }
    }

    /// After a write, reads that were sent before it may bring the older value. Those who wait for them asked before the
    /// write was done; whoever asks from now on must not join them.
    pub(super) fn stop_joining(&mut self) {
        self.by_key.clear();
    }

    /// As `stop_joining`, after a change that somebody else made to one business.
    pub(super) fn stop_joining_business(&mut self, business: Uuid) {
        self.by_key.retain(|key, _| key.business != business);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::time::Duration;

    use super::*;
    use crate::pool::bulk::BulkSink;

    fn key() -> ReadKey {
        let name: crate::SecretName = "grok_api_key".parse().unwrap();
        ReadKey { business: Uuid::nil(), names: name.into() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    struct Ignored;

    impl BulkSink for Ignored {
        fn ready(self: Arc<Self>, _: Arc<Bulk>) {}
    }

    fn slot(sink: &Arc<Ignored>, deadline: Instant) -> Slot {
        let sink: Weak<Ignored> = Arc::downgrade(sink);
        let bulk = Bulk::new(1, 1, deadline, None, sink);
        Slot { bulk, number: 0, has_joined: false }
    }

    #[tokio::test]
    async fn everybody_who_waits_for_a_read_gets_its_outcome() {
        let (read, first) = InFlightRead::for_caller(key(), soon());
        let mut in_flight = InFlightReads::default();
        in_flight.insert(Arc::clone(&read));
        let second = in_flight.join(&key(), soon()).unwrap();
        let (sink, reading) = (Arc::new(Ignored), Reading { value: Some("xai".into()), version: 1 });
        let slot = slot(&sink, soon());
        assert!(in_flight.join_or_begin(key(), slot.clone()).is_none());
        assert!(read.complete_one(Ok(reading)).is_empty());
        for receiver in [first, second] {
            let readings = receiver.await.unwrap().unwrap();
            assert!(matches!(readings.as_slice(), [(_, Ok(Reading { version: 1, .. }))]));
        }
        assert!(matches!(slot.bulk.take().as_slice(), [(0, Ok(Reading { version: 1, .. }))]));
    }

    #[tokio::test]
    async fn a_complete_read_is_not_joined() {
        let (read, _receiver) = InFlightRead::for_caller(key(), soon());
        let mut in_flight = InFlightReads::default();
        in_flight.insert(Arc::clone(&read));
        read.fail(&Error::Closed);
        assert!(in_flight.join(&key(), soon()).is_none());
        let begun = in_flight.join_or_begin(key(), slot(&Arc::new(Ignored), soon())).unwrap();
        assert!(!Arc::ptr_eq(&read, &begun));
        in_flight.remove(&read);
        assert!(in_flight.join(&key(), soon()).is_some());
    }

    #[tokio::test]
    async fn nobody_joins_a_read_from_before_a_write() {
        let (read, _receiver) = InFlightRead::for_caller(key(), soon());
        let mut in_flight = InFlightReads::default();
        in_flight.insert(read);
        in_flight.stop_joining();
        assert!(in_flight.join(&key(), soon()).is_none());
    }

    #[tokio::test]
    async fn a_later_read_is_not_removed_in_place_of_an_earlier_one() {
        let (early, _a) = InFlightRead::for_caller(key(), soon());
        let (late, _b) = InFlightRead::for_caller(key(), soon());
        let mut in_flight = InFlightReads::default();
        in_flight.insert(late);
        in_flight.remove(&early);
        assert!(in_flight.join(&key(), soon()).is_some());
    }

    #[tokio::test]
    async fn a_read_lasts_as_long_as_its_most_patient_caller() {
        let (read, first) = InFlightRead::for_caller(key(), soon());
        let (sink, later) = (Arc::new(Ignored), soon() + Duration::from_secs(5));
        let slot = slot(&sink, later);
        assert!(read.join(Waiter::Slot(slot.clone()), later));
        assert_eq!(read.deadline(), later);
        drop(first);
        assert!(!read.is_abandoned());
        slot.bulk.answer(0, Err(Error::Closed));
        assert!(read.is_abandoned());
    }

    #[tokio::test]
    async fn a_get_that_joined_a_read_is_read_again_once_where_that_may_help() {
        let (sink, read) = (Arc::new(Ignored), InFlightRead::for_caller(key(), soon()).0);
        let joined = Slot { has_joined: true, ..slot(&sink, soon()) };
        assert!(read.join(Waiter::Slot(joined.clone()), soon()));
        let retries = read.fail(&Error::unavailable("reset"));
        let [Retry { slot, .. }] = retries.as_slice() else { panic!("{retries:?}") };
        assert!(!slot.has_joined && joined.bulk.take().is_empty());
        let again = InFlightRead::for_slot(key(), slot.clone());
        assert!(again.fail(&Error::unavailable("reset")).is_empty());
        assert_eq!(joined.bulk.take().len(), 1);
    }
}
