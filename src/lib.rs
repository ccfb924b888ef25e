//! Reads and writes each business's API keys, which Supabase Vault keeps encrypted at rest.
//!
//! [`Client`] is the way in. Under it [`cache`] keeps what was read, [`watch`] hears of changes, [`pool`] owns the
//! connections and [`store`] the SQL; above it stands `node`, which only converts.

pub mod admin;
mod cache;
pub mod catalogue;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
mod consumers;
pub mod doctor;
pub mod error;
mod pool;
mod queries;
mod stats;
mod store;
mod timestamp;
pub mod value;
mod watch;

#[cfg(feature = "node")]
pub mod node;

pub use catalogue::{NameSet, SecretName};
pub use client::Client;
pub use config::{CacheOptions, Config, Options, Pooler};
pub use consumers::{
    BusinessApiKeys, GoogleTokens, GoogleTokensUpdate, Integration, IntegrationStatus, KlingCredentials,
    Provider,
};
pub use error::{Code, Error, Result};
pub use stats::{PoolStats, Stats};
pub use store::{Listed, Reading, Versions};
pub use timestamp::Timestamp;
pub use watch::{Event, Filter, ListenerState, ListenerStats, Watcher};
