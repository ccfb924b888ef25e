//! The commands of the migration role.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::args::{Batches, Migrate, Scrub};
use super::exit::Exit;
use super::progress::Display;
use super::show::{doctor, json, migration};
use super::signals::Signals;
use crate::admin::{Control, Dropped, MigrateOptions};
use crate::catalogue::SecretName;
use crate::doctor::Level;
use crate::error::{Error, Result};
use crate::value;

impl Context<'_> {
    pub(super) async fn status(&mut self) -> Result<Exit> {
        let admin = self.admin()?;
        let status = admin.status().await?;
        let (title, width) = (admin.config().endpoint.title(), self.width());
        self.show(|| migration::status(&title, &status, width), || json::status(&status));
        Ok(if status.is_pending() { Exit::Pending } else { Exit::Ok })
    }

    pub(super) async fn verify(&mut self) -> Result<Exit> {
        let admin = self.admin()?;
        self.head(admin.config());
        let found = admin.verify().await?;
        let width = self.width();
        self.show(|| migration::verification(&found, width), || json::verification(&found));
        Ok(if found.is_sound() { Exit::Ok } else { Exit::VerificationFailed })
    }

    pub(super) async fn migrate(&mut self, arguments: Migrate) -> Result<Exit> {
        let options =
            MigrateOptions { to: arguments.to, reapply: arguments.reapply, ..options(&arguments.batches) };
        let (admin, width) = (self.admin()?, self.width());
        self.head(admin.config());
        if arguments.dry_run {
            let plan = admin.plan(&options).await?;
            self.show(|| migration::plan(&plan, width), || json::plan(&plan));
            return Ok(Exit::Ok);
        }
        let run = self.watched("backfill");
        let outcome = admin.migrate(&options, &run.control).await;
        run.end();
        let outcome = outcome?;
        self.show(|| migration::migrated(&outcome, options.to), || json::migrated(&outcome));
        if outcome.stopped_in.is_some() {
            return Ok(Exit::Stopped);
        }
        if !self.is_json {
            let next = admin.status().await?.next;
            self.terminal.say(format!("Next: {}", migration::next(next)));
        }
        Ok(Exit::Ok)
    }

    pub(super) async fn drop_legacy(&mut self, arguments: Migrate) -> Result<Exit> {
        let admin = self.admin()?;
        self.head(admin.config());
        let found = admin.verify().await?;
        if !self.is_json {
            let width = self.width();
            self.terminal.say(migration::verification(&found, width));
        }
        if !found.is_proof() {
            return Err(Error::VerificationFailed(format!(
                "nothing was dropped, because of {}",
                found.summary()
            )));
        }
        if arguments.dry_run {
            self.show(|| "Would drop the plaintext columns.".into(), || json::verification(&found));
            return Ok(Exit::Ok);
        }
        let database = admin.database().await?;
        let question = format!(
            "This drops the plaintext columns of public.businesses in {database}. Only `app-secrets rollback` brings \
             them back.\n"
        );
        let name =
            self.confirmation(arguments.yes_drop_plaintext, &question, "--yes-drop-plaintext", &database)?;
        let run = self.watched("drop");
        let lock_wait = Duration::from_secs(arguments.batches.locks.lock_wait);
        let outcome = admin.drop_legacy(&found, &name, lock_wait, &run.control).await;
        run.end();
        let outcome = outcome?;
        let text = match outcome {
            Dropped::Now => {
                "The plaintext columns are dropped.\nNext: app-secrets scrub, which takes the dropped plaintext out of \
                 the tables' pages"
            }
            Dropped::Before => "The plaintext columns were dropped before. Nothing to do.",
            Dropped::Stopped => "Stopped: nothing was dropped. Run the same command again.",
        };
        self.show(|| text.into(), || serde_json::json!({ "dropped": outcome != Dropped::Stopped }));
        Ok(if outcome == Dropped::Stopped { Exit::Stopped } else { Exit::Ok })
    }

    pub(super) async fn rollback(&mut self, arguments: Batches) -> Result<Exit> {
        let admin = self.admin()?;
        self.head(admin.config());
        let run = self.watched("restore");
        let outcome = admin.rollback(&options(&arguments), &run.control).await;
        run.end();
        let outcome = outcome?;
        self.show(|| migration::rolled_back(&outcome), || json::rolled_back(&outcome));
        Ok(match outcome {
            _ if outcome.is_stopped => Exit::Stopped,
            _ if outcome.lost > 0 => Exit::VerificationFailed,
            _ => Exit::Ok,
        })
    }

    pub(super) async fn scrub(&mut self, arguments: Scrub) -> Result<Exit> {
        let (admin, width) = (self.admin()?, self.width());
        self.head(admin.config());
        let plan = admin.scrub_plan().await?;
        if arguments.dry_run {
            self.show(|| migration::scrub_plan(&plan, width), || json::scrub_plan(&plan));
            return Ok(Exit::Ok);
        }
        let question = migration::scrub_plan(&plan, width) + "\n";
        if arguments.yes_lock_tables.is_some() {
            self.terminal.note(&question);
        }
        let name =
            self.confirmation(arguments.yes_lock_tables, &question, "--yes-lock-tables", &plan.database)?;
        let run = self.watched("scrub");
        let outcome = admin.scrub(&name, Duration::from_secs(arguments.locks.lock_wait), &run.control).await;
        run.end();
        let outcome = outcome?;
        self.show(|| migration::scrubbed(&outcome, width), || json::scrubbed(&outcome));
        Ok(match &outcome.search {
            _ if outcome.is_stopped => Exit::Stopped,
            Some(search) if search.found > 0 => Exit::VerificationFailed,
            _ => Exit::Ok,
        })
    }

    pub(super) async fn doctor(&mut self) -> Result<Exit> {
        let service = self.service_only()?;
        let admin = self.admin()?;
        self.head(admin.config());
        let report = admin.doctor(service.as_ref()).await?;
        let paint = |level: Level, text: &str| {
            let colour = match level {
                Level::Ok => 32,
                Level::Warn => 33,
                Level::Fail => 31,
            };
            self.terminal.paint(colour, text)
        };
        let text = doctor::report(&report, paint);
        self.show(|| text, || json::report(&report));
        Ok(if report.is_healthy() { Exit::Ok } else { Exit::Pending })
    }

    pub(super) async fn history(
        &mut self,
        business: Option<String>,
        name: Option<String>,
        limit: u32,
    ) -> Result<Exit> {
        let business = business.map(|text| value::business_id(&text)).transpose()?;
        let name = name.map(|text| text.parse::<SecretName>()).transpose()?;
        let (admin, width) = (self.admin()?, self.width());
        self.head(admin.config());
        let changes = admin.history(business, name, limit).await?;
        self.show(|| migration::history(&changes, width), || json::history(&changes));
        Ok(Exit::Ok)
    }

    /// The database's name: given, or typed by somebody who has read the question.
    pub(super) fn confirmation(
        &mut self,
        given: Option<String>,
        question: &str,
        flag: &str,
        database: &str,
    ) -> Result<String> {
        if let Some(name) = given {
            return Ok(name);
        }
        let Some(person) = &mut self.terminal.person else {
            self.terminal.note(question);
            return Err(Error::Refused(format!(
                "nothing was changed: nobody is there to ask; pass {flag}={database}"
            )));
        };
        let asked = person.answer(&format!("{question}Type the database's name to go on: "));
        asked.map_err(|error| unreadable("the answer", &error))
    }

    /// Shows progress, and can be stopped, until it is ended.
    fn watched(&self, what: &'static str) -> Watched {
        let display = Arc::new(Display::new(self.terminal.shows_err, what));
        let listener = Arc::clone(&display);
        let (control, stopper) = Control::new(move |event| listener.show(event));
        self.signals.stop_this(Arc::clone(&display), stopper);
        Watched { control, display, signals: self.signals.clone() }
    }
}

struct Watched {
    control: Control,
    display: Arc<Display>,
    signals: Signals,
}

impl Watched {
    fn end(&self) {
        self.signals.stop_nothing();
        self.display.end();
    }
}

fn options(arguments: &Batches) -> MigrateOptions {
    MigrateOptions {
        batch: arguments.batch,
        pause: Duration::from_millis(arguments.pause_ms),
        lock_wait: Duration::from_secs(arguments.locks.lock_wait),
        ..MigrateOptions::default()
    }
}

pub(super) fn unreadable(what: &str, error: &io::Error) -> Error {
    Error::Config(format!("{what} cannot be read: {}", error.kind()))
}
