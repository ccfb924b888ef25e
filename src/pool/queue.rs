//! The work that waits for a connection. Pure: no connections, no clocks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::command::Command;
use super::in_flight::{InFlightRead, InFlightReads, Retry};
use crate::error::Error;

/// The most elements that one statement asks for. Beyond it a batch saves nothing more, and delays its first caller.
pub(super) const MAX_BATCH: usize = 512;

/// The fewest elements that are worth a statement of their own while others wait with them. On one machine with its database,
/// 32 callers got half as many reads again through two statements of 16, one of which the server works on while the other's
/// answers are taken, as through one of 32; statements of eight were too small.
pub(super) const MIN_SHARE: usize = 16;

/// The most elements that may wait: some 30 MB. More means that the database does not keep up, and that waiting
/// longer would only end at the deadline.
pub(super) const MAX_WAITING: usize = 65_536;

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Work {
    Reads(Vec<Arc<InFlightRead>>),
    Command(Command),
}

impl Work {
    /// How many secrets it asks for.
    pub(super) fn elements(&self) -> usize {
        match self {
            Self::Reads(reads) => elements(reads),
            Self::Command(_) => 0,
        }
    }

    /// Returns the gets that are to be read again.
    pub(super) fn fail(self, error: &Error) -> Vec<Retry> {
        match self {
            Self::Reads(reads) => reads.iter().flat_map(|read| read.fail(error)).collect(),
            Self::Command(command) => {
                command.fail(error.clone());
                Vec::new()
            }
        }
    }
}

/// How many secrets these reads ask for.
pub(super) fn elements(reads: &[Arc<InFlightRead>]) -> usize {
    reads.iter().map(|read| read.key.names.len()).sum()
}

/// First come, first served, except that reads are served together.
#[derive(Debug, Default)]
pub(super) struct Queue {
    reads: VecDeque<(u64, Arc<InFlightRead>)>,
    commands: VecDeque<(u64, Command)>,
    /// Of all reads that wait.
    elements: usize,
    /// The number of the next arrival.
    arrivals: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.commands.is_empty()
    }

    /// What waits; of reads, the secrets that they ask for.
    pub(super) fn len(&self) -> usize {
        self.elements + self.commands.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_WAITING
    }

    pub(super) fn push_read(&mut self, read: Arc<InFlightRead>) {
        self.elements += read.key.names.len();
        self.reads.push_back((self.arrivals, read));
        self.arrivals += 1;
    }

    pub(super) fn push_command(&mut self, command: Command) {
        self.commands.push_back((self.arrivals, command));
        self.arrivals += 1;
    }

    /// How many elements the reads that wait ask for.
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// The next work that somebody still waits for: a command, or reads of about `most` elements. What nobody waits for
    /// any more is dropped, and leaves `in_flight` too: whoever joined it would wait in vain.
    pub(super) fn take(&mut self, most: usize, in_flight: &mut InFlightReads) -> Option<Work> {
        loop {
            let command_is_first = match (self.reads.front(), self.commands.front()) {
                (None, None) => return None,
                (Some((read, _)), Some((command, _))) => command < read,
                (read, _) => read.is_none(),
            };
            if command_is_first {
                if let Some((_, command)) = self.commands.pop_front()
                    && command.claim()
                {
                    return Some(Work::Command(command));
                }
            } else if let Some(reads) = self.take_reads(most, in_flight) {
                return Some(Work::Reads(reads));
            }
        }
    }

    /// Reads that wait, whole, so that each is answered from one snapshot.
    fn take_reads(&mut self, most: usize, in_flight: &mut InFlightReads) -> Option<Vec<Arc<InFlightRead>>> {
        let mut reads = Vec::with_capacity(self.reads.len().min(most));
        let mut elements = 0;
        while let Some((_, read)) = self.reads.front()
            && (reads.is_empty() || elements + read.key.names.len() <= most)
            && let Some((_, read)) = self.reads.pop_front()
        {
            self.elements -= read.key.names.len();
            if read.is_abandoned() {
                in_flight.remove(&read);
            } else {
                elements += read.key.names.len();
                reads.push(read);
            }
        }
        (!reads.is_empty()).then_some(reads)
    }

    /// Drops what nobody waits for any more.
    pub(super) fn prune(&mut self, in_flight: &mut InFlightReads) {
        self.commands.retain(|(_, command)| !command.is_abandoned());
        self.reads.retain(|(_, read)| {
            let is_abandoned = read.is_abandoned();
            if is_abandoned {
                self.elements -= read.key.names.len();
                in_flight.remove(read);
            }
            !is_abandoned
        });
    }

    pub(super) fn drain(&mut self, in_flight: &mut InFlightReads) -> Vec<Work> {
        std::iter::from_fn(|| self.take(MAX_BATCH, in_flight)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::super::command::Claim;
    use super::super::in_flight::{ReadKey, Receiver};
    use super::*;
    use crate::name::{NameSet, SecretName};
    use crate::store::Ping;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn names(count: usize) -> NameSet {
        (0..count).map(|at| format!("queued_{at}").parse::<SecretName>().unwrap()).collect()
    }

    fn key(names: NameSet) -> ReadKey {
        ReadKey { business: Uuid::nil(), names }
    }

    fn push(queue: &mut Queue, names: NameSet) -> Receiver {
        let (read, receiver) = InFlightRead::for_caller(key(names), later());
        queue.push_read(read);
        receiver
    }

    fn ping(queue: &mut Queue) -> (Claim, oneshot::Receiver<crate::Result<()>>) {
        let (command, claim, answer) = Command::new(Ping, later());
        queue.push_command(command);
        (claim, answer)
    }

    #[tokio::test]
    async fn all_reads_that_wait_travel_together_up_to_the_bound() {
        let (mut queue, mut in_flight) = (Queue::default(), InFlightReads::default());
        let receivers: Vec<Receiver> = (0..50).map(|_| push(&mut queue, names(12))).collect();
        let Some(Work::Reads(first)) = queue.take(MAX_BATCH, &mut in_flight) else { panic!("no reads") };
        let Some(Work::Reads(second)) = queue.take(MAX_BATCH, &mut in_flight) else { panic!("no reads") };
        // Whole reads only: 42 × 12 = 504, and a 43rd would exceed 512.
        assert_eq!((first.len(), second.len()), (42, 8));
        assert!(queue.is_empty());
        drop(receivers);
    }

    #[tokio::test]
    async fn what_came_first_is_served_first() {
        let (mut queue, mut in_flight) = (Queue::default(), InFlightReads::default());
        let (_claim, _answer) = ping(&mut queue);
        let _receiver = push(&mut queue, names(1));
        assert!(matches!(queue.take(MAX_BATCH, &mut in_flight), Some(Work::Command(_))));
        assert!(matches!(queue.take(MAX_BATCH, &mut in_flight), Some(Work::Reads(_))));
        assert!(queue.take(MAX_BATCH, &mut in_flight).is_none());
    }

    #[tokio::test]
    async fn nobody_is_served_who_gave_up() {
        let (mut queue, mut in_flight) = (Queue::default(), InFlightReads::default());
        let (claim, _answer) = ping(&mut queue);
        drop(push(&mut queue, names(1)));
        assert!(claim.take());
        assert!(queue.take(MAX_BATCH, &mut in_flight).is_none());
        assert_eq!(queue.elements, 0);
    }

    #[tokio::test]
    async fn nobody_joins_a_read_that_was_dropped_because_its_callers_gave_up() {
        let (mut queue, mut in_flight) = (Queue::default(), InFlightReads::default());
        let (read, receiver) = InFlightRead::for_caller(key(names(1)), later());
        in_flight.insert(Arc::clone(&read));
        queue.push_read(read);
        drop(receiver);
        // It may still be joined while it waits, and is not dropped then.
        let joined = in_flight.join(&key(names(1)), later()).unwrap();
        assert!(!queue.is_empty());
        drop(joined);
        assert!(queue.take(MAX_BATCH, &mut in_flight).is_none());
        assert!(in_flight.join(&key(names(1)), later()).is_none());
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let (mut queue, mut in_flight) = (Queue::default(), InFlightReads::default());
        let receivers: Vec<Receiver> = (0..MAX_WAITING).map(|_| push(&mut queue, names(1))).collect();
        assert!(queue.is_full());
        assert!(queue.take(MAX_BATCH, &mut in_flight).is_some());
        assert!(!queue.is_full());
        drop(receivers);
    }
}
