//! Listens for as long as it is needed, and says aloud when it may have missed something.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::hub::Hub;
use super::notice::Notice;
use super::status::ListenerStatus;
use crate::cache::Cache;
use crate::config::Config;
use crate::error::Error;
use crate::pool::Pool;
use crate::stats::ListenerState;
use crate::store::{ListenError, ListenSession};

/// Between attempts, doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A path that delivers no notifications seldom starts to, but a failover may change it.
const LONG_PAUSE: Duration = Duration::from_mins(1);

/// Applies changes to the pool, the cache and the watchers, in this order: a watcher that reads again never sees the
/// value of before the change.
#[derive(Debug)]
pub(super) struct ChangeSink {
    pub(super) pool: Weak<Pool>,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) hub: Hub,
    pub(super) status: ListenerStatus,
}

impl ChangeSink {
    fn apply(&self, payload: &str) {
        match Notice::parse(payload) {
            Some(Notice::Changed { business, versions }) => {
                tracing::debug!(%business, secrets = versions.len(), "secrets have changed");
                if let Some(pool) = self.pool.upgrade() {
                    pool.outdated(Some(business));
                }
                if let Some(cache) = &self.cache {
                    cache.changed(business, &versions);
                }
                self.hub.changed(business, &versions);
            }
            Some(Notice::Business(business)) => {
                tracing::debug!(%business, "every secret of a business may have changed");
                if let Some(pool) = self.pool.upgrade() {
                    pool.outdated(Some(business));
                }
                if let Some(cache) = &self.cache {
                    cache.forget_business(business);
                }
                self.hub.resync_business(business);
            }
            Some(Notice::Everything) => {
                tracing::debug!("everything may have changed");
                self.drop_all();
                self.hub.resync();
            }
            // Any login can send a NOTIFY on this channel, so a malformed payload is not an error.
            None => tracing::debug!(bytes = payload.len(), "ignoring a malformed notification"),
        }
    }

    fn drop_all(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.outdated(None);
        }
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// Applies notifications until the session is lost.
    async fn follow(&self, session: &mut ListenSession) -> Error {
        loop {
            match session.next().await {
                Ok(payload) => self.apply(&payload),
                Err(error) => return error,
            }
        }
    }

    fn lost(&self, generation: u64, error: &Error) {
        tracing::warn!(%error, "the listener was lost");
        self.status.failed(generation, ListenerState::Connecting, error);
        // Watchers hear of it when it is back: what they would read now might change no_session.
        if let Some(cache) = &self.cache {
            cache.expire_all();
        }
    }
}

/// Listens until it is stopped. `generation` tells this listener from the ones before and after it.
pub(super) async fn listen(
    sink: &ChangeSink,
    config: &Config,
    generation: u64,
    mut stop: watch::Receiver<()>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = tokio::select! {
            opened = ListenSession::open(config) => opened,
            _ = stop.changed() => return,
        };
        match opened {
            Ok(mut session) => {
                let since = Instant::now();
                tracing::debug!("the listener is connected");
                // Notifications sent meanwhile are lost: drop everything cached.
                sink.drop_all();
                sink.status.listening(generation);
                sink.hub.resync();
                let lost = tokio::select! {
                    error = sink.follow(&mut session) => Some(error),
                    _ = stop.changed() => None,
                };
                if let Some(error) = &lost {
                    sink.lost(generation, error);
                }
                session.close().await;
                if lost.is_none() {
                    return;
                }
                // A session that is lost right after it came about keeps the longer pause.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(ListenError::NotConnected(error)) => {
                tracing::debug!(%error, "the listener has no session");
                sink.status.failed(generation, ListenerState::Connecting, &error);
            }
            Err(ListenError::NoEcho) => {
                let error = no_session();
                tracing::warn!(%error, "the listener receives no notifications");
                sink.status.failed(generation, ListenerState::Unavailable, &error);
                pause = LONG_PAUSE;
            }
        }
        tokio::select! {
            () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            _ = stop.changed() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why no notification can arrive.
pub(super) fn no_session() -> Error {
    Error::Config(
        "LISTEN needs a session of its own, which a transaction pooler does not give: pass a direct connection as \
         listenUrl"
            .into(),
    )
}
