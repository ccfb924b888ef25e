//! Decides who serves what waits, with how much of it, and when another connection is worth opening. Pure but for the
//! clock: [`super::shared`] carries the decisions out, under its lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::Connection;
use super::in_flight::{InFlightRead, InFlightReads};
use super::queue::{MAX_BATCH, MIN_SHARE, Queue, Work, elements};
use crate::error::{Error, Result};

/// Who is to serve what has just been queued.
pub(super) enum Dispatch {
    /// No worker is busy: the caller's own thread sends this, which saves a change of threads on the way out.
    Inline(Connection, Work),
    /// Some worker is busy: a task takes all that will have gathered by the time it runs.
    Wake(Connection),
    /// A task opens a connection.
    Open,
    /// The next free worker takes it; otherwise it is dispatched again at this instant.
    At(Instant),
}

/// With this many workers under way, a further one starts at most every `GATHER`: one of them will be free in a moment,
/// and takes what has gathered as one batch. Spread over all connections it would be many small batches, which cost the
/// server more: on one machine with its database, 32 callers of `getMany` got 38 % more answers than without this.
const FEW: usize = 2;
const GATHER: Duration = Duration::from_millis(1);

/// Into how many statements at most all that is under way is split, unless they would be too large: one for the server to work
/// on while the answers of another are taken. On two cores that server and client share, three took a burst of 1,000 a fifth
/// longer, because the third had a core to itself at the end; 256 callers got as many reads through three, 15 % fewer through four and
/// 40 % fewer through eight.
const MAX_PARALLEL_BATCHES: usize = 2;

/// What waits, and who could serve it.
pub(super) struct State {
    pub(super) is_open: bool,
    pub(super) queue: Queue,
    pub(super) in_flight: InFlightReads,
    /// How many elements the reads ask for that were taken and are not answered yet.
    pub(super) under_way: usize,
    /// Connections without work, the most recently used last.
    pub(super) idle: Vec<Connection>,
    /// Tasks that hold a connection or are opening one.
    pub(super) workers: usize,
    /// Of these, how many are opening one. One at a time: a burst must not open connections that it will not need.
    pub(super) opening: usize,
    /// A worker has been woken and has not yet looked at the queue: it will find whatever is put there meanwhile.
    pub(super) is_waking: bool,
    /// When a worker last took work.
    last_taken: Instant,
    /// What waits will be dispatched again when `GATHER` is over.
    pub(super) is_gathering: bool,
    /// Looks after idle connections.
    pub(super) maintenance: Option<AbortHandle>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            is_open: true,
            queue: Queue::default(),
            in_flight: InFlightReads::default(),
            under_way: 0,
            idle: Vec::new(),
            workers: 0,
            opening: 0,
            is_waking: false,
            last_taken: Instant::now(),
            is_gathering: false,
            maintenance: None,
        }
    }

    /// Whether further work is taken on.
    pub(super) fn admit(&self) -> Result<()> {
        if !self.is_open {
            return Err(Error::Closed);
        }
        if self.queue.is_full() {
            return Err(Error::unavailable("too many calls wait for it already: it does not keep up"));
        }
        Ok(())
    }

    /// Everything that waits, to be failed.
    pub(super) fn drain(&mut self) -> Vec<Work> {
        self.in_flight.stop_joining();
        self.queue.drain(&mut self.in_flight)
    }

    /// Whether nobody waits for a worker.
    pub(super) fn is_served(&mut self) -> bool {
        self.queue.prune(&mut self.in_flight);
        self.queue.is_empty()
    }

    /// Something was queued, or a worker left.
    pub(super) fn dispatch(&mut self, max_connections: usize) -> Option<Dispatch> {
        let may_open = self.opening == 0 && self.workers < max_connections;
        if self.is_waking || self.queue.is_empty() || (self.idle.is_empty() && !may_open) {
            return None;
        }
        if self.workers >= FEW && self.last_taken.elapsed() < GATHER {
            let is_arranged = std::mem::replace(&mut self.is_gathering, true);
            return (!is_arranged).then(|| Dispatch::At(self.last_taken + GATHER));
        }
        if let Some(connection) = self.idle.pop() {
            self.workers += 1;
            if self.workers > 1 {
                self.is_waking = true;
                return Some(Dispatch::Wake(connection));
            }
            let Some(work) = self.take(max_connections) else {
                self.workers -= 1;
                self.idle.push(connection);
                return None;
            };
            return Some(Dispatch::Inline(connection, work));
        }
        self.workers += 1;
        self.opening += 1;
        Some(Dispatch::Open)
    }

    /// As `dispatch`, of work that has gathered already: it waits for no more.
    pub(super) fn dispatch_gathered(&mut self, max_connections: usize) -> Option<Dispatch> {
        if self.queue.is_empty() {
            return None;
        }
        let Some(connection) = self.idle.pop() else {
            // Opening follows the one rule for all: one at a time, and as few as will do.
            return self.dispatch(max_connections);
        };
        self.workers += 1;
        let Some(work) = self.take(max_connections) else {
            self.workers -= 1;
            self.idle.push(connection);
            return None;
        };
        Some(Dispatch::Inline(connection, work))
    }

    /// An even share of all that is under way and waits, never too small to be worth a statement: what was answered together
    /// is asked for together again, so statements keep the size that they once have.
    pub(super) fn take(&mut self, max_connections: usize) -> Option<Work> {
        self.last_taken = Instant::now();
        let all = self.queue.elements() + self.under_way;
        let share = all.div_ceil(MAX_PARALLEL_BATCHES.min(max_connections)).clamp(MIN_SHARE, MAX_BATCH);
        let work = self.queue.take(share, &mut self.in_flight)?;
        self.under_way += work.elements();
        Some(work)
    }

    /// These reads are about to be answered.
    pub(super) fn forget(&mut self, reads: &[Arc<InFlightRead>]) {
        self.under_way -= elements(reads);
        for read in reads {
            self.in_flight.remove(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::in_flight::{ReadKey, Receiver};
    use super::*;
    use crate::name::{NameSet, SecretName};

    const CONNECTIONS: usize = 8;

    /// So many callers, each of whom waits for one secret of a business of its own.
    fn ask(state: &mut State, callers: usize) -> Vec<Receiver> {
        let names: NameSet = std::iter::once("asked_for".parse::<SecretName>().unwrap()).collect();
        let ask = |caller: usize| {
            let key = ReadKey { business: Uuid::from_u128(caller as u128), names: names.clone() };
            let (read, receiver) = InFlightRead::for_caller(key, Instant::now() + Duration::from_mins(1));
            state.in_flight.insert(Arc::clone(&read));
            state.queue.push_read(read);
            receiver
        };
        (0..callers).map(ask).collect()
    }

    fn take(state: &mut State) -> Vec<Arc<InFlightRead>> {
        match state.take(CONNECTIONS) {
            Some(Work::Reads(reads)) => reads,
            _ => panic!("no reads"),
        }
    }

    #[tokio::test]
    async fn statements_keep_their_size_while_callers_ask_again() {
        for (callers, sizes) in [(1, &[1][..]), (32, &[16, 16]), (96, &[48, 48]), (256, &[128, 128])] {
            let mut state = State::new();
            let mut waiting = ask(&mut state, callers);
            let mut sent: Vec<_> = sizes.iter().map(|_| take(&mut state)).collect();
            assert!(state.queue.is_empty());
            for round in 0..9 {
                assert_eq!(
                    sent.iter().map(Vec::len).collect::<Vec<_>>(),
                    sizes,
                    "{callers} callers, {round}"
                );
                // A write in between: nobody joins what is under way, and it is under way all the same.
                state.in_flight.stop_joining();
                let answered = sent.remove(0);
                state.forget(&answered);
                waiting.extend(ask(&mut state, answered.len()));
                let next = take(&mut state);
                assert_eq!(next.len(), answered.len());
                sent.push(next);
                sent.sort_by_key(|reads| std::cmp::Reverse(reads.len()));
            }
            for reads in sent {
                state.forget(&reads);
            }
            assert_eq!(state.under_way, 0);
        }
    }
}
