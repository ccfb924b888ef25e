//! Rewrites the tables that held plaintext, so that it is gone from their pages, and proves it where pages can be read.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::Admin;
use super::apply::refuse_newer;
use super::contract::Confirmation;
use super::event::Control;
use super::session::{Interrupted, StepOptions};
use crate::error::{Error, Result};
use crate::queries::catalogue::{self, Catalogue};
use crate::queries::pages::{self, PageSearch};
use crate::queries::{copies, inspect, ledger};

/// `business_secrets` may have held secrets in clear until 003, the planner's samples a few values of every column.
fn tables(catalogue: &Catalogue) -> [String; 3] {
    [catalogue.owner_table.clone(), "public.business_secrets".into(), "pg_catalog.pg_statistic".into()]
}

/// Bytes a second: a cautious guess for a small managed server.
const PACE: i64 = 40_000_000;

/// What a scrub would do.
#[derive(Debug, Clone)]
pub struct ScrubPlan {
    /// What the confirmation has to repeat.
    pub confirmation: Confirmation,
    /// The tables, and their size in bytes with their indexes. Each is locked for everybody while it is rewritten.
    pub tables: Vec<(String, i64)>,
    /// Tables that triggers of the app's write to, and that may hold copies; they are left alone.
    pub copies: Vec<String>,
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
    /// Tables that triggers of the app's write to: nobody has looked into these.
    pub copies: Vec<String>,
    /// What to rotate, because WAL, backups and replicas keep the plaintext.
    pub rotate: Vec<Rotation>,
    /// It was told to stop; the table that was being rewritten is as before.
    pub is_stopped: bool,
}

/// One table that was rewritten.
#[derive(Debug, Clone)]
pub struct Rewrite {
    /// Which one.
    pub table: String,
    /// Bytes before.
    pub before: i64,
    /// Bytes after.
    pub after: i64,
    /// How long it took, with the wait for its lock.
    pub elapsed: Duration,
}

/// A key to make anew at its provider.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rotation {
    /// Which one.
    pub name: String,
    /// Whose key it is, for people.
    pub label: String,
    /// How many businesses have one.
    pub businesses: i64,
}

impl Admin {
    /// Says what [`scrub`](Self::scrub) would lock, and for how long.
    pub async fn scrub_plan(&self) -> Result<ScrubPlan> {
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let catalogue = due(connection).await?;
        let mut tables = Vec::new();
        for table in self::tables(&catalogue) {
            if let Some(size) = pages::size(connection, &table).await? {
                tables.push((table, size));
            }
        }
        let total: i64 = tables.iter().map(|(_, size)| size).sum();
        Ok(ScrubPlan {
            confirmation: self.confirmation().await?,
            tables,
            copies: copies::read(connection).await?,
            estimate: Duration::from_secs(u64::try_from(total / PACE).unwrap_or(0) + 1),
            is_done: inspect::rewritten(connection).await?.is_clean(),
        })
    }

    /// Rewrites the tables that held plaintext, looks at their pages, and lists the keys to rotate.
    /// `confirmation` is the word of [`Confirmation`]: nobody can read or write a table while it is rewritten.
    pub async fn scrub(
        &self,
        confirmation: &str,
        lock_wait: Duration,
        control: &Control,
    ) -> Result<Scrubbed> {
        let mut outcome = Scrubbed::default();
        match self.rewrite(confirmation, lock_wait, control, &mut outcome).await {
            Ok(()) => {}
            Err(Interrupted::Stopped) => outcome.is_stopped = true,
            Err(Interrupted::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn rewrite(
        &self,
        confirmation: &str,
        lock_wait: Duration,
        control: &Control,
        outcome: &mut Scrubbed,
    ) -> Result<(), Interrupted> {
        let mut session = self.begin(control).await?;
        let catalogue = due(session.connection()).await?;
        self.confirmation().await?.check(confirmation)?;
        let tables = tables(&catalogue);
        for table in &tables {
            let started = Instant::now();
            let before = pages::size(session.connection(), table).await?.unwrap_or(0);
            let step_options =
                StepOptions { what: &format!("rewriting {table}"), lock_wait, is_cancelled_by_stop: true };
            session
                .run(control, step_options, |connection| {
                    let table = table.clone();
                    Box::pin(async move { pages::rewrite(connection, &table).await })
                })
                .await?;
            let after = pages::size(session.connection(), table).await?.unwrap_or(0);
            outcome.tables.push(Rewrite { table: table.clone(), before, after, elapsed: started.elapsed() });
        }
        outcome.search = pages::search(session.connection(), &catalogue, &tables).await?;
        outcome.copies = copies::read(session.connection()).await?;
        let set = pages::set_secrets(session.connection()).await?;
        outcome.rotate =
            set.into_iter().map(|(name, label, businesses)| Rotation { name, label, businesses }).collect();
        Ok(())
    }
}

/// The catalogue of a database whose plaintext is gone; before that there is nothing to scrub.
async fn due(connection: &mut PgConnection) -> Result<Catalogue> {
    refuse_newer(&ledger::applied(connection).await?)?;
    match catalogue::read(connection).await? {
        Some(catalogue) if !catalogue.names.iter().any(|name| name.is_synced() || name.is_due()) => {
            Ok(catalogue)
        }
        _ => Err(too_early()),
    }
}

fn too_early() -> Error {
    Error::Refused(
        "the plaintext columns are still there: scrub comes after `app-secrets migrate --drop-legacy`".into(),
    )
}
