//! Calls that are made in one go travel together, and those who were answered together are told together.
//!
//! The caller's thread says where a *turn* begins and ends: nothing is sent before its end. Where there are no turns, as
//! in Rust alone, each call is sent at once.

#![cfg_attr(not(feature = "node"), allow(dead_code, reason = "only the binding has turns"))]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use super::state::Shared;

thread_local! {
    /// The pools that were given work in this turn; `None` between turns.
    static TURN: RefCell<Option<Vec<Arc<Shared>>>> = const { RefCell::new(None) };
    /// Whom to call when the landing is over; `None` where there is none.
    static LANDING: RefCell<Option<Vec<Arc<dyn Bell>>>> = const { RefCell::new(None) };
}

/// Begins a turn of this thread. False where one is under way.
pub(crate) fn begin() -> bool {
    TURN.with_borrow_mut(|turn| {
        let begins = turn.is_none();
        turn.get_or_insert_default();
        begins
    })
}

/// Sends what the turn has gathered.
pub(crate) fn end() {
    for pool in TURN.take().into_iter().flatten() {
        pool.send_gathered();
    }
}

/// Whether work for that pool is sent at the end of a turn.
pub(super) fn gathers(pool: &Arc<Shared>) -> bool {
    TURN.with_borrow_mut(|turn| {
        let Some(pools) = turn else { return false };
        if !pools.iter().any(|known| Arc::ptr_eq(known, pool)) {
            pools.push(Arc::clone(pool));
        }
        true
    })
}

/// Calls the thread on which callers wait.
pub(crate) trait Bell: Send + Sync {
    fn ring(&self);
}

/// Rings now or, while answers are being handed out on this thread, once when all of them are.
pub(crate) fn ring(bell: Arc<dyn Bell>) {
    let left = LANDING.with_borrow_mut(|landing| match landing {
        Some(bells) => {
            bells.push(bell);
            None
        }
        None => Some(bell),
    });
    if let Some(bell) = left {
        bell.ring();
    }
}

/// While it lives, the bells of this thread wait.
#[must_use]
pub(super) struct Landing {
    /// One inside another leaves the bells to the outer one.
    is_outer: bool,
    /// It belongs to the thread that it was made on.
    thread: PhantomData<*const ()>,
}

pub(super) fn landing() -> Landing {
    let is_outer = LANDING.with_borrow_mut(|landing| {
        let is_outer = landing.is_none();
        landing.get_or_insert_default();
        is_outer
    });
    Landing { is_outer, thread: PhantomData }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.is_outer {
            for bell in LANDING.take().into_iter().flatten() {
                bell.ring();
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

    impl Bell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn bells_ring_at_once_and_after_a_landing() {
        let count = Arc::new(Count::default());
        ring(Arc::clone(&count) as Arc<dyn Bell>);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let landing = landing();
        ring(Arc::clone(&count) as Arc<dyn Bell>);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(landing);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_landing_inside_another_loses_no_bell() {
        let count = Arc::new(Count::default());
        let outer = landing();
        ring(Arc::clone(&count) as Arc<dyn Bell>);
        let inner = landing();
        ring(Arc::clone(&count) as Arc<dyn Bell>);
        drop(inner);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        drop(outer);
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_turn_begins_once_and_ends() {
        assert!(begin());
        assert!(!begin());
        end();
        assert!(begin());
        end();
    }
}
