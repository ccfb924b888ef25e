//! One connection: how old it is, how long it has been silent, and that it is counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout};

use crate::stats::Counters;
use crate::store;

/// Connections end of themselves so that poolers and failovers can move them.
const LIFETIME: Duration = Duration::from_mins(30);

/// A connection that was silent for longer is pinged before a write is sent through it: a write that vanishes in a
/// connection the server has closed could not be repeated. Reads can.
const SILENCE: Duration = Duration::from_millis(250);

/// One connection.
pub(super) struct Connection {
    pub(super) session: PgConnection,
    /// When the server last answered.
    pub(super) last_heard: Instant,
    /// When the connection last had work.
    pub(super) last_used: Instant,
    /// The connection was opened for what it does now. Any other one may have died since.
    pub(super) is_fresh: bool,
    expires_at: Instant,
    guard: CountGuard,
}

/// Counts a connection in, and out again however it ends.
struct CountGuard {
    counters: Arc<Counters>,
    is_lost: bool,
}

impl CountGuard {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.opened.add(1);
        Self { counters: Arc::clone(counters), is_lost: true }
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.counters.ended.add(1);
        self.counters.lost.add(usize::from(self.is_lost));
    }
}

impl Connection {
    pub(super) fn new(session: PgConnection, counters: &Arc<Counters>) -> Self {
        let now = Instant::now();
        // With jitter, so that connections that were opened together do not end together.
        let expires_at = now + LIFETIME.mul_f64(0.9 + fastrand::f64() / 5.0);
        let guard = CountGuard::new(counters);
        Self { session, last_heard: now, last_used: now, is_fresh: true, expires_at, guard }
    }

    pub(super) fn is_expired(&self) -> bool {
        Instant::now() >= self.expires_at
    }

    pub(super) fn is_silent(&self) -> bool {
        self.last_heard.elapsed() > SILENCE
    }

    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        (self.last_heard, self.last_used, self.is_fresh) = (now, now, false);
    }

    pub(super) async fn is_alive(&mut self, limit: Duration) -> bool {
        let answer = timeout(limit, store::ping(&mut self.session)).await;
        self.last_heard = Instant::now();
        matches!(answer, Ok(Ok(())))
    }

    pub(super) async fn close(mut self) {
        self.guard.is_lost = false;
        // The server ends the session even where this fails.
        let _ = self.session.close().await;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_fresh", &self.is_fresh).finish_non_exhaustive()
    }
}
