//! What is on its way to one JavaScript thread. All of it shares one threadsafe function, and what comes together is told
//! in one go: a threadsafe function a call would cost three times as much.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status, check_status, sys};
use tokio::sync::oneshot;

use super::answer::Answer;
use super::js::{self, Reference};
use super::thread::Thread;
use crate::error::{Error, Result};
use crate::pool::bulk::Bulk;
use crate::pool::wakeup::{self, Wakeup};

/// Something to tell the thread.
pub(super) enum Message {
    /// Slots of a bulk of that reader have answers.
    Bulk { reader: u32, bulk: Arc<Bulk> },
    /// A call has ended: its callback is called once.
    Outcome { callback: Reference, outcome: Result<Answer> },
    /// Something happened that a callback is told of again and again.
    Event { callback: Arc<Reference>, event: Answer, delivered: oneshot::Sender<()> },
    /// A callback that was told of events is not needed any more.
    Release(Arc<Reference>),
}

/// Wakes the thread. Carries nothing: what there is to do stands in the outbox.
type Doorbell = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What is on its way to one JavaScript thread.
pub(super) struct Outbox {
    /// std Mutex: held only to push or to take all.
    messages: Mutex<Vec<Message>>,
    /// Set right after it is made: its callback knows the outbox.
    wakes: OnceLock<Doorbell>,
    /// Calls and slots without an answer, on its thread alone. While there are any the process does not exit. Counted
    /// here, where they are answered: where the package is loaded twice in one thread, the methods of a client run in
    /// the environment of the last load.
    pending: AtomicUsize,
}

impl Outbox {
    pub(super) fn new(env: &Env) -> napi::Result<Arc<Self>> {
        let outbox = Arc::new(Self {
            messages: Mutex::default(),
            wakes: OnceLock::new(),
            pending: AtomicUsize::new(0),
        });
        let inside = Arc::downgrade(&outbox);
        let wakes = env
            .create_function_from_closure::<(), (), _>("settle", |_| Ok(()))?
            .build_threadsafe_function::<()>()
            // Referenced only while something is pending: an idle client never keeps the process alive.
            .weak::<true>()
            .build_callback(move |context| {
                inside.upgrade().map_or(Ok(()), |outbox| outbox.deliver(&context.env))
            })?;
        let _ = outbox.wakes.set(wakes);
        Ok(outbox)
    }

    pub(super) fn push(self: &Arc<Self>, message: Message) {
        let is_first = {
            let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(message);
            messages.len() == 1
        };
        if is_first {
            wakeup::wake(Arc::clone(self) as Arc<dyn Wakeup>);
        }
    }

    /// Tells everything, until nothing is left.
    fn deliver(&self, env: &Env) -> napi::Result<()> {
        loop {
            let messages = std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner));
            if messages.is_empty() {
                return Ok(());
            }
            for message in messages {
                self.tell(env, message)?;
            }
        }
    }

    fn tell(&self, env: &Env, message: Message) -> napi::Result<()> {
        let raw = env.raw();
        match message {
            Message::Bulk { reader, bulk } => {
                let told = Thread::of(env)?.tell_bulk(env, reader, &bulk);
                self.end(env, told);
            }
            Message::Outcome { callback, outcome } => {
                if let Some(function) = callback.get(raw) {
                    tell_outcome(raw, function, outcome);
                }
                callback.delete(raw);
                self.end(env, 1);
            }
            Message::Event { callback, event, delivered } => {
                if let (Some(function), Ok(event)) = (callback.get(raw), event.into_js(raw)) {
                    js::call(raw, function, &[event]);
                }
                drop(delivered);
            }
            Message::Release(callback) => {
                if let Some(callback) = Arc::into_inner(callback) {
                    callback.delete(raw);
                }
            }
        }
        Ok(())
    }

    pub(super) fn begin(&self, env: &Env, count: usize) {
        if self.pending.fetch_add(count, Relaxed) == 0 && count > 0 {
            self.keep_alive(env, true);
        }
    }

    fn end(&self, env: &Env, count: usize) {
        let before = self.pending.load(Relaxed);
        let left = before.saturating_sub(count);
        self.pending.store(left, Relaxed);
        if before > 0 && left == 0 {
            self.keep_alive(env, false);
        }
    }

    /// Whether pending work keeps the process alive.
    fn keep_alive(&self, env: &Env, is_pending: bool) {
        let Some(wakes) = self.wakes.get() else { return };
        // SAFETY: the threadsafe function lives as long as `self`, and `env` is its thread's.
        #[allow(unsafe_code, reason = "napi offers it only on functions that it owns")]
        let _ = check_status!(unsafe {
            if is_pending {
                sys::napi_ref_threadsafe_function(env.raw(), wakes.raw())
            } else {
                sys::napi_unref_threadsafe_function(env.raw(), wakes.raw())
            }
        });
    }
}

impl Wakeup for Outbox {
    fn wake(&self) {
        if let Some(wakes) = self.wakes.get() {
            // Closing means that the JavaScript thread has ended, and its promises with it.
            wakes.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

/// `(null, value)`, or `(code, message)`.
pub(super) fn tell_outcome(env: sys::napi_env, function: sys::napi_value, outcome: Result<Answer>) {
    let converted = outcome.and_then(|answer| answer.into_js(env).map_err(|_| internal()));
    let arguments = match converted {
        Ok(value) => js::null(env).map(|null| [null, value]),
        Err(error) => js::new_string(env, error.code().as_str())
            .and_then(|code| Ok([code, js::new_string(env, &error.to_string())?])),
    };
    if let Ok(arguments) = arguments {
        js::call(env, function, &arguments);
    }
}

/// Tells the callback of a call how it ended, also where the call was lost.
pub(super) struct Completion {
    /// Weak: the outbox ends with its thread, and nobody waits then.
    outbox: Weak<Outbox>,
    callback: Option<Reference>,
}

impl Completion {
    pub(super) fn new(outbox: &Arc<Outbox>, callback: Reference) -> Self {
        Self { outbox: Arc::downgrade(outbox), callback: Some(callback) }
    }

    pub(super) fn complete(mut self, outcome: Result<Answer>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<Answer>) {
        if let (Some(callback), Some(outbox)) = (self.callback.take(), self.outbox.upgrade()) {
            outbox.push(Message::Outcome { callback, outcome });
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        self.send(Err(internal()));
    }
}

pub(super) fn internal() -> Error {
    Error::unavailable("an internal error ended the call; please report it")
}
