//! Wakes JavaScript threads: once for all answers that come together.

#![cfg_attr(not(feature = "node"), allow(dead_code, reason = "only the binding wakes threads"))]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

thread_local! {
    /// Whom to wake once all answers are handed out; `None` while wakeups are not deferred.
    static DEFERRED: RefCell<Option<Vec<Arc<dyn Wakeup>>>> = const { RefCell::new(None) };
}

/// Wakes the thread on which callers wait.
pub(crate) trait Wakeup: Send + Sync {
    fn wake(&self);
}

/// Wakes now or, while answers are being handed out on this thread, once when all of them are.
pub(crate) fn wake(wakeup: Arc<dyn Wakeup>) {
    let now = DEFERRED.with_borrow_mut(|deferred| match deferred {
        Some(wakeups) => {
            wakeups.push(wakeup);
            None
        }
        None => Some(wakeup),
    });
    if let Some(wakeup) = now {
        wakeup.wake();
    }
}

/// While it lives, the wakeups of this thread are deferred.
#[must_use]
pub(super) struct DeferredWakeups {
    /// A guard inside another one leaves the wakeups to the outer one.
    is_outer: bool,
    /// The guard belongs to the thread that it was made on.
    thread: PhantomData<*const ()>,
}

pub(super) fn defer_wakeups() -> DeferredWakeups {
    let is_outer = DEFERRED.with_borrow_mut(|deferred| {
        let is_outer = deferred.is_none();
        deferred.get_or_insert_default();
        is_outer
    });
    DeferredWakeups { is_outer, thread: PhantomData }
}

impl Drop for DeferredWakeups {
    fn drop(&mut self) {
        if self.is_outer {
            for wakeup in DEFERRED.take().into_iter().flatten() {
                wakeup.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wakeup for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakeups_come_at_once_or_when_the_guard_is_dropped() {
        let count = Arc::new(Count::default());
        wake(Arc::clone(&count) as Arc<dyn Wakeup>);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let deferred = defer_wakeups();
        wake(Arc::clone(&count) as Arc<dyn Wakeup>);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(deferred);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_guard_inside_another_loses_no_wakeup() {
        let count = Arc::new(Count::default());
        let outer = defer_wakeups();
        wake(Arc::clone(&count) as Arc<dyn Wakeup>);
        let inner = defer_wakeups();
        wake(Arc::clone(&count) as Arc<dyn Wakeup>);
        drop(inner);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        drop(outer);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
