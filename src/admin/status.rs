//! Where the migration stands, and what comes next. Only looks.

use super::Admin;
use super::apply::refuse_newer;
use super::files::{CONTRACT, FILES, LAST_BEFORE_CONTRACT};
use crate::catalogue::SecretName;
use crate::error::Result;
use crate::queries::backfill::{self, Direction};
use crate::queries::ledger::{self, Applied};
use crate::queries::statements::{self, Statement};
use crate::queries::{inspect, proof};
use crate::timestamp::Timestamp;

/// Where the migration stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// The database's name.
    pub database: String,
    /// Each file of this package.
    pub files: Vec<FileStatus>,
    /// Businesses that there are.
    pub businesses: i64,
    /// How many of them are backfilled.
    pub done: i64,
    /// Values that differ between plaintext and Vault; `None` where there is nothing to compare yet, or any more.
    pub mismatched: Option<i64>,
    /// The plaintext columns that are still there.
    pub plaintext_columns: Vec<SecretName>,
    /// A rollback was begun and not finished.
    pub is_rolling_back: bool,
    /// Statements that still name the plaintext columns; `None` where `pg_stat_statements` does not say.
    pub statements: Option<Vec<Statement>>,
    /// What to do next.
    pub next: Next,
}

/// One file, and what the ledger says of it.
#[derive(Debug, Clone)]
pub struct FileStatus {
    /// Its number.
    pub version: i32,
    /// As it is called in `migrations/`.
    pub file: String,
    /// What it does.
    pub title: &'static str,
    /// Where it stands.
    pub state: FileState,
    /// When it was applied.
    pub applied_at: Option<Timestamp>,
    /// By whom.
    pub applied_by: Option<String>,
}

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// Not applied.
    Pending,
    /// Applied, as it is in this package.
    Applied,
    /// Applied by something that recorded no checksum (psql, `supabase db push`).
    AppliedUnchecked,
    /// Applied in another version than this package's.
    Edited,
}

impl FileState {
    /// As JSON and JavaScript have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::AppliedUnchecked => "applied_unchecked",
            Self::Edited => "edited",
        }
    }
}

/// The next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// `migrate`
    Migrate,
    /// `migrate --reapply`
    Reapply,
    /// `verify`
    Verify,
    /// `migrate --drop-legacy`, once no code reads the columns.
    DropLegacy,
    /// `rollback`, to finish it.
    Rollback,
    /// `scrub`
    Scrub,
    /// Nothing.
    Nothing,
}

impl Status {
    /// Whether there is something that must be done, rather than may be.
    pub fn is_pending(&self) -> bool {
        !matches!(self.next, Next::DropLegacy | Next::Scrub | Next::Nothing)
    }
}

impl Admin {
    /// Looks at where the migration stands.
    pub async fn status(&self) -> Result<Status> {
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let database = ledger::database(connection).await?;
        let applied = ledger::applied(connection).await?;
        refuse_newer(&applied)?;
        let has = |version| applied.iter().any(|entry| entry.version == version);

        let columns = ledger::legacy_columns(connection).await?;
        let has_businesses = columns.is_some();
        let plaintext_columns = columns.unwrap_or_default();
        let is_whole = plaintext_columns.len() == super::LEGACY_COLUMNS;

        let totals = match (has(2), has_businesses) {
            (true, true) => Some(backfill::totals(connection, Direction::Fill).await?),
            _ => None,
        };
        let businesses = match totals {
            Some(totals) => totals.total,
            None if has_businesses => inspect::businesses(connection).await?,
            None => 0,
        };
        let mismatched = if has(3) && is_whole {
            Some(proof::columns(connection).await?.iter().map(|column| column.mismatched).sum())
        } else {
            None
        };
        let is_rolling_back = has(2) && backfill::is_restoring(connection).await?;
        let statements = statements::legacy(connection).await?;
        let is_scrubbed = has(CONTRACT) && inspect::rewritten(connection).await?.is_clean();

        let files: Vec<FileStatus> = FILES.iter().map(|file| file_status(file, &applied)).collect();
        let edited = files.iter().any(|file| file.state == FileState::Edited);
        let next = if is_rolling_back {
            Next::Rollback
        } else if !has(LAST_BEFORE_CONTRACT) {
            Next::Migrate
        } else if mismatched.is_some_and(|count| count > 0) {
            Next::Verify
        } else if edited {
            Next::Reapply
        } else if !has(CONTRACT) {
            Next::DropLegacy
        } else if is_scrubbed {
            Next::Nothing
        } else {
            Next::Scrub
        };
        Ok(Status {
            database,
            files,
            businesses,
            done: totals.map_or(0, |totals| totals.done),
            mismatched,
            plaintext_columns,
            is_rolling_back,
            statements,
            next,
        })
    }
}

fn file_status(file: &super::File, applied: &[Applied]) -> FileStatus {
    let entry = applied.iter().find(|entry| entry.version == file.version);
    let state = match entry.map(|entry| entry.checksum.as_deref()) {
        None => FileState::Pending,
        Some(None) => FileState::AppliedUnchecked,
        Some(Some(checksum)) if checksum == file.checksum() => FileState::Applied,
        Some(Some(_)) => FileState::Edited,
    };
    FileStatus {
        version: file.version,
        file: file.file_name(),
        title: file.title,
        state,
        applied_at: entry.map(|entry| entry.at),
        applied_by: entry.map(|entry| entry.by.clone()),
    }
}
