//! What belongs to one JavaScript thread: the main one and each worker have their own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc;
use std::sync::{Arc, Weak};

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi::{JsValue, ValueType};

use super::answer::Answer;
use super::bulk::Reader;
use super::js::{self, Reference};
use super::outbox::{Completion, Message, Outbox, internal, tell_outcome};
use super::runtime;
use crate::error::Result;
use crate::pool::bulk::Bulk;
use crate::pool::eager;
use crate::watch::Watcher;

/// A call under way.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

/// Lives in the instance data of the thread, and ends with it.
pub(super) struct Thread {
    outbox: Arc<Outbox>,
    /// The reading sides of the thread's clients.
    readers: HashMap<u32, rc::Weak<RefCell<Reader>>>,
    next_reader: u32,
    /// Whose callbacks are this thread's.
    watchers: Vec<Weak<Watcher>>,
}

impl Thread {
    pub(super) fn of(env: &Env) -> napi::Result<&'static mut Self> {
        if let Some(thread) = env.get_instance_data::<Self>()? {
            return Ok(thread);
        }
        let thread =
            Self { outbox: Outbox::new(env)?, readers: HashMap::new(), next_reader: 0, watchers: Vec::new() };
        env.set_instance_data(thread, (), |_| ())?;
        let missing = || napi::Error::from_reason("the instance data of this thread is gone");
        env.get_instance_data::<Self>()?.ok_or_else(missing)
    }

    pub(super) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Gives the reader the number by which its bulks find it.
    pub(super) fn add_reader(&mut self, make: impl FnOnce(u32) -> Reader) -> rc::Rc<RefCell<Reader>> {
        self.readers.retain(|_, reader| reader.strong_count() > 0);
        let number = self.next_reader;
        self.next_reader = number.wrapping_add(1);
        let reader = rc::Rc::new(RefCell::new(make(number)));
        self.readers.insert(number, rc::Rc::downgrade(&reader));
        reader
    }

    pub(super) fn tell_bulk(&mut self, env: &Env, reader: u32, bulk: &Bulk) -> usize {
        let reader = self.readers.get(&reader).and_then(rc::Weak::upgrade);
        reader.map_or(0, |reader| Reader::tell(&reader, env.raw(), bulk))
    }

    /// Ends the watcher with the thread at the latest.
    pub(super) fn add_watcher(&mut self, watcher: &Arc<Watcher>) {
        self.watchers.retain(|watcher| watcher.strong_count() > 0);
        self.watchers.push(Arc::downgrade(watcher));
    }

    /// Runs the work, and tells the callback its outcome. What fails before it is begun is told likewise.
    ///
    /// The first step is made on this thread, which saves a change of threads on the way out.
    pub(super) fn run(env: &Env, callback: &Unknown, work: Result<Work>) -> napi::Result<()> {
        let raw = env.raw();
        let begun = work.and_then(|work| Ok((work, runtime::handle()?)));
        let (work, handle) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                tell_outcome(raw, callback.raw(), Err(error));
                return Ok(());
            }
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| eager::start(handle, work))) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(later)) => {
                let outbox = &Self::of(env)?.outbox;
                let completion = Completion::new(outbox, Reference::strong(raw, callback.raw())?);
                outbox.begin(env, 1);
                later.then(|outcome| completion.complete(outcome));
                return Ok(());
            }
            Err(_) => Err(internal()),
        };
        tell_outcome(raw, callback.raw(), outcome);
        Ok(())
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        for watcher in self.watchers.iter().filter_map(Weak::upgrade) {
            watcher.close();
        }
    }
}

/// Tells a callback of events, in order, one at a time, for as long as it lives. Never keeps the process alive.
pub(super) struct Reporter {
    outbox: Weak<Outbox>,
    callback: Option<Arc<Reference>>,
}

impl Reporter {
    /// Without a function nobody is told.
    pub(super) fn new(env: &Env, callback: &Unknown) -> napi::Result<Self> {
        let callback = match js::kind(callback) {
            ValueType::Function => Some(Arc::new(Reference::strong(env.raw(), callback.raw())?)),
            _ => None,
        };
        Ok(Self { outbox: Arc::downgrade(Thread::of(env)?.outbox()), callback })
    }

    /// Returns once the callback has returned. False where the thread has ended.
    pub(super) async fn tell(&self, event: Answer) -> bool {
        let (Some(callback), Some(outbox)) = (&self.callback, self.outbox.upgrade()) else {
            return self.callback.is_none();
        };
        let (delivered, receiver) = tokio::sync::oneshot::channel();
        outbox.push(Message::Event { callback: Arc::clone(callback), event, delivered });
        // The outbox must not be kept: where its thread ends, what is in it is dropped, and so is the sender.
        drop(outbox);
        let _ = receiver.await;
        self.outbox.strong_count() > 0
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let (Some(callback), Some(outbox)) = (self.callback.take(), self.outbox.upgrade()) {
            outbox.push(Message::Release(callback));
        }
    }
}
