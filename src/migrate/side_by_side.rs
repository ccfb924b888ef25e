//! The first pass of the backfill: several sessions side by side, each with businesses of its own.
//!
//! Only what comes before the first batch that is still under way is recorded as done. What is cut short is looked at
//! again, and what somebody holds is left to the batches that follow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::Admin;
use super::apply::MigrateOptions;
use super::backfill::{Filled, Pace, Size};
use super::event::{Control, Event};
use super::session::{Halt, Session};
use crate::error::Error;
use crate::store::admin::backfill::{self, Direction};
use crate::store::admin::{AdminFault, session};

/// How long a session fails for want of the sync lock before all of them leave the rest to the batches that follow,
/// which say who is in the way.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Fills what is after the checkpoint, but for what others hold.
pub(super) async fn run(
    session: &mut Session,
    control: &Control,
    options: &MigrateOptions,
    filled: &mut Filled,
) -> Result<(), Halt> {
    let pass = backfill::first_pass(session.connection()).await?;
    if pass.is_finished || !pass.is_owner || options.sessions < 2 {
        return Ok(());
    }
    let totals = backfill::totals(session.connection(), Direction::Fill).await?;
    let shared = Arc::new(Shared {
        admin: session.admin().clone(),
        control: control.clone(),
        pause: options.pause,
        batch: options.batch,
        plan: Mutex::new(Plan {
            last: pass.last,
            is_exhausted: false,
            gave_up: false,
            under_way: VecDeque::new(),
            pace: Pace::new(totals.done, totals.total, 0),
            filled: Filled::default(),
        }),
    });
    let mut sessions = JoinSet::new();
    for _ in 0..options.sessions {
        sessions.spawn(Arc::clone(&shared).work());
    }
    let mut failed = Ok(());
    while let Some(ended) = sessions.join_next().await {
        let outcome = ended.unwrap_or_else(|_| Err(Error::unavailable("an internal error ended a session")));
        if let Err(error) = outcome {
            shared.plan.lock().await.is_exhausted = true;
            failed = Err(error);
        }
    }
    let plan = shared.plan.lock().await;
    filled.businesses += plan.filled.businesses;
    filled.secrets += plan.filled.secrets;
    failed?;
    if control.is_stopped() {
        return Err(Halt::Stopped);
    }
    if !plan.gave_up {
        backfill::checkpoint(session.connection(), None, 0, true).await?;
    }
    Ok(())
}

struct Shared {
    admin: Admin,
    control: Control,
    pause: Duration,
    batch: u32,
    plan: Mutex<Plan>,
}

/// What has been given out, and what has come back.
struct Plan {
    last: Option<Uuid>,
    is_exhausted: bool,
    gave_up: bool,
    /// In the order of their ids.
    under_way: VecDeque<Batch>,
    pace: Pace,
    filled: Filled,
}

struct Batch {
    until: Uuid,
    /// How many businesses it looked at, once it is done.
    done: Option<i64>,
}

impl Plan {
    /// Takes the batches that are done off the front: up to where, and how many businesses that were.
    fn settled(&mut self) -> Option<(Uuid, i64)> {
        let mut settled = None;
        while let Some(Batch { until, done: Some(businesses) }) = self.under_way.front() {
            let before = settled.map_or(0, |(_, before)| before);
            settled = Some((*until, before + businesses));
            self.under_way.pop_front();
        }
        settled
    }
}

impl Shared {
    async fn work(self: Arc<Self>) -> Result<(), Error> {
        let mut connection = session::open(self.admin.config(), "app-secrets migrate (filling)").await?;
        let mut size = Size::new(self.batch);
        while let Some(ids) = self.next(&mut connection, size.current()).await? {
            let started = Instant::now();
            let Some((businesses, secrets)) = self.fill(&mut connection, &ids).await? else { break };
            size.adapt(started.elapsed());
            self.finished(&mut connection, &ids, businesses, secrets).await?;
            if !self.control.rest(self.pause).await {
                break;
            }
        }
        Ok(())
    }

    async fn next(&self, connection: &mut PgConnection, limit: i32) -> Result<Option<Vec<Uuid>>, Error> {
        let mut plan = self.plan.lock().await;
        if plan.is_exhausted || self.control.is_stopped() {
            return Ok(None);
        }
        let ids = backfill::next_ids(connection, plan.last, limit).await?;
        let Some(until) = ids.last().copied() else {
            plan.is_exhausted = true;
            return Ok(None);
        };
        plan.last = Some(until);
        plan.under_way.push_back(Batch { until, done: None });
        Ok(Some(ids))
    }

    /// `None` where the sync lock was not to be had for long.
    async fn fill(&self, connection: &mut PgConnection, ids: &[Uuid]) -> Result<Option<(i32, i32)>, Error> {
        let started = Instant::now();
        loop {
            match backfill::fill(connection, ids).await {
                Ok(filled) => return Ok(Some(filled)),
                Err(AdminFault::Busy) if started.elapsed() < PATIENCE => {
                    if !self.control.rest(PAUSE.mul_f64(0.5 + fastrand::f64())).await {
                        return Ok(None);
                    }
                }
                // Who holds the lock, and whose value is too long: the batches that follow say it.
                Err(AdminFault::Busy | AdminFault::Other(Error::InvalidValue { .. })) => {
                    let mut plan = self.plan.lock().await;
                    (plan.is_exhausted, plan.gave_up) = (true, true);
                    return Ok(None);
                }
                Err(fault) => return Err(fault.into_error()),
            }
        }
    }

    async fn finished(
        &self,
        connection: &mut PgConnection,
        ids: &[Uuid],
        businesses: i32,
        secrets: i32,
    ) -> Result<(), Error> {
        let mut plan = self.plan.lock().await;
        if let Some(batch) = plan.under_way.iter_mut().find(|batch| Some(&batch.until) == ids.last()) {
            batch.done = Some(businesses.into());
        }
        plan.filled.businesses += i64::from(businesses);
        plan.filled.secrets += i64::from(secrets);
        let written = plan.filled.secrets;
        let progress = plan.pace.note(businesses, written);
        self.control.tell(&Event::Batch(progress));
        let settled = plan.settled();
        drop(plan);
        if let Some((until, businesses)) = settled {
            backfill::checkpoint(connection, Some(until), businesses, false).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(batches: &[(u128, Option<i64>)]) -> Plan {
        let batch =
            |(until, done): &(u128, Option<i64>)| Batch { until: Uuid::from_u128(*until), done: *done };
        Plan {
            last: None,
            is_exhausted: false,
            gave_up: false,
            under_way: batches.iter().map(batch).collect(),
            pace: Pace::new(0, 0, 0),
            filled: Filled::default(),
        }
    }

    #[test]
    fn nothing_behind_a_batch_that_is_under_way_is_recorded() {
        assert_eq!(plan(&[(1, None), (2, Some(5))]).settled(), None);
        let mut plan = plan(&[(1, Some(5)), (2, Some(6)), (3, None), (4, Some(7))]);
        assert_eq!(plan.settled(), Some((Uuid::from_u128(2), 11)));
        assert_eq!(plan.under_way.len(), 2);
        plan.under_way[0].done = Some(1);
        assert_eq!(plan.settled(), Some((Uuid::from_u128(4), 8)));
    }
}
