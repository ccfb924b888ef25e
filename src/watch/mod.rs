//! Changes that others make, as they happen.
//!
//! A listener on a session of its own receives notifications, drops what the cache has of the changed secrets, and tells
//! the watchers. It runs while there is a cache or a watcher. Knows nothing of values.

mod hub;
mod listener;
mod notice;
mod status;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use self::hub::{Hub, Mailbox};
use self::listener::{ChangeSink, listen, no_session};
use self::status::ListenerStatus;
use crate::cache::Cache;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::NameSet;
use crate::pool::Pool;
use crate::secret::Versions;
use crate::stats::{ListenerState, ListenerStats};

/// Which changes a watcher is told of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this business; `None` is all of them.
    pub business: Option<Uuid>,
    /// Only these secrets; none is all of them.
    pub names: NameSet,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Secrets of a business have changed: read them again. Any login of the database can have caused it.
    Changed {
        /// Whose.
        business: Uuid,
        /// Which, and to which version at the least.
        versions: Versions,
    },
    /// Anything may have changed: read again whatever you keep. Comes once the listener is up, and after every gap.
    Resync,
}

/// Receives changes until it is closed or dropped.
#[derive(Debug)]
pub struct Watcher {
    number: u64,
    mailbox: Arc<Mailbox>,
    feed: Arc<ChangeFeed>,
}

impl Watcher {
    /// The next event; `None` once the watcher or its client is closed. To be awaited by one task at a time.
    pub async fn next(&self) -> Option<Event> {
        self.mailbox.next().await
    }

    /// No event comes after it.
    pub fn close(&self) {
        self.mailbox.close();
        self.feed.leave(self.number);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.close();
    }
}

/// The listener of one client.
#[derive(Debug)]
pub(crate) struct ChangeFeed {
    sink: Arc<ChangeSink>,
    /// Where to listen; `None` where only a transaction pooler is known.
    config: Option<Config>,
    /// The listener runs for the cache, too, and not only for watchers.
    serves_cache: bool,
    handle: Handle,
    numbers: AtomicU64,
    /// std Mutex: never held across an await.
    listener: Mutex<Listener>,
}

#[derive(Debug)]
enum Listener {
    Off,
    /// Dropping the sender ends the task.
    On(watch::Sender<()>, JoinHandle<()>),
    Closed,
}

impl ChangeFeed {
    /// Must be called inside a tokio runtime, which the listener then belongs to. Starts it if there is a cache.
    pub(crate) fn new(
        config: Option<Config>,
        listens: bool,
        pool: Weak<Pool>,
        cache: Option<Arc<Cache>>,
    ) -> Arc<Self> {
        let has_cache = cache.is_some();
        let feed = Arc::new(Self {
            sink: Arc::new(ChangeSink {
                pool,
                cache,
                hub: Hub::default(),
                status: ListenerStatus::default(),
            }),
            config,
            serves_cache: listens && has_cache,
            handle: Handle::current(),
            numbers: AtomicU64::new(0),
            listener: Mutex::new(Listener::Off),
        });
        if feed.serves_cache {
            feed.start();
        }
        feed
    }

    pub(crate) fn watch(self: &Arc<Self>, filter: Filter) -> Result<Watcher> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::new(filter));
        self.sink.hub.insert(number, Arc::clone(&mailbox));
        // Made before the listener is started: its drop takes the number out of the hub again.
        let watcher = Watcher { number, mailbox, feed: Arc::clone(self) };
        if self.start() { Ok(watcher) } else { Err(Error::Closed) }
    }

    pub(crate) fn stats(&self) -> ListenerStats {
        self.sink.status.get()
    }

    /// Says whether it runs, or could.
    fn start(&self) -> bool {
        let mut listener = self.listener();
        match &*listener {
            Listener::On(..) => return true,
            Listener::Closed => return false,
            Listener::Off => {}
        }
        let number = self.sink.status.starting();
        let Some(config) = self.config.clone() else {
            self.sink.status.failed(number, ListenerState::Unavailable, &no_session());
            return true;
        };
        let (stop, stopped) = watch::channel(());
        let sink = Arc::clone(&self.sink);
        let task = self.handle.spawn(async move { listen(&sink, &config, number, stopped).await });
        *listener = Listener::On(stop, task);
        true
    }

    fn leave(&self, number: u64) {
        self.sink.hub.remove(number);
        let mut listener = self.listener();
        // Decided under the lock: a watcher that comes at this moment starts the listener again.
        if !self.serves_cache && self.sink.hub.is_empty() && !matches!(*listener, Listener::Closed) {
            *listener = Listener::Off;
            self.sink.status.off();
        }
    }

    /// Ends the watchers and the listener.
    pub(crate) async fn close(&self) {
        let listener = std::mem::replace(&mut *self.listener(), Listener::Closed);
        self.sink.hub.close();
        self.sink.status.off();
        if let Listener::On(stop, task) = listener {
            drop(stop);
            let _ = timeout(Duration::from_secs(2), task).await;
        }
    }

    fn listener(&self) -> MutexGuard<'_, Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
