//! Watchers: a task waits for changes, and tells a callback of the thread that passed it.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::answer::Answer;
use super::thread::{Reporter, Thread};
use super::{calls, js, json, outbox, runtime};
use crate::client::Client;
use crate::error::Result;
use crate::watch::{Filter, Watcher};

/// Tells of changes until it is closed, or its client or thread ends.
#[napi]
pub struct NativeWatcher {
    inner: Arc<Watcher>,
}

#[napi]
impl NativeWatcher {
    /// Ends it. May be repeated.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.inner.close();
    }
}

pub(super) fn start(
    env: &Env,
    client: &Client,
    business: &Unknown,
    names: &Unknown,
    callback: &Unknown,
) -> Result<NativeWatcher> {
    let business = (!js::is_absent(business)).then(|| calls::business(business)).transpose()?;
    let names = if js::is_absent(names) {
        Vec::new()
    } else {
        js::elements(names)?.iter().map(calls::name).collect::<Result<_>>()?
    };
    let handle = runtime::handle()?;
    let watcher = Arc::new(client.watch(Filter { business, names: names.into_iter().collect() })?);
    let lost = |_| outbox::internal();
    let reporter = Reporter::new(env, callback).map_err(lost)?;
    Thread::of(env).map_err(lost)?.add_watcher(&watcher);
    let inner = Arc::clone(&watcher);
    handle.spawn(async move {
        // One at a time: what changes meanwhile is merged into the next event.
        while let Some(event) = inner.next().await {
            if !reporter.tell(Answer::Text(json::event(&event).to_string())).await {
                return inner.close();
            }
        }
    });
    Ok(NativeWatcher { inner: watcher })
}
