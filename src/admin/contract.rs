//! Drops the plaintext columns, and brings them back.

use std::time::Duration;

use tokio::time::Instant;

use super::Admin;
use super::apply::{MigrateOptions, apply, refuse_newer};
use super::backfill::{self, Filled};
use super::event::Control;
use super::files::{CONTRACT, File, LAST_BEFORE_CONTRACT};
use super::session::{Halt, Manner};
use super::verify::Verification;
use crate::error::{Error, Result};
use crate::queries::backfill::{self as rows, Direction};
use crate::queries::{ledger, proof};

/// What became of the plaintext columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Dropped now.
    Now,
    /// They were dropped before.
    Before,
    /// It was told to stop, and they are still there.
    Stopped,
}

/// What a rollback came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct RolledBack {
    /// The columns had not been dropped: they are there, written by both sides, and nothing was done.
    pub was_not_needed: bool,
    /// Values that were written back by this run.
    pub secrets: i64,
    /// Values that could not be, because Vault cannot open them.
    pub lost: i64,
    /// How long it took.
    pub elapsed: Duration,
    /// It was told to stop; run it again.
    pub is_stopped: bool,
}

impl Admin {
    /// The database's name, which a confirmation has to repeat.
    pub async fn database(&self) -> Result<String> {
        Ok(ledger::database(&mut self.look().await?).await?)
    }

    /// Applies 005, which proves every value once more and then drops the plaintext columns, for good.
    /// `verification` is a fresh one, and `confirmation` the database's name.
    pub async fn drop_legacy(
        &self,
        verification: &Verification,
        confirmation: &str,
        lock_wait: Duration,
        control: &Control,
    ) -> Result<Dropped> {
        if !verification.is_proof() {
            return Err(Error::VerificationFailed(format!(
                "nothing was dropped, because of {}. Run `app-secrets verify`",
                verification.summary()
            )));
        }
        let options = MigrateOptions { lock_wait, ..MigrateOptions::default() };
        match self.contract(confirmation, &options, control).await {
            Ok(outcome) => Ok(outcome),
            Err(Halt::Stopped) => Ok(Dropped::Stopped),
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    async fn contract(
        &self,
        confirmation: &str,
        options: &MigrateOptions,
        control: &Control,
    ) -> Result<Dropped, Halt> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        refuse_newer(&applied)?;
        let has = |version| applied.iter().any(|entry| entry.version == version);
        if has(CONTRACT) {
            return Ok(Dropped::Before);
        }
        if !has(LAST_BEFORE_CONTRACT) {
            return Err(Error::Refused(
                "the plaintext cannot go before 004 is applied: run `app-secrets migrate`".into(),
            )
            .into());
        }
        confirm(&ledger::database(session.connection()).await?, confirmation)?;
        if let Some(file) = File::of_version(CONTRACT) {
            apply(&mut session, control, options, file, &mut Filled::default()).await?;
        }
        Ok(Dropped::Now)
    }

    /// Brings the plaintext columns back after 005: empty, with the sync, so that both sides are written from then
    /// on; then fills them from Vault in batches. Before 005 they are there, and it leaves them alone.
    pub async fn rollback(&self, options: &MigrateOptions, control: &Control) -> Result<RolledBack> {
        let started = Instant::now();
        let mut outcome = RolledBack::default();
        let mut filled = Filled::default();
        let halted = self.restore(options, control, &mut outcome, &mut filled).await;
        outcome.secrets = filled.secrets;
        outcome.elapsed = started.elapsed();
        match halted {
            Ok(()) => {}
            Err(Halt::Stopped) => outcome.is_stopped = true,
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn restore(
        &self,
        options: &MigrateOptions,
        control: &Control,
        outcome: &mut RolledBack,
        filled: &mut Filled,
    ) -> Result<(), Halt> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        refuse_newer(&applied)?;
        if applied.iter().any(|entry| entry.version == CONTRACT) {
            let manner = Manner {
                what: "putting the columns back",
                lock_wait: options.lock_wait,
                is_cancelled_by_stop: true,
            };
            session.run(control, manner, |connection| Box::pin(rows::begin_restore(connection))).await?;
        } else if applied.is_empty() || !rows::is_restoring(session.connection()).await? {
            outcome.was_not_needed = true;
            return Ok(());
        }
        backfill::run(&mut session, control, Direction::Restore, options, filled).await?;
        let columns = proof::columns(session.connection()).await?;
        outcome.lost = columns.iter().map(|column| column.mismatched).sum();
        Ok(())
    }
}

/// A plain yes is not enough for what cannot be undone.
pub(crate) fn confirm(database: &str, confirmation: &str) -> Result<()> {
    if confirmation == database {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "nothing was changed: the confirmation has to be the database's name, {database}"
    )))
}
