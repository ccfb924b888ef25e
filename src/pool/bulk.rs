//! The gets of one turn of a JavaScript thread: one deadline and one message back for all that are answered together.
//!
//! A get is a slot of a bulk. It has no channel, task or timer of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Result};
use crate::secret::Reading;

/// Where the answers go. Told once for all answers that come before it takes them.
pub(crate) trait BulkSink: Send + Sync {
    fn ready(self: Arc<Self>, bulk: Arc<Bulk>);
}

/// Sees each answer once, and may replace it: this is where a cache stores, revokes and stands in.
pub(crate) type Finish = Box<dyn Fn(u32, Result<Reading>) -> Result<Reading> + Send + Sync>;

/// The answers of some slots.
pub(crate) type Answers = Vec<(u32, Result<Reading>)>;

/// The gets of one turn.
pub(crate) struct Bulk {
    /// By which JavaScript knows the bulk.
    pub(crate) token: u32,
    pub(crate) deadline: Instant,
    finish: Option<Finish>,
    sink: Weak<dyn BulkSink>,
    /// std Mutex: never held across an await.
    progress: Mutex<Progress>,
}

struct Progress {
    is_answered: Vec<bool>,
    /// How many slots have no answer.
    unanswered: usize,
    /// Answers that the sink has not taken.
    ready: Answers,
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Bulk {
    pub(crate) fn new(
        token: u32,
        slots: usize,
        deadline: Instant,
        finish: Option<Finish>,
        sink: Weak<dyn BulkSink>,
    ) -> Arc<Self> {
        let ready = Vec::with_capacity(slots);
        let progress = Progress { is_answered: vec![false; slots], unanswered: slots, ready };
        Arc::new(Self { token, deadline, finish, sink, progress: Mutex::new(progress) })
    }

    /// The first answer of a slot counts; what comes after the deadline is dropped.
    pub(crate) fn answer(self: &Arc<Self>, slot: u32, outcome: Result<Reading>) {
        let Some(finish) = &self.finish else {
            let mut progress = self.progress();
            if progress.claim(slot) {
                self.deliver(progress, slot, outcome);
            }
            return;
        };
        // Apart from the delivery: it takes the cache's lock.
        if self.progress().claim(slot) {
            let outcome = finish(slot, outcome);
            self.deliver(self.progress(), slot, outcome);
        }
    }

    fn deliver(
        self: &Arc<Self>,
        mut progress: MutexGuard<'_, Progress>,
        slot: u32,
        outcome: Result<Reading>,
    ) {
        progress.ready.push((slot, outcome));
        let is_first = progress.ready.len() == 1;
        drop(progress);
        if is_first && let Some(sink) = self.sink.upgrade() {
            sink.ready(Arc::clone(self));
        }
    }

    /// The answers that came since the last time.
    #[cfg_attr(not(feature = "node"), allow(dead_code, reason = "only the binding takes them"))]
    pub(crate) fn take(&self) -> Answers {
        std::mem::take(&mut self.progress().ready)
    }

    /// Nobody waits for an answer any more.
    pub(super) fn is_over(&self) -> bool {
        self.progress().unanswered == 0 || self.sink.strong_count() == 0
    }

    /// The deadline has come: slots without an answer get that error.
    fn expire(self: &Arc<Self>, error: impl Fn() -> Error) {
        let open: Vec<usize> = {
            let progress = self.progress();
            (0..progress.is_answered.len()).filter(|slot| !progress.is_answered[*slot]).collect()
        };
        for slot in open {
            self.answer(u32::try_from(slot).unwrap_or(u32::MAX), Err(error()));
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Whether the slot had no answer yet.
    fn claim(&mut self, slot: u32) -> bool {
        let Some(is_answered) = self.is_answered.get_mut(slot as usize) else { return false };
        let is_first = !std::mem::replace(is_answered, true);
        self.unanswered -= usize::from(is_first);
        is_first
    }
}

/// The deadlines of one client's bulks. At most one task waits for them, and it ends when there is no bulk left.
#[derive(Default)]
pub(super) struct Deadlines {
    /// std Mutex: never held across an await.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    has_task: bool,
    /// In the order of their deadlines: all of one client have the same time.
    bulks: VecDeque<Weak<Bulk>>,
}

impl Deadlines {
    /// `error` says why a bulk was not answered by its deadline.
    pub(super) fn add(
        self: &Arc<Self>,
        bulk: &Arc<Bulk>,
        runtime: &Handle,
        error: impl Fn() -> Error + Send + 'static,
    ) {
        let mut waiting = self.waiting();
        waiting.forget_answered();
        waiting.bulks.push_back(Arc::downgrade(bulk));
        if !std::mem::replace(&mut waiting.has_task, true) {
            drop(waiting);
            drop(runtime.spawn(Self::sweep(Arc::downgrade(self), bulk.deadline, error)));
        }
    }

    async fn sweep(deadlines: Weak<Self>, first: Instant, error: impl Fn() -> Error) {
        let mut next = first;
        loop {
            sleep_until(next).await;
            let Some(deadlines) = deadlines.upgrade() else { return };
            let due = deadlines.take_due();
            for bulk in due {
                bulk.expire(&error);
            }
            let mut waiting = deadlines.waiting();
            waiting.forget_answered();
            match waiting.bulks.front().and_then(Weak::upgrade) {
                Some(bulk) => next = bulk.deadline,
                // The first of them was answered this very moment.
                None if !waiting.bulks.is_empty() => {}
                None => {
                    waiting.has_task = false;
                    return;
                }
            }
        }
    }

    fn take_due(&self) -> Vec<Arc<Bulk>> {
        let (mut due, now) = (Vec::new(), Instant::now());
        let mut waiting = self.waiting();
        while let Some(bulk) = waiting.bulks.front() {
            match bulk.upgrade() {
                Some(bulk) if bulk.deadline > now => break,
                bulk => due.extend(bulk),
            }
            waiting.bulks.pop_front();
        }
        due
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget_answered(&mut self) {
        while self.bulks.front().is_some_and(|bulk| bulk.strong_count() == 0) {
            self.bulks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Told(AtomicUsize);

    impl BulkSink for Told {
        fn ready(self: Arc<Self>, _: Arc<Bulk>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bulk(slots: usize) -> (Arc<Told>, Arc<Bulk>) {
        let told = Arc::new(Told::default());
        let sink: Arc<dyn BulkSink> = Arc::clone(&told) as _;
        let deadline = Instant::now() + Duration::from_secs(1);
        (told, Bulk::new(7, slots, deadline, None, Arc::downgrade(&sink)))
    }

    fn reading() -> Reading {
        Reading { value: None, version: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_come_together_are_told_once() {
        let (told, bulk) = bulk(3);
        bulk.answer(0, Ok(reading()));
        bulk.answer(2, Ok(reading()));
        assert_eq!((told.0.load(Ordering::Relaxed), bulk.take().len()), (1, 2));
        bulk.answer(1, Ok(reading()));
        assert_eq!((told.0.load(Ordering::Relaxed), bulk.take().len()), (2, 1));
        assert!(bulk.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_answered_once() {
        let (_told, bulk) = bulk(1);
        bulk.answer(0, Err(Error::Closed));
        bulk.answer(0, Ok(reading()));
        bulk.answer(9, Ok(reading()));
        assert!(matches!(bulk.take().as_slice(), [(0, Err(Error::Closed))]));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_the_rest_fails_and_the_task_ends_with_the_last_bulk() {
        let (_told, bulk) = bulk(2);
        let deadlines = Arc::new(Deadlines::default());
        deadlines.add(&bulk, &Handle::current(), || Error::unavailable("late"));
        bulk.answer(1, Ok(reading()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answers = bulk.take();
        assert!(matches!(answers.as_slice(), [(1, Ok(_)), (0, Err(Error::Unavailable { .. }))]));
        assert!(!deadlines.waiting().has_task);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_at_answers_may_replace_them() {
        let told: Arc<dyn BulkSink> = Arc::new(Told::default());
        let finish: Finish = Box::new(|_, outcome| outcome.or(Ok(Reading { value: None, version: 9 })));
        let bulk = Bulk::new(1, 1, Instant::now(), Some(finish), Arc::downgrade(&told));
        bulk.answer(0, Err(Error::Closed));
        assert!(matches!(bulk.take().as_slice(), [(0, Ok(Reading { version: 9, .. }))]));
    }
}
