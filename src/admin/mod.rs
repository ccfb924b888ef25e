//! Moves the plaintext keys into Vault on a live system: applies the files of `migrations/`, runs their backfill in
//! batches, proves the outcome, and undoes it. Stopped at any point, it goes on where it was when it is run again.
//!
//! Says what happens through [`Event`]s. Prints nothing and asks nothing; that is the command line's.

mod access;
mod apply;
mod backfill;
mod contract;
mod event;
mod files;
mod history;
mod init;
mod logins;
mod names;
mod scram;
mod scrub;
mod session;
mod status;
mod types;
mod verify;

pub use self::apply::{MigrateOptions, Migrated, Plan};
pub use self::contract::{Dropped, RolledBack};
pub use self::event::{Control, Event, Progress, Stopper};
pub use self::files::{CONTRACT, FILES, File, LAST_BEFORE_CONTRACT};
pub use self::init::{InitOptions, Proposal, label as label_of};
pub use self::logins::{NewLogin, Removed, Scope};
pub use self::names::{Added, NewSecret, known_names};
pub use self::scrub::{Rewrite, Rotation, ScrubPlan, Scrubbed};
pub use self::status::{FileState, FileStatus, Next, Status};
pub use self::types::declarations;
pub use self::verify::Verification;
pub(crate) use self::verify::triggers;
pub use crate::queries::history::Change;
pub use crate::queries::logins::Login;
pub use crate::queries::marks::{Access, Unusual};
pub use crate::queries::names::CatalogueEntry;
pub use crate::queries::pages::PageSearch;
pub use crate::queries::proof::{ColumnProof, Finding, LegacyWrites};
pub use crate::queries::session::Blocker;
pub use crate::queries::statements::Statement;

use crate::config::Config;

/// Works as the migration role. Opens connections for the length of each call only.
#[derive(Debug, Clone)]
pub struct Admin {
    config: Config,
}

/// Anything but all of them is not the table that these migrations are for.
const LEGACY_COLUMNS: usize = 8;

/// The variable that holds the migration role's connection string.
pub const ADMIN_URL_VARIABLE: &str = "ADMIN_DATABASE_URL";

impl Admin {
    /// `config` leads to the migration role: `postgres` on Supabase, the owner of `businesses`.
    pub const fn new(config: Config) -> Self {
        Self { config }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }
}
