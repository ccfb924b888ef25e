//! Single flight: identical reads that are under way at the same time travel once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalogue::{NameSet, SecretName};
use crate::error::Result;
use crate::store::Reading;

/// Each secret that was asked for, or why it alone could not be read.
pub(crate) type Readings = Vec<(SecretName, Result<Reading>)>;

/// Where one caller waits.
pub(super) type Landing = oneshot::Receiver<Result<Readings>>;

/// Two reads with the same route are the same read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) business: Uuid,
    pub(super) names: NameSet,
}

/// One read and everybody who waits for it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) route: Route,
    /// std Mutex: never held across an await.
    seats: Mutex<Seats>,
}

#[derive(Debug)]
struct Seats {
    /// `None` once it has landed.
    waiting: Option<Vec<oneshot::Sender<Result<Readings>>>>,
    /// When the last of them gives up.
    deadline: Instant,
}

impl Flight {
    pub(super) fn new(route: Route, deadline: Instant) -> (Arc<Self>, Landing) {
        let (sender, landing) = oneshot::channel();
        let seats = Mutex::new(Seats { waiting: Some(vec![sender]), deadline });
        (Arc::new(Self { route, seats }), landing)
    }

    fn join(&self, deadline: Instant) -> Option<Landing> {
        let mut seats = self.seats();
        let (sender, landing) = oneshot::channel();
        seats.waiting.as_mut()?.push(sender);
        seats.deadline = seats.deadline.max(deadline);
        Some(landing)
    }

    pub(super) fn land(&self, outcome: Result<Readings>) {
        let Some(mut waiting) = self.seats().waiting.take() else {
            return;
        };
        // The receiver may have given up meanwhile: then nobody is left to tell.
        let last = waiting.pop();
        for waiter in waiting {
            let _ = waiter.send(outcome.clone());
        }
        if let Some(last) = last {
            let _ = last.send(outcome);
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.seats().deadline
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.seats().waiting.as_ref().is_none_or(|waiting| waiting.iter().all(oneshot::Sender::is_closed))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reads that a further caller may join.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_route: HashMap<Route, Arc<Flight>>,
}

impl Flights {
    pub(super) fn join(&self, route: &Route, deadline: Instant) -> Option<Landing> {
        self.by_route.get(route)?.join(deadline)
    }

    pub(super) fn insert(&mut self, flight: Arc<Flight>) {
        self.by_route.insert(flight.route, flight);
    }

    pub(super) fn remove(&mut self, flight: &Arc<Flight>) {
        if self.by_route.get(&flight.route).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            self.by_route.remove(&flight.route);
        }
    }

    /// After a write: what was sent before it may answer with the older value. Those who wait for it already asked
    /// before the write was done; whoever asks from now on must see it.
    pub(super) fn close_doors(&mut self) {
        self.by_route.clear();
    }

    /// Likewise, after a change that somebody else made.
    pub(super) fn close_doors_of(&mut self, business: Uuid) {
        self.by_route.retain(|route, _| route.business != business);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

    fn route() -> Route {
        Route { business: Uuid::nil(), names: SecretName::GrokApiKey.into() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test]
    async fn everybody_on_a_flight_gets_its_outcome() {
        let (flight, first) = Flight::new(route(), soon());
        let mut flights = Flights::default();
        flights.insert(Arc::clone(&flight));
        let second = flights.join(&route(), soon()).unwrap();
        flight.land(Err(Error::Closed));
        assert!(matches!(first.await.unwrap(), Err(Error::Closed)));
        assert!(matches!(second.await.unwrap(), Err(Error::Closed)));
    }

    #[tokio::test]
    async fn a_flight_that_landed_takes_nobody_on() {
        let (flight, _landing) = Flight::new(route(), soon());
        let mut flights = Flights::default();
        flights.insert(Arc::clone(&flight));
        flight.land(Err(Error::Closed));
        assert!(flights.join(&route(), soon()).is_none());
    }

    #[tokio::test]
    async fn nobody_joins_a_read_from_before_a_write() {
        let (flight, _landing) = Flight::new(route(), soon());
        let mut flights = Flights::default();
        flights.insert(flight);
        flights.close_doors();
        assert!(flights.join(&route(), soon()).is_none());
    }

    #[tokio::test]
    async fn a_later_flight_is_not_removed_in_place_of_an_earlier_one() {
        let (early, _a) = Flight::new(route(), soon());
        let (late, _b) = Flight::new(route(), soon());
        let mut flights = Flights::default();
        flights.insert(late);
        flights.remove(&early);
        assert!(flights.join(&route(), soon()).is_some());
    }

    #[tokio::test]
    async fn a_flight_lasts_as_long_as_its_most_patient_caller() {
        let (flight, first) = Flight::new(route(), soon());
        let later = soon() + Duration::from_secs(5);
        let second = flight.join(later).unwrap();
        assert_eq!(flight.deadline(), later);
        drop(first);
        assert!(!flight.is_abandoned());
        drop(second);
        assert!(flight.is_abandoned());
    }
}
