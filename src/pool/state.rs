//! Who serves, what waits, and when another connection is worth opening. Holds the one lock of the pool.

mod dispatch;

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use self::dispatch::{LANES, Start};
use super::connect::{Dialer, Link, Outage};
use super::flight::{Flight, Flights, Landing, Route};
use super::job::Errand;
use super::queue::{Queue, Work};
use super::{tend, turn, worker};
use crate::catalogue::NameSet;
use crate::config::{Config, Pooler};
use crate::error::{Error, Result};
use crate::stats::{Counters, PoolStats};
use crate::store::Protocol;

/// What the workers of one pool share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    pub(super) dialer: Dialer,
    /// Where workers run.
    handle: Handle,
    /// A transaction pooler stands in between. Once found out it stays so.
    is_pooled: AtomicBool,
    /// std Mutex: never held across an await.
    state: Mutex<State>,
    /// Becomes true on close; ends whatever only waits.
    pub(super) closing: watch::Sender<bool>,
    /// Whenever a worker left.
    left: Notify,
}

struct State {
    is_open: bool,
    queue: Queue,
    flights: Flights,
    /// Links without work, the most recently used last.
    parked: Vec<Link>,
    /// Tasks that hold a link or are opening one.
    workers: usize,
    /// Of these, how many are opening one. One at a time: a burst must not open connections that it will not need.
    opening: usize,
    /// A worker has been woken and has not yet looked at the queue: it will find whatever is put there meanwhile.
    waking: bool,
    /// When a worker last took work.
    taken: Instant,
    /// What waits will be looked at again when `GATHER` is over.
    gathering: bool,
    outage: Option<Outage>,
    /// Looks after parked links.
    tender: Option<AbortHandle>,
}

impl Shared {
    pub(super) fn new(config: Config, counters: Arc<Counters>) -> Arc<Self> {
        let state = State {
            is_open: true,
            queue: Queue::default(),
            flights: Flights::default(),
            parked: Vec::new(),
            workers: 0,
            opening: 0,
            waking: false,
            taken: Instant::now(),
            gathering: false,
            outage: None,
            tender: None,
        };
        Arc::new(Self {
            dialer: Dialer::new(&config, &counters),
            counters,
            is_pooled: AtomicBool::new(config.pooler == Pooler::Transaction),
            config,
            handle: Handle::current(),
            state: Mutex::new(state),
            closing: watch::Sender::new(false),
            left: Notify::new(),
        })
    }

    /// Says also whether it joined somebody else's read.
    pub(super) fn submit_read(
        self: &Arc<Self>,
        business: Uuid,
        names: NameSet,
        deadline: Instant,
    ) -> Result<(Landing, bool)> {
        let route = Route { business, names };
        let mut state = self.state();
        state.admit()?;
        if let Some(landing) = state.flights.join(&route, deadline) {
            self.counters.coalesced.add(1);
            return Ok((landing, true));
        }
        let (flight, landing) = Flight::new(route, deadline);
        state.flights.insert(Arc::clone(&flight));
        state.queue.push_read(flight);
        self.arrived(state);
        Ok((landing, false))
    }

    pub(super) fn submit_errand(self: &Arc<Self>, errand: Errand) -> Result<()> {
        let mut state = self.state();
        state.admit()?;
        state.queue.push_errand(errand);
        self.arrived(state);
        Ok(())
    }

    /// Something was queued.
    fn arrived(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if turn::gathers(self) {
            return;
        }
        let start = state.dispatch(self.config.max_connections);
        drop(state);
        self.start(start);
    }

    /// Sends what a turn of the caller's has gathered: nothing more will come for a while, so nothing is waited for.
    pub(super) fn send_gathered(self: &Arc<Self>) {
        let (mut here, mut lanes) = (None, LANES);
        loop {
            let start = self.state().dispatch_gathered(self.config.max_connections, lanes);
            lanes = (lanes - 1).max(1);
            match start {
                None => break,
                Some(Start::Here(link, work)) if here.is_some() => {
                    drop(self.handle.spawn(worker::serve(Worker::new(self), link, work)));
                }
                Some(Start::Here(link, work)) => here = Some(Start::Here(link, work)),
                other => self.start(other),
            }
        }
        self.start(here);
    }

    fn start(self: &Arc<Self>, start: Option<Start>) {
        let Some(start) = start else { return };
        match start {
            Start::Open => drop(self.handle.spawn(worker::open(Worker::opening(self)))),
            Start::Soon(link) => drop(self.handle.spawn(worker::wake(Worker::new(self), link))),
            Start::Later(when) => {
                let shared = Arc::clone(self);
                drop(self.handle.spawn(async move {
                    sleep_until(when).await;
                    shared.gathered();
                }));
            }
            Start::Here(link, work) => {
                let worker = Worker::new(self);
                let mut task: Pin<Box<dyn Future<Output = ()> + Send>> =
                    Box::pin(worker::serve(worker, link, work));
                let _runtime = self.handle.enter();
                // Nothing is to be woken by this waker: the task is polled again as soon as it is spawned.
                if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    drop(self.handle.spawn(task));
                }
            }
        }
    }

    /// Gives the worker more work, or parks its link.
    pub(super) fn turn(self: &Arc<Self>, mut worker: Worker, mut link: Link) -> Turn {
        let mut state = self.state();
        if !state.is_open {
            drop(state);
            return Turn::Close(link, worker);
        }
        let Some(work) = state.take(self.config.max_connections) else {
            worker.leave(&mut state);
            if !link.is_expired() {
                link.is_fresh = false;
                state.parked.push(link);
            }
            drop(state);
            return Turn::Parked;
        };
        let more = state.dispatch(self.config.max_connections);
        drop(state);
        self.start(more);
        Turn::Work(link, work, worker)
    }

    /// A worker lost its link and left: what waits may need another.
    pub(super) fn redispatch(self: &Arc<Self>) {
        let start = self.state().dispatch(self.config.max_connections);
        self.start(start);
    }

    fn gathered(self: &Arc<Self>) {
        self.state().gathering = false;
        self.redispatch();
    }

    pub(super) fn woken(&self) {
        self.state().waking = false;
    }

    pub(super) fn opened(self: &Arc<Self>, worker: &mut Worker) {
        let mut state = self.state();
        worker.has_opened(&mut state);
        if state.tender.is_none() && state.is_open {
            state.tender = Some(self.handle.spawn(tend::tend(Arc::downgrade(self))).abort_handle());
        }
    }

    /// An attempt to connect takes long, and no longer keeps others from trying.
    pub(super) fn is_stuck(self: &Arc<Self>, worker: &mut Worker) {
        worker.has_opened(&mut self.state());
        self.redispatch();
    }

    /// No connection came about. Whoever waits is told why, unless others serve them.
    pub(super) fn not_opened(&self, worker: &mut Worker, error: &Error) {
        let mut state = self.state();
        worker.has_opened(&mut state);
        let abandoned = if state.workers > 1 { Vec::new() } else { state.drain() };
        drop(state);
        for work in abandoned {
            work.fail(error);
        }
    }

    pub(super) fn land(&self, flight: &Arc<Flight>, outcome: Result<super::Readings>) {
        self.state().flights.remove(flight);
        flight.land(outcome);
    }

    /// Called before the caller of a write hears of its outcome, whatever that is.
    pub(super) fn wrote(&self) {
        self.state().flights.close_doors();
    }

    /// Somebody else wrote, to that business or to any: what was sent before may answer with the older value.
    pub(super) fn outdated(&self, business: Option<Uuid>) {
        let flights = &mut self.state().flights;
        match business {
            Some(business) => flights.close_doors_of(business),
            None => flights.close_doors(),
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let (idle, waiting) = {
            let state = self.state();
            (state.parked.len() as u64, state.queue.len() as u64)
        };
        let (opened, lost) = (self.counters.opened.get(), self.counters.lost.get());
        // Counted one after another while others go on: none of them may come out below zero.
        let connections = opened.saturating_sub(self.counters.ended.get()).max(idle);
        PoolStats { connections, busy: connections - idle, idle, waiting, opened, lost }
    }

    /// The server went away under a link: those that are parked lead to the same server.
    pub(super) fn evict(&self) {
        let parked = std::mem::take(&mut self.state().parked);
        if !parked.is_empty() {
            tracing::debug!(connections = parked.len(), "dropping connections to a server that went away");
        }
    }

    /// Takes parked links out for maintenance. They are the caller's to park again, or to drop.
    pub(super) fn take_parked(self: &Arc<Self>, due: impl FnMut(&mut Link) -> bool) -> Vec<(Link, Worker)> {
        let mut state = self.state();
        let due: Vec<Link> = state.parked.extract_if(.., due).collect();
        state.workers += due.len();
        due.into_iter().map(|link| (link, Worker::new(self))).collect()
    }

    pub(super) fn protocol(&self) -> Protocol {
        if self.is_pooled.load(Ordering::Relaxed) { Protocol::Transactional } else { Protocol::Prepared }
    }

    /// A prepared statement was gone. Says whether statements are sent another way from now on.
    pub(super) fn found_pooler(&self) -> bool {
        if self.config.pooler != Pooler::Auto {
            return false;
        }
        tracing::info!("a transaction pooler stands in between: going on without prepared statements");
        self.is_pooled.store(true, Ordering::Relaxed);
        true
    }

    pub(super) fn outage<T>(&self, update: impl FnOnce(&mut Option<Outage>) -> T) -> T {
        update(&mut self.state().outage)
    }

    /// Why a call that reached its deadline was not answered.
    pub(super) fn too_late(&self) -> Error {
        match &self.state().outage {
            Some(outage) => outage.error.clone(),
            None => Error::no_answer(self.config.timeout, "the database gave no answer"),
        }
    }

    /// Takes no more work. What waits fails; the parked links are the caller's to close.
    pub(super) fn shut(&self) -> Vec<Link> {
        let mut state = self.state();
        state.is_open = false;
        let waiting = state.drain();
        let parked = std::mem::take(&mut state.parked);
        if let Some(tender) = state.tender.take() {
            tender.abort();
        }
        drop(state);
        self.closing.send_replace(true);
        for work in waiting {
            work.fail(&Error::Closed);
        }
        parked
    }

    /// Waits until no worker is left.
    pub(super) async fn vacated(&self) {
        loop {
            let left = self.left.notified();
            if self.state().workers == 0 {
                return;
            }
            left.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&self) -> Result<()> {
        if !self.is_open {
            return Err(Error::Closed);
        }
        if self.queue.is_full() {
            return Err(Error::unavailable("too many calls wait for it already: it does not keep up"));
        }
        Ok(())
    }

    fn drain(&mut self) -> Vec<Work> {
        self.flights.close_doors();
        self.queue.drain(&mut self.flights)
    }
}

/// What a worker does after it has served.
pub(super) enum Turn {
    Work(Link, Work, Worker),
    Parked,
    Close(Link, Worker),
}

/// A place among the workers, given back on drop, also by a panic.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    is_opening: bool,
    has_left: bool,
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), is_opening: false, has_left: false }
    }

    fn opening(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), is_opening: true, has_left: false }
    }

    fn has_opened(&mut self, state: &mut State) {
        if std::mem::take(&mut self.is_opening) {
            state.opening -= 1;
        }
    }

    /// Gives the place back under the lock that parks the link: the next caller must not see it busy and parked.
    fn leave(&mut self, state: &mut State) {
        state.workers -= 1;
        self.has_left = true;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.has_left {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.state();
            self.has_opened(&mut state);
            state.workers -= 1;
        }
        self.shared.left.notify_waiters();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.config.endpoint.place()).finish_non_exhaustive()
    }
}
