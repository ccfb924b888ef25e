//! What a worker does: takes what waits, sends it, and decides what a failure means for the connection and for the work.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::command::Reply;
use super::connection::Connection;
use super::in_flight::InFlightRead;
use super::lost_work;
use super::queue::Work;
use super::shared::{Next, Shared, Worker};
use super::wakeup;
use crate::error::{Error, Result};
use crate::secret::Reading;
use crate::store::{
    self, Context, Element, ElementStatus, Protocol, Read, Statement, permission_denied_for_secret,
};

/// The least that an attempt to connect is given: several round trips, and a restart of the server.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// An attempt that takes longer may hang for ever: another is begun beside it.
const STUCK: Duration = Duration::from_secs(1);

/// Between attempts of a statement whose transaction met another one; doubled each time, with jitter.
const FIRST_CONFLICT_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_CONFLICT_PAUSE: Duration = Duration::from_millis(200);

/// Opens a connection for what waits, then serves.
pub(super) async fn open(mut worker: Worker) {
    let shared = Arc::clone(&worker.shared);
    // Each caller has a deadline of its own; a short one must not keep a slow handshake from ever succeeding.
    let until = Instant::now() + shared.config.timeout.max(HANDSHAKE);
    let mut attempt = pin!(shared.connect(until));
    let outcome = if let Ok(outcome) = timeout(STUCK, &mut attempt).await {
        outcome
    } else {
        shared.is_stuck(&mut worker);
        attempt.await
    };
    match outcome {
        Ok(connection) => {
            shared.has_opened(&mut worker);
            go_on(worker, connection).await;
        }
        Err(error) if Instant::now() < until => shared.has_not_opened(&mut worker, &error),
        Err(_) => {
            // Whoever waited for this attempt from its beginning has given up. The others came later, and may yet
            // be served: an attempt that hangs says nothing of the next.
            drop(worker);
            shared.redispatch();
        }
    }
}

/// Serves what has gathered until now.
pub(super) async fn wake(worker: Worker, connection: Connection) {
    worker.shared.has_woken();
    go_on(worker, connection).await;
}

async fn go_on(worker: Worker, connection: Connection) {
    let shared = Arc::clone(&worker.shared);
    match shared.next(worker, connection) {
        Next::Work(connection, work, worker) => serve(worker, connection, work).await,
        Next::Close(connection, _worker) => connection.close().await,
        Next::Idle => {}
    }
}

/// Serves until nothing waits.
pub(super) async fn serve(mut worker: Worker, connection: Connection, mut work: Work) {
    let shared = Arc::clone(&worker.shared);
    let mut server = Server { shared: &shared, connection: Some(connection) };
    loop {
        let reply = match work {
            Work::Reads(reads) => server.read(Batch { shared: Arc::clone(&shared), reads }).await,
            Work::Command(command) => command.run(&mut server).await,
        };
        let Some(connection) = server.connection.take() else {
            reply();
            // What waits still needs a connection; whether that takes a new one is decided anew.
            drop(worker);
            return shared.redispatch();
        };
        let next = {
            let deferred = wakeup::defer_wakeups();
            reply();
            let next = shared.next(worker, connection);
            // Not before: a caller who asks again at once finds this connection idle, and needs no other.
            drop(deferred);
            next
        };
        match next {
            Next::Work(connection, next, place) => {
                (server.connection, work, worker) = (Some(connection), next, place);
            }
            Next::Close(connection, _worker) => return connection.close().await,
            Next::Idle => return,
        }
    }
}

/// Sends statements through one connection, and replaces the connection where it is lost.
pub(super) struct Server<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// `None` when the last statement lost it.
    connection: Option<Connection>,
}

impl Server<'_> {
    async fn read(&mut self, batch: Batch) -> Reply {
        let deadline = batch.reads.iter().map(|read| read.deadline()).max().unwrap_or_else(Instant::now);
        let mut statement = Read::new(self.shared.config.cache.is_some());
        for read in &batch.reads {
            read.key.names.iter().for_each(|name| statement.push(read.key.business, name));
        }
        self.shared.counters.batches.add(1);
        self.shared.counters.elements.add(statement.len());
        let outcome = self.execute(&statement, deadline).await;
        Box::new(move || batch.complete(outcome))
    }

    /// Sends a statement, and again where that is safe and may help.
    pub(super) async fn execute<S: Statement>(
        &mut self,
        statement: &S,
        deadline: Instant,
    ) -> Result<S::Answer> {
        let (mut may_repeat, mut pause) = (true, FIRST_CONFLICT_PAUSE);
        loop {
            let mut connection = self.connection(deadline).await?;
            let time_left = deadline.saturating_duration_since(Instant::now());
            let is_doubtful = connection.is_silent();
            if S::WRITES && is_doubtful && !connection.is_alive(time_left / 2).await {
                self.shared.evict_idle();
                continue;
            }
            // A connection whose other end vanished silently swallows statements. Half of the time that is left shows
            // whether it did, and the other half serves a fresh one.
            let is_trial = !S::WRITES && is_doubtful && may_repeat;
            let limit = if is_trial { Instant::now() + time_left / 2 } else { deadline };
            let was_fresh = connection.is_fresh;
            let protocol = self.shared.protocol();
            let time_left = deadline.saturating_duration_since(Instant::now());
            let context = Context { protocol, actor: &self.shared.config.actor, time_left };
            let sent = timeout_at(limit, statement.send(&mut connection.session, context)).await;
            let Ok(answer) = sent else {
                // The connection is dropped: what it would answer next belongs to a statement nobody waits for.
                self.shared.evict_idle();
                if is_trial {
                    tracing::debug!("repeating a statement that a silent connection did not answer");
                    may_repeat = false;
                    continue;
                }
                return Err(after_sending::<S>(self.shared.late()));
            };
            let fault = match answer {
                Ok(answer) => {
                    connection.answered();
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let found_pooler = fault.pooled && protocol == Protocol::Prepared && self.shared.found_pooler();
            if fault.lost {
                // A transaction that met another one leaves its server as healthy as before.
                if !fault.conflict {
                    self.shared.evict_idle();
                }
            } else if !found_pooler {
                connection.answered();
                self.connection = Some(connection);
            }
            if fault.conflict && fault.unexecuted && Instant::now() + pause < deadline {
                tracing::debug!("repeating a statement whose transaction met another one");
                sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LONGEST_CONFLICT_PAUSE);
                continue;
            }
            let is_safe = !S::WRITES || fault.unexecuted;
            let may_help = found_pooler || (!was_fresh && fault.is_worth_a_fresh_connection());
            if !(may_repeat && is_safe && may_help) {
                return Err(if is_safe { fault.error } else { after_sending::<S>(fault.error) });
            }
            tracing::debug!(error = %fault.error, "repeating a statement on a fresh connection");
            may_repeat = false;
        }
    }

    async fn connection(&mut self, deadline: Instant) -> Result<Connection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.shared.connect(deadline).await,
        }
    }
}

/// The statement was sent, and its answer did not come.
fn after_sending<S: Statement>(error: Error) -> Error {
    if S::WRITES { Error::UnknownOutcome { cause: error.to_string() } } else { error }
}

/// Reads that travel together. Those without an answer when it is dropped fail.
struct Batch {
    shared: Arc<Shared>,
    reads: Vec<Arc<InFlightRead>>,
}

impl Batch {
    fn complete(mut self, outcome: Result<Vec<Element>>) {
        let reads = std::mem::take(&mut self.reads);
        // All under one lock, before the first caller can ask again.
        self.shared.forget(&reads);
        let mut retries = Vec::new();
        match outcome {
            Ok(elements) => {
                let mut elements = elements.into_iter();
                for read in &reads {
                    if read.key.names.len() == 1 {
                        let outcome = elements.next().map(|element| reading(read, element));
                        retries.extend(read.complete_one(outcome.unwrap_or_else(|| Err(lost_work()))));
                    } else {
                        complete_many(read, &mut elements);
                    }
                }
            }
            Err(error) => retries.extend(reads.iter().flat_map(|read| read.fail(&error))),
        }
        self.shared.retry(retries);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.forget(&self.reads);
        let retries = self.reads.iter().flat_map(|read| read.fail(&lost_work())).collect();
        self.shared.retry(retries);
    }
}

/// One element of the answer. An element that cannot be read never fails its neighbours.
fn reading(read: &InFlightRead, element: Element) -> Result<Reading> {
    match element.status {
        ElementStatus::Read => Ok(element.reading),
        ElementStatus::Undecryptable => {
            Err(Error::DecryptFailed { names: read.key.names.iter().take(1).collect() })
        }
        ElementStatus::BusinessNotFound => Err(Error::BusinessNotFound { business: read.key.business }),
        ElementStatus::PermissionDenied => Err(permission_denied_for_secret()),
        ElementStatus::UnknownSecret => Err(store::unknown_secret()),
    }
}

fn complete_many(read: &InFlightRead, elements: &mut impl Iterator<Item = Element>) {
    let names = &read.key.names;
    let mut readings = Vec::with_capacity(names.len());
    for (name, element) in names.iter().zip(elements.by_ref().take(names.len())) {
        match reading(read, element) {
            Err(Error::DecryptFailed { .. }) => {
                readings.push((name, Err(Error::DecryptFailed { names: vec![name] })));
            }
            outcome => readings.push((name, outcome)),
        }
    }
    let missing = readings.iter().find_map(|(_, reading)| match reading {
        Err(error @ Error::BusinessNotFound { .. }) => Some(error.clone()),
        _ => None,
    });
    read.complete_many(&missing.map_or(Ok(readings), Err));
}
