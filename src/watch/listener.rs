//! Listens for as long as it is needed, and says aloud when it may have missed something.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::hub::Hub;
use super::notice::Notice;
use super::status::{ListenerState, Status};
use crate::cache::Cache;
use crate::config::Config;
use crate::error::Error;
use crate::pool::Pool;
use crate::store::{Deaf, Listening};

/// Between attempts, doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A path on which nothing is heard seldom changes, but a failover may change it.
const LONG_PAUSE: Duration = Duration::from_mins(1);

/// Whom a change concerns, in this order: whoever hears of it and asks again has to get what is new.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) pool: Weak<Pool>,
    pub(super) cache: Option<Arc<Cache>>,
    pub(super) hub: Hub,
    pub(super) status: Status,
}

impl Ears {
    fn hear(&self, payload: &str) {
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
            Some(Notice::Everything) => {
                tracing::debug!("everything may have changed");
                self.drop_all();
                self.hub.resync();
            }
            // Ours are well-formed. Whoever sends others may as well be talking to himself.
            None => tracing::debug!(bytes = payload.len(), "ignoring a notification that is none of ours"),
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

    /// Hears until the session is lost.
    async fn follow(&self, session: &mut Listening) -> Error {
        loop {
            match session.next().await {
                Ok(payload) => self.hear(&payload),
                Err(error) => return error,
            }
        }
    }

    fn lost(&self, run: u64, error: &Error) {
        tracing::warn!(%error, "the listener was lost");
        self.status.failed(run, ListenerState::Connecting, error);
        // Watchers hear of it when it is back: what they would read now might change unheard.
        if let Some(cache) = &self.cache {
            cache.expire_all();
        }
    }
}

/// Returns when it is stopped. `run` tells it from the listeners before and after it.
pub(super) async fn listen(ears: &Ears, config: &Config, run: u64, mut stop: watch::Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let opened = tokio::select! {
            opened = Listening::open(config) => opened,
            _ = stop.changed() => return,
        };
        match opened {
            Ok(mut session) => {
                let since = Instant::now();
                tracing::debug!("the listener is connected");
                // Notifications sent meanwhile are lost: drop everything cached.
                ears.drop_all();
                ears.status.listening(run);
                ears.hub.resync();
                let lost = tokio::select! {
                    error = ears.follow(&mut session) => Some(error),
                    _ = stop.changed() => None,
                };
                if let Some(error) = &lost {
                    ears.lost(run, error);
                }
                session.close().await;
                if lost.is_none() {
                    return;
                }
                // One that is lost again and again is not to be greeted with a storm.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(Deaf::NotConnected(error)) => {
                tracing::debug!(%error, "the listener has no session");
                ears.status.failed(run, ListenerState::Connecting, &error);
            }
            Err(Deaf::NoEcho) => {
                let error = unheard();
                tracing::warn!(%error, "the listener hears nothing");
                ears.status.failed(run, ListenerState::Unavailable, &error);
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

/// Why nothing is heard.
pub(super) fn unheard() -> Error {
    Error::Config(
        "LISTEN needs a session of its own, which a transaction pooler does not give: pass a direct connection as \
         listenUrl"
            .into(),
    )
}
