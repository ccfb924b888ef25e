//! Looks after idle connections: keeps the few that are needed alive, and closes the rest.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::sleep;

use super::connection::Connection;
use super::shared::{Next, Shared};

const ROUND: Duration = Duration::from_secs(20);

/// Below the idle limits of common firewalls and load balancers (AWS NLB: 350 s). A ping also finds half-open sockets,
/// for which the driver offers no TCP keepalives.
const PING_AFTER: Duration = Duration::from_mins(1);

/// An unused connection costs the server memory.
const CLOSE_AFTER: Duration = Duration::from_mins(10);

/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends with the pool: the task holds the pool only while a round lasts.
pub(super) async fn maintain(shared: Weak<Shared>) {
    loop {
        sleep(ROUND).await;
        let Some(shared) = shared.upgrade() else { return };
        for (connection, _worker) in shared.take_idle(|connection| is_unused(connection)) {
            connection.close().await;
        }
        let is_silent = |connection: &mut Connection| connection.last_heard.elapsed() >= PING_AFTER;
        for (mut connection, worker) in shared.take_idle(is_silent) {
            if !connection.is_alive(PING_TIMEOUT).await {
                tracing::debug!("dropping a connection that does not answer");
                continue;
            }
            match shared.next(worker, connection) {
                Next::Idle => {}
                Next::Work(connection, work, worker) => super::worker::serve(worker, connection, work).await,
                Next::Close(connection, _worker) => connection.close().await,
            }
        }
    }
}

fn is_unused(connection: &Connection) -> bool {
    connection.is_expired() || connection.last_used.elapsed() >= CLOSE_AFTER
}
