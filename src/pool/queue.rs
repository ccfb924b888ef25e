//! The work that waits. Pure: no connections, no clocks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::flight::{Flight, Flights};
use super::job::Errand;
use crate::error::Error;

/// The most elements that one statement asks for. Beyond it a batch saves nothing more, and delays its first caller.
pub(super) const BATCH: usize = 512;

/// The fewest elements that are worth a statement of their own while others wait with them.
pub(super) const SHARE: usize = 64;

/// The most elements that may wait: some 30 MB. More means that the database does not keep up, and that waiting
/// longer would only end at the deadline.
pub(super) const BOUND: usize = 65_536;

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Work {
    Batch(Vec<Arc<Flight>>),
    Errand(Errand),
}

impl Work {
    pub(super) fn fail(self, error: &Error) {
        match self {
            Self::Batch(flights) => flights.iter().for_each(|flight| flight.land(Err(error.clone()))),
            Self::Errand(errand) => errand.fail(error.clone()),
        }
    }
}

/// First come, first served, except that reads are served together.
#[derive(Debug, Default)]
pub(super) struct Queue {
    reads: VecDeque<(u64, Arc<Flight>)>,
    errands: VecDeque<(u64, Errand)>,
    /// Of all reads that wait.
    elements: usize,
    /// The number of the next arrival.
    arrivals: u64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.errands.is_empty()
    }

    /// What waits; of reads, the secrets that they ask for.
    pub(super) fn len(&self) -> usize {
        self.elements + self.errands.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BOUND
    }

    pub(super) fn push_read(&mut self, flight: Arc<Flight>) {
        self.elements += flight.route.names.len();
        self.reads.push_back((self.arrivals, flight));
        self.arrivals += 1;
    }

    pub(super) fn push_errand(&mut self, errand: Errand) {
        self.errands.push_back((self.arrivals, errand));
        self.arrivals += 1;
    }

    /// How many elements the reads that wait ask for.
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// The next work that somebody still waits for: an errand, or reads of about `most` elements. What nobody waits for
    /// any more is dropped, and leaves `flights` too: whoever joined it would wait in vain.
    pub(super) fn take(&mut self, most: usize, flights: &mut Flights) -> Option<Work> {
        loop {
            let errand_is_first = match (self.reads.front(), self.errands.front()) {
                (None, None) => return None,
                (Some((read, _)), Some((errand, _))) => errand < read,
                (read, _) => read.is_none(),
            };
            if errand_is_first {
                if let Some((_, errand)) = self.errands.pop_front()
                    && errand.claim()
                {
                    return Some(Work::Errand(errand));
                }
            } else if let Some(batch) = self.take_batch(most, flights) {
                return Some(Work::Batch(batch));
            }
        }
    }

    /// Everything that waits, in whole reads, so that each is answered from one snapshot.
    fn take_batch(&mut self, most: usize, flights: &mut Flights) -> Option<Vec<Arc<Flight>>> {
        let mut batch = Vec::with_capacity(self.reads.len().min(most));
        let mut elements = 0;
        while let Some((_, flight)) = self.reads.front()
            && (batch.is_empty() || elements + flight.route.names.len() <= most)
            && let Some((_, flight)) = self.reads.pop_front()
        {
            self.elements -= flight.route.names.len();
            if flight.is_abandoned() {
                flights.remove(&flight);
            } else {
                elements += flight.route.names.len();
                batch.push(flight);
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    pub(super) fn drain(&mut self, flights: &mut Flights) -> Vec<Work> {
        std::iter::from_fn(|| self.take(BATCH, flights)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::super::flight::{Landing, Route};
    use super::super::job::{Claim, Job, Ping};
    use super::*;
    use crate::catalogue::{NameSet, SecretName};

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn read(queue: &mut Queue, names: NameSet) -> Landing {
        let (flight, landing) = Flight::new(Route { business: Uuid::nil(), names }, later());
        queue.push_read(flight);
        landing
    }

    fn ping(queue: &mut Queue) -> (Claim, oneshot::Receiver<crate::Result<()>>) {
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        queue.push_errand(Errand::Ping(Ping { job: Job { reply, deadline: later(), claim: claim.clone() } }));
        (claim, answer)
    }

    #[tokio::test]
    async fn all_reads_that_wait_travel_together_up_to_the_bound() {
        let mut queue = Queue::default();
        let all: NameSet = SecretName::ALL.into_iter().collect();
        let landings: Vec<Landing> = (0..50).map(|_| read(&mut queue, all)).collect();
        let Some(Work::Batch(first)) = queue.take(BATCH, &mut Flights::default()) else { panic!("no batch") };
        let Some(Work::Batch(second)) = queue.take(BATCH, &mut Flights::default()) else {
            panic!("no batch")
        };
        // Whole reads only: 42 × 12 = 504, and a 43rd would exceed 512.
        assert_eq!((first.len(), second.len()), (42, 8));
        assert!(queue.is_empty());
        drop(landings);
    }

    #[tokio::test]
    async fn what_came_first_is_served_first() {
        let mut queue = Queue::default();
        let (_claim, _answer) = ping(&mut queue);
        let _landing = read(&mut queue, SecretName::GrokApiKey.into());
        assert!(matches!(queue.take(BATCH, &mut Flights::default()), Some(Work::Errand(_))));
        assert!(matches!(queue.take(BATCH, &mut Flights::default()), Some(Work::Batch(_))));
        assert!(queue.take(BATCH, &mut Flights::default()).is_none());
    }

    #[tokio::test]
    async fn nobody_is_served_who_gave_up() {
        let mut queue = Queue::default();
        let (claim, _answer) = ping(&mut queue);
        drop(read(&mut queue, SecretName::GrokApiKey.into()));
        assert!(claim.take());
        assert!(queue.take(BATCH, &mut Flights::default()).is_none());
        assert_eq!(queue.elements, 0);
    }

    #[tokio::test]
    async fn nobody_joins_a_read_that_was_dropped_because_its_callers_gave_up() {
        let (mut queue, mut flights) = (Queue::default(), Flights::default());
        let route = Route { business: Uuid::nil(), names: SecretName::GrokApiKey.into() };
        let (flight, landing) = Flight::new(route, later());
        flights.insert(Arc::clone(&flight));
        queue.push_read(flight);
        drop(landing);
        // It may still be joined while it waits, and is not dropped then.
        let joined = flights.join(&route, later()).unwrap();
        assert!(!queue.is_empty());
        drop(joined);
        assert!(queue.take(BATCH, &mut flights).is_none());
        assert!(flights.join(&route, later()).is_none());
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let mut queue = Queue::default();
        let landings: Vec<Landing> =
            (0..BOUND).map(|_| read(&mut queue, SecretName::GrokApiKey.into())).collect();
        assert!(queue.is_full());
        assert!(queue.take(BATCH, &mut Flights::default()).is_some());
        assert!(!queue.is_full());
        drop(landings);
    }
}
