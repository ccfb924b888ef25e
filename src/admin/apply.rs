//! Applies the files in order, each once, under the migrators' lock.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::Admin;
use super::backfill::{self, Filled};
use super::event::{Control, Event};
use super::files::{FILES, FILL, File, Step};
use super::preflight;
use super::session::{Interrupted, Session, StepOptions};
use crate::error::{Error, Result};
use crate::queries::backfill::{self as rows, Direction};
use crate::queries::catalogue::{self, Catalogue};
use crate::queries::ledger::{self, Applied};
use crate::queries::preflight::{Obstacle, set_catalogue};
use crate::queries::{inspect, session};

/// How to migrate.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The last file to apply. One that takes something away, as 005, is applied by [`Admin::drop_legacy`] only.
    pub to: i32,
    /// The most businesses in one transaction of the backfill, 1 to 10,000. Fewer where that takes long.
    pub batch: u32,
    /// A rest after each batch.
    pub pause: Duration,
    /// How many sessions backfill at once, 1 to 32.
    pub sessions: u32,
    /// How long to try for a lock before giving up.
    pub lock_wait: Duration,
    /// Sends the files again that are applied: it puts back what was changed or dropped of ours.
    pub reapply: bool,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            to: File::last_expanding(),
            batch: 100,
            pause: Duration::ZERO,
            sessions: default_sessions(),
            lock_wait: Duration::from_mins(1),
            reapply: false,
        }
    }
}

/// As many sessions as this machine has cores, and at most four: their work is the server's, which others use too.
pub fn default_sessions() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(4).min(4))
}

/// Each of them is a connection of the server's, or two.
pub(crate) fn check_sessions(sessions: u32) -> Result<()> {
    if (1..=32).contains(&sessions) {
        return Ok(());
    }
    Err(Error::InvalidArgument("`sessions` is a number from 1 to 32".into()))
}

/// What a migration came to.
#[derive(Debug, Clone, Default)]
pub struct Migrated {
    /// The files that were applied now.
    pub applied: Vec<i32>,
    /// Businesses that the backfill looked at.
    pub businesses: i64,
    /// Secrets that it wrote.
    pub secrets: i64,
    /// How long all of it took.
    pub elapsed: Duration,
    /// It was told to stop, in this file; run it again.
    pub stopped_in: Option<i32>,
}

/// What a migration would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The files, in order.
    pub files: Vec<&'static File>,
    /// Businesses that there are.
    pub businesses: i64,
    /// Plaintext values in them.
    pub plaintext_values: i64,
    /// Names that 003 still has to fill, seal or prove, though it is recorded.
    pub due: Vec<String>,
    /// What the pre-flight found: where one refuses, nothing will be changed.
    pub obstacles: Vec<Obstacle>,
}

impl Plan {
    /// Refuses as [`Admin::migrate`] would.
    pub fn check(&self) -> Result<()> {
        preflight::refuse(&self.obstacles)
    }
}

impl MigrateOptions {
    fn check(&self) -> Result<()> {
        match File::of_version(self.to) {
            Some(file) if file.is_contracting() => {
                return Err(Error::Refused(format!(
                    "{:03} drops the plaintext for good: that is `migrate --drop-legacy`, after `verify`, when no code \
                     reads the columns any more",
                    file.version
                )));
            }
            Some(_) => {}
            None => {
                let numbers: Vec<String> = FILES
                    .iter()
                    .filter(|file| !file.is_contracting())
                    .map(|file| file.version.to_string())
                    .collect();
                return Err(Error::InvalidArgument(format!(
                    "`to` is the number of a migration: {}",
                    numbers.join(", ")
                )));
            }
        }
        if !(1..=10_000).contains(&self.batch) {
            return Err(Error::InvalidArgument("`batch` is a number of businesses from 1 to 10,000".into()));
        }
        check_sessions(self.sessions)
    }
}

impl Admin {
    /// Applies what is missing, up to 004. Done already is fine; where another migrator is at it, waits for that one.
    pub async fn migrate(&self, options: &MigrateOptions, control: &Control) -> Result<Migrated> {
        options.check()?;
        let started = Instant::now();
        let mut outcome = Migrated::default();
        let mut filled = Filled::default();
        let halted = self.migrate_files(options, control, &mut outcome, &mut filled).await;
        outcome.businesses = filled.businesses;
        outcome.secrets = filled.secrets;
        outcome.elapsed = started.elapsed();
        match halted {
            Ok(()) => {}
            Err(Interrupted::Stopped) => outcome.stopped_in = outcome.stopped_in.or(Some(0)),
            Err(Interrupted::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn migrate_files(
        &self,
        options: &MigrateOptions,
        control: &Control,
        outcome: &mut Migrated,
        filled: &mut Filled,
    ) -> Result<(), Interrupted> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        let files = self.pending(session.connection(), &applied, options).await?.files;
        if files.iter().any(|file| file.version == FILES[0].version) {
            let found = self.preflight(session.connection(), 0).await?;
            preflight::refuse(&found.obstacles)?;
            for obstacle in found.obstacles.iter().filter(|obstacle| obstacle.severity == "warn") {
                control.tell(&Event::Warning(obstacle.sentence()));
            }
        }
        set_catalogue(session.connection(), self.catalogue.as_deref().unwrap_or_default()).await?;
        for file in files {
            outcome.stopped_in = Some(file.version);
            apply(&mut session, control, options, file, filled).await?;
            outcome.applied.push(file.version);
            outcome.stopped_in = None;
        }
        Ok(())
    }

    /// Says what [`migrate`](Self::migrate) would do, and changes nothing.
    pub async fn plan(&self, options: &MigrateOptions) -> Result<Plan> {
        options.check()?;
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let applied = ledger::applied(connection).await?;
        let pending = self.pending(connection, &applied, options).await?;
        let found = self.preflight(connection, 0).await?;
        let mut plan = Plan {
            files: pending.files,
            businesses: 0,
            plaintext_values: 0,
            due: pending.due,
            obstacles: found.obstacles,
        };
        if plan.check().is_ok() {
            let known = catalogue::read(connection).await?;
            let is_migrated = known.is_some();
            let catalogue = match known {
                Some(catalogue) => catalogue,
                None => catalogue::of_wanted(connection, &found.wanted).await?,
            };
            plan.businesses = inspect::rows(connection, &catalogue.owner_table).await?;
            plan.plaintext_values = rows::plaintext_values(connection, &catalogue).await?
                + rows::values_in_place(connection, &catalogue, is_migrated).await?;
        }
        Ok(plan)
    }

    async fn pending(
        &self,
        connection: &mut PgConnection,
        applied: &[Applied],
        options: &MigrateOptions,
    ) -> Result<Pending> {
        refuse_newer(applied)?;
        let catalogue = catalogue::read(connection).await?;
        let is_restoring = catalogue.is_some() && rows::is_restoring(connection).await?;
        Ok(pending(applied, catalogue.as_ref(), is_restoring, options))
    }
}

/// What is still to be done.
struct Pending {
    files: Vec<&'static File>,
    due: Vec<String>,
}

/// Every file that only adds, whatever its number, that is not recorded; and 003 once more for names that came later.
/// Sent again, what takes something away is among them only where it took it already.
fn pending(
    applied: &[Applied],
    catalogue: Option<&Catalogue>,
    is_restoring: bool,
    options: &MigrateOptions,
) -> Pending {
    let has = |version| applied.iter().any(|entry| entry.version == version);
    // What a rollback has put back is proven when it ends.
    let due: Vec<String> = catalogue
        .filter(|_| has(FILL) && !is_restoring)
        .into_iter()
        .flat_map(|catalogue| catalogue.names.iter().filter(|name| name.is_due()))
        .map(|name| name.name.clone())
        .collect();
    // Where no plaintext column is left, 005 drops nothing, and puts back its functions.
    let is_dropped = catalogue.is_some_and(|catalogue| catalogue.synced().next().is_none());
    let is_wanted = |file: &&File| {
        if file.is_contracting() {
            return options.reapply
                && is_dropped
                && has(file.version)
                && options.to >= File::last_expanding();
        }
        file.version <= options.to
            && (!has(file.version) || options.reapply || (file.version == FILL && !due.is_empty()))
    };
    let mut files: Vec<&'static File> = FILES.iter().filter(is_wanted).collect();
    if options.reapply {
        // What 003 has to prove may not be so, after a restore: by then the rights are closed.
        files.sort_by_key(|file| file.version == FILL && has(FILL));
    }
    Pending { files, due }
}

/// An older package must not touch what a newer one has made.
pub(crate) fn refuse_newer(applied: &[Applied]) -> Result<()> {
    match applied.iter().find(|entry| File::of_version(entry.version).is_none()) {
        Some(newer) => Err(Error::Refused(format!(
            "the ledger has migration {} ({}), which this version of @app/secrets does not know: update the package",
            newer.version, newer.name
        ))),
        None => Ok(()),
    }
}

/// Sends one file, step by step.
pub(crate) async fn apply(
    session: &mut Session,
    control: &Control,
    options: &MigrateOptions,
    file: &'static File,
    filled: &mut Filled,
) -> Result<(), Interrupted> {
    let started = Instant::now();
    control.tell(&Event::Started { version: file.version, title: file.title });
    session::set_checksum(session.connection(), &file.checksum()).await?;
    for step in file.steps() {
        if control.is_stopped() {
            return Err(Interrupted::Stopped);
        }
        match step {
            Step::Transaction(sql) => {
                let step_options = StepOptions {
                    what: &file.file_name(),
                    lock_wait: options.lock_wait,
                    is_cancelled_by_stop: true,
                };
                session
                    .run(control, step_options, |connection| Box::pin(session::send(connection, sql)))
                    .await?;
            }
            Step::Backfill => backfill::run(session, control, Direction::Fill, options, filled).await?,
        }
    }
    control.tell(&Event::Applied { version: file.version, elapsed: started.elapsed() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queries::catalogue::SecretState;
    use crate::timestamp::Timestamp;

    fn versions(applied: &[i32], state: Option<&str>, options: &MigrateOptions) -> Vec<i32> {
        let entry = |version: &i32| Applied {
            version: *version,
            name: String::new(),
            checksum: None,
            at: Timestamp(0),
            by: String::new(),
        };
        let applied: Vec<Applied> = applied.iter().map(entry).collect();
        let catalogue = state.map(|state| Catalogue {
            names: vec![SecretState {
                name: "a".into(),
                label: "A".into(),
                sealed: true,
                kind: "text".into(),
                legacy_column: Some("a".into()),
                legacy_state: state.into(),
                in_place: "none".into(),
                is_retired: false,
            }],
            ..Catalogue::default()
        });
        let files = pending(&applied, catalogue.as_ref(), false, options).files;
        files.iter().map(|file| file.version).collect()
    }

    #[test]
    fn expanding_files_are_applied_whatever_came_before_and_the_contracting_never() {
        let options = MigrateOptions::default();
        assert_eq!(versions(&[], None, &options), [2, 3, 4]);
        assert_eq!(versions(&[2, 3, 5], Some("dropped"), &options), [4]);
        assert_eq!(versions(&[2, 3, 4], Some("filled"), &options), [0; 0]);
        let to_two = MigrateOptions { to: 2, ..MigrateOptions::default() };
        assert_eq!(versions(&[], None, &to_two), [2]);
    }

    #[test]
    fn a_name_that_came_later_makes_003_due_again() {
        let options = MigrateOptions::default();
        assert_eq!(versions(&[2, 3, 4, 5], Some("synced"), &options), [3]);
        assert_eq!(versions(&[2], Some("synced"), &options), [3, 4]);
    }

    #[test]
    fn sent_again_the_rights_are_closed_before_anything_is_proven() {
        let options = MigrateOptions { reapply: true, ..MigrateOptions::default() };
        assert_eq!(versions(&[2, 3, 4, 5], Some("dropped"), &options), [2, 4, 5, 3]);
        assert_eq!(versions(&[2, 3, 4, 5], Some("filled"), &options), [2, 4, 3]);
        assert_eq!(versions(&[], None, &options), [2, 3, 4]);
    }

    #[test]
    fn a_contracting_file_is_refused_by_its_number() {
        let drop = MigrateOptions { to: 5, ..MigrateOptions::default() };
        assert!(drop.check().unwrap_err().to_string().contains("--drop-legacy"));
        let unknown = MigrateOptions { to: 6, ..MigrateOptions::default() };
        assert!(unknown.check().unwrap_err().to_string().contains("2, 3, 4"));
    }
}
