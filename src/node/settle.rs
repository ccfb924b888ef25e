//! Promises: makes one, runs the work for it, and settles it on the JavaScript thread that it belongs to.
//!
//! All promises of a thread share one threadsafe function, and those that are ready together are settled in one go:
//! one a promise would cost three times as much. It is referenced only while work is pending, so that an idle client
//! never keeps the process alive.

#![allow(unsafe_code, reason = "napi has no safe promise that a shared threadsafe function can settle")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use napi::bindgen_prelude::{ToNapiValue, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, JsValue, Status, check_status, sys};

use super::environment::Environment;
use super::{js, runtime};
use crate::error::{Error, Result};

/// What every function returns: a promise, unless the JavaScript thread is ending.
pub(super) type Promise<'env> = napi::Result<Unknown<'env>>;

/// Runs the work and returns the promise of its outcome.
///
/// The first step runs here and now: what needs no waiting is settled before the promise is returned, and what waits
/// has its request on the wire before another thread is involved.
pub(super) fn settle<T, F>(env: &Env, work: F) -> Promise<'_>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (deferred, promise) = Deferred::new(env)?;
    let handle = match runtime::handle() {
        Ok(handle) => handle,
        Err(error) => return deferred.settle::<T>(env, Err(error)).map(|()| promise),
    };
    let mut work = Box::pin(work);
    let first = {
        let _runtime = handle.enter();
        // The task is polled again as soon as it is spawned: there is nothing to wake before that.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop()))))
    };
    match first {
        Ok(Poll::Ready(outcome)) => deferred.settle(env, outcome)?,
        Ok(Poll::Pending) => {
            let ticket = Environment::of(env)?.settler.begin(env, deferred)?;
            handle.spawn(async move { ticket.settle(work.await) });
        }
        Err(_) => deferred.settle::<T>(env, Err(internal()))?,
    }
    Ok(promise)
}

/// The promise of what is known already. Costs a third of [`settle`].
pub(super) fn settled<T: ToNapiValue>(env: &Env, value: T) -> Promise<'_> {
    let (deferred, promise) = Deferred::new(env)?;
    deferred.settle(env, Ok(value))?;
    Ok(promise)
}

fn internal() -> Error {
    Error::unavailable("an internal error ended the call; please report it")
}

/// A promise that is still to be settled. Only its own thread may do that; others only carry it there.
struct Deferred(sys::napi_deferred);

// SAFETY: the pointer is an opaque handle. It is used in `Deferred::settle` only, which takes the thread's `Env`.
unsafe impl Send for Deferred {}

impl Deferred {
    fn new(env: &Env) -> napi::Result<(Self, Unknown<'_>)> {
        let (mut deferred, mut promise) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: `env` is that of the current thread, and both pointers are valid for writes.
        check_status!(unsafe { sys::napi_create_promise(env.raw(), &raw mut deferred, &raw mut promise) })?;
        // SAFETY: `promise` was made in `env` just now.
        Ok((Self(deferred), unsafe { Unknown::from_raw_unchecked(env.raw(), promise) }))
    }

    fn settle<T: ToNapiValue>(self, env: &Env, outcome: Result<T>) -> napi::Result<()> {
        let converted = match outcome {
            // SAFETY: `env` is that of the current thread.
            Ok(value) => unsafe { T::to_napi_value(env.raw(), value) }.map_err(|_| internal()),
            Err(error) => Err(error),
        };
        match converted {
            // SAFETY: a deferred is consumed by being settled, and `value` was made in `env`.
            Ok(value) => check_status!(unsafe { sys::napi_resolve_deferred(env.raw(), self.0, value) }),
            Err(error) => {
                let error = js::error(env, &error);
                // SAFETY: likewise.
                check_status!(unsafe { sys::napi_reject_deferred(env.raw(), self.0, error.raw()) })
            }
        }
    }
}

/// Settles one promise, with whatever its work came to.
type Settlement = Box<dyn FnOnce(&Env) -> napi::Result<()> + Send>;

/// Wakes the JavaScript thread. Carries nothing: what there is to do stands in the outbox.
type Bell = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Settlements on their way to one JavaScript thread.
struct Outbox {
    /// std Mutex: held only to push or to take all.
    ready: Mutex<Vec<Settlement>>,
}

impl Outbox {
    fn push(&self, settlement: Settlement) -> bool {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push(settlement);
        ready.len() == 1
    }

    fn take(&self) -> Vec<Settlement> {
        std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The settling side of one JavaScript thread.
pub(super) struct Settler {
    outbox: Arc<Outbox>,
    bell: Arc<Bell>,
    /// Promises whose work is under way. Counted on the JavaScript thread only.
    pending: usize,
}

impl Settler {
    pub(super) fn new(env: &Env) -> napi::Result<Self> {
        let outbox = Arc::new(Outbox { ready: Mutex::default() });
        let inside = Arc::clone(&outbox);
        let bell = env
            .create_function_from_closure::<(), (), _>("settle", |_| Ok(()))?
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build_callback(move |context| {
                let ready = inside.take();
                Environment::of(&context.env)?.settler.end(&context.env, ready.len())?;
                // Each by itself: one that fails must not leave the others pending for ever.
                let mut outcome = Ok(());
                for settlement in ready {
                    outcome = outcome.and(settlement(&context.env));
                }
                outcome
            })?;
        Ok(Self { outbox, bell: Arc::new(bell), pending: 0 })
    }

    fn begin(&mut self, env: &Env, deferred: Deferred) -> napi::Result<Ticket> {
        if self.pending == 0 {
            // SAFETY: the threadsafe function lives as long as `self`, and `env` is its thread's.
            check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.bell.raw()) })?;
        }
        self.pending += 1;
        Ok(Ticket {
            outbox: Arc::clone(&self.outbox),
            bell: Arc::clone(&self.bell),
            deferred: Some(deferred),
        })
    }

    fn end(&mut self, env: &Env, settled: usize) -> napi::Result<()> {
        self.pending = self.pending.saturating_sub(settled);
        if self.pending == 0 && settled > 0 {
            // SAFETY: as in `begin`.
            check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.bell.raw()) })?;
        }
        Ok(())
    }
}

/// The right to settle one promise from any thread. Dropped unused, it rejects: work that panicked has to end too.
struct Ticket {
    outbox: Arc<Outbox>,
    bell: Arc<Bell>,
    deferred: Option<Deferred>,
}

impl Ticket {
    fn settle<T: ToNapiValue + Send + 'static>(mut self, outcome: Result<T>) {
        self.send(outcome);
    }

    fn send<T: ToNapiValue + Send + 'static>(&mut self, outcome: Result<T>) {
        let Some(deferred) = self.deferred.take() else { return };
        if self.outbox.push(Box::new(move |env| deferred.settle(env, outcome))) {
            // Closing means that the JavaScript thread has ended, and its promises with it.
            self.bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.send::<()>(Err(internal()));
    }
}
