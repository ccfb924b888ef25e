//! What a caller is told while a migration runs, and how he stops it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Blocker;

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Another migrator is at work; this one goes on when it has ended.
    Waiting {
        /// Its session.
        holders: Vec<Blocker>,
    },
    /// A file is being applied.
    Started {
        /// Its number.
        version: i32,
        /// What it does.
        title: &'static str,
    },
    /// A lock was not to be had in time; the step was undone and comes again.
    Retrying {
        /// The step.
        what: String,
        /// Who was in the way.
        blockers: Vec<Blocker>,
        /// How long until then.
        pause: Duration,
    },
    /// A batch was committed.
    Batch(Progress),
    /// A file is applied and recorded.
    Applied {
        /// Its number.
        version: i32,
        /// How long it took.
        elapsed: Duration,
    },
    /// Worth reading.
    Warning(String),
}

/// What progress is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Each has any number of secrets.
    Business,
    /// A value in Vault; an earlier one, kept for `undo`, is one too.
    Value,
}

/// How far a row of batches is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What `done` and `total` count.
    pub unit: Unit,
    /// How many have been looked at, in earlier runs too.
    pub done: i64,
    /// How many there are.
    pub total: i64,
    /// Secrets written by this run; values, where those are counted.
    pub secrets: i64,
    /// Of these a second.
    pub per_second: f64,
    /// What is left at this pace, once there is one.
    pub left: Option<Duration>,
}

type Listener = dyn Fn(&Event) + Send + Sync;

/// Tells a caller what happens, and hears from him when to stop.
#[derive(Clone)]
pub struct Control {
    listener: Arc<Listener>,
    stop: watch::Receiver<bool>,
}

/// Stops what goes on under its [`Control`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Control {
    /// `listener` is called from the migration's own task: it must not block.
    pub fn new(listener: impl Fn(&Event) + Send + Sync + 'static) -> (Self, Stopper) {
        let (sender, stop) = watch::channel(false);
        let listener = Arc::new(listener);
        (Self { listener, stop }, Stopper(sender))
    }

    /// For who wants neither.
    pub fn silent() -> Self {
        Self::new(|_| {}).0
    }

    pub(crate) fn tell(&self, event: &Event) {
        (self.listener)(event);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Never ends where nobody can stop it any more.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the time passed without a stop.
    pub(crate) async fn rest(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}

impl Stopper {
    /// Ends the batch that is running, undoes the step that is.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a prepared transaction (see pg_prepared_xacts)");
        }
        write!(f, "pid {}", self.pid)?;
        let known = [&self.user, &self.application, &self.state];
        let known: Vec<String> = known
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .map(|text| text.chars().filter(|c| !c.is_control()).collect())
            .collect();
        if !known.is_empty() {
            write!(f, " ({}", known.join(", "))?;
            if let Some(since) = &self.since {
                write!(f, " since {since}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// `pid 7 (app, maya, idle in transaction since …), pid 8 (…)`.
pub(crate) fn list(blockers: &[Blocker]) -> String {
    let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
    blockers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocker_is_named_by_what_is_known_of_it() {
        let unknown = Blocker { pid: 7, user: None, application: None, state: None, since: None };
        assert_eq!(unknown.to_string(), "pid 7");
        let known = Blocker {
            user: Some("app".into()),
            application: Some("ma\u{1b}[31mya".into()),
            state: Some("idle in transaction".into()),
            since: Some("2026-01-31T12:00:00Z".into()),
            ..unknown.clone()
        };
        assert_eq!(
            known.to_string(),
            "pid 7 (app, ma[31mya, idle in transaction since 2026-01-31T12:00:00Z)"
        );
        assert!(Blocker { pid: 0, ..unknown }.to_string().contains("prepared transaction"));
    }

    #[tokio::test]
    async fn a_control_that_nobody_can_stop_never_stops() {
        let control = Control::silent();
        assert!(control.rest(Duration::from_millis(1)).await);
        let (control, stopper) = Control::new(|_| {});
        stopper.stop();
        assert!(!control.rest(Duration::from_hours(1)).await);
    }
}
