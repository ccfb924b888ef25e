//! Opens connections, patiently where a server is only restarting, and knows how old they are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::state::Shared;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::stats::Counters;
use crate::store::{self, ConnectFault};

/// How long a restarting server is waited for. Then calls fail at once, until it is back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between attempts, doubled each time, with jitter: a restarted server is not greeted by everybody at once.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Connections end of themselves so that poolers and failovers can move them.
const LIFETIME: Duration = Duration::from_mins(30);

/// A connection that was silent for longer is asked for a sign of life before a write is entrusted to it: a write
/// that vanishes in a connection the server has closed could not be repeated. Reads can.
const SILENCE: Duration = Duration::from_millis(250);

/// One connection.
pub(super) struct Link {
    pub(super) connection: PgConnection,
    /// When the server was last heard of.
    pub(super) heard: Instant,
    /// When it last had work.
    pub(super) used: Instant,
    /// It was opened for what it does now. Any other may have died since.
    pub(super) is_fresh: bool,
    retire: Instant,
    census: Census,
}

/// Counts a connection in, and out again however it ends.
struct Census {
    counters: Arc<Counters>,
    is_lost: bool,
}

impl Census {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.opened.add(1);
        Self { counters: Arc::clone(counters), is_lost: true }
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.counters.ended.add(1);
        self.counters.lost.add(usize::from(self.is_lost));
    }
}

impl Link {
    pub(super) fn is_expired(&self) -> bool {
        Instant::now() >= self.retire
    }

    pub(super) fn is_silent(&self) -> bool {
        self.heard.elapsed() > SILENCE
    }

    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        (self.heard, self.used, self.is_fresh) = (now, now, false);
    }

    pub(super) async fn is_alive(&mut self, patience: Duration) -> bool {
        let answer = timeout(patience, store::ping(&mut self.connection)).await;
        self.heard = Instant::now();
        matches!(answer, Ok(Ok(())))
    }

    pub(super) async fn close(mut self) {
        self.census.is_lost = false;
        // The server ends the session either way; saying goodbye is only good manners.
        let _ = self.connection.close().await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_fresh", &self.is_fresh).finish_non_exhaustive()
    }
}

/// Knows where to connect. No Debug: the driver's options show the password.
pub(super) struct Dialer {
    options: PgConnectOptions,
    place: String,
    counters: Arc<Counters>,
}

/// The database has been out of reach for a while.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    pause: Duration,
    /// Not to be tried again before.
    next: Instant,
    /// What the last attempt met.
    pub(super) error: Error,
}

impl Outage {
    fn note(outage: &mut Option<Self>, error: &Error) -> bool {
        let now = Instant::now();
        let (since, pause) = match outage {
            Some(outage) => (outage.since, (outage.pause * 2).min(LONGEST_PAUSE)),
            None => (now, FIRST_PAUSE),
        };
        let next = now + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        *outage = Some(Self { since, pause, next, error: error.clone() });
        now - since < PATIENCE
    }
}

impl Dialer {
    pub(super) fn new(config: &Config, counters: &Arc<Counters>) -> Self {
        Self {
            options: store::connect_options(config),
            place: config.endpoint.place(),
            counters: Arc::clone(counters),
        }
    }

    async fn attempt(&self, until: Instant) -> Result<Link, ConnectFault> {
        let begun = Instant::now();
        match timeout_at(until, PgConnection::connect_with(&self.options)).await {
            Ok(Ok(connection)) => {
                let now = Instant::now();
                let retire = now + LIFETIME.mul_f64(0.9 + fastrand::f64() / 5.0);
                tracing::debug!(place = self.place, "connected");
                let census = Census::new(&self.counters);
                Ok(Link { connection, heard: now, used: now, is_fresh: true, retire, census })
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
}

impl Shared {
    /// Opens a connection. Keeps trying for as long as the server seems to be restarting.
    pub(super) async fn connect(&self, until: Instant) -> Result<Link> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            link = self.connect_while_open(until) => link,
            _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
        }
    }

    async fn connect_while_open(&self, until: Instant) -> Result<Link> {
        let mut earlier = None;
        loop {
            let outage =
                self.outage(|outage| outage.as_ref().map(|outage| (outage.next, outage.error.clone())));
            if let Some((next, error)) = outage {
                // Too late to learn anything new.
                if next >= until {
                    return Err(error);
                }
                sleep_until(next).await;
            }
            let fault = match self.dialer.attempt(until).await {
                Ok(link) => {
                    self.outage(Option::take);
                    return Ok(link);
                }
                Err(fault) => fault,
            };
            // An attempt that ran out of time says less than the one before it, which was refused for a reason.
            let error = earlier.take().filter(|_| Instant::now() >= until).unwrap_or(fault.error);
            let is_recent = self.outage(|outage| Outage::note(outage, &error));
            tracing::debug!(%error, "no connection");
            if !(fault.passing && is_recent && Instant::now() < until) {
                return Err(error);
            }
            earlier = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_patience_ends() {
        let mut outage = None;
        let mut longest = Duration::ZERO;
        assert!(Outage::note(&mut outage, &Error::Closed));
        for _ in 0..10 {
            let next = outage.as_ref().unwrap().next;
            longest = longest.max(next - Instant::now());
            tokio::time::sleep_until(next).await;
            Outage::note(&mut outage, &Error::Closed);
        }
        assert!(longest > LONGEST_PAUSE / 2 && longest <= LONGEST_PAUSE);
        assert!(!Outage::note(&mut outage, &Error::Closed));
    }
}
