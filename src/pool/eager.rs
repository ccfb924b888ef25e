//! Takes a future's first step on the calling thread. A read is sent that way without a change of threads, and the runtime's
//! threads sleep until the answer comes.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The waker of the first step, and what it wakes.
struct Rest {
    runtime: Handle,
    /// std Mutex: never held while a future runs.
    state: Mutex<State>,
}

enum State {
    /// The first step is being taken.
    Running {
        is_woken: bool,
    },
    /// Goes to the runtime once it is woken.
    Waiting(Task),
    Gone,
}

/// What is left of a future that was not ready at once. Dropped, it is cancelled.
pub(crate) struct Later<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    rest: Arc<Rest>,
}

/// Polls `future` here, once.
pub(crate) fn start<T>(
    runtime: &Handle,
    mut future: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, Later<T>> {
    let state = Mutex::new(State::Running { is_woken: false });
    let rest = Arc::new(Rest { runtime: runtime.clone(), state });
    let waker = Waker::from(Arc::clone(&rest));
    let _runtime = runtime.enter();
    match future.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(Later { future, rest }),
    }
}

impl<T: 'static> Later<T> {
    /// Leaves it to the runtime, which gives the output to `finish`.
    pub(crate) fn then(self, finish: impl FnOnce(T) + Send + 'static) {
        let future = self.future;
        self.rest.wait(Box::pin(async move { finish(future.await) }));
    }
}

impl Rest {
    fn wait(&self, task: Task) {
        let mut state = self.state();
        if matches!(*state, State::Running { is_woken: false }) {
            *state = State::Waiting(task);
        } else {
            *state = State::Gone;
            drop(state);
            drop(self.runtime.spawn(task));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state();
        match mem::replace(&mut *state, State::Gone) {
            State::Running { .. } => *state = State::Running { is_woken: true },
            State::Waiting(task) => {
                drop(state);
                drop(self.runtime.spawn(task));
            }
            State::Gone => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_ready_at_once_is_returned() {
        assert_eq!(start(&Handle::current(), Box::pin(async { 7 })).ok(), Some(7));
    }

    #[tokio::test]
    async fn what_waits_goes_on_when_it_is_woken() {
        let (question, asked) = oneshot::channel::<u8>();
        let (finished, answer) = oneshot::channel();
        let future = Box::pin(async { asked.await.unwrap() + 1 });
        let Err(later) = start(&Handle::current(), future) else { panic!("answered before it was asked") };
        later.then(|output| finished.send(output).unwrap());
        question.send(1).unwrap();
        assert_eq!(answer.await, Ok(2));
    }

    #[tokio::test]
    async fn a_wakeup_before_it_waits_is_not_lost() {
        let (finished, answer) = oneshot::channel();
        let Err(later) = start(&Handle::current(), Box::pin(wake_oneself())) else { panic!("ready at once") };
        later.then(|()| finished.send(()).unwrap());
        assert_eq!(answer.await, Ok(()));
    }

    /// Wakes its task in the first step.
    async fn wake_oneself() {
        let mut is_first = true;
        poll_fn(|context| {
            if mem::replace(&mut is_first, false) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn what_nobody_can_wake_is_dropped() {
        let (guard, mut dropped) = oneshot::channel::<()>();
        let future = Box::pin(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let Err(later) = start(&Handle::current(), future) else { panic!("ready at once") };
        later.then(|()| {});
        assert!(matches!(dropped.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
