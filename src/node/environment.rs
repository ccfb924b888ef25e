//! What belongs to one JavaScript thread: the main one and each worker have their own.

use std::sync::{Arc, Weak};

use napi::Env;

use super::settle::Settler;
use crate::client::Client;
use crate::watch::Watcher;

/// Lives in the instance data of the thread, and ends with it.
pub(super) struct Environment {
    pub(super) settler: Settler,
    /// Made on first use of a function of the module.
    pub(super) shared: Option<Client>,
    /// Whose callbacks are this thread's.
    watchers: Vec<Weak<Watcher>>,
}

impl Environment {
    pub(super) fn of(env: &Env) -> napi::Result<&'static mut Self> {
        if let Some(environment) = env.get_instance_data::<Self>()? {
            return Ok(environment);
        }
        let environment = Self { settler: Settler::new(env)?, shared: None, watchers: Vec::new() };
        env.set_instance_data(environment, (), |_| ())?;
        let missing = || napi::Error::from_reason("the instance data of this thread is gone");
        env.get_instance_data::<Self>()?.ok_or_else(missing)
    }

    /// Ends the watcher with the thread at the latest.
    pub(super) fn watching(&mut self, watcher: &Arc<Watcher>) {
        self.watchers.retain(|watcher| watcher.strong_count() > 0);
        self.watchers.push(Arc::downgrade(watcher));
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        for watcher in self.watchers.iter().filter_map(Weak::upgrade) {
            watcher.close();
        }
    }
}
