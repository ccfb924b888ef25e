//! Runs batches until nothing is left: paced, adapted to the server, and reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::apply::MigrateOptions;
use super::event::{Control, Event, Progress, Unit};
use super::session::{Interrupted, Session, StepOptions, no_session};
use super::sweep::broken;
use crate::error::Error;
use crate::queries::backfill::{self, Direction, Totals};
use crate::queries::catalogue::{self, Catalogue};

/// A writer of keys waits for the batch that is running, so batches that take longer are made smaller.
const LONGEST_BATCH: Duration = Duration::from_millis(400);

/// What a run of batches came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filled {
    pub(crate) businesses: i64,
    pub(crate) secrets: i64,
}

pub(crate) async fn run(
    session: &mut Session,
    control: &Control,
    direction: Direction,
    options: &MigrateOptions,
    filled: &mut Filled,
) -> Result<(), Interrupted> {
    let catalogue = catalogue::read(session.connection()).await?.unwrap_or_default();
    let totals = backfill::totals(session.connection(), &catalogue, direction).await?;
    let mut pace = Pace::new(Unit::Business, totals.done, totals.total);
    let step_options = StepOptions {
        what: match direction {
            Direction::Fill => "the backfill",
            Direction::Restore => "the restore",
        },
        lock_wait: options.lock_wait,
        is_cancelled_by_stop: false,
    };
    // The restore writes the app's own table, where its triggers may lock what several businesses share.
    let others = if direction == Direction::Fill { others(options, totals) } else { 0 };
    if others > 0 {
        let shared = Shared { filled: *filled, pace, is_over: false };
        let shared = Arc::new(Mutex::new(shared));
        let outcome = together(session, others, control, options, &shared).await;
        (*filled, pace) = {
            let shared = lock(&shared);
            (shared.filled, shared.pace)
        };
        match outcome {
            Err(Interrupted::Failed(error @ Error::InvalidValue { .. })) => {
                return Err(too_long(session, &catalogue, error).await);
            }
            other => other?,
        }
    }
    let mut size = Size::new(options.batch);
    loop {
        if control.is_stopped() {
            return Err(Interrupted::Stopped);
        }
        let limit = size.current;
        let started = Instant::now();
        let batch = session
            .run(control, step_options, |connection| Box::pin(backfill::batch(connection, direction, limit)))
            .await;
        let batch = match batch {
            Ok(batch) => batch,
            Err(Interrupted::Failed(error @ Error::InvalidValue { .. })) => {
                return Err(too_long(session, &catalogue, error).await);
            }
            Err(interrupted) => return Err(interrupted),
        };
        size.adapt(started.elapsed());
        filled.businesses += i64::from(batch.businesses);
        filled.secrets += i64::from(batch.secrets);
        if batch.finished {
            return Ok(());
        }
        if batch.waiting {
            // Only to see who it is: the batch itself never waits for them.
            let step_options = StepOptions { is_cancelled_by_stop: true, ..step_options };
            let catalogue = &catalogue;
            session
                .run(control, step_options, |connection| {
                    let catalogue = catalogue.clone();
                    Box::pin(
                        async move { backfill::wait_for_locked(connection, &catalogue, direction).await },
                    )
                })
                .await?;
        } else {
            control.tell(&Event::Batch(pace.note(batch.businesses, filled.secrets)));
        }
        if !control.rest(options.pause).await {
            return Err(Interrupted::Stopped);
        }
    }
}

/// How many sessions are of use beside the first: none where one batch is all there is.
fn others(options: &MigrateOptions, totals: Totals) -> u32 {
    let batches = (totals.total - totals.done).max(0).unsigned_abs().div_ceil(options.batch.into());
    options.sessions.min(u32::try_from(batches).unwrap_or(u32::MAX)).saturating_sub(1)
}

/// What the sessions share.
struct Shared {
    filled: Filled,
    pace: Pace,
    /// One of them failed: the others end with their batch.
    is_over: bool,
}

/// std Mutex: never held across an await.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes batch after batch, each a range of the key, in several sessions, to the end of the key. What was locked is left
/// to the batches of one session that follow.
async fn together(
    session: &mut Session,
    others: u32,
    control: &Control,
    options: &MigrateOptions,
    shared: &Arc<Mutex<Shared>>,
) -> Result<(), Interrupted> {
    let mut running = JoinSet::new();
    for number in 0..others {
        let mut other = match session.another().await {
            Ok(other) => other,
            Err(error) => {
                control.tell(&no_session(number + 1, &error));
                break;
            }
        };
        let (control, options, shared) = (control.clone(), options.clone(), Arc::clone(shared));
        running.spawn(async move { fill(&mut other, &control, &options, &shared).await });
    }
    let mut outcome = fill(session, control, options, shared).await;
    while let Some(ended) = running.join_next().await {
        outcome = outcome.and(ended.map_err(|error| broken(&error).into()).flatten());
    }
    outcome
}

async fn fill(
    session: &mut Session,
    control: &Control,
    options: &MigrateOptions,
    shared: &Mutex<Shared>,
) -> Result<(), Interrupted> {
    let mut size = Size::new(options.batch);
    let step_options =
        StepOptions { what: "the backfill", lock_wait: options.lock_wait, is_cancelled_by_stop: false };
    while !lock(shared).is_over {
        if control.is_stopped() {
            return Err(Interrupted::Stopped);
        }
        let limit = size.current;
        let started = Instant::now();
        let batch = async {
            let claimed = session
                .run(control, step_options, |connection| Box::pin(backfill::claim(connection, limit)))
                .await?;
            if claimed.is_empty() {
                return Ok(None);
            }
            let claimed = Arc::new(claimed);
            session
                .run(control, step_options, |connection| {
                    let claimed = Arc::clone(&claimed);
                    Box::pin(async move { backfill::fill_claimed(connection, &claimed).await })
                })
                .await
                .map(Some)
        };
        match batch.await {
            Ok(Some((businesses, secrets))) => {
                size.adapt(started.elapsed());
                let progress = {
                    let mut shared = lock(shared);
                    shared.filled.businesses += i64::from(businesses);
                    shared.filled.secrets += i64::from(secrets);
                    let secrets = shared.filled.secrets;
                    shared.pace.note(businesses, secrets)
                };
                control.tell(&Event::Batch(progress));
            }
            Ok(None) => return Ok(()),
            Err(interrupted) => {
                lock(shared).is_over = true;
                return Err(interrupted);
            }
        }
        if !control.rest(options.pause).await {
            return Err(Interrupted::Stopped);
        }
    }
    Ok(())
}

/// The database says that a value is too long, not whose.
async fn too_long(session: &mut Session, catalogue: &Catalogue, error: Error) -> Interrupted {
    match backfill::too_long(session.connection(), catalogue).await {
        Ok(cells) if !cells.is_empty() => {
            let cells: Vec<String> =
                cells.iter().map(|(business, name)| format!("{name} of {business}")).collect();
            Interrupted::Failed(Error::InvalidValue {
                why: format!(
                    "a sealed value may have 65,536 bytes, and these have more: {}. Shorten or clear them, then run \
                     this again",
                    cells.join(", ")
                ),
            })
        }
        _ => Interrupted::Failed(error),
    }
}

/// The number of businesses in a batch: what was asked for, or what fits the time.
struct Size {
    current: i32,
    most: i32,
}

impl Size {
    fn new(most: u32) -> Self {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        // The first batch meets an unknown server.
        Self { current: most.min(50), most }
    }

    fn adapt(&mut self, took: Duration) {
        self.current = if took > LONGEST_BATCH {
            (self.current / 2).max(1)
        } else if took < LONGEST_BATCH / 2 {
            self.current.saturating_mul(2).min(self.most)
        } else {
            self.current
        };
    }
}

/// Counts and extrapolates.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    unit: Unit,
    started: Instant,
    before: i64,
    done: i64,
    total: i64,
}

impl Pace {
    pub(crate) fn new(unit: Unit, done: i64, total: i64) -> Self {
        Self { unit, started: Instant::now(), before: done, done, total }
    }

    /// After a batch of so many; `secrets` are those of this run until now.
    #[allow(clippy::cast_precision_loss, reason = "a rate, far below 2^52")]
    pub(crate) fn note(&mut self, batch: i32, secrets: i64) -> Progress {
        self.done = (self.done + i64::from(batch)).min(self.total);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let pace = (self.done - self.before) as f64 / seconds;
        let left = (pace > 0.0).then(|| Duration::from_secs_f64((self.total - self.done) as f64 / pace));
        let per_second = secrets as f64 / seconds;
        Progress { unit: self.unit, done: self.done, total: self.total, secrets, per_second, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_shrink_where_they_take_long_and_grow_back_to_what_was_asked_for() {
        let mut size = Size::new(100);
        for _ in 0..5 {
            size.adapt(Duration::from_millis(10));
        }
        assert_eq!(size.current, 100);
        for _ in 0..20 {
            size.adapt(Duration::from_secs(1));
        }
        assert_eq!(size.current, 1);
        size.adapt(Duration::from_millis(300));
        assert_eq!(size.current, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_left_follows_from_the_pace_of_this_run() {
        let mut pace = Pace::new(Unit::Business, 400, 1000);
        tokio::time::advance(Duration::from_secs(10)).await;
        let progress = pace.note(200, 1600);
        assert_eq!((progress.done, progress.total), (600, 1000));
        assert_eq!(progress.left, Some(Duration::from_secs(20)));
        assert!((progress.per_second - 160.0).abs() < 0.01);
    }
}
