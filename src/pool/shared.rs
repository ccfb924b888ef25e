//! What the workers of one pool share. Holds the one lock of the pool, and carries out what the scheduler decides.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::bulk::{Bulk, Deadlines};
use super::command::Command;
use super::connection::Connection;
use super::dialer::Dialer;
use super::eager;
use super::in_flight::{InFlightRead, ReadKey, Receiver, Retry, Slot};
use super::queue::Work;
use super::scheduler::{Dispatch, State};
use super::{maintenance, worker};
use crate::config::{Config, Pooler};
use crate::error::{Error, Result};
use crate::name::{NameSet, SecretName};
use crate::stats::{Counters, PoolStats};
use crate::store::Protocol;

/// How often closing looks whether somebody still waits.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) counters: Arc<Counters>,
    dialer: Dialer,
    deadlines: Arc<Deadlines>,
    /// Where workers run.
    handle: Handle,
    /// A transaction pooler stands in between. Once found out it stays so.
    is_pooled: AtomicBool,
    /// std Mutex: never held across an await.
    state: Mutex<State>,
    /// Becomes true on close; ends whatever only waits.
    closing: watch::Sender<bool>,
    /// Notified whenever a worker has taken more work, or has left.
    worker_moved: Notify,
}

impl Shared {
    pub(super) fn new(config: Config, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            dialer: Dialer::new(&config, &counters),
            deadlines: Arc::default(),
            counters,
            is_pooled: AtomicBool::new(config.pooler == Pooler::Transaction),
            config,
            handle: Handle::current(),
            state: Mutex::new(State::new()),
            closing: watch::Sender::new(false),
            worker_moved: Notify::new(),
        })
    }

    /// Says also whether it joined somebody else's read.
    pub(super) fn submit_read(
        self: &Arc<Self>,
        business: Uuid,
        names: NameSet,
        deadline: Instant,
    ) -> Result<(Receiver, bool)> {
        let key = ReadKey { business, names };
        let mut state = self.state();
        state.admit()?;
        if let Some(receiver) = state.in_flight.join(&key, deadline) {
            self.counters.coalesced.add(1);
            return Ok((receiver, true));
        }
        let (read, receiver) = InFlightRead::for_caller(key, deadline);
        state.in_flight.insert(Arc::clone(&read));
        state.queue.push_read(read);
        self.dispatch(state);
        Ok((receiver, false))
    }

    /// The reads of one turn of a JavaScript thread: what waits is all that will come for a while, so it is sent at once.
    pub(super) fn submit_bulk(self: &Arc<Self>, bulk: &Arc<Bulk>, reads: &[(Uuid, SecretName)]) {
        let shared = Arc::downgrade(self);
        let late = move || shared.upgrade().map_or(Error::Closed, |shared| shared.late());
        self.deadlines.add(bulk, &self.handle, late);
        let slots = (0..).zip(reads).map(|(number, (business, name))| {
            let key = ReadKey { business: *business, names: (*name).into() };
            (key, Slot { bulk: Arc::clone(bulk), number, has_joined: false })
        });
        self.submit_slots(slots);
    }

    fn submit_slots(self: &Arc<Self>, slots: impl Iterator<Item = (ReadKey, Slot)>) {
        let (mut refused, mut joined) = (Vec::new(), 0);
        let mut state = self.state();
        for (key, slot) in slots {
            if let Err(error) = state.admit() {
                refused.push((slot, error));
            } else if let Some(read) = state.in_flight.join_or_begin(key, slot) {
                state.queue.push_read(read);
            } else {
                joined += 1;
            }
        }
        drop(state);
        self.counters.coalesced.add(joined);
        for (slot, error) in refused {
            slot.bulk.answer(slot.number, Err(error));
        }
        self.send_gathered();
    }

    /// Reads again what failed for want of time that others of its waiters did have.
    pub(super) fn retry(self: &Arc<Self>, retries: Vec<Retry>) {
        if !retries.is_empty() {
            self.submit_slots(retries.into_iter().map(|retry| (retry.key, retry.slot)));
        }
    }

    pub(super) fn submit_command(self: &Arc<Self>, command: Command) -> Result<()> {
        let mut state = self.state();
        state.admit()?;
        state.queue.push_command(command);
        self.dispatch(state);
        Ok(())
    }

    fn dispatch(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let dispatch = state.dispatch(self.config.max_connections);
        drop(state);
        self.start(dispatch);
    }

    /// Sends everything that waits, split over the idle connections.
    pub(super) fn send_gathered(self: &Arc<Self>) {
        let mut here = None;
        loop {
            let dispatch = self.state().dispatch_gathered(self.config.max_connections);
            match dispatch {
                None => break,
                Some(Dispatch::Inline(connection, work)) if here.is_some() => {
                    drop(self.handle.spawn(worker::serve(Worker::new(self), connection, work)));
                }
                Some(Dispatch::Inline(connection, work)) => here = Some(Dispatch::Inline(connection, work)),
                other => self.start(other),
            }
        }
        self.start(here);
    }

    fn start(self: &Arc<Self>, dispatch: Option<Dispatch>) {
        let Some(dispatch) = dispatch else { return };
        match dispatch {
            Dispatch::Open => drop(self.handle.spawn(worker::open(Worker::opening(self)))),
            Dispatch::Wake(connection) => {
                drop(self.handle.spawn(worker::wake(Worker::new(self), connection)));
            }
            Dispatch::At(when) => {
                let shared = Arc::clone(self);
                drop(self.handle.spawn(async move {
                    sleep_until(when).await;
                    shared.state().is_gathering = false;
                    shared.redispatch();
                }));
            }
            Dispatch::Inline(connection, work) => {
                let worker = Worker::new(self);
                let task = Box::pin(worker::serve(worker, connection, work));
                if let Err(later) = eager::start(&self.handle, task) {
                    later.then(|()| {});
                }
            }
        }
    }

    /// Gives the worker more work, or puts its connection back.
    pub(super) fn next(self: &Arc<Self>, mut worker: Worker, mut connection: Connection) -> Next {
        let mut state = self.state();
        let Some(work) = state.take(self.config.max_connections) else {
            if !state.is_open {
                drop(state);
                return Next::Close(connection, worker);
            }
            worker.leave(&mut state);
            if !connection.is_expired() {
                connection.is_fresh = false;
                state.idle.push(connection);
            }
            drop(state);
            return Next::Idle;
        };
        self.dispatch(state);
        // Once closed, somebody waits for the queue to be empty.
        self.worker_moved.notify_waiters();
        Next::Work(connection, work, worker)
    }

    /// A worker lost its connection and left: what waits may need another.
    pub(super) fn redispatch(self: &Arc<Self>) {
        self.dispatch(self.state());
    }

    pub(super) fn has_woken(&self) {
        self.state().is_waking = false;
    }

    /// Opens a connection, unless the pool is closed meanwhile.
    pub(super) async fn connect(&self, until: Instant) -> Result<Connection> {
        let mut closing = self.closing.subscribe();
        tokio::select! {
            connection = self.dialer.connect(until) => connection,
            _ = closing.wait_for(|closing| *closing) => Err(Error::Closed),
        }
    }

    pub(super) fn has_opened(self: &Arc<Self>, worker: &mut Worker) {
        let mut state = self.state();
        worker.has_opened(&mut state);
        if state.maintenance.is_none() && state.is_open {
            let task = self.handle.spawn(maintenance::maintain(Arc::downgrade(self)));
            state.maintenance = Some(task.abort_handle());
        }
    }

    /// An attempt to connect takes long, and no longer keeps others from trying.
    pub(super) fn is_stuck(self: &Arc<Self>, worker: &mut Worker) {
        worker.has_opened(&mut self.state());
        self.redispatch();
    }

    /// No connection came about. Whoever waits is told why, unless other workers serve them.
    pub(super) fn has_not_opened(self: &Arc<Self>, worker: &mut Worker, error: &Error) {
        let mut state = self.state();
        worker.has_opened(&mut state);
        let abandoned = if state.workers > 1 { Vec::new() } else { state.drain() };
        drop(state);
        // Not read again: the database has been tried for long enough.
        for work in abandoned {
            for retry in work.fail(error) {
                retry.slot.bulk.answer(retry.slot.number, Err(error.clone()));
            }
        }
    }

    /// The reads are about to be answered: nobody can join them any more.
    pub(super) fn forget(&self, reads: &[Arc<InFlightRead>]) {
        self.state().forget(reads);
    }

    /// Called before the caller of a write learns of its outcome, whatever that is.
    pub(super) fn stop_joining(&self) {
        self.state().in_flight.stop_joining();
    }

    /// Somebody else wrote, to that business or to any: a read that was sent before may bring the older value.
    pub(super) fn outdated(&self, business: Option<Uuid>) {
        let in_flight = &mut self.state().in_flight;
        match business {
            Some(business) => in_flight.stop_joining_business(business),
            None => in_flight.stop_joining(),
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let (idle, waiting) = {
            let state = self.state();
            (state.idle.len() as u64, state.queue.len() as u64)
        };
        let (opened, lost) = (self.counters.opened.get(), self.counters.lost.get());
        // Counted one after another while others go on: none of them may come out below zero.
        let connections = opened.saturating_sub(self.counters.ended.get()).max(idle);
        PoolStats { connections, busy: connections - idle, idle, waiting, opened, lost }
    }

    /// The server went away under a connection: those that are idle lead to the same server.
    pub(super) fn evict_idle(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        if !idle.is_empty() {
            tracing::debug!(connections = idle.len(), "dropping connections to a server that went away");
        }
    }

    /// Takes idle connections out for maintenance. They are the caller's to put back, or to drop.
    pub(super) fn take_idle(
        self: &Arc<Self>,
        is_due: impl FnMut(&mut Connection) -> bool,
    ) -> Vec<(Connection, Worker)> {
        let mut state = self.state();
        let due: Vec<Connection> = state.idle.extract_if(.., is_due).collect();
        state.workers += due.len();
        due.into_iter().map(|connection| (connection, Worker::new(self))).collect()
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

    /// Why a call that reached its deadline was not answered.
    pub(super) fn late(&self) -> Error {
        self.dialer
            .last_error()
            .unwrap_or_else(|| Error::no_answer(self.config.timeout, "the database gave no answer"))
    }

    /// Takes no more work. What waits is still served, but for a database that is away: there it fails at once.
    pub(super) fn shut(&self) {
        let mut state = self.state();
        state.is_open = false;
        // Another attempt to connect may fail, as beyond the server's limit, while connections serve.
        let is_away =
            self.dialer.last_error().is_some() && state.idle.is_empty() && state.workers == state.opening;
        let abandoned = if is_away { state.drain() } else { Vec::new() };
        drop(state);
        fail(abandoned);
    }

    /// Waits until nothing waits any more for a worker. What a worker has taken may still be under way.
    pub(super) async fn served(&self) {
        loop {
            let moved = self.worker_moved.notified();
            if self.state().is_served() {
                return;
            }
            // A call's deadline tells nobody here.
            let _ = timeout(LOOK, moved).await;
        }
    }

    /// Takes no more work. What waits fails; the idle connections are the caller's to close.
    pub(super) fn end(&self) -> Vec<Connection> {
        let mut state = self.state();
        state.is_open = false;
        let waiting = state.drain();
        let idle = std::mem::take(&mut state.idle);
        if let Some(maintenance) = state.maintenance.take() {
            maintenance.abort();
        }
        drop(state);
        self.closing.send_replace(true);
        fail(waiting);
        idle
    }

    /// Waits until no worker is left.
    pub(super) async fn vacated(&self) {
        loop {
            let moved = self.worker_moved.notified();
            if self.state().workers == 0 {
                return;
            }
            moved.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody will serve them: the pool is closed.
fn fail(abandoned: Vec<Work>) {
    for work in abandoned {
        work.fail(&Error::Closed);
    }
}

/// What a worker does after it has served.
pub(super) enum Next {
    Work(Connection, Work, Worker),
    /// Nothing waits; the connection is idle.
    Idle,
    Close(Connection, Worker),
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

    /// Gives the place back under the lock that puts the connection back: the next caller must not see it both busy and
    /// idle.
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
        self.shared.worker_moved.notify_waiters();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("place", &self.config.endpoint.place()).finish_non_exhaustive()
    }
}
