//! Opens connections, patiently where a server is only restarting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::Connection;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::stats::Counters;
use crate::store::{self, ConnectFault};

/// How long a restarting server is waited for. After that calls fail at once, until the server is back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between attempts, doubled each time, with jitter: clients do not return to a restarted server all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Knows where to connect. No Debug: the driver's options show the password.
pub(super) struct Dialer {
    options: PgConnectOptions,
    loopback_only: bool,
    place: String,
    counters: Arc<Counters>,
    /// std Mutex: never held across an await. `None` while the database can be reached.
    backoff: Mutex<Option<Backoff>>,
}

/// The database has been out of reach for a while.
#[derive(Debug)]
struct Backoff {
    since: Instant,
    pause: Duration,
    /// When the next attempt may begin.
    next: Instant,
    /// What the last attempt met.
    error: Error,
}

impl Backoff {
    /// Records a failure. Says whether it is recent enough to try again for the same caller.
    fn record_failure(backoff: &mut Option<Self>, error: &Error) -> bool {
        let now = Instant::now();
        let (since, pause) = match backoff {
            Some(backoff) => (backoff.since, (backoff.pause * 2).min(LONGEST_PAUSE)),
            None => (now, FIRST_PAUSE),
        };
        let next = now + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        *backoff = Some(Self { since, pause, next, error: error.clone() });
        now - since < PATIENCE
    }
}

impl Dialer {
    pub(super) fn new(config: &Config, counters: &Arc<Counters>) -> Self {
        Self {
            options: store::connect_options(config),
            loopback_only: config.tls.loopback_only,
            place: config.endpoint.place(),
            counters: Arc::clone(counters),
            backoff: Mutex::new(None),
        }
    }

    /// What the last attempt met, while the database is out of reach.
    pub(super) fn last_error(&self) -> Option<Error> {
        self.backoff().as_ref().map(|backoff| backoff.error.clone())
    }

    /// Opens a connection. Keeps trying for as long as the server seems to be restarting.
    pub(super) async fn connect(&self, until: Instant) -> Result<Connection> {
        let mut earlier = None;
        loop {
            let wait = self.backoff().as_ref().map(|backoff| (backoff.next, backoff.error.clone()));
            if let Some((next, error)) = wait {
                // There is no time left for another attempt.
                if next >= until {
                    return Err(error);
                }
                sleep_until(next).await;
            }
            let fault = match self.attempt(until).await {
                Ok(connection) => {
                    *self.backoff() = None;
                    return Ok(connection);
                }
                Err(fault) => fault,
            };
            // An attempt that ran out of time says less than the one before it, which was refused for a reason.
            let error = earlier.take().filter(|_| Instant::now() >= until).unwrap_or(fault.error);
            let is_recent = Backoff::record_failure(&mut self.backoff(), &error);
            tracing::debug!(%error, "no connection");
            if !(fault.passing && is_recent && Instant::now() < until) {
                return Err(error);
            }
            earlier = Some(error);
        }
    }

    async fn attempt(&self, until: Instant) -> Result<Connection, ConnectFault> {
        let begun = Instant::now();
        match timeout_at(until, store::open(&self.options, self.loopback_only)).await {
            Ok(Ok(session)) => {
                tracing::debug!(place = self.place, "connected");
                Ok(Connection::new(session, &self.counters))
            }
            Ok(Err(error)) => Err(ConnectFault::new(&error, &self.place)),
            Err(_) => {
                let cause = format!(
                    "{}: no answer within {} ms; is the host right, and does a firewall let it through?",
                    self.place,
                    begun.elapsed().as_millis()
                );
                Err(ConnectFault { error: Error::unavailable(cause), passing: false })
            }
        }
    }

    fn backoff(&self) -> MutexGuard<'_, Option<Backoff>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_patience_ends() {
        let mut backoff = None;
        let mut longest = Duration::ZERO;
        assert!(Backoff::record_failure(&mut backoff, &Error::Closed));
        for _ in 0..10 {
            let next = backoff.as_ref().unwrap().next;
            longest = longest.max(next - Instant::now());
            sleep_until(next).await;
            Backoff::record_failure(&mut backoff, &Error::Closed);
        }
        assert!(longest > LONGEST_PAUSE / 2 && longest <= LONGEST_PAUSE);
        assert!(!Backoff::record_failure(&mut backoff, &Error::Closed));
    }
}
