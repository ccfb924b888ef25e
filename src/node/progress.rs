//! Carries a migration's events to a JavaScript callback, in order, one at a time.

#![allow(unsafe_code, reason = "napi declares the conversion to be implemented as unsafe")]

use napi::bindgen_prelude::{Function, ToNapiValue, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{JsError, JsValue, Status, ValueType, sys};
use tokio::sync::{mpsc, oneshot};

use super::arguments::invalid;
use super::{js, watch};
use crate::admin::{Blocker, Control, Event};
use crate::error::Result;

/// Never keeps the process alive; the promise of the call does.
type Bell = ThreadsafeFunction<Event, Unknown<'static>, Told, Status, false, true>;

/// Who wants to hear, if anybody does.
pub(super) struct Reporter(Option<Bell>);

impl Reporter {
    pub(super) fn new(callback: &Unknown) -> Result<Self> {
        if js::is_absent(callback) {
            return Ok(Self(None));
        }
        let refused = || invalid("onProgress must be a function: pass (event) => …");
        if js::kind(callback) != ValueType::Function {
            return Err(refused());
        }
        // SAFETY: its type was just asked for.
        let callback: Function<Told, Unknown<'static>> = unsafe { callback.cast() }.map_err(|_| refused())?;
        let bell = callback
            .build_threadsafe_function::<Event>()
            .weak::<true>()
            .build_callback(|context| Ok(Told(context.value)))
            .map_err(|_| refused())?;
        Ok(Self(Some(bell)))
    }

    /// The control to migrate under, and what tells its events until it is dropped.
    pub(super) fn control(self) -> (Control, impl Future<Output = ()> + Send) {
        let (sender, mut events) = mpsc::unbounded_channel();
        let (control, _) = Control::new(move |event| drop(sender.send(event.clone())));
        let telling = async move {
            while let Some(event) = events.recv().await {
                let Some(bell) = &self.0 else { continue };
                let (done, heard) = oneshot::channel::<()>();
                let mode = ThreadsafeFunctionCallMode::NonBlocking;
                bell.call_with_return_value(event, mode, move |returned, env| {
                    if let Err(thrown) = returned {
                        watch::warn(env, &JsError::from(thrown).into_unknown(env), "migrate()");
                    }
                    drop(done);
                    Ok(())
                });
                // Dropped with the call, also where its thread has ended.
                let _ = heard.await;
            }
        };
        (control, telling)
    }
}

/// An event, as a JavaScript object.
pub(super) struct Told(Event);

impl ToNapiValue for Told {
    unsafe fn to_napi_value(env: sys::napi_env, told: Self) -> napi::Result<sys::napi_value> {
        let object = js::new_object(env)?;
        let set_kind = |kind: &str| js::set_property(&object, "kind", kind);
        match told.0 {
            Event::Waiting { holders } => {
                set_kind("waiting")?;
                js::set_property(&object, "holders", in_words(&holders))?;
            }
            Event::Started { version, title } => {
                set_kind("started")?;
                js::set_property(&object, "version", version)?;
                js::set_property(&object, "title", title)?;
            }
            Event::Retrying { what, blockers, pause } => {
                set_kind("retrying")?;
                js::set_property(&object, "what", what)?;
                js::set_property(&object, "blockers", in_words(&blockers))?;
                js::set_property(&object, "pauseMs", pause.as_secs_f64() * 1000.0)?;
            }
            Event::Batch(progress) => {
                set_kind("batch")?;
                js::set_property(&object, "done", progress.done)?;
                js::set_property(&object, "total", progress.total)?;
                js::set_property(&object, "secrets", progress.secrets)?;
                js::set_property(&object, "perSecond", progress.per_second)?;
                js::set_property(&object, "leftMs", progress.left.map(|left| left.as_secs_f64() * 1000.0))?;
            }
            Event::Applied { version, elapsed } => {
                set_kind("applied")?;
                js::set_property(&object, "version", version)?;
                js::set_property(&object, "elapsedMs", elapsed.as_secs_f64() * 1000.0)?;
            }
            Event::Warning(message) => {
                set_kind("warning")?;
                js::set_property(&object, "message", message)?;
            }
        }
        Ok(object.raw())
    }
}

fn in_words(blockers: &[Blocker]) -> Vec<String> {
    blockers.iter().map(ToString::to_string).collect()
}
