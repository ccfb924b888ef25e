//! Looks after parked links: keeps the few that are needed alive, and closes the rest.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::connect::Link;
use super::state::{Shared, Turn};

const ROUND: Duration = Duration::from_secs(20);

/// Below the idle limits of common firewalls and load balancers (AWS NLB: 350 s). It also finds half-open sockets,
/// for which the driver offers no TCP keepalives.
const ASK_AFTER: Duration = Duration::from_mins(1);

/// An unused connection costs the server memory.
const CLOSE_AFTER: Duration = Duration::from_mins(10);

const PATIENCE: Duration = Duration::from_secs(5);

/// Ends with the pool: it holds the pool only while a round lasts.
pub(super) async fn tend(shared: Weak<Shared>) {
    loop {
        sleep(ROUND).await;
        let Some(shared) = shared.upgrade() else { return };
        for (link, _worker) in shared.take_parked(|link| is_unused(link)) {
            link.close().await;
        }
        for (mut link, worker) in shared.take_parked(|link| link.heard.elapsed() >= ASK_AFTER) {
            if !link.is_alive(PATIENCE).await {
                tracing::debug!("dropping a connection that gives no sign of life");
                continue;
            }
            match shared.turn(worker, link) {
                Turn::Parked => {}
                Turn::Work(link, work, worker) => super::worker::serve(worker, link, work).await,
                Turn::Close(link, _worker) => link.close().await,
            }
        }
    }
}

fn is_unused(link: &Link) -> bool {
    link.is_expired() || link.used.elapsed() >= CLOSE_AFTER
}
