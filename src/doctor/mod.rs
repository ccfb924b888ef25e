//! Looks at everything that keeps the secrets safe, and says what it found, why it matters, and what to do. Changes
//! nothing.

mod access;
mod connection;
mod logs;
mod scopes;
mod shape;
mod shipped;
mod storage;

use serde::Serialize;
use sqlx::postgres::PgConnection;

use crate::admin::{Admin, FILL, RPC};
use crate::config::{Config, Pooler};
use crate::error::{Error, Result};
use crate::queries::catalogue::{self, Catalogue};
use crate::queries::ledger::{self, Applied};
use crate::queries::session;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth a thought, or not to be found out.
    Warn,
    /// To be mended.
    Fail,
}

impl Level {
    /// As the command line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable, for programs: `vault.key`.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found. Counts, ids and names; never a value.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do, unless all is well.
    pub fix: Option<String>,
}

/// All checks, in a fixed order.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Those that apply to the database as it is.
    pub checks: Vec<Check>,
}

impl Report {
    /// How many are of that level.
    pub fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }

    /// Whether none fails.
    pub fn is_healthy(&self) -> bool {
        self.count(Level::Fail) == 0
    }

    fn add(&mut self, id: &'static str, why: &'static str, verdict: Result<Verdict>) {
        // What cannot be looked at is not well, and not known to be ill.
        let verdict = verdict.unwrap_or_else(|error| {
            Verdict::warn(
                format!("could not be checked: {error}"),
                "give this login the right to look, or see the error",
            )
        });
        self.checks.push(Check { id, level: verdict.level, found: verdict.found, why, fix: verdict.fix });
    }
}

/// What one look came to.
#[derive(Debug)]
struct Verdict {
    level: Level,
    found: String,
    fix: Option<String>,
}

impl Verdict {
    fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), fix: None }
    }

    fn warn(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What the checks look at.
struct Examined {
    connection: PgConnection,
    applied: Vec<Applied>,
    /// As the database has it; before 002, as it is wanted.
    catalogue: Catalogue,
    /// Every value is opened; otherwise those of a sample of businesses.
    is_full: bool,
}

impl Examined {
    fn has(&self, version: i32) -> bool {
        self.applied.iter().any(|entry| entry.version == version)
    }
}

impl Admin {
    /// Runs every check that applies to the database as it is. `service` is the login of a service, where it is known.
    /// `is_full` opens every value; otherwise those of some hundred businesses, taken by chance.
    pub async fn doctor(&self, service: Option<&Config>, is_full: bool) -> Result<Report> {
        let mut report = Report::default();
        let mut connection = self.look().await?;
        let is_pooled = match self.config().pooler {
            Pooler::Transaction => true,
            _ => session::is_pooled(&mut connection, &mut self.look().await?).await?,
        };
        connection::wire(&mut report, self.config(), &mut connection, is_pooled).await;
        if is_pooled {
            // Whatever else was asked, different sessions would answer.
            return Ok(report);
        }
        session::qualify_names(&mut connection).await?;
        let found = self.preflight(&mut connection, 0).await;
        let wanted = found.as_ref().map_or("{}", |found| found.wanted.as_str()).to_owned();
        let recorded = match catalogue::read(&mut connection).await.map_err(Error::from) {
            Err(Error::PermissionDenied { .. }) => {
                connection::may_not_look(&mut report, &self.config().endpoint.user);
                return Ok(report);
            }
            recorded => recorded?,
        };
        let owner_table = match &recorded {
            Some(catalogue) => catalogue.owner_table.clone(),
            None => catalogue::owner_of_wanted(&wanted),
        };
        let may_look = connection::admin(&mut report, &mut connection, &owner_table).await;
        let is_refused = shape::preflight(&mut report, found);
        if !may_look {
            return Ok(report);
        }
        let applied = ledger::applied(&mut connection).await?;
        let catalogue = match recorded {
            Some(catalogue) => catalogue,
            None if is_refused => Catalogue { owner_table, ..Catalogue::default() },
            None => catalogue::of_wanted(&mut connection, &wanted).await?,
        };
        let mut examined = Examined { connection, applied, catalogue, is_full };
        connection::service(&mut report, &examined, service).await;
        storage::ledger(&mut report, &examined);
        storage::vault(&mut report, &mut examined).await;
        if examined.has(2) {
            access::all(&mut report, &mut examined).await;
            storage::triggers(&mut report, &mut examined).await;
        }
        if examined.has(RPC) {
            scopes::all(&mut report, &mut examined).await;
        }
        storage::plaintext(&mut report, &mut examined).await;
        if examined.has(FILL) && examined.catalogue.synced().next().is_some() {
            scopes::dependents(&mut report, &mut examined).await;
        }
        if examined.has(RPC) {
            storage::cells(&mut report, &mut examined).await;
        }
        storage::publications(&mut report, &mut examined).await;
        logs::logs(&mut report, &mut examined).await;
        Ok(report)
    }
}

/// `a, b and 3 more`
fn some(things: &[String]) -> String {
    const MOST: usize = 6;
    if things.len() <= MOST {
        return things.join(", ");
    }
    format!("{} and {} more", things[..MOST].join(", "), things.len() - MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_cannot_be_made_is_a_warning() {
        let mut report = Report::default();
        report.add("x", "y", Err(Error::Closed));
        assert_eq!(report.checks[0].level, Level::Warn);
        assert!(report.is_healthy());
        report.add("z", "y", Ok(Verdict::fail("found", "fix")));
        assert!(!report.is_healthy());
    }

    #[test]
    fn long_lists_are_cut() {
        let things: Vec<String> = (1..=9).map(|number| number.to_string()).collect();
        assert_eq!(some(&things), "1, 2, 3, 4, 5, 6 and 3 more");
        assert_eq!(some(&things[..2]), "1, 2");
    }
}
