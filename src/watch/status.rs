//! How the listener is doing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::stats::{ListenerState, ListenerStats};

#[derive(Debug, Default)]
pub(super) struct ListenerStatus {
    /// std Mutex: never held across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stats: ListenerStats,
    /// The listener that these are about: the one before it may still be ending.
    generation: u64,
    has_listened: bool,
}

impl ListenerStatus {
    pub(super) fn get(&self) -> ListenerStats {
        self.inner().stats.clone()
    }

    /// Gives the number that the listener reports with.
    pub(super) fn starting(&self) -> u64 {
        let mut inner = self.inner();
        inner.stats.state = ListenerState::Connecting;
        inner.has_listened = false;
        inner.generation += 1;
        inner.generation
    }

    pub(super) fn listening(&self, generation: u64) {
        let mut inner = self.inner();
        if inner.generation == generation {
            inner.stats.state = ListenerState::Listening;
            inner.stats.reconnects += u64::from(inner.has_listened);
            inner.has_listened = true;
        }
    }

    pub(super) fn failed(&self, generation: u64, state: ListenerState, error: &Error) {
        let mut inner = self.inner();
        if inner.generation == generation {
            inner.stats.state = state;
            inner.stats.last_error = Some(error.to_string());
        }
    }

    /// Nothing is left to listen for.
    pub(super) fn off(&self) {
        let mut inner = self.inner();
        inner.stats.state = ListenerState::Off;
        inner.generation += 1;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
