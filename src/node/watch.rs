//! Watchers: a task waits for events, and the callback runs on the JavaScript thread that passed it.

#![allow(unsafe_code, reason = "napi declares the conversion to be implemented as unsafe")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::{FnArgs, FromNapiValue, Function, JsValue, PromiseRaw, ToNapiValue, Unknown};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi::{Env, JsError, ValueType, sys};
use napi_derive::napi;
use tokio::sync::oneshot;

use super::environment::Environment;
use super::js::{self, Text};
use super::results::Versions;
use super::{arguments, runtime};
use crate::client::Client;
use crate::error::Result;
use crate::watch::{self, Event};

/// Hears of changes, until it is closed or its client is. Made by `watch`.
#[napi]
pub struct Watcher {
    inner: Arc<watch::Watcher>,
}

#[napi]
impl Watcher {
    /// Ends it: the callback is not called any more. May be repeated.
    #[napi]
    pub fn close(&self) {
        self.inner.close();
    }
}

/// Starts a watcher. Throws where an argument is wrong: there is no promise to reject.
pub(super) fn start(
    env: &Env,
    client: Result<Client>,
    filter: &Unknown,
    callback: &Unknown,
) -> napi::Result<Watcher> {
    let started = client.and_then(|client| {
        let (filter, callback) = (arguments::filter(filter)?, function(callback)?);
        // Without threads there is nothing that could watch.
        Ok((client.watch(filter)?, callback, runtime::handle()?))
    });
    let (watcher, callback, handle) = match started {
        Ok(started) => started,
        Err(error) => return Err(js::error(env, &error).into()),
    };
    let watcher = Arc::new(watcher);
    Environment::of(env)?.watching(&watcher);
    let bell = callback
        .build_threadsafe_function::<Event>()
        // Never keeps the process alive.
        .weak::<true>()
        .build_callback(|context| Ok(Told(context.value)))?;

    let inner = Arc::clone(&watcher);
    handle.spawn(async move {
        while let Some(event) = inner.next().await {
            let (done, heard) = oneshot::channel();
            let mode = ThreadsafeFunctionCallMode::NonBlocking;
            let called = bell.call_with_return_value(event, mode, move |returned, env| {
                ended(env, returned, done);
                Ok(())
            });
            if called != napi::Status::Ok {
                // The JavaScript thread has ended.
                return inner.close();
            }
            // One at a time: what changes meanwhile is merged into the next event.
            let _ = heard.await;
        }
    });
    Ok(Watcher { inner: watcher })
}

fn function<'env>(callback: &Unknown<'env>) -> Result<Function<'env, Told, Unknown<'static>>> {
    let refused = || arguments::invalid("callback must be a function: pass (event) => …");
    if js::kind(callback) != ValueType::Function {
        return Err(refused());
    }
    // SAFETY: its type was just asked for.
    unsafe { callback.cast() }.map_err(|_| refused())
}

/// The callback has returned, perhaps a promise. Dropping `done` asks for the next event.
fn ended(env: Env, returned: napi::Result<Unknown<'static>>, done: oneshot::Sender<()>) {
    match returned {
        Err(thrown) => warn(env, &JsError::from(thrown).into_unknown(env), "watch()"),
        Ok(value) if value.is_promise().unwrap_or_default() => {
            // Both keep it: JavaScript calls one of them, and collects the other whenever it likes.
            let done = Rc::new(Cell::new(Some(done)));
            let resolved = Rc::clone(&done);
            // SAFETY: its type was just asked for.
            let promise = unsafe { PromiseRaw::<Unknown>::from_napi_value(env.raw(), value.raw()) };
            let followed = promise.and_then(|promise| {
                promise
                    .then(move |_| {
                        drop(resolved.take());
                        Ok(())
                    })?
                    .catch(move |rejected| {
                        drop(done.take());
                        warn(rejected.env, &rejected.value, "watch()");
                        Ok(())
                    })
            });
            if followed.is_err() {
                js::clear_exception(env.raw());
            }
        }
        Ok(_) => {}
    }
}

/// What a callback throws has nobody to catch it. Rethrown it would end the process, so it becomes a warning.
pub(super) fn warn(env: Env, thrown: &Unknown, whose: &str) {
    let text = |value: &Unknown| match js::text(value, 10_000) {
        Text::Plain(text) => Some(text.to_string()),
        _ => None,
    };
    let property = |name| js::property(thrown, name).ok().and_then(|value| text(&value));
    let message = property("message").or_else(|| text(thrown)).unwrap_or_default();
    let warned = (|| {
        let process = js::property(&env.get_global().ok()?.to_unknown(), "process").ok()?;
        let emit = js::property(&process, "emitWarning").ok()?;
        let options = js::new_object(env.raw()).ok()?;
        js::set_property(&options, "type", "SecretsWatchWarning").ok()?;
        js::set_property(&options, "code", "WATCH_CALLBACK_FAILED").ok()?;
        js::set_property(&options, "detail", property("stack").unwrap_or_default()).ok()?;
        let message = format!("the callback of {whose} failed, and goes on being called: {message}");
        // SAFETY: a call of what is no function fails.
        let emit = unsafe { emit.cast::<Function<FnArgs<(String, Unknown)>, Unknown>>() }.ok()?;
        emit.apply(process, FnArgs::from((message, options))).ok()
    })();
    if warned.is_none() {
        js::clear_exception(env.raw());
    }
}

/// An event, as a JavaScript object.
struct Told(Event);

impl ToNapiValue for Told {
    unsafe fn to_napi_value(env: sys::napi_env, told: Self) -> napi::Result<sys::napi_value> {
        let object = js::new_object(env)?;
        match told.0 {
            Event::Resync => js::set_property(&object, "kind", "resync")?,
            Event::Changed { business, versions } => {
                js::set_property(&object, "kind", "changed")?;
                js::set_property(&object, "businessId", business.to_string())?;
                let names: Vec<&str> = versions.iter().map(|(name, _)| name.as_str()).collect();
                js::set_property(&object, "names", names)?;
                js::set_property(&object, "versions", Versions(versions))?;
            }
        }
        Ok(object.raw())
    }
}

/// Which changes to hear of. What is left out means all.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct WatchFilter {
    /// Only those of this business.
    pub business_id: Option<String>,
    /// Only those of these secrets.
    #[napi(ts_type = "readonly SecretName[]")]
    pub names: Option<Vec<String>>,
}

/// Secrets of a business have changed, or somebody says so: read them again.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct ChangedEvent {
    /// Tells the two events apart.
    #[napi(ts_type = "'changed'")]
    pub kind: String,
    /// Whose secrets.
    pub business_id: String,
    /// Which of those that the filter names.
    #[napi(ts_type = "SecretName[]")]
    pub names: Vec<String>,
    /// The version that each has reached at the least.
    #[napi(ts_type = "{ [name in SecretName]?: number }")]
    pub versions: String,
}

/// Anything may have changed: read again whatever you keep. Comes when the listener has connected, the first time and
/// after every loss, and when more changed than a slow callback could be told.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct ResyncEvent {
    /// Tells the two events apart.
    #[napi(ts_type = "'resync'")]
    pub kind: String,
}
