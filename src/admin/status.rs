//! Where the migration stands, and what comes next. Only looks, and costs the same at every size: rows are counted up to a
//! bound, and what differs is what `verify` found last.

use serde::Serialize;
use sqlx::postgres::PgConnection;

use super::Admin;
use super::apply::refuse_newer;
use super::files::{FILES, RPC};
use crate::error::{Error, Result};
use crate::queries::backfill;
use crate::queries::catalogue::{self, Catalogue, SecretState};
use crate::queries::ledger::{self, Applied};
use crate::queries::preflight::Obstacle;
use crate::queries::proof::{self, Recorded};
use crate::queries::statements::{self, Statement};
use crate::queries::{AdminFault, access, inspect};
use crate::timestamp::{self, Timestamp};

/// How long the pre-flight may take in milliseconds: it reads the owner table once, and is left out where that is too slow.
const GLANCE_MS: u32 = 700;

/// Where the migration stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// The database's name.
    pub database: String,
    /// Each file of this package.
    pub files: Vec<FileStatus>,
    /// Which secrets there are, and the state of each; none before 002.
    pub names: Vec<SecretState>,
    /// Businesses that there are: counted up to 100,000, estimated beyond.
    pub businesses: i64,
    /// How many of them are backfilled.
    pub done: i64,
    /// Secrets that were ever set, counted in the same way.
    pub secrets: i64,
    /// What `verify` found last; `None` where it never ran.
    pub verified: Option<Recorded>,
    /// The plaintext columns that are still there and in sync, by their secrets' names.
    pub plaintext_columns: Vec<String>,
    /// A rollback was begun and not finished.
    pub is_rolling_back: bool,
    /// Rights that are not ours and open something to `anon`, `authenticated` or everybody, as a restore may leave them.
    pub exposed: Vec<String>,
    /// Statements that still name the plaintext columns; `None` where `pg_stat_statements` does not say.
    pub statements: Option<Vec<Statement>>,
    /// Before 002: what the pre-flight found; `None` where it took too long, or is of no interest any more.
    pub obstacles: Option<Vec<Obstacle>>,
    /// What to do next.
    pub next: Next,
}

/// One file, and what the ledger says of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileStatus {
    /// Its number.
    pub version: i32,
    /// As it is called in `migrations/`.
    pub file: String,
    /// What it does.
    #[serde(skip)]
    pub title: &'static str,
    /// It takes something away, and is applied by a command of its own.
    #[serde(skip)]
    pub is_contracting: bool,
    /// Where it stands.
    pub state: FileState,
    /// When it was applied.
    #[serde(serialize_with = "timestamp::as_text")]
    pub applied_at: Option<Timestamp>,
    /// By whom.
    pub applied_by: Option<String>,
}

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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

    /// Values that differed when `verify` ran last.
    pub fn mismatched(&self) -> Option<i64> {
        self.verified.map(|found| found.mismatched)
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
        let files: Vec<FileStatus> = FILES.iter().map(|file| file_status(file, &applied)).collect();
        let mut status = Status {
            database,
            files,
            names: Vec::new(),
            businesses: 0,
            done: 0,
            secrets: 0,
            verified: None,
            plaintext_columns: Vec::new(),
            is_rolling_back: false,
            exposed: Vec::new(),
            statements: None,
            obstacles: None,
            next: Next::Migrate,
        };
        let Some(catalogue) = catalogue::read(connection).await? else {
            self.glance(connection, &mut status).await?;
            return Ok(status);
        };
        if catalogue.owner_name.is_none() {
            return Err(Error::Refused(format!(
                "there is no table {}, whose rows own the secrets: was it renamed? app_secrets.settings names it",
                catalogue.owner_table
            )));
        }
        status.businesses = inspect::rows(connection, &catalogue.owner_table).await?;
        status.secrets = inspect::rows(connection, "app_secrets.secret_versions").await?;
        let (done, finished) = backfill::progress(connection).await?;
        status.done = if finished { status.businesses } else { done.min(status.businesses) };
        status.plaintext_columns = catalogue.synced().map(|name| name.name.clone()).collect();
        status.is_rolling_back = backfill::is_restoring(connection).await?;
        status.statements = statements::legacy(connection, &catalogue).await?;
        status.verified = proof::last(connection).await?;
        if applied.iter().any(|entry| entry.version == RPC) {
            status.exposed = access::exposed(connection).await?;
        }
        let is_scrubbed = inspect::rewritten(connection).await?.is_clean();
        status.next = next(&status, &catalogue, is_scrubbed);
        status.names = catalogue.names;
        Ok(status)
    }

    /// Before 002: what there is, and what stands in the way.
    async fn glance(&self, connection: &mut PgConnection, status: &mut Status) -> Result<()> {
        let found = match self.preflight(connection, GLANCE_MS).await {
            Ok(found) => found,
            // It took too long; `doctor` and `migrate --dry-run` take their time.
            Err(AdminFault::Cancelled) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        if !found.obstacles.iter().any(Obstacle::is_refusal) {
            let catalogue = catalogue::of_wanted(connection, &found.wanted).await?;
            status.businesses = inspect::rows(connection, &catalogue.owner_table).await?;
            status.plaintext_columns = catalogue.synced().map(|name| name.name.clone()).collect();
        }
        status.obstacles = Some(found.obstacles);
        Ok(())
    }
}

fn next(status: &Status, catalogue: &Catalogue, is_scrubbed: bool) -> Next {
    let is_missing = |file: &FileStatus| file.state == FileState::Pending && !file.is_contracting;
    if status.is_rolling_back {
        Next::Rollback
    } else if status.files.iter().any(is_missing) || catalogue.names.iter().any(SecretState::is_due) {
        Next::Migrate
    } else if !status.exposed.is_empty() || status.files.iter().any(|file| file.state == FileState::Edited) {
        Next::Reapply
    } else if status.verified.is_some_and(|found| !found.is_proof) {
        Next::Verify
    } else if catalogue.synced().next().is_some() {
        Next::DropLegacy
    } else if is_scrubbed {
        Next::Nothing
    } else {
        Next::Scrub
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
        is_contracting: file.is_contracting(),
        state,
        applied_at: entry.map(|entry| entry.at),
        applied_by: entry.map(|entry| entry.by.clone()),
    }
}
