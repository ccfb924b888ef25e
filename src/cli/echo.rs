//! How the terminal was set before it was told not to show what is typed: for a process that ends in the middle of that.

#[cfg(unix)]
pub(super) use self::unix::{restore, silenced};

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    /// The terminal, as it was; `None` while nothing is asked without echo.
    static BEFORE: Mutex<Option<(File, Termios)>> = Mutex::new(None);

    /// Does what may change the terminal, and can be ended in the middle of it.
    pub(in super::super) fn silenced<T>(ask: impl FnOnce() -> T) -> T {
        let before =
            File::open("/dev/tty").ok().and_then(|tty| tcgetattr(&tty).ok().map(|found| (tty, found)));
        set(before);
        let answer = ask();
        set(None);
        answer
    }

    /// Sets the terminal as it was, where something is being asked without echo.
    pub(in super::super) fn restore() {
        if let Some((tty, before)) = set(None) {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(tty, OptionalActions::Now, &before);
        }
    }

    fn set(before: Option<(File, Termios)>) -> Option<(File, Termios)> {
        std::mem::replace(&mut *BEFORE.lock().unwrap_or_else(PoisonError::into_inner), before)
    }
}

/// On Windows a console that a process leaves behind shows again what is typed as soon as a shell reads from it.
#[cfg(not(unix))]
pub(super) fn silenced<T>(ask: impl FnOnce() -> T) -> T {
    ask()
}

#[cfg(not(unix))]
pub(super) const fn restore() {}
