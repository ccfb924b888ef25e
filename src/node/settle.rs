//! Promises: makes one, runs the work for it, and settles it on the JavaScript thread that it belongs to.
//!
//! All promises of a thread share one threadsafe function, and those that are ready together are settled in one go:
//! one a promise would cost three times as much. It is referenced only while work is pending, so that an idle client
//! never keeps the process alive.

#![allow(unsafe_code, reason = "napi has no safe promise that a shared threadsafe function can settle")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use napi::bindgen_prelude::{FnArgs, Function, FunctionRef, ToNapiValue, Unknown};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, JsValue, Status, check_status, sys};
use tokio::runtime::Handle;

use super::environment::Environment;
use super::{js, runtime};
use crate::error::{Error, Result};
use crate::pool::wakeup;

/// What every function returns: a promise, or what index.js makes one of.
pub(super) type Promise<'env> = napi::Result<Unknown<'env>>;

/// Runs the work and returns the promise of its outcome.
///
/// The work runs on this thread, now and whenever it is woken. What needs no waiting is settled before the promise is
/// returned, and what waits costs no task on another thread, which would be most of the price of a batched read.
pub(super) fn settle<T, F>(env: &Env, work: F) -> Promise<'_>
where
    T: ToNapiValue + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let converted = async move {
        let value = work.await?;
        // SAFETY: called with the `Env` of the current thread.
        Ok(Box::new(move |env| unsafe { T::to_napi_value(env, value) }) as Answer)
    };
    start(env, Box::pin(converted))
}

/// What follows is the same for every kind of call: only what is above is there once for each.
type Work = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;
type Answer = Box<dyn FnOnce(sys::napi_env) -> napi::Result<sys::napi_value> + Send>;

fn start(env: &Env, work: Work) -> Promise<'_> {
    let (deferred, promise) = Deferred::new(env)?;
    if let Err(error) = runtime::handle() {
        return deferred.settle(env, Err(error)).map(|()| promise);
    }
    let settler = &mut Environment::of(env)?.settler;
    settler.gather(env);
    let task = Arc::new(Task {
        work: Mutex::new(Some((work, deferred))),
        is_ready: AtomicBool::new(false),
        outbox: Arc::downgrade(&settler.outbox),
    });
    if !task.run(env)? {
        Environment::of(env)?.settler.begin(env)?;
    }
    Ok(promise)
}

/// What is known already, as it is: index.js makes the promise of it. One made here would cost more than all the rest.
pub(super) fn at_once<T: ToNapiValue>(env: &Env, value: T) -> Promise<'_> {
    // SAFETY: `env` is that of the current thread, and the value is made in it.
    unsafe { Ok(Unknown::from_raw_unchecked(env.raw(), T::to_napi_value(env.raw(), value)?)) }
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

    fn settle(self, env: &Env, outcome: Result<Answer>) -> napi::Result<()> {
        let converted = outcome.and_then(|answer| answer(env.raw()).map_err(|_| internal()));
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

/// One call. Polled on its JavaScript thread only.
struct Task {
    /// `None` once it has ended. std Mutex: the thread that polls is the only one that locks it.
    work: Mutex<Option<(Work, Deferred)>>,
    /// It is in the outbox already.
    is_ready: AtomicBool,
    /// Weak: it ends with its JavaScript thread, and the calls in it with it.
    outbox: Weak<Outbox>,
}

impl Task {
    /// Goes on where it left off. Says whether it has ended by this, and its promise is settled.
    fn run(self: &Arc<Self>, env: &Env) -> napi::Result<bool> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        // Woken once more while it ended: its end has been counted.
        let Some((future, _)) = work.as_mut() else { return Ok(false) };
        // A swap, not a store: what wakes it from here on must see it, and what woke it before must be seen by `poll`.
        self.is_ready.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(self));
        let step = catch_unwind(AssertUnwindSafe(|| {
            let _runtime = runtime::handle().map(Handle::enter);
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        let outcome = match step {
            Ok(Poll::Pending) => return Ok(false),
            Ok(Poll::Ready(outcome)) => outcome,
            Err(_) => Err(internal()),
        };
        let Some((_, deferred)) = work.take() else { return Ok(false) };
        drop(work);
        deferred.settle(env, outcome).map(|()| true)
    }

    /// Its JavaScript thread has ended. The call waits for something that knows how to wake it: without a word it would
    /// keep itself, and its client's connections, for ever.
    fn abandon(&self) {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Elsewhere: whoever wakes it may hold what dropping it needs.
        if let Ok(runtime) = runtime::handle() {
            runtime.spawn(async move { drop(work) });
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if self.is_ready.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.outbox.upgrade() {
            Some(outbox) => outbox.push(self),
            None => self.abandon(),
        }
    }
}

/// Wakes the JavaScript thread. Carries nothing: what there is to do stands in the outbox.
type Bell = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Calls that can go on, on their way to one JavaScript thread.
struct Outbox {
    /// std Mutex: held only to push or to take all.
    ready: Mutex<Vec<Arc<Task>>>,
    /// Set right after it is made: the bell's callback knows the outbox.
    bell: OnceLock<Bell>,
}

impl Outbox {
    fn push(self: Arc<Self>, task: Arc<Task>) {
        let is_first = {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.push(task);
            ready.len() == 1
        };
        if is_first {
            wakeup::wake(self);
        }
    }

    /// Lets everything go on that can, until nothing is left: callers who were answered together ask again together.
    fn empty(&self, env: &Env) -> napi::Result<()> {
        let mut outcome = Ok(());
        loop {
            let ready = std::mem::take(&mut *self.ready.lock().unwrap_or_else(PoisonError::into_inner));
            if ready.is_empty() {
                return outcome;
            }
            let mut ended = 0;
            for task in ready {
                // Each by itself: one that fails must not leave the others pending for ever.
                match task.run(env) {
                    Ok(has_ended) => ended += usize::from(has_ended),
                    Err(error) => (ended, outcome) = (ended + 1, Err(error)),
                }
            }
            Environment::of(env)?.settler.end(env, ended)?;
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let ready = self.ready.get_mut().unwrap_or_else(PoisonError::into_inner);
        ready.drain(..).for_each(|task| task.abandon());
    }
}

impl wakeup::Wakeup for Outbox {
    fn wake(&self) {
        if let Some(bell) = self.bell.get() {
            // Closing means that the JavaScript thread has ended, and its promises with it.
            bell.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

/// The settling side of one JavaScript thread.
pub(super) struct Settler {
    outbox: Arc<Outbox>,
    /// Promises whose work is under way. Counted on the JavaScript thread only.
    pending: usize,
    /// Runs `end_turn` once the code that runs now has ended, and whatever waited for a promise that it resolved.
    /// A microtask rather than `process.nextTick`, which tests with fake timers replace.
    after: FunctionRef<(), ()>,
    /// Calls of this turn, and how many of them there were when its end was last put off.
    calls: usize,
    seen: usize,
    put_off: usize,
}

/// How often the end of a turn is put off because more calls have come. Callers that were answered together ask again
/// within a few microtasks of each other, depending on how many async functions are in between.
const PATIENCE: usize = 16;

impl Settler {
    pub(super) fn new(env: &Env) -> napi::Result<Self> {
        let outbox = Arc::new(Outbox { ready: Mutex::default(), bell: OnceLock::new() });
        let inside = Arc::downgrade(&outbox);
        let bell = env
            .create_function_from_closure::<(), (), _>("settle", |_| Ok(()))?
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .build_callback(move |context| {
                inside.upgrade().map_or(Ok(()), |outbox| outbox.empty(&context.env))
            })?;
        let _ = outbox.bell.set(bell);
        Ok(Self { outbox, pending: 0, after: after(env)?, calls: 0, seen: 0, put_off: 0 })
    }

    /// Counts a call, which is sent at the end of the turn together with the others.
    fn gather(&mut self, env: &Env) {
        self.calls += 1;
        if wakeup::begin_turn() {
            (self.calls, self.seen, self.put_off) = (1, 1, 0);
            self.call_after(env);
        }
    }

    fn end_turn(&mut self, env: &Env) {
        if self.calls == self.seen || self.put_off == PATIENCE {
            wakeup::end_turn();
        } else {
            self.seen = self.calls;
            self.put_off += 1;
            self.call_after(env);
        }
    }

    fn call_after(&self, env: &Env) {
        if self.after.borrow_back(env).and_then(|after| after.call(())).is_err() {
            // No JavaScript can run any more.
            wakeup::end_turn();
        }
    }

    fn begin(&mut self, env: &Env) -> napi::Result<()> {
        if self.pending == 0
            && let Some(bell) = self.outbox.bell.get()
        {
            // SAFETY: the threadsafe function lives as long as `self`, and `env` is its thread's.
            check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), bell.raw()) })?;
        }
        self.pending += 1;
        Ok(())
    }

    fn end(&mut self, env: &Env, settled: usize) -> napi::Result<()> {
        self.pending = self.pending.saturating_sub(settled);
        if self.pending == 0
            && settled > 0
            && let Some(bell) = self.outbox.bell.get()
        {
            // SAFETY: as in `begin`.
            check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), bell.raw()) })?;
        }
        Ok(())
    }
}

type Procedure<'env> = Function<'env, (), ()>;

/// `resolved.then.bind(resolved, endTurn)`: one call puts `endTurn` behind all microtasks that are there.
fn after(env: &Env) -> napi::Result<FunctionRef<(), ()>> {
    let end_turn = env.create_function_from_closure::<(), (), _>("endTurn", |context| {
        Environment::of(context.env)?.settler.end_turn(context.env);
        Ok(())
    })?;
    let (deferred, resolved) = Deferred::new(env)?;
    // SAFETY: called with `env`, that of the current thread.
    deferred.settle(env, Ok(Box::new(|env| unsafe { <()>::to_napi_value(env, ()) })))?;
    let missing = |_| napi::Error::from_reason("promises have no `then` here");
    let then = js::property(&resolved, "then").map_err(missing)?;
    let bind = js::property(&then, "bind").map_err(missing)?;
    // SAFETY: `cast` looks at the value's type.
    let bind: Function<FnArgs<(Unknown, Procedure)>, Procedure> = unsafe { bind.cast()? };
    bind.apply(then, FnArgs::from((resolved, end_turn)))?.create_ref()
}
