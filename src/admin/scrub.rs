//! Rewrites the tables that held plaintext, so that it is gone from their pages, and proves it where pages can be read.

use std::time::Duration;

use tokio::time::Instant;

use super::Admin;
use super::apply::refuse_newer;
use super::contract::confirm;
use super::event::Control;
use super::files::CONTRACT;
use super::session::{Halt, Manner};
use crate::catalogue::SecretName;
use crate::error::{Error, Result};
use crate::queries::pages::{self, PageSearch};
use crate::queries::{inspect, ledger};

/// `business_secrets` held Google's tokens in clear until 003, the planner's samples a few values of every column.
const TABLES: [&str; 3] = ["public.businesses", "public.business_secrets", "pg_catalog.pg_statistic"];

/// Bytes a second: a cautious guess for a small managed server.
const PACE: i64 = 40_000_000;

/// What a scrub would do.
#[derive(Debug, Clone)]
pub struct ScrubPlan {
    /// The database's name, which the confirmation has to repeat.
    pub database: String,
    /// The tables, and their size in bytes with their indexes. Each is locked for everybody while it is rewritten.
    pub tables: Vec<(&'static str, i64)>,
    /// About how long that takes, together.
    pub estimate: Duration,
    /// Both tables were rewritten since they held plaintext: nothing is owed.
    pub is_done: bool,
}

/// What a scrub came to.
#[derive(Debug, Clone, Default)]
pub struct Scrubbed {
    /// The tables, their size before and after, and how long each was locked.
    pub tables: Vec<Rewrite>,
    /// What was looked for in their pages, and found; `None` where this login may not read pages.
    pub search: Option<PageSearch>,
    /// What to rotate, because WAL, backups and replicas keep the plaintext.
    pub rotate: Vec<Rotation>,
    /// It was told to stop; the table that was being rewritten is as before.
    pub is_stopped: bool,
}

/// One table that was rewritten.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    /// Which one.
    pub table: &'static str,
    /// Bytes before.
    pub before: i64,
    /// Bytes after.
    pub after: i64,
    /// How long it took, with the wait for its lock.
    pub elapsed: Duration,
}

/// A key to make anew at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Which one.
    pub name: SecretName,
    /// How many businesses have one.
    pub businesses: i64,
}

impl Admin {
    /// Says what [`scrub`](Self::scrub) would lock, and for how long.
    pub async fn scrub_plan(&self) -> Result<ScrubPlan> {
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let applied = ledger::applied(connection).await?;
        refuse_newer(&applied)?;
        if !applied.iter().any(|entry| entry.version == CONTRACT) {
            return Err(too_early());
        }
        let mut tables = Vec::new();
        for table in TABLES {
            if let Some(size) = pages::size(connection, table).await? {
                tables.push((table, size));
            }
        }
        let total: i64 = tables.iter().map(|(_, size)| size).sum();
        Ok(ScrubPlan {
            database: ledger::database(connection).await?,
            tables,
            estimate: Duration::from_secs(u64::try_from(total / PACE).unwrap_or(0) + 1),
            is_done: inspect::rewritten(connection).await?.is_clean(),
        })
    }

    /// Rewrites the tables that held plaintext, looks at their pages, and lists the keys to rotate.
    /// `confirmation` is the database's name: nobody can read or write a table while it is rewritten.
    pub async fn scrub(
        &self,
        confirmation: &str,
        lock_wait: Duration,
        control: &Control,
    ) -> Result<Scrubbed> {
        let mut outcome = Scrubbed::default();
        match self.rewrite(confirmation, lock_wait, control, &mut outcome).await {
            Ok(()) => {}
            Err(Halt::Stopped) => outcome.is_stopped = true,
            Err(Halt::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn rewrite(
        &self,
        confirmation: &str,
        lock_wait: Duration,
        control: &Control,
        outcome: &mut Scrubbed,
    ) -> Result<(), Halt> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        refuse_newer(&applied)?;
        if !applied.iter().any(|entry| entry.version == CONTRACT) {
            return Err(too_early().into());
        }
        confirm(&ledger::database(session.connection()).await?, confirmation)?;
        for table in TABLES {
            let started = Instant::now();
            let before = pages::size(session.connection(), table).await?.unwrap_or(0);
            let manner =
                Manner { what: &format!("rewriting {table}"), lock_wait, is_cancelled_by_stop: true };
            session.run(control, manner, |connection| Box::pin(pages::rewrite(connection, table))).await?;
            let after = pages::size(session.connection(), table).await?.unwrap_or(0);
            outcome.tables.push(Rewrite { table, before, after, elapsed: started.elapsed() });
        }
        outcome.search = pages::search(session.connection(), &TABLES).await?;
        let set = pages::set_secrets(session.connection()).await?;
        outcome.rotate = SecretName::ALL
            .into_iter()
            .filter_map(|name| {
                let (_, businesses) = set.iter().find(|(set, _)| set == name.as_str())?;
                Some(Rotation { name, businesses: *businesses })
            })
            .collect();
        Ok(())
    }
}

fn too_early() -> Error {
    Error::Refused(
        "the plaintext columns are still there: scrub comes after `app-secrets migrate --drop-legacy`".into(),
    )
}
