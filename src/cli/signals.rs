//! Ctrl-C and SIGTERM: what is running ends in good order the first time, everything else at once.
//!
//! They are heard on a thread of their own, which nothing that a command waits for holds up: an answer that nobody gives,
//! a pipe that nobody reads.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::echo;
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
    /// Hears them from now on, instead of whoever did. Fails where there is no thread to hear them with.
    pub(super) fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let heard = signals.clone();
        hear(move || heard.react())?;
        Ok(signals)
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
            Some(Running { display, stopper }) => {
                stopper.stop();
                // On another thread: where nobody reads what is written, the next signal is still to be heard.
                let written = thread::Builder::new()
                    .spawn(move || display.line("stopping in good order; once more to stop at once"));
                drop(written);
            }
            // The server undoes the transaction of a connection that ends.
            None => leave(Exit::Stopped),
        }
    }
}

/// Ends the process at once, on whichever thread this is, and leaves the terminal as it was found.
pub(super) fn leave(exit: Exit) -> ! {
    echo::restore();
    end(exit as i32)
}

/// Without what is registered for the end of the process: that takes down what Node.js and the other threads still use.
#[cfg(unix)]
fn end(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

#[cfg(not(unix))]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

#[cfg(unix)]
fn hear(react: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let hearing = move || signals.forever().for_each(|_| react());
    thread::Builder::new().name("app-secrets-signals".into()).spawn(hearing).map(drop)
}

#[cfg(not(unix))]
fn hear(react: impl Fn() + Send + 'static) -> io::Result<()> {
    let hearing = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            react();
        }
    };
    thread::Builder::new().name("app-secrets-signals".into()).spawn(hearing).map(drop)
}
