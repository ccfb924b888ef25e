//! Ctrl-C and SIGTERM: what is running ends in good order the first time, everything else at once.

use std::sync::{Arc, Mutex, PoisonError};

use super::exit::Exit;
use super::progress::Display;
use crate::admin::Stopper;

/// What a signal is to stop, while there is something.
#[derive(Clone, Default)]
pub(super) struct Signals(Arc<Mutex<Option<Running>>>);

struct Running {
    display: Arc<Display>,
    stopper: Stopper,
}

impl Signals {
    /// Hears them from now on, instead of whoever did.
    pub(super) fn listen() -> Self {
        let signals = Self::default();
        let heard = signals.clone();
        tokio::spawn(async move {
            loop {
                interrupted().await;
                heard.react();
            }
        });
        signals
    }

    pub(super) fn stop_this(&self, display: Arc<Display>, stopper: Stopper) {
        self.set(Some(Running { display, stopper }));
    }

    pub(super) fn stop_nothing(&self) {
        self.set(None);
    }

    fn set(&self, running: Option<Running>) -> Option<Running> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), running)
    }

    fn react(&self) {
        match self.set(None) {
            Some(running) => {
                running.display.line("stopping in good order; once more to stop at once");
                running.stopper.stop();
            }
            // The server undoes the transaction of a connection that ends.
            None => std::process::exit(Exit::Stopped as i32),
        }
    }
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}
