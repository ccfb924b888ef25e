//! Compares every value, range after range of the key, in several sessions that see one snapshot of the database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::postgres::PgConnection;
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use super::backfill::Pace;
use super::event::{Control, Event, Unit};
use super::session::{Interrupted, no_session};
use super::{Admin, ColumnProof, Finding};
use crate::config::Pooler;
use crate::error::{Error, Result};
use crate::queries::catalogue::Catalogue;
use crate::queries::proof::{self, CellFaults, Cells, Range};
use crate::queries::session;

/// Businesses in one statement: few enough that it ends soon after a stop, and that progress moves.
const SIZE: i64 = 250;

/// Samples of a fault that are kept.
const SAMPLES: usize = 10;

/// What was found in all ranges.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// The plaintext columns against Vault; empty where there are none.
    pub(crate) columns: Vec<ColumnProof>,
    pub(crate) faults: CellFaults,
}

/// Sessions that see what the first of them saw when it began.
pub(crate) struct Sessions {
    pub(crate) first: PgConnection,
    others: Vec<PgConnection>,
    /// The server processes of all.
    pids: Vec<i32>,
}

impl Sessions {
    /// Begins on `first`, and opens up to `others` more.
    pub(crate) async fn begin(
        admin: &Admin,
        mut first: PgConnection,
        others: u32,
        control: &Control,
    ) -> Result<Self> {
        session::begin_snapshot(&mut first).await?;
        let mut sessions = Self { pids: vec![session::pid(&mut first).await?], first, others: Vec::new() };
        // A transaction pooler has as many servers as it has, and may have none left for us.
        if others == 0 || admin.config().pooler == Pooler::Transaction {
            return Ok(sessions);
        }
        let snapshot = session::export_snapshot(&mut sessions.first).await?;
        for number in 0..others {
            let opened = async {
                let mut other = admin.look().await?;
                session::begin_same_snapshot(&mut other, &snapshot).await?;
                let pid = session::pid(&mut other).await?;
                Ok::<_, Error>((other, pid))
            };
            match opened.await {
                Ok((other, pid)) => {
                    sessions.others.push(other);
                    sessions.pids.push(pid);
                }
                Err(error) => {
                    control.tell(&no_session(number + 1, &error));
                    break;
                }
            }
        }
        Ok(sessions)
    }

    /// How many transactions and statements there are to cancel.
    pub(crate) fn pids(&self) -> Vec<i32> {
        self.pids.clone()
    }

    /// Looks at every value. Ends early, with what it has, where it is told to stop.
    pub(crate) async fn sweep(&mut self, catalogue: &Catalogue, control: &Control) -> Result<Swept> {
        let (bounds, businesses) = proof::bounds(&mut self.first, catalogue, SIZE).await?;
        let work = Arc::new(Work {
            catalogue: catalogue.clone(),
            bounds,
            next: AtomicUsize::new(0),
            control: control.clone(),
            found: Mutex::new(Found {
                parts: BTreeMap::new(),
                values: 0,
                pace: Pace::new(Unit::Business, 0, businesses),
            }),
        });
        let mut others = JoinSet::new();
        for mut other in self.others.drain(..) {
            let work = Arc::clone(&work);
            others.spawn(async move { work.run(&mut other).await });
        }
        let mut outcome = work.run(&mut self.first).await;
        while let Some(other) = others.join_next().await {
            outcome = outcome.and(other.map_err(|error| broken(&error)).flatten());
        }
        outcome?;
        let parts = std::mem::take(&mut work.found().parts);
        Ok(joined(parts.into_values()))
    }
}

/// A session of ours ended with a defect of ours.
pub(crate) fn broken(error: &JoinError) -> Error {
    Error::unavailable(format!("a session ended without an answer ({error})"))
}

/// What the sessions share.
struct Work {
    catalogue: Catalogue,
    /// They part the ranges.
    bounds: Vec<Uuid>,
    /// The range that is taken next.
    next: AtomicUsize,
    control: Control,
    /// std Mutex: never held across an await.
    found: Mutex<Found>,
}

struct Found {
    /// By range, so that samples come in the order of the key whoever was faster.
    parts: BTreeMap<usize, Swept>,
    values: i64,
    pace: Pace,
}

impl Work {
    async fn run(&self, connection: &mut PgConnection) -> Result<()> {
        while let Some((number, range)) = self.take() {
            let outcome = self.look(connection, range).await;
            let (part, values) = outcome.inspect_err(|_| {
                // Nobody begins another range.
                self.next.store(usize::MAX / 2, Ordering::Relaxed);
            })?;
            let progress = {
                let mut found = self.found();
                found.parts.insert(number, part);
                found.values += values;
                let values = found.values;
                found.pace.note(i32::try_from(SIZE).unwrap_or(i32::MAX), values)
            };
            self.control.tell(&Event::Batch(progress));
        }
        Ok(())
    }

    fn take(&self) -> Option<(usize, Range)> {
        if self.control.is_stopped() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let bound = |number: usize| self.bounds.get(number).copied();
        (number <= self.bounds.len())
            .then(|| (number, Range { from: number.checked_sub(1).and_then(bound), to: bound(number) }))
    }

    async fn look(&self, connection: &mut PgConnection, range: Range) -> Result<(Swept, i64)> {
        let columns = match self.catalogue.synced().next() {
            Some(_) => proof::columns(connection, range).await?,
            None => Vec::new(),
        };
        let (faults, values) = proof::cell_faults(connection, &self.catalogue, Cells::Of(range)).await?;
        Ok((Swept { columns, faults }, values))
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts, in the order of the key, as one.
fn joined(parts: impl Iterator<Item = Swept>) -> Swept {
    parts
        .reduce(|mut whole, part| {
            for column in part.columns {
                match whole.columns.iter_mut().find(|known| known.name == column.name) {
                    Some(known) => {
                        known.legacy_values += column.legacy_values;
                        known.sealed_values += column.sealed_values;
                        known.mismatched += column.mismatched;
                        known.business_ids.extend(column.business_ids);
                        known.business_ids.truncate(SAMPLES);
                    }
                    None => whole.columns.push(column),
                }
            }
            add(&mut whole.faults.dangling, part.faults.dangling);
            add(&mut whole.faults.undecryptable, part.faults.undecryptable);
            add(&mut whole.faults.unsealed, part.faults.unsealed);
            whole
        })
        .map(|mut whole| {
            // A range without a business has no columns, so they may have come in another order.
            whole.columns.sort_by(|one, other| one.name.cmp(&other.name));
            whole
        })
        .unwrap_or_default()
}

fn add(finding: &mut Finding, more: Finding) {
    finding.count += more.count;
    finding.samples.extend(more.samples);
    finding.samples.truncate(SAMPLES);
}

impl Admin {
    /// Ends what the sessions with these processes are doing.
    pub(crate) async fn cancel(&self, pids: &[i32]) -> Result<(), Interrupted> {
        let mut connection = self.look().await?;
        for pid in pids {
            session::cancel(&mut connection, *pid).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(bounds: &[u128]) -> Work {
        Work {
            catalogue: Catalogue::default(),
            bounds: bounds.iter().copied().map(Uuid::from_u128).collect(),
            next: AtomicUsize::new(0),
            control: Control::silent(),
            found: Mutex::new(Found {
                parts: BTreeMap::new(),
                values: 0,
                pace: Pace::new(Unit::Business, 0, 0),
            }),
        }
    }

    fn ranges(bounds: &[u128]) -> Vec<(Option<u128>, Option<u128>)> {
        let work = work(bounds);
        let number = |key: Option<Uuid>| key.map(|key| key.as_u128());
        std::iter::from_fn(|| work.take()).map(|(_, range)| (number(range.from), number(range.to))).collect()
    }

    #[test]
    fn the_ranges_are_the_whole_key_without_gap_or_overlap() {
        assert_eq!(ranges(&[]), [(None, None)]);
        assert_eq!(ranges(&[5, 9]), [(None, Some(5)), (Some(5), Some(9)), (Some(9), None)]);
    }

    #[test]
    fn after_a_stop_nobody_takes_another_range() {
        let (control, stopper) = Control::new(|_| {});
        let work = Work { control, ..work(&[5]) };
        assert!(work.take().is_some());
        stopper.stop();
        assert!(work.take().is_none());
    }

    #[test]
    fn counts_add_up_and_samples_are_the_first_of_the_key() {
        let part = |first: u128| Swept {
            columns: vec![ColumnProof {
                name: "a".into(),
                legacy_values: 250,
                sealed_values: 249,
                mismatched: 6,
                business_ids: (first..first + 6).map(Uuid::from_u128).collect(),
            }],
            faults: CellFaults {
                dangling: Finding { count: 7, samples: vec![format!("a of {first}"); 7] },
                ..CellFaults::default()
            },
        };
        let whole = joined([part(100), Swept::default(), part(200)].into_iter());
        let [column] = &whole.columns[..] else { panic!("{:?}", whole.columns) };
        assert_eq!((column.legacy_values, column.sealed_values, column.mismatched), (500, 498, 12));
        let ids: Vec<u128> = column.business_ids.iter().map(Uuid::as_u128).collect();
        assert_eq!(ids, [100, 101, 102, 103, 104, 105, 200, 201, 202, 203]);
        assert_eq!(whole.faults.dangling.count, 14);
        assert_eq!(whole.faults.dangling.samples[6..], ["a of 100", "a of 200", "a of 200", "a of 200"]);
    }
}
