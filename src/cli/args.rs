//! What can be typed, and the help for it.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::emit::Emit;
use super::help;
use super::logins::{Access, Login};
use super::names::{Init, Names, Types};
use super::rekey::Rekey;
use super::terms::{Terms, Undo};
use crate::admin::default_sessions;

/// Moves each business's API keys into Supabase Vault, and looks after them there.
#[derive(Debug, Parser)]
#[command(name = "app-secrets", version, after_help = help::ALL, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Print one JSON document (with "version": 1) instead of text. It never holds a value
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) connection: Connection,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// How to reach the database.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Connection string, instead of the environment's, which is the better place: the process list shows arguments
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// PEM file of a certificate authority to trust besides the public ones
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<String>,

    /// Accept a connection to a remote host that is not encrypted and verified
    #[arg(long, global = true)]
    pub(crate) allow_insecure: bool,

    /// Which secrets are wanted, for status, migrate, doctor and emit, until the database knows: app-secrets.json unless told
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// How long to wait for a connection, and for an answer to list, get, set, unset and import
    #[arg(long, global = true, value_name = "MS", allow_negative_numbers = true)]
    pub(crate) timeout_ms: Option<u32>,

    /// Who the history names for a change, at most 128 bytes; the system's user unless given
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what is applied, how far the backfill is, and the next command
    ///
    /// Only looks, and takes about a second at any size: what differs is what `verify` found last. `migrate`, `verify` or
    /// `rollback` is due where files are not applied or edited, names are not filled yet, rights are open as after a restore,
    /// the last `verify` found faults, or a rollback was not finished. What waits for a decision, `migrate --drop-legacy` and `scrub`, is named as the next
    /// command, and is not due: a pipeline can ask.
    #[command(after_help = help::STATUS)]
    Status,

    /// Apply what is missing, or drop the plaintext with --drop-legacy
    ///
    /// Safe on a live system: locks are held for milliseconds, and where another session holds one for longer than a
    /// second, the step is undone and tried again later. The backfill commits batch by batch. Stopped or killed at any point, it goes on where it
    /// was. Two at once is fine too: one works, the other waits.
    #[command(after_help = help::MIGRATE)]
    Migrate(Migrate),

    /// Prove that every plaintext value is in Vault, and that nothing there is broken
    ///
    /// Compares row by row and value by value, inside the database; prints counts and ids, never values.
    #[command(after_help = help::VERIFY)]
    Verify {
        /// First remove Vault rows of ours that nothing wants; rows that only look like ours stay
        #[arg(long)]
        fix_orphans: bool,

        /// Let cells that a restore has lost refer to their rows again: whoever may access a business now reads them
        #[arg(long, requires = "fix_orphans")]
        put_back: bool,

        #[command(flatten)]
        sessions: Sessions,
    },

    /// Rewrite the tables so that dropped plaintext leaves their pages
    ///
    /// Uses VACUUM FULL, which locks each table for readers and writers while it is rewritten; pg_repack does the same
    /// without. Then lists the keys to rotate at their providers: WAL, backups and replicas keep the plaintext.
    #[command(after_help = help::SCRUB)]
    Scrub(Scrub),

    /// Bring the plaintext columns back from Vault
    ///
    /// After --drop-legacy: puts the columns back with the sync, so that both sides are written, and fills them in
    /// batches. Before it, the columns are still there and written, and nothing is done.
    #[command(after_help = help::ROLLBACK)]
    Rollback(Batches),

    /// Check everything that keeps the secrets safe: each with why it matters, and the fix
    ///
    /// Only looks. With APP_SECRETS_URL set it checks that login too.
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// Open every value instead of a sample
        #[arg(long)]
        full: bool,
    },

    /// List a business's secrets, masked, or what is due of all businesses
    #[command(after_help = help::LIST)]
    List {
        /// businesses.id
        #[arg(required_unless_present = "due")]
        business: Option<String>,
        /// Of all businesses, what expires or is to be replaced within that time: 14d, 12h or 2w
        #[arg(long, value_name = "TIME", conflicts_with = "business")]
        due: Option<String>,
    },

    /// Show one secret of a business, masked unless --reveal is given
    #[command(after_help = help::GET)]
    Get {
        /// businesses.id
        business: String,
        /// As in `list`
        name: String,
        /// Print the value itself, and nothing else
        #[arg(long)]
        reveal: bool,
    },

    /// Set one secret of a business: the value comes from stdin, a file, or a prompt without echo
    #[command(after_help = help::SET)]
    Set(Set),

    /// Clear one secret of a business
    #[command(after_help = help::UNSET)]
    Unset {
        /// businesses.id
        business: String,
        /// As in `list`
        name: String,
        /// Refuse unless the secret is still at this version
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        expected_version: Option<i64>,
        /// Keep no value to put back, as of a key that has leaked
        #[arg(long)]
        purge: bool,
    },

    /// Put back the value that a secret had before, while it is kept (7 days unless the settings say otherwise)
    #[command(after_help = help::UNDO)]
    Undo(Undo),

    /// Set several secrets of a business from a .env file, all or none
    ///
    /// Maps variables to names (GEMINI_API_KEY, XAI_API_KEY, ANTHROPIC_API_KEY, …), shows a masked plan, and asks. Lines
    /// that readers of such files understand differently are refused with their number.
    #[command(after_help = help::IMPORT)]
    Import(Import),

    /// Run a command with a business's secrets in its environment
    ///
    /// Each secret that is set goes into the variable of its name in upper case (GEMINI_API_KEY), or into the one that
    /// --map gives it. The command, all that it starts, and whoever may look at its process can read them.
    #[command(after_help = help::RUN)]
    Run(Run),

    /// Show who changed what, newest first
    #[command(after_help = help::HISTORY)]
    History {
        /// Only this business (businesses.id)
        business: Option<String>,
        /// Only this secret
        #[arg(long)]
        name: Option<String>,
        /// How many changes
        #[arg(long, value_name = "N", default_value_t = 20, allow_negative_numbers = true)]
        limit: u32,
    },

    /// List, add and retire secrets: which ones there are is data in the database
    #[command(after_help = help::NAMES)]
    Names {
        #[command(subcommand)]
        command: Names,
    },

    /// Write the database's names as TypeScript, for completion and checks
    #[command(after_help = help::TYPES)]
    Types(Types),

    /// Look at a database and propose app-secrets.json: whose rows own secrets, who may access them, and which there are
    ///
    /// Changes nothing in the database. `migrate` reads the file once; from then on the database knows.
    #[command(after_help = help::INIT)]
    Init(Init),

    /// Add, list and remove the logins of services
    #[command(after_help = help::LOGIN)]
    Login {
        #[command(subcommand)]
        command: Login,
    },

    /// Show who read which secrets of a business, by login and day, newest first
    ///
    /// The database keeps the last minute of each day, and in how many minutes there was a read. What a cache serves is no
    /// read; neither a standby nor a transaction that is read-only or rolled back leaves a mark.
    #[command(after_help = help::ACCESS)]
    Access(Access),

    /// Write the migrations as files for the Supabase CLI: those that its folder lacks
    ///
    /// Each is sent as one batch and records what `migrate` would have recorded, so `status` agrees. Names that were added or
    /// retired since get a file of their own. 005, which drops the plaintext, is written with --drop-legacy only.
    #[command(after_help = help::EMIT)]
    Emit(Emit),

    /// Carry every secret over to another root key of Vault
    ///
    /// Three steps: `begin` wraps every value under a key of your own, you change Vault's root key, `finish` seals all anew. No
    /// version changes. Stopped or killed at any point, each step goes on where it was when it is run again.
    #[command(after_help = help::REKEY)]
    Rekey {
        #[command(subcommand)]
        command: Rekey,
    },

    /// Print a completion script for a shell: bash, elvish, fish, powershell or zsh
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// How batches and locks are paced.
#[derive(Debug, Args, Clone)]
pub(crate) struct Batches {
    /// The most businesses in one transaction; fewer where that takes long
    #[arg(long, value_name = "N", default_value_t = 100, allow_negative_numbers = true)]
    pub(crate) batch: u32,

    /// A rest after each batch
    #[arg(long, value_name = "MS", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) pause_ms: u64,

    #[command(flatten)]
    pub(crate) locks: Locks,
}

/// How many work at once.
#[derive(Debug, Args, Clone)]
pub(crate) struct Sessions {
    /// How many sessions work at once, 1 to 32; as many as this machine has cores, and at most 4, unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    sessions: Option<u32>,
}

impl Sessions {
    pub(crate) fn number(&self) -> u32 {
        self.sessions.unwrap_or_else(default_sessions)
    }
}

/// How long to try for locks.
#[derive(Debug, Args, Clone)]
pub(crate) struct Locks {
    /// How long to try for a lock that others hold, before giving up with 3
    #[arg(long, value_name = "SECONDS", default_value_t = 60, allow_negative_numbers = true)]
    pub(crate) lock_wait: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Stop after this file: 2, 3 or 4; a file that drops something is never meant
    #[arg(long, value_name = "N", conflicts_with = "drop_legacy", allow_negative_numbers = true)]
    pub(crate) to: Option<i32>,

    /// Show what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Send the files again that are applied already: puts back what was changed or dropped of ours
    #[arg(long, conflicts_with = "drop_legacy")]
    pub(crate) reapply: bool,

    /// Apply 005: drop the plaintext columns for good, after a fresh verify
    #[arg(long)]
    pub(crate) drop_legacy: bool,

    /// The database's name, on Supabase the project's reference, instead of typing it when asked
    #[arg(long, value_name = "DATABASE", requires = "drop_legacy")]
    pub(crate) yes_drop_plaintext: Option<String>,

    /// Consent to the loss of this index, constraint or function, which concerns others too; as often as needed
    #[arg(long, value_name = "NAME", requires = "drop_legacy")]
    pub(crate) also_drop: Vec<String>,

    #[command(flatten)]
    pub(crate) sessions: Sessions,

    #[command(flatten)]
    pub(crate) batches: Batches,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Show what would be locked and for how long, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// The database's name, on Supabase the project's reference, instead of typing it when asked
    #[arg(long, value_name = "DATABASE")]
    pub(crate) yes_lock_tables: Option<String>,

    #[command(flatten)]
    pub(crate) locks: Locks,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// businesses.id
    pub(crate) business: String,

    /// As in `list`
    pub(crate) name: String,

    /// Read the value from this file instead of stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Refuse unless the secret is still at this version; 0 is one that was never set
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) expected_version: Option<i64>,

    #[command(flatten)]
    pub(crate) terms: Terms,

    /// Caught only to be refused: whatever stands here is in the process list and the shell's history.
    #[arg(hide = true)]
    pub(crate) value: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// businesses.id; the file, where --business names the business
    #[arg(value_name = "BUSINESS")]
    pub(crate) first: String,

    /// The .env file; - is stdin
    #[arg(value_name = "FILE", required_unless_present = "business", conflicts_with = "business")]
    pub(crate) second: Option<String>,

    /// The business, instead of before the file
    #[arg(long, value_name = "ID", hide_short_help = true)]
    pub(crate) business: Option<String>,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,

    /// Take values as they stand that look like references or placeholders (op://…, ${X}, <your key>)
    #[arg(long)]
    pub(crate) as_is: bool,

    /// Show the plan, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// businesses.id
    #[arg(required_unless_present = "business_option")]
    pub(crate) business: Option<String>,

    /// The business, instead of as the first argument
    #[arg(
        long = "business",
        id = "business_option",
        value_name = "ID",
        hide_short_help = true,
        conflicts_with = "business"
    )]
    pub(crate) business_option: Option<String>,

    /// Give this secret to the command as that variable; may be repeated
    #[arg(long, value_name = "NAME=VARIABLE")]
    pub(crate) map: Vec<String>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}
