//! What a worker does: takes what waits, sends it, and decides what a failure means for the link and for the work.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::connect::Link;
use super::flight::{Flight, Readings};
use super::job::Errand;
use super::lost_job;
use super::queue::Work;
use super::state::{Shared, Turn, Worker};
use super::turn::{self, Landing};
use crate::error::{Error, Result};
use crate::store::{self, Element, Fault, Listed, Protocol, Status, Versions, WriteRequest};

/// The least that an attempt to connect is given: several round trips, and a restart of the server.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// An attempt that takes longer may hang for ever: another is begun beside it.
const STUCK: Duration = Duration::from_secs(1);

/// Opens a connection for what waits, then serves.
pub(super) async fn open(mut worker: Worker) {
    let shared = Arc::clone(&worker.shared);
    // Whoever waits has its own deadline; a hasty one must not keep a slow handshake from ever succeeding.
    let until = Instant::now() + shared.config.timeout.max(HANDSHAKE);
    let mut attempt = pin!(shared.connect(until));
    let outcome = if let Ok(outcome) = timeout(STUCK, &mut attempt).await {
        outcome
    } else {
        shared.is_stuck(&mut worker);
        attempt.await
    };
    match outcome {
        Ok(link) => {
            shared.opened(&mut worker);
            go_on(worker, link).await;
        }
        Err(error) if Instant::now() < until => shared.not_opened(&mut worker, &error),
        Err(_) => {
            // Whoever waited for this attempt from its beginning has given up. The others came later, and may yet
            // be served: an attempt that hangs says nothing of the next.
            drop(worker);
            shared.redispatch();
        }
    }
}

/// Serves what has gathered until now.
pub(super) async fn wake(worker: Worker, link: Link) {
    worker.shared.woken();
    go_on(worker, link).await;
}

async fn go_on(worker: Worker, link: Link) {
    let shared = Arc::clone(&worker.shared);
    match shared.turn(worker, link) {
        Turn::Work(link, work, worker) => serve(worker, link, work).await,
        Turn::Close(link, _worker) => link.close().await,
        Turn::Parked => {}
    }
}

/// Serves until nothing waits.
pub(super) async fn serve(mut worker: Worker, link: Link, mut work: Work) {
    let shared = Arc::clone(&worker.shared);
    let mut server = Server { shared: &shared, link: Some(link) };
    loop {
        let landing = match work {
            Work::Batch(flights) => server.read(Batch { shared: &shared, flights }).await,
            Work::Errand(errand) => server.run(errand).await,
        };
        let Some(link) = server.link.take() else {
            // What waits still needs somebody; whether that takes a new connection is decided anew.
            drop(worker);
            return shared.redispatch();
        };
        let turn = shared.turn(worker, link);
        // Not before: a caller who asks again at once finds the link, and needs no other.
        drop(landing);
        match turn {
            Turn::Work(link, next, place) => (server.link, work, worker) = (Some(link), next, place),
            Turn::Close(link, _worker) => return link.close().await,
            Turn::Parked => return,
        }
    }
}

struct Server<'a> {
    shared: &'a Arc<Shared>,
    /// `None` when the last statement lost it.
    link: Option<Link>,
}

impl Server<'_> {
    async fn read(&mut self, batch: Batch<'_>) -> Landing {
        let deadline = batch.flights.iter().map(|flight| flight.deadline()).max();
        let deadline = deadline.unwrap_or_else(Instant::now);
        let (mut businesses, mut names) = (Vec::new(), Vec::new());
        for flight in &batch.flights {
            for name in flight.route.names.iter() {
                businesses.push(flight.route.business);
                names.push(name.as_str());
            }
        }
        self.shared.counters.batches.add(1);
        self.shared.counters.elements.add(names.len());
        let outcome = self.execute(&Read { businesses, names }, deadline).await;
        let landing = turn::landing();
        batch.land(outcome);
        landing
    }

    async fn run(&mut self, errand: Errand) -> Landing {
        match errand {
            Errand::Write(write) => {
                let statement = Writing { request: &write.request, actor: &self.shared.config.actor };
                let outcome = self.execute(&statement, write.job.deadline).await;
                self.shared.wrote();
                let landing = turn::landing();
                write.job.settle(outcome);
                landing
            }
            Errand::List(listing) => {
                let outcome = self.execute(&List(listing.business), listing.job.deadline).await;
                let landing = turn::landing();
                listing.job.settle(outcome);
                landing
            }
            Errand::Ping(ping) => {
                let outcome = self.execute(&Ping, ping.job.deadline).await;
                let landing = turn::landing();
                ping.job.settle(outcome);
                landing
            }
        }
    }

    /// Sends a statement, and once more where that is safe and may help.
    async fn execute<S: Statement>(&mut self, statement: &S, deadline: Instant) -> Result<S::Answer> {
        let mut may_repeat = true;
        loop {
            let mut link = self.link(deadline).await?;
            let patience = deadline.saturating_duration_since(Instant::now());
            let is_doubtful = link.is_silent();
            if S::WRITES && is_doubtful && !link.is_alive(patience / 2).await {
                self.shared.evict();
                continue;
            }
            // A link whose other end vanished without a word swallows statements. Half of the time that is left tells,
            // and the other half serves a fresh one.
            let is_trial = !S::WRITES && is_doubtful && may_repeat;
            let limit = if is_trial { Instant::now() + patience / 2 } else { deadline };
            let was_fresh = link.is_fresh;
            let protocol = self.shared.protocol();
            let patience = deadline.saturating_duration_since(Instant::now());
            let sent = timeout_at(limit, statement.send(&mut link.connection, protocol, patience)).await;
            let Ok(answer) = sent else {
                // The link is dropped: what it would answer next belongs to a statement nobody waits for.
                self.shared.evict();
                if is_trial {
                    tracing::debug!("repeating a statement that a silent connection did not answer");
                    may_repeat = false;
                    continue;
                }
                return Err(outcome_of::<S>(self.shared.too_late()));
            };
            let fault = match answer {
                Ok(answer) => {
                    link.answered();
                    self.link = Some(link);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let found_pooler = fault.pooled && protocol == Protocol::Prepared && self.shared.found_pooler();
            if fault.lost {
                self.shared.evict();
            } else if !found_pooler {
                link.answered();
                self.link = Some(link);
            }
            let is_safe = !S::WRITES || fault.unexecuted;
            let may_help = found_pooler || (!was_fresh && fault.is_worth_a_fresh_connection());
            if !(may_repeat && is_safe && may_help) {
                return Err(if is_safe { fault.error } else { outcome_of::<S>(fault.error) });
            }
            tracing::debug!(error = %fault.error, "repeating a statement on a fresh connection");
            may_repeat = false;
        }
    }

    async fn link(&mut self, deadline: Instant) -> Result<Link> {
        match self.link.take() {
            Some(link) => Ok(link),
            None => self.shared.connect(deadline).await,
        }
    }
}

/// The statement was sent, and its answer did not come.
fn outcome_of<S: Statement>(error: Error) -> Error {
    if S::WRITES { Error::UnknownOutcome { cause: error.to_string() } } else { error }
}

/// Something to send, and what comes back.
trait Statement: Sync {
    type Answer: Send;
    const WRITES: bool;

    fn send(
        &self,
        connection: &mut PgConnection,
        protocol: Protocol,
        patience: Duration,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

struct Read {
    businesses: Vec<Uuid>,
    names: Vec<&'static str>,
}

impl Statement for Read {
    type Answer = Vec<Element>;
    const WRITES: bool = false;

    async fn send(
        &self,
        to: &mut PgConnection,
        protocol: Protocol,
        _: Duration,
    ) -> Result<Vec<Element>, Fault> {
        store::read(to, protocol, &self.businesses, &self.names).await
    }
}

struct Writing<'a> {
    request: &'a WriteRequest,
    actor: &'a str,
}

impl Statement for Writing<'_> {
    type Answer = Versions;
    const WRITES: bool = true;

    async fn send(
        &self,
        to: &mut PgConnection,
        protocol: Protocol,
        patience: Duration,
    ) -> Result<Versions, Fault> {
        // The server gives up a lock before the caller gives up the server: then the outcome is known.
        let lock_timeout = u64::try_from(patience.as_millis() * 9 / 10).unwrap_or(u64::MAX).max(1);
        store::write(to, protocol, self.request, self.actor, lock_timeout).await
    }
}

struct List(Uuid);

impl Statement for List {
    type Answer = Vec<Listed>;
    const WRITES: bool = false;

    async fn send(
        &self,
        to: &mut PgConnection,
        protocol: Protocol,
        _: Duration,
    ) -> Result<Vec<Listed>, Fault> {
        store::list(to, protocol, self.0).await
    }
}

struct Ping;

impl Statement for Ping {
    type Answer = ();
    const WRITES: bool = false;

    async fn send(&self, to: &mut PgConnection, _: Protocol, _: Duration) -> Result<(), Fault> {
        store::ping(to).await
    }
}

/// Reads that travel together. Whoever has no answer when it is dropped is told so.
struct Batch<'a> {
    shared: &'a Shared,
    flights: Vec<Arc<Flight>>,
}

impl Batch<'_> {
    fn land(mut self, outcome: Result<Vec<Element>>) {
        let flights = std::mem::take(&mut self.flights);
        match outcome {
            Ok(elements) => {
                let mut elements = elements.into_iter();
                for flight in flights {
                    let answer = readings(&flight, &mut elements);
                    self.shared.land(&flight, answer);
                }
            }
            Err(error) => flights.iter().for_each(|flight| self.shared.land(flight, Err(error.clone()))),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for flight in &self.flights {
            self.shared.land(flight, Err(lost_job()));
        }
    }
}

/// The next answers, as those of this flight. One secret that cannot be read never fails its neighbours.
fn readings(flight: &Flight, elements: &mut impl Iterator<Item = Element>) -> Result<Readings> {
    let route = flight.route;
    let answers: Vec<_> = route.names.iter().zip(elements.by_ref().take(route.names.len())).collect();
    answers
        .into_iter()
        .map(|(name, element)| match element.status {
            Status::Read => Ok((name, Ok(element.reading))),
            Status::Undecryptable => Ok((name, Err(Error::DecryptFailed { names: vec![name] }))),
            Status::BusinessNotFound => Err(Error::BusinessNotFound { business: route.business }),
            Status::UnknownSecret => {
                Err(Error::NotMigrated { found: format!("the database does not know {name} yet") })
            }
        })
        .collect()
}
