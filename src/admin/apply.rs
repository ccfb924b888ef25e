//! Applies the files in order, each once, under the migrators' lock.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::Admin;
use super::backfill::{self, Filled};
use super::event::{Control, Event};
use super::files::{CONTRACT, FILES, File, LAST_BEFORE_CONTRACT, Step};
use super::session::{Halt, Manner, Session};
use crate::error::{Error, Result};
use crate::queries::backfill::Direction;
use crate::queries::ledger::{self, Applied};
use crate::queries::{self, session};

/// How to migrate.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The last file to apply, 2 to 4. The plaintext is dropped by [`Admin::drop_legacy`] only.
    pub to: i32,
    /// The most businesses in one transaction of the backfill, 1 to 10,000. Fewer where that takes long.
    pub batch: u32,
    /// A rest after each batch.
    pub pause: Duration,
    /// How long to try for a lock before giving up.
    pub lock_wait: Duration,
    /// Sends the files again that are applied: it puts back what was changed or dropped of ours.
    pub reapply: bool,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            to: LAST_BEFORE_CONTRACT,
            batch: 250,
            pause: Duration::ZERO,
            lock_wait: Duration::from_mins(1),
            reapply: false,
        }
    }
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
    /// What to look at first.
    pub warnings: Vec<String>,
}

impl MigrateOptions {
    fn check(&self) -> Result<()> {
        if self.to == CONTRACT {
            return Err(Error::Refused(
                "005 drops the plaintext for good: that is `migrate --drop-legacy`, after `verify`, when no code reads \
                 the columns any more"
                    .into(),
            ));
        }
        if File::of_version(self.to).is_none() {
            return Err(Error::InvalidArgument("`to` is the number of a migration: 2, 3 or 4".into()));
        }
        if !(1..=10_000).contains(&self.batch) {
            return Err(Error::InvalidArgument("`batch` is a number of businesses from 1 to 10,000".into()));
        }
        Ok(())
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
            Err(Halt::Stopped) => outcome.stopped_in = outcome.stopped_in.or(Some(0)),
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn migrate_files(
        &self,
        options: &MigrateOptions,
        control: &Control,
        outcome: &mut Migrated,
        filled: &mut Filled,
    ) -> Result<(), Halt> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        for file in pending(&applied, options)? {
            outcome.stopped_in = Some(file.version);
            warn(session.connection(), file, control).await?;
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
        let applied = ledger::applied(&mut connection).await?;
        let files = pending(&applied, options)?;
        let mut plan = Plan { files, businesses: 0, plaintext_values: 0, warnings: Vec::new() };
        let columns = ledger::legacy_columns(&mut connection).await?;
        let is_whole = columns.is_some_and(|columns| columns.len() == super::LEGACY_COLUMNS);
        if is_whole {
            (plan.businesses, plan.plaintext_values) = queries::backfill::plaintext(&mut connection).await?;
            for (business, name) in queries::backfill::too_long(&mut connection).await? {
                plan.warnings
                    .push(format!("{name} of {business} has more than the 65,536 bytes that can be sealed"));
            }
        } else if applied.is_empty() {
            plan.warnings
                .push("public.businesses is not there, or lacks some of the eight plaintext columns".into());
        }
        for file in &plan.files {
            plan.warnings.extend(warnings(&mut connection, file).await?);
        }
        Ok(plan)
    }
}

/// The files that are still to be sent.
fn pending(applied: &[Applied], options: &MigrateOptions) -> Result<Vec<&'static File>> {
    refuse_newer(applied)?;
    let has = |version| applied.iter().any(|entry| entry.version == version);
    let is_wanted = |file: &&File| {
        if has(file.version) {
            return options.reapply;
        }
        // After 005 the columns are gone, and nothing before it is missed.
        file.version <= options.to && !has(CONTRACT)
    };
    Ok(FILES.iter().filter(is_wanted).collect())
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

async fn warn(connection: &mut PgConnection, file: &File, control: &Control) -> Result<()> {
    for warning in warnings(connection, file).await? {
        control.tell(&Event::Warning(warning));
    }
    Ok(())
}

async fn warnings(connection: &mut PgConnection, file: &File) -> Result<Vec<String>> {
    if file.version != 4 {
        return Ok(Vec::new());
    }
    let policies = ledger::foreign_policies(connection).await?;
    Ok(policies
        .iter()
        .map(|policy| {
            format!(
                "004 drops policy \"{policy}\" on business_secrets: app_secrets.accessible_business_ids() decides \
                 instead"
            )
        })
        .collect())
}

/// Sends one file, step by step.
pub(crate) async fn apply(
    session: &mut Session,
    control: &Control,
    options: &MigrateOptions,
    file: &'static File,
    filled: &mut Filled,
) -> Result<(), Halt> {
    let started = Instant::now();
    control.tell(&Event::Started { version: file.version, title: file.title });
    session::set_checksum(session.connection(), &file.checksum()).await?;
    for step in file.steps() {
        if control.is_stopped() {
            return Err(Halt::Stopped);
        }
        match step {
            Step::Transaction(sql) => {
                let manner = Manner {
                    what: &file.file_name(),
                    lock_wait: options.lock_wait,
                    is_cancelled_by_stop: true,
                };
                session.run(control, manner, |connection| Box::pin(session::send(connection, sql))).await?;
            }
            Step::Backfill => backfill::run(session, control, Direction::Fill, options, filled).await?,
        }
    }
    control.tell(&Event::Applied { version: file.version, elapsed: started.elapsed() });
    Ok(())
}
