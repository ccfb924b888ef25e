//! Moves the plaintext keys into Vault on a live system: applies the files of `migrations/`, runs their backfill in
//! batches, proves the outcome, and undoes it. Stopped at any point, it goes on where it was when it is run again.
//!
//! Says what happens through [`Event`]s. Prints nothing and asks nothing; that is the command line's.

mod access;
mod apply;
mod backfill;
mod contract;
mod emit;
mod event;
mod files;
mod history;
mod init;
mod logins;
mod names;
mod preflight;
mod rekey;
mod scram;
mod scrub;
mod session;
mod status;
mod sweep;
mod types;
mod verify;
mod wanted;
mod wrapping;

pub use self::apply::{MigrateOptions, Migrated, Plan, default_sessions};
pub use self::contract::{Confirmation, DropOptions, DropPlan, Dropped, RolledBack};
pub use self::emit::{Emitted, missing};
pub use self::event::{Control, Event, Progress, Stopper, Unit};
pub(crate) use self::files::FILL;
pub use self::files::{FILES, File, RPC};
pub use self::init::{InitOptions, Proposal, label as label_of};
pub use self::logins::{NewLogin, Removed, Scope};
pub use self::names::{Added, NewSecret, known_names};
pub use self::rekey::{RekeyState, Rekeyed};
pub use self::scrub::{Rewrite, Rotation, ScrubPlan, Scrubbed};
pub use self::status::{FileState, FileStatus, Next, Status};
pub use self::types::declarations;
pub use self::verify::Verification;
pub(crate) use self::verify::triggers;
pub use self::wanted::wanted_catalogue;
pub use crate::queries::backfill::PutBack;
pub use crate::queries::catalogue::SecretState;
pub use crate::queries::dependents::Dependent;
pub use crate::queries::history::Change;
pub use crate::queries::logins::Login;
pub use crate::queries::marks::{Access, Unusual};
pub use crate::queries::names::CatalogueEntry;
pub use crate::queries::pages::PageSearch;
pub use crate::queries::preflight::Obstacle;
pub use crate::queries::proof::{ColumnProof, Finding, FixedOrphans, LegacyWrites, Recorded};
pub use crate::queries::session::Blocker;
pub use crate::queries::statements::Statement;

use crate::config::Config;

/// Works as the migration role. Opens connections for the length of each call only.
#[derive(Debug, Clone)]
pub struct Admin {
    config: Config,
    /// The wanted catalogue, as `app-secrets.json` has it; counts only until the database knows its own.
    catalogue: Option<String>,
}

/// The variable that holds the migration role's connection string.
pub const ADMIN_URL_VARIABLE: &str = "ADMIN_DATABASE_URL";

impl Admin {
    /// `config` leads to the migration role: `postgres` on Supabase, the owner of the table whose rows own secrets.
    pub const fn new(config: Config) -> Self {
        Self { config, catalogue: None }
    }

    /// Which secrets are wanted, as JSON in the form of `app-secrets.json`. A database that has a catalogue keeps its own.
    #[must_use]
    pub fn with_catalogue(mut self, catalogue: Option<String>) -> Self {
        self.catalogue = catalogue;
        self
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }
}
