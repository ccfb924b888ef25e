//! How the listener is doing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// How the listener is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenerStats {
    /// What it is doing.
    pub state: ListenerState,
    /// How often it has come back after it was lost.
    pub reconnects: u64,
    /// Why it was lost, or did not come about, last. Never a value, a password or a connection string.
    pub last_error: Option<String>,
}

/// What the listener is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

impl ListenerState {
    /// As JavaScript sees it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Listening => "listening",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Status {
    /// std Mutex: never held across an await.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stats: ListenerStats,
    /// Which listener it is about: the one before may still be ending.
    run: u64,
    has_listened: bool,
}

impl Status {
    pub(super) fn get(&self) -> ListenerStats {
        self.inner().stats.clone()
    }

    /// Gives the number that the listener reports with.
    pub(super) fn starting(&self) -> u64 {
        let mut inner = self.inner();
        inner.stats.state = ListenerState::Connecting;
        inner.has_listened = false;
        inner.run += 1;
        inner.run
    }

    pub(super) fn listening(&self, run: u64) {
        let mut inner = self.inner();
        if inner.run == run {
            inner.stats.state = ListenerState::Listening;
            inner.stats.reconnects += u64::from(inner.has_listened);
            inner.has_listened = true;
        }
    }

    pub(super) fn failed(&self, run: u64, state: ListenerState, error: &Error) {
        let mut inner = self.inner();
        if inner.run == run {
            inner.stats.state = state;
            inner.stats.last_error = Some(error.to_string());
        }
    }

    /// Nobody needs it any more.
    pub(super) fn off(&self) {
        let mut inner = self.inner();
        inner.stats.state = ListenerState::Off;
        inner.run += 1;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
