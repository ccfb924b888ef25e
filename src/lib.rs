//! Reads and writes each business's API keys, which Supabase Vault keeps encrypted at rest.
//!
//! [`Client`] is the way in. Under it the cache keeps what was read, `watch` receives changes, the pool owns the
//! connections and `store` the SQL; above it stands `node`, which only converts.
//!
//! # Glossary
//!
//! | word | meaning |
//! |---|---|
//! | business | The tenant that owns secrets: a row of the app's owner table, known by its uuid. |
//! | secret, name | One value of one business, and what it is called. Which names exist, the database says. |
//! | version | Grows with every change of a secret, from one sequence for all: not consecutive; 0 is never set. |
//! | reading | A value and its version, as one read found them. |
//! | element | One (business, name) of a statement that reads many. |
//! | batch | The elements that one statement asks for. |
//! | bulk, slot | The gets of one turn of a JavaScript thread, and one of them. |
//! | connection | One session of `PostgreSQL`. It is idle, or held by a worker. |
//! | worker | A task that holds a connection and sends work through it until nothing waits. |
//! | command | A statement of its own, apart from the reads that are batched. |
//! | in-flight read | A read under way, which identical reads join instead of being sent (single flight). |
//! | waiter | A caller or a slot that waits for an in-flight read. |
//! | epoch | Counts invalidations. A read caches its result only if nothing relevant changed since its epoch. |
//! | stale | Expired, but kept to be served while the database is out of reach. |
//! | backoff | The growing pause between attempts to reach a database that is away. |
//! | listener | The session that LISTENs for changes. |
//! | notice | What one notification says. |
//! | resync | The event that tells a watcher to read everything again. |
//! | scope | The names that a login may read or write. |
//! | lease | The right to be the only one that renews a secret, for a while. |

pub mod admin;
mod cache;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod error;
pub mod name;
mod pool;
mod queries;
mod secret;
mod stats;
mod store;
mod timestamp;
pub mod value;
mod watch;

#[cfg(feature = "node")]
pub mod node;

pub use client::Client;
pub use config::{CacheOptions, Config, Options, Pooler};
pub use error::{Code, Error, Result};
pub use name::{NameSet, SecretName};
pub use secret::{Due, Lease, Listed, Reading, Values, Versions};
pub use stats::{ListenerState, ListenerStats, PoolStats, Stats};
pub use timestamp::Timestamp;
pub use watch::{Event, Filter, Watcher};
