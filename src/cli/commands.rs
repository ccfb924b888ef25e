//! The commands of the migration role.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::args::{Batches, Migrate, Scrub, Sessions};
use super::exit::Exit;
use super::progress::Display;
use super::show::{doctor, json, migration};
use super::signals::Signals;
use crate::admin::{Admin, Confirmation, Control, DropOptions, Dropped, MigrateOptions, Verification};
use crate::doctor::Level;
use crate::error::{Error, Result};
use crate::name::SecretName;
use crate::value;

impl Context<'_> {
    pub(super) async fn status(&mut self) -> Result<Exit> {
        let admin = self.admin_with_catalogue()?;
        let status = admin.status().await?;
        let (title, width) = (admin.config().endpoint.title(), self.width());
        self.show(|| migration::status(&title, &status, width), || json::status(&status));
        Ok(if status.is_pending() { Exit::Pending } else { Exit::Ok })
    }

    pub(super) async fn verify(
        &mut self,
        fix_orphans: bool,
        put_back: bool,
        sessions: &Sessions,
    ) -> Result<Exit> {
        let admin = self.admin()?;
        self.head(admin.config());
        let fixed = if fix_orphans { Some(admin.fix_orphans(put_back).await?) } else { None };
        let Some(found) = self.verified(&admin, sessions).await? else {
            return Ok(Exit::Stopped);
        };
        let width = self.width();
        self.show(|| migration::verification(&found, fixed, width), || json::verification(&found, fixed));
        Ok(if found.is_sound() { Exit::Ok } else { Exit::VerificationFailed })
    }

    /// Verifies, with progress; `None` where it was stopped, which it says.
    async fn verified(&mut self, admin: &Admin, sessions: &Sessions) -> Result<Option<Verification>> {
        let run = self.watched("verify");
        let found = admin.verify(sessions.number(), &run.control).await;
        run.end();
        let found = found?;
        if found.is_none() {
            if self.is_json {
                self.show(String::new, || serde_json::json!({ "stopped": true }));
            } else {
                self.terminal
                    .note("Stopped: not everything was compared, and nothing was recorded or changed.");
            }
        }
        Ok(found)
    }

    pub(super) async fn migrate(&mut self, arguments: Migrate) -> Result<Exit> {
        let defaults = options(&arguments.batches);
        let options = MigrateOptions {
            to: arguments.to.unwrap_or(defaults.to),
            reapply: arguments.reapply,
            sessions: arguments.sessions.number(),
            ..defaults
        };
        let (admin, width) = (self.admin_with_catalogue()?, self.width());
        self.head(admin.config());
        if arguments.dry_run {
            let plan = admin.plan(&options).await?;
            self.show(|| migration::plan(&plan, width), || json::plan(&plan));
            return Ok(if plan.check().is_ok() { Exit::Ok } else { Exit::Refused });
        }
        let run = self.watched("backfill");
        let outcome = admin.migrate(&options, &run.control).await;
        run.end();
        let outcome = outcome?;
        self.show(|| migration::migrated(&outcome), || json::migrated(&outcome));
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
        let Some(found) = self.verified(&admin, &arguments.sessions).await? else {
            return Ok(Exit::Stopped);
        };
        if !self.is_json {
            let width = self.width();
            self.terminal.say(migration::verification(&found, None, width));
        }
        if !found.is_proof() {
            return Err(Error::VerificationFailed(format!(
                "nothing was dropped, because of {}",
                found.summary()
            )));
        }
        let plan = admin.drop_plan().await?;
        if arguments.dry_run {
            self.show(|| migration::drop_plan(&plan), || json::drop_plan(&plan, &found));
            plan.check(&arguments.also_drop)?;
            return Ok(Exit::Ok);
        }
        if !self.is_json {
            self.terminal.say(migration::drop_plan(&plan));
        }
        plan.check(&arguments.also_drop)?;
        let confirmation = if plan.columns.is_empty() {
            String::new()
        } else {
            let at = &plan.confirmation;
            let question = format!(
                "This drops the plaintext columns in database {} on {}. Only `app-secrets rollback` brings them back.\n",
                at.database, at.place
            );
            self.confirmation(arguments.yes_drop_plaintext, &question, "--yes-drop-plaintext", at)?
        };
        let options = DropOptions {
            confirmation,
            also: arguments.also_drop,
            lock_wait: Duration::from_secs(arguments.batches.locks.lock_wait),
        };
        let run = self.watched("drop");
        let outcome = admin.drop_legacy(&found, &options, &run.control).await;
        run.end();
        let outcome = outcome?;
        let text = match outcome {
            Dropped::Now => {
                "The plaintext columns are dropped.\nNext: app-secrets scrub, which takes the dropped plaintext out of \
                 the tables' pages"
            }
            Dropped::Before => "There are no plaintext columns. Nothing to do.",
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
            // Something of the app's is not back yet.
            _ if !outcome.is_whole() => Exit::Pending,
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
        if arguments.yes_lock_tables.is_some() && !self.is_json {
            self.terminal.note(&question);
        }
        let name =
            self.confirmation(arguments.yes_lock_tables, &question, "--yes-lock-tables", &plan.confirmation)?;
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

    pub(super) async fn doctor(&mut self, is_full: bool) -> Result<Exit> {
        let service = self.service_only()?;
        let admin = self.admin_with_catalogue()?;
        self.head(admin.config());
        let report = admin.doctor(service.as_ref(), is_full).await?;
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

    /// The word that confirms: given, or typed by somebody who has read the question.
    pub(super) fn confirmation(
        &mut self,
        given: Option<String>,
        question: &str,
        flag: &str,
        at: &Confirmation,
    ) -> Result<String> {
        if let Some(word) = given {
            return Ok(word);
        }
        let Some(person) = &mut self.terminal.person else {
            if !self.is_json {
                self.terminal.note(question);
            }
            return Err(Error::Refused(format!(
                "nothing was changed in database {} on {}: nobody is there to ask; pass {flag}={}",
                at.database, at.place, at.word
            )));
        };
        let asked = person.answer(&format!("{question}Type {} to go on: ", at.kind()));
        asked.map_err(|error| unreadable("the answer", &error))
    }

    /// Shows progress, and can be stopped, until it is ended.
    pub(super) fn watched(&self, what: &'static str) -> Watched {
        let display = Arc::new(Display::new(self.terminal.shows_err, self.warnings.clone(), what));
        let listener = Arc::clone(&display);
        let (control, stopper) = Control::new(move |event| listener.show(event));
        self.signals.stop_this(Arc::clone(&display), stopper);
        Watched { control, display, signals: self.signals.clone() }
    }
}

pub(super) struct Watched {
    pub(super) control: Control,
    display: Arc<Display>,
    signals: Signals,
}

impl Watched {
    pub(super) fn end(&self) {
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
