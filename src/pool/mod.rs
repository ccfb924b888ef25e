//! Connections, and the work that waits for them.
//!
//! A connection without work is idle; one with work is served by a worker, a task that takes everything that waits, up
//! to a bound, and sends it as one batch. So the first read of an idle client goes out at once, and the reads that come
//! while all workers are busy travel together; nothing ever waits to be joined by others.
//!
//! Knows of deadlines, retries and reconnecting. Knows nothing of SQL (that is `store`) and keeps no value.

pub(crate) mod bulk;
mod command;
mod connection;
mod dialer;
pub(crate) mod eager;
mod in_flight;
mod maintenance;
mod queue;
mod scheduler;
mod shared;
pub(crate) mod wakeup;
mod worker;

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use self::bulk::Bulk;
use self::command::Command;
use self::in_flight::Receiver;
use self::shared::Shared;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::{NameSet, SecretName};
use crate::secret::Readings;
use crate::stats::{Counters, PoolStats};
use crate::store::Statement;

/// The connections of one client.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// Opens nothing yet. Must be called inside a tokio runtime, which the connections then belong to.
    pub(crate) fn new(config: Config, counters: Arc<Counters>) -> Self {
        Self { shared: Shared::new(config, counters) }
    }

    /// Reads secrets of one business, all in one snapshot. An identical read under way is joined.
    pub(crate) async fn read(&self, business: Uuid, names: NameSet) -> Result<Readings> {
        let deadline = self.deadline();
        let (receiver, joined) = self.shared.submit_read(business, names.clone(), deadline)?;
        match self.received(receiver, deadline).await {
            // Somebody else's read failed with the time that it had left: this caller may have more.
            Err(error) if joined && error.is_transient() && Instant::now() < deadline => {
                let (receiver, _) = self.shared.submit_read(business, names, deadline)?;
                self.received(receiver, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn received(&self, receiver: Receiver, deadline: Instant) -> Result<Readings> {
        match timeout_at(deadline, receiver).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(lost_work())),
            Err(_) => Err(self.shared.late()),
        }
    }

    /// Reads the secrets of one turn; read i is slot i of the bulk, which gets the answers.
    #[cfg_attr(not(feature = "node"), allow(dead_code, reason = "only the binding has turns"))]
    pub(crate) fn read_bulk(&self, bulk: &Arc<Bulk>, reads: &[(Uuid, SecretName)]) {
        self.shared.submit_bulk(bulk, reads);
    }

    /// Runs a statement of its own. One that writes is never carried out twice: see [`Error::UnknownOutcome`].
    pub(crate) async fn run<S: Statement>(&self, statement: S) -> Result<S::Answer> {
        let deadline = self.deadline();
        let (command, claim, mut answer) = Command::new(statement, deadline);
        self.shared.submit_command(command)?;
        if let Ok(outcome) = timeout_at(deadline, &mut answer).await {
            return outcome.unwrap_or_else(|_| Err(lost_work()));
        }
        if claim.take() {
            // No worker has begun with it, and now none will.
            return Err(self.shared.late());
        }
        // It is under way, and its worker keeps the same deadline: only the worker can say what became of it.
        answer.await.unwrap_or_else(|_| Err(lost_work()))
    }

    /// Somebody else wrote: from now on no read joins one that was sent before.
    pub(crate) fn outdated(&self, business: Option<Uuid>) {
        self.shared.outdated(business);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.shared.stats()
    }

    /// Takes no more work, lets what was asked for before end by its deadline, and closes the connections. Where the database is
    /// away, what waits for it fails at once.
    pub(crate) async fn close(&self) {
        // The last of the calls that were made before ends by then.
        let deadline = self.deadline();
        self.shared.shut();
        let _ = timeout_at(deadline, self.shared.served()).await;
        let idle = self.shared.end();
        // A connection that hangs must not hold up the others: the operating system closes it all the same.
        let _ = timeout_at(deadline, async {
            for connection in idle {
                connection.close().await;
            }
            self.shared.vacated().await;
        })
        .await;
    }

    /// By when a call that begins now has to be answered.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.shared.config.timeout
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.shared.end());
    }
}

/// A worker dropped the work: it panicked, or the runtime is shutting down.
fn lost_work() -> Error {
    Error::unavailable("an internal error ended the call; please report it with the log")
}
