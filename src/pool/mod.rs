//! Connections, and the work that waits for them.
//!
//! A *link* is one connection. A link without work is parked; a link with work is served by a task, which takes
//! everything that waits, up to a bound, and sends it as ONE batch. So the first read of an idle client goes out at
//! once, and the reads that come while the wire is busy travel together; nothing ever waits to be joined by others.
//!
//! Knows of deadlines, retries and reconnecting. Knows nothing of SQL (that is `store`) and keeps no value.

mod connect;
mod flight;
mod job;
mod queue;
mod state;
mod tend;
pub(crate) mod turn;
mod worker;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

pub(crate) use self::flight::Readings;

use self::flight::Landing;
use self::job::{Claim, Errand, Job, Listing, Ping, Write};
use self::state::Shared;
use crate::catalogue::NameSet;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::stats::{Counters, PoolStats};
use crate::store::{Listed, Versions, WriteRequest};

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
        let (landing, joined) = self.shared.submit_read(business, names, deadline)?;
        match self.landed(landing, deadline).await {
            // Somebody else's read failed with the time that it had left: this one may have more.
            Err(error) if joined && error.is_transient() && Instant::now() < deadline => {
                let (landing, _) = self.shared.submit_read(business, names, deadline)?;
                self.landed(landing, deadline).await
            }
            outcome => outcome,
        }
    }

    async fn landed(&self, landing: Landing, deadline: Instant) -> Result<Readings> {
        match timeout_at(deadline, landing).await {
            Ok(outcome) => outcome.unwrap_or_else(|_| Err(lost_job())),
            Err(_) => Err(self.shared.too_late()),
        }
    }

    /// Writes, and never twice: see [`Error::UnknownOutcome`].
    pub(crate) async fn write(&self, request: WriteRequest) -> Result<Versions> {
        self.run(|job| Errand::Write(Write { request, job })).await
    }

    /// Lists what may be shown of a business's secrets.
    pub(crate) async fn list(&self, business: Uuid) -> Result<Vec<Listed>> {
        self.run(|job| Errand::List(Listing { business, job })).await
    }

    /// Asks the database for a sign of life.
    pub(crate) async fn ping(&self) -> Result<()> {
        self.run(|job| Errand::Ping(Ping { job })).await
    }

    async fn run<T>(&self, errand: impl FnOnce(Job<T>) -> Errand) -> Result<T> {
        let (reply, mut answer) = oneshot::channel();
        let (deadline, claim) = (self.deadline(), Claim::default());
        self.shared.submit_errand(errand(Job { reply, deadline, claim: claim.clone() }))?;
        if let Ok(outcome) = timeout_at(deadline, &mut answer).await {
            return outcome.unwrap_or_else(|_| Err(lost_job()));
        }
        if claim.take() {
            // Nobody has begun with it, and now nobody will.
            return Err(self.shared.too_late());
        }
        // It is under way, and its worker keeps the same deadline: only the worker can say what became of it.
        answer.await.unwrap_or_else(|_| Err(lost_job()))
    }

    /// Somebody else wrote: from now on no read joins one that was sent before.
    pub(crate) fn outdated(&self, business: Option<Uuid>) {
        self.shared.outdated(business);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        self.shared.stats()
    }

    /// Takes no more work, fails what waits, lets what is under way end by its deadline, and closes the connections.
    pub(crate) async fn close(&self) {
        // What was asked for before, in the same turn, is under way.
        self.shared.send_gathered();
        let parked = self.shared.shut();
        // A link that hangs must not hold up the others: the operating system closes it all the same.
        let _ = timeout(self.shared.config.timeout, async {
            for link in parked {
                link.close().await;
            }
            self.shared.vacated().await;
        })
        .await;
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.config.timeout
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.shared.shut());
    }
}

/// A worker dropped the work: it panicked, or the runtime is shutting down.
fn lost_job() -> Error {
    Error::unavailable("an internal error ended the call; please report it with the log")
}
