//! The types of the migration role's calls, as `index.d.ts` declares them.

use napi_derive::napi;

use super::results::Date;
use crate::{admin, doctor};

/// How to reach the database as the migration role. What is left out comes from the environment.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct AdminOptions {
    /// A direct connection as the owner of `businesses` (`postgres` on Supabase); else `ADMIN_DATABASE_URL`.
    pub url: Option<String>,
    /// A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file.
    pub ca: Option<String>,
    /// Allows a connection to a remote host that is not encrypted and verified. False unless told.
    pub allow_insecure: Option<bool>,
    /// How long to wait for a connection. 5000 unless told.
    pub timeout_ms: Option<u32>,
}

/// How to migrate.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct MigrateOptions {
    /// A direct connection as the owner of `businesses` (`postgres` on Supabase); else `ADMIN_DATABASE_URL`.
    pub url: Option<String>,
    /// A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file.
    pub ca: Option<String>,
    /// Allows a connection to a remote host that is not encrypted and verified. False unless told.
    pub allow_insecure: Option<bool>,
    /// How long to wait for a connection. 5000 unless told.
    pub timeout_ms: Option<u32>,
    /// The last file to apply. 4 unless told.
    #[napi(ts_type = "2 | 3 | 4")]
    pub to: Option<i32>,
    /// The most businesses in one transaction of the backfill, 1 to 10,000. 100 unless told; fewer where that takes long.
    pub batch: Option<u32>,
    /// A rest after each batch. 0 unless told.
    pub pause_ms: Option<u32>,
    /// How long to try for a lock that others hold. 60,000 unless told.
    pub lock_wait_ms: Option<u32>,
    /// Sends the files again that are applied: puts back what was changed or dropped of ours. False unless told.
    pub reapply: Option<bool>,
}

/// What to look at.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct DoctorOptions {
    /// A direct connection as the owner of `businesses` (`postgres` on Supabase); else `ADMIN_DATABASE_URL`.
    pub url: Option<String>,
    /// A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file.
    pub ca: Option<String>,
    /// Allows a connection to a remote host that is not encrypted and verified. False unless told.
    pub allow_insecure: Option<bool>,
    /// How long to wait for a connection. 5000 unless told.
    pub timeout_ms: Option<u32>,
    /// The login of a service, to be looked at too; else `APP_SECRETS_URL`.
    pub service_url: Option<String>,
    /// Opens every value instead of a sample. False unless told.
    pub full: Option<bool>,
}

/// Something that happened while it migrates.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct MigrateEvent {
    /// - `waiting`: another migrator is at work (`holders`).
    /// - `started`: a file is being applied (`version`, `title`).
    /// - `retrying`: a lock was not to be had (`what`, `blockers`, `pauseMs`).
    /// - `batch`: a batch of the backfill was committed (`done`, `total`, `secrets`, `perSecond`, `leftMs`).
    /// - `applied`: a file is applied and recorded (`version`, `elapsedMs`).
    /// - `warning`: worth reading (`message`).
    #[napi(ts_type = "'waiting' | 'started' | 'retrying' | 'batch' | 'applied' | 'warning'")]
    pub kind: String,
    /// The file.
    pub version: Option<i32>,
    /// What the file does.
    pub title: Option<String>,
    /// The other migrator's session.
    pub holders: Option<Vec<String>>,
    /// The step that was held up.
    pub what: Option<String>,
    /// The sessions that held it up.
    pub blockers: Option<Vec<String>>,
    /// How long until it is tried again.
    pub pause_ms: Option<f64>,
    /// Businesses that have been looked at, in earlier runs too.
    pub done: Option<i64>,
    /// Businesses that there are.
    pub total: Option<i64>,
    /// Secrets sealed by this run.
    pub secrets: Option<i64>,
    /// Secrets a second.
    pub per_second: Option<f64>,
    /// What is left at this pace; null before there is one.
    #[napi(ts_type = "number | null")]
    pub left_ms: Option<f64>,
    /// How long the file took.
    pub elapsed_ms: Option<f64>,
    /// What is worth reading.
    pub message: Option<String>,
}

/// What a migration came to.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct MigrateResult {
    /// The files that were applied now.
    pub applied: Vec<i32>,
    /// Businesses that the backfill looked at.
    pub businesses: i64,
    /// Secrets that it sealed.
    pub secrets: i64,
    /// How long all of it took.
    pub elapsed_ms: f64,
}

impl From<admin::Migrated> for MigrateResult {
    fn from(outcome: admin::Migrated) -> Self {
        Self {
            applied: outcome.applied,
            businesses: outcome.businesses,
            secrets: outcome.secrets,
            elapsed_ms: outcome.elapsed.as_secs_f64() * 1000.0,
        }
    }
}

/// Where the migration stands.
#[napi(object, object_from_js = false, use_nullable = true, js_name = "MigrationStatus")]
pub struct Status {
    /// The database's name.
    pub database: String,
    /// Each file of this package.
    pub files: Vec<FileStatus>,
    /// Businesses that there are.
    pub businesses: i64,
    /// How many of them are backfilled.
    pub done: i64,
    /// Values that differed when `verify` ran last; null where it never did.
    #[napi(ts_type = "number")]
    pub mismatches: Option<i64>,
    /// The plaintext columns that are still there.
    #[napi(ts_type = "SecretName[]")]
    pub plaintext_columns: Vec<String>,
    /// A rollback was begun and not finished.
    pub rolling_back: bool,
    /// Something must be done: migrate, mend what differs, or finish a rollback.
    pub pending: bool,
}

/// One file, and what the ledger says of it.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct FileStatus {
    /// Its number.
    pub version: i32,
    /// As it is called in `migrations/`.
    pub file: String,
    /// `applied_unchecked` where another tool applied it, `edited` where it was another text than this package's.
    #[napi(ts_type = "'pending' | 'applied' | 'applied_unchecked' | 'edited'")]
    pub state: String,
    /// When it was applied; null where it was not.
    #[napi(ts_type = "Date")]
    pub applied_at: Option<Date>,
}

impl From<admin::Status> for Status {
    fn from(status: admin::Status) -> Self {
        let (pending, mismatches) = (status.is_pending(), status.mismatched());
        Self {
            database: status.database,
            files: status.files.into_iter().map(Into::into).collect(),
            businesses: status.businesses,
            done: status.done,
            mismatches,
            plaintext_columns: status.plaintext_columns,
            rolling_back: status.is_rolling_back,
            pending,
        }
    }
}

impl From<admin::FileStatus> for FileStatus {
    fn from(file: admin::FileStatus) -> Self {
        Self {
            version: file.version,
            file: file.file,
            state: file.state.as_str().to_owned(),
            applied_at: file.applied_at.map(Date),
        }
    }
}

/// What a verification found. Counts and ids only.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Verification {
    /// Nothing is wrong at all.
    pub verified: bool,
    /// Values that differ between plaintext and Vault.
    pub mismatched: i64,
    /// The plaintext columns against Vault; null once they are dropped.
    #[napi(ts_type = "ColumnProof[]")]
    pub columns: Option<Vec<ColumnProof>>,
    /// References without a Vault row of their own.
    pub dangling: Finding,
    /// Values that Vault cannot open.
    pub undecryptable: Finding,
    /// Cells that hold something other than a reference.
    pub unsealed: Finding,
    /// Vault rows that no cell refers to.
    pub orphans: Finding,
    /// Triggers of ours that are missing or disabled.
    pub idle_triggers: Vec<String>,
    /// Who still wrote the plaintext columns after the backfill.
    pub legacy_writes: LegacyWrites,
}

/// How one plaintext column compares with its sealed one.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct ColumnProof {
    /// The column.
    #[napi(ts_type = "SecretName")]
    pub name: String,
    /// Businesses that have a value in plaintext.
    pub plaintext: i64,
    /// Businesses that have one in Vault.
    pub sealed: i64,
    /// Businesses where the two differ.
    pub mismatched: i64,
    /// At most ten of those.
    pub business_ids: Vec<String>,
}

/// Something that is wrong, how often, and where.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Finding {
    /// How many.
    pub count: i64,
    /// At most ten of them: `name of business`, or the id of a Vault row.
    pub samples: Vec<String>,
}

/// Who still wrote the plaintext columns.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct LegacyWrites {
    /// How many values.
    pub count: i64,
    /// The last time; null where there was none.
    #[napi(ts_type = "Date")]
    pub last_at: Option<Date>,
    /// Login and application name, at most five.
    pub writers: Vec<String>,
}

impl From<admin::Verification> for Verification {
    fn from(found: admin::Verification) -> Self {
        Self {
            verified: found.is_sound(),
            mismatched: found.mismatched(),
            columns: found.columns.map(|columns| columns.into_iter().map(Into::into).collect()),
            dangling: found.dangling.into(),
            undecryptable: found.undecryptable.into(),
            unsealed: found.unsealed.into(),
            orphans: found.orphans.into(),
            idle_triggers: found.idle_triggers,
            legacy_writes: LegacyWrites {
                count: found.legacy_writes.count,
                last_at: found.legacy_writes.last_at.map(Date),
                writers: found.legacy_writes.writers,
            },
        }
    }
}

impl From<admin::ColumnProof> for ColumnProof {
    fn from(column: admin::ColumnProof) -> Self {
        Self {
            name: column.name,
            plaintext: column.legacy_values,
            sealed: column.sealed_values,
            mismatched: column.mismatched,
            business_ids: column.business_ids.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<admin::Finding> for Finding {
    fn from(finding: admin::Finding) -> Self {
        Self { count: finding.count, samples: finding.samples }
    }
}

/// Everything that the doctor looked at.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct DoctorReport {
    /// No check fails.
    pub healthy: bool,
    /// Those that apply to the database as it is, in a fixed order.
    pub checks: Vec<DoctorCheck>,
}

/// One check.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct DoctorCheck {
    /// Stable: `vault.key`.
    pub id: String,
    /// How bad it is.
    #[napi(ts_type = "'ok' | 'warn' | 'fail'")]
    pub level: String,
    /// What was found. Counts, ids and names; never a value.
    pub found: String,
    /// Why it matters.
    pub why: String,
    /// What to do; null where all is well.
    #[napi(ts_type = "string")]
    pub fix: Option<String>,
}

impl From<doctor::Report> for DoctorReport {
    fn from(report: doctor::Report) -> Self {
        let healthy = report.is_healthy();
        Self { healthy, checks: report.checks.into_iter().map(Into::into).collect() }
    }
}

impl From<doctor::Check> for DoctorCheck {
    fn from(check: doctor::Check) -> Self {
        Self {
            id: check.id.to_owned(),
            level: check.level.as_str().to_owned(),
            found: check.found,
            why: check.why.to_owned(),
            fix: check.fix,
        }
    }
}
