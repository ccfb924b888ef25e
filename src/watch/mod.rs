//! Changes that are made anywhere else, as they happen.
//!
//! A listener on a session of its own hears of them, drops what the cache knows of it, and tells the watchers. It runs
//! for as long as there is a cache or a watcher. Knows nothing of values.

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

pub use self::status::{ListenerState, ListenerStats};

use self::hub::{Hub, Mailbox};
use self::listener::{Ears, listen, unheard};
use self::status::Status;
use crate::cache::Cache;
use crate::catalogue::NameSet;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::store::Versions;

/// What to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this business; `None` is all of them.
    pub business: Option<Uuid>,
    /// Only these secrets; none is all of them.
    pub names: NameSet,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Secrets of a business have changed: read them again. Anyone who can connect can have caused it.
    Changed {
        /// Whose.
        business: Uuid,
        /// Which, and to which version at the least.
        versions: Versions,
    },
    /// Anything may have changed: read again whatever you keep. Comes once the listener is up, and after every gap.
    Resync,
}

/// Hears of changes until it is closed or dropped.
#[derive(Debug)]
pub struct Watcher {
    number: u64,
    mailbox: Arc<Mailbox>,
    live: Arc<Live>,
}

impl Watcher {
    /// The next event; `None` once the watcher or its client is closed. To be awaited by one task at a time.
    pub async fn next(&self) -> Option<Event> {
        self.mailbox.next().await
    }

    /// No event comes after it.
    pub fn close(&self) {
        self.mailbox.close();
        self.live.leave(self.number);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.close();
    }
}

/// The listener of one client.
#[derive(Debug)]
pub(crate) struct Live {
    ears: Arc<Ears>,
    /// Where to listen; `None` where only a transaction pooler is known.
    config: Option<Config>,
    handle: Handle,
    numbers: AtomicU64,
    /// std Mutex: never held across an await.
    run: Mutex<Run>,
}

#[derive(Debug)]
enum Run {
    Off,
    /// Dropping the sender ends the task.
    On(watch::Sender<()>, JoinHandle<()>),
    Closed,
}

impl Live {
    /// Must be called inside a tokio runtime, which the listener then belongs to. Starts it if there is a cache.
    pub(crate) fn new(config: Option<Config>, pool: Weak<Pool>, cache: Option<Arc<Cache>>) -> Arc<Self> {
        let live = Arc::new(Self {
            ears: Arc::new(Ears { pool, cache, hub: Hub::default(), status: Status::default() }),
            config,
            handle: Handle::current(),
            numbers: AtomicU64::new(0),
            run: Mutex::new(Run::Off),
        });
        if live.ears.cache.is_some() {
            live.start();
        }
        live
    }

    pub(crate) fn watch(self: &Arc<Self>, filter: Filter) -> Result<Watcher> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::new(Mailbox::new(filter));
        self.ears.hub.insert(number, Arc::clone(&mailbox));
        // Made before: without it the number would stay in the hub.
        let watcher = Watcher { number, mailbox, live: Arc::clone(self) };
        if self.start() { Ok(watcher) } else { Err(Error::Closed) }
    }

    pub(crate) fn stats(&self) -> ListenerStats {
        self.ears.status.get()
    }

    /// Says whether it runs, or could.
    fn start(&self) -> bool {
        let mut run = self.run();
        match &*run {
            Run::On(..) => return true,
            Run::Closed => return false,
            Run::Off => {}
        }
        let number = self.ears.status.starting();
        let Some(config) = self.config.clone() else {
            self.ears.status.failed(number, ListenerState::Unavailable, &unheard());
            return true;
        };
        let (stop, stopped) = watch::channel(());
        let ears = Arc::clone(&self.ears);
        let task = self.handle.spawn(async move { listen(&ears, &config, number, stopped).await });
        *run = Run::On(stop, task);
        true
    }

    fn leave(&self, number: u64) {
        self.ears.hub.remove(number);
        let mut run = self.run();
        // Looked at under the lock: whoever comes now starts it again.
        if self.ears.cache.is_none() && self.ears.hub.is_empty() && !matches!(*run, Run::Closed) {
            *run = Run::Off;
            self.ears.status.off();
        }
    }

    /// Ends the watchers and the listener.
    pub(crate) async fn close(&self) {
        let run = std::mem::replace(&mut *self.run(), Run::Closed);
        self.ears.hub.close();
        self.ears.status.off();
        if let Run::On(stop, task) = run {
            drop(stop);
            let _ = timeout(Duration::from_secs(2), task).await;
        }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
