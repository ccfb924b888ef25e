//! Drops the plaintext columns, and brings them back.

use std::time::Duration;

use tokio::time::Instant;

use super::Admin;
use super::apply::{MigrateOptions, apply, refuse_newer};
use super::backfill::{self, Filled};
use super::event::Control;
use super::files::{FILES, FILL, File, RPC};
use super::session::{Interrupted, Session, StepOptions};
use super::verify::Verification;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::queries::backfill::{self as rows, Direction, PutBack};
use crate::queries::catalogue::{self, Catalogue};
use crate::queries::dependents::{self, Dependent};
use crate::queries::ledger::{self, Applied};
use crate::queries::proof::{self, Range};

/// What became of the plaintext columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// Dropped now.
    Now,
    /// There is none: they were dropped before, or there never was one.
    Before,
    /// It was told to stop, and they are still there.
    Stopped,
}

/// What has to be typed before something is done that cannot be undone, and where it would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The database's name.
    pub database: String,
    /// Host and port, or the socket's folder.
    pub place: String,
    /// The project's reference on Supabase, where every database is called `postgres`; elsewhere the database's name.
    pub word: String,
    /// The word is a project's reference.
    pub is_project: bool,
}

impl Confirmation {
    fn new(config: &Config, database: String) -> Self {
        let place = config.endpoint.place();
        match project(&config.endpoint.host, &config.endpoint.user) {
            Some(project) => Self { database, place, word: project.to_owned(), is_project: true },
            None => Self { word: database.clone(), database, place, is_project: false },
        }
    }

    /// What the word is, for people.
    pub const fn kind(&self) -> &'static str {
        if self.is_project { "the project's reference" } else { "the database's name" }
    }

    /// A plain yes is not enough for what cannot be undone.
    pub(crate) fn check(&self, given: &str) -> Result<()> {
        if given == self.word {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "nothing was changed in database {} on {}: the confirmation has to be {}, {}",
            self.database,
            self.place,
            self.kind(),
            self.word
        )))
    }
}

/// The reference of a Supabase project, which the direct host and the poolers' login carry.
fn project<'a>(host: &'a str, user: &'a str) -> Option<&'a str> {
    if host.ends_with(".pooler.supabase.com") {
        return user.split_once('.').map(|(_, project)| project);
    }
    host.strip_suffix(".supabase.co")?.rsplit('.').next().filter(|project| !project.is_empty())
}

/// What `drop_legacy` would do.
#[derive(Debug, Clone)]
pub struct DropPlan {
    /// What has to be typed.
    pub confirmation: Confirmation,
    /// The columns, as `table.column`.
    pub columns: Vec<String>,
    /// What goes with them, or still names them.
    pub dependents: Vec<Dependent>,
}

impl DropPlan {
    /// Refuses while something uses the columns, or goes with them without consent by name.
    pub fn check(&self, also: &[String]) -> Result<()> {
        let is_consented = |object: &str| also.iter().any(|name| name == object || name == "*");
        let blocking: Vec<String> =
            self.dependents.iter().filter(|it| it.weight == "blocks").map(|it| format!("\n  {it}")).collect();
        if !blocking.is_empty() {
            return Err(Error::Refused(format!(
                "nothing was changed: the columns cannot be dropped while these use them. Replace or drop each of \
                 them, then run this again:{}",
                blocking.concat()
            )));
        }
        let shared: Vec<&Dependent> =
            self.dependents.iter().filter(|it| it.weight == "shared" && !is_consented(&it.object)).collect();
        if shared.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = shared.iter().map(|it| format!("\n  {it}")).collect();
        let flags: Vec<String> = shared.iter().map(|it| format!(" --also-drop='{}'", it.object)).collect();
        Err(Error::Refused(format!(
            "nothing was changed: these go with the columns, or still name them. Replace each of them, or consent to \
             its loss by name:{}\nTo consent to all of them:{}",
            lines.concat(),
            flags.concat()
        )))
    }
}

/// How to drop.
#[derive(Debug, Clone, Default)]
pub struct DropOptions {
    /// The word of [`Confirmation`].
    pub confirmation: String,
    /// What may go with the columns although it concerns others too, by name.
    pub also: Vec<String>,
    /// How long to try for locks.
    pub lock_wait: Duration,
}

/// What a rollback came to.
#[derive(Debug, Clone, Default)]
pub struct RolledBack {
    /// The columns had not been dropped: they are there, written by both sides, and nothing was done.
    pub was_not_needed: bool,
    /// Values that were written back by this run.
    pub secrets: i64,
    /// Values that could not be, because Vault cannot open them.
    pub lost: i64,
    /// What hung on the columns, and whether it is there again.
    pub objects: Vec<PutBack>,
    /// How long it took.
    pub elapsed: Duration,
    /// It was told to stop; run it again.
    pub is_stopped: bool,
}

impl RolledBack {
    /// Everything is as it was: each value, and all that hung on the columns.
    pub fn is_whole(&self) -> bool {
        !self.is_stopped && self.lost == 0 && self.objects.iter().all(|object| object.restored)
    }
}

impl Admin {
    /// What a confirmation has to repeat.
    pub async fn confirmation(&self) -> Result<Confirmation> {
        let database = ledger::database(&mut self.look().await?).await?;
        Ok(Confirmation::new(self.config(), database))
    }

    /// Says what [`drop_legacy`](Self::drop_legacy) would drop, and what goes with it.
    pub async fn drop_plan(&self) -> Result<DropPlan> {
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let applied = ledger::applied(connection).await?;
        refuse_newer(&applied)?;
        let catalogue = catalogue::read(connection).await?.unwrap_or_default();
        let dependents = if applied.iter().any(|entry| entry.version == FILL) {
            dependents::read(connection).await?
        } else {
            Vec::new()
        };
        let database = ledger::database(connection).await?;
        Ok(DropPlan {
            confirmation: Confirmation::new(self.config(), database),
            columns: columns(&catalogue),
            dependents,
        })
    }

    /// Applies 005, which proves every value once more and then drops the plaintext columns, for good.
    /// `verification` is a fresh one.
    pub async fn drop_legacy(
        &self,
        verification: &Verification,
        options: &DropOptions,
        control: &Control,
    ) -> Result<Dropped> {
        if !verification.is_proof() {
            return Err(Error::VerificationFailed(format!(
                "nothing was dropped, because of {}. Run `app-secrets verify`",
                verification.summary()
            )));
        }
        match self.contract(options, control).await {
            Ok(outcome) => Ok(outcome),
            Err(Interrupted::Stopped) => Ok(Dropped::Stopped),
            Err(Interrupted::Failed(error)) => Err(error),
        }
    }

    async fn contract(&self, options: &DropOptions, control: &Control) -> Result<Dropped, Interrupted> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        refuse_newer(&applied)?;
        let catalogue = catalogue::read(session.connection()).await?.unwrap_or_default();
        ready(&applied, &catalogue)?;
        if catalogue.synced().next().is_none() {
            return Ok(Dropped::Before);
        }
        let database = ledger::database(session.connection()).await?;
        Confirmation::new(self.config(), database).check(&options.confirmation)?;
        dependents::set_consent(session.connection(), &options.also).await?;
        let paced = MigrateOptions { lock_wait: options.lock_wait, ..MigrateOptions::default() };
        for file in FILES.iter().filter(|file| file.is_contracting()) {
            apply(&mut session, control, &paced, file, &mut Filled::default()).await?;
        }
        Ok(Dropped::Now)
    }

    /// Brings the plaintext columns back after 005: empty, with the sync, so that both sides are written from then
    /// on; then fills them from Vault in batches, puts back what hung on them, and proves both sides equal. Goes on where it
    /// stopped. Refuses while Vault does not open what was sealed. Before 005 the columns are there, and it leaves them alone.
    pub async fn rollback(&self, options: &MigrateOptions, control: &Control) -> Result<RolledBack> {
        let started = Instant::now();
        let mut outcome = RolledBack::default();
        let mut filled = Filled::default();
        let halted = self.restore(options, control, &mut outcome, &mut filled).await;
        outcome.secrets = filled.secrets;
        outcome.elapsed = started.elapsed();
        match halted {
            Ok(()) => {}
            Err(Interrupted::Stopped) => outcome.is_stopped = true,
            Err(Interrupted::Failed(error)) => return Err(error),
        }
        Ok(outcome)
    }

    async fn restore(
        &self,
        options: &MigrateOptions,
        control: &Control,
        outcome: &mut RolledBack,
        filled: &mut Filled,
    ) -> Result<(), Interrupted> {
        let mut session = self.begin(control).await?;
        let applied = ledger::applied(session.connection()).await?;
        refuse_newer(&applied)?;
        let Some(catalogue) = catalogue::read(session.connection()).await? else {
            outcome.was_not_needed = true;
            return Ok(());
        };
        let is_dropped = catalogue.names.iter().any(|name| name.legacy_state == "dropped");
        let step_options =
            |what| StepOptions { what, lock_wait: options.lock_wait, is_cancelled_by_stop: true };
        if is_dropped && !rows::can_restore(session.connection()).await? {
            let message = "somebody else dropped the plaintext columns, so their types are on no record here: add them again, run \
                           `app-secrets names add NAME --label LABEL --legacy-column COLUMN` for each, and fill them from \
                           decrypted_business_secrets";
            return Err(Error::Refused(message.into()).into());
        }
        if is_dropped {
            let step_options = step_options("putting the columns back");
            session
                .run(control, step_options, |connection| Box::pin(rows::begin_restore(connection)))
                .await?;
        }
        let is_restoring = rows::is_restoring(session.connection()).await?;
        if is_restoring {
            backfill::run(&mut session, control, Direction::Restore, options, filled).await?;
        }
        if is_restoring || rows::has_left(session.connection()).await? {
            let step_options = step_options("putting back what hung on the columns");
            outcome.objects = session
                .run(control, step_options, |connection| Box::pin(rows::finish_restore(connection)))
                .await?;
        } else if !is_unproven(&applied, &catalogue) {
            outcome.was_not_needed = true;
            return Ok(());
        }
        prove(&mut session, options, control, outcome, filled, &applied).await
    }
}

/// What was restored is `synced` until 003 has proven it.
fn is_unproven(applied: &[Applied], catalogue: &Catalogue) -> bool {
    applied.iter().any(|entry| entry.version == FILL)
        && catalogue.names.iter().any(|name| name.legacy_state == "synced")
}

async fn prove(
    session: &mut Session,
    options: &MigrateOptions,
    control: &Control,
    outcome: &mut RolledBack,
    filled: &mut Filled,
    applied: &[Applied],
) -> Result<(), Interrupted> {
    let columns = proof::columns(session.connection(), Range::default()).await?;
    outcome.lost = columns.iter().map(|column| column.mismatched).sum();
    let catalogue = catalogue::read(session.connection()).await?.unwrap_or_default();
    if outcome.lost == 0
        && is_unproven(applied, &catalogue)
        && let Some(file) = File::of_version(FILL)
    {
        apply(session, control, options, file, &mut Filled { secrets: filled.secrets, businesses: 0 })
            .await?;
    }
    Ok(())
}

fn ready(applied: &[Applied], catalogue: &Catalogue) -> Result<()> {
    if !applied.iter().any(|entry| entry.version == RPC) {
        return Err(Error::Refused(
            "the plaintext cannot go before 004 is applied: run `app-secrets migrate`".into(),
        ));
    }
    let due: Vec<&str> =
        catalogue.names.iter().filter(|name| name.is_due()).map(|name| name.name.as_str()).collect();
    if due.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the plaintext cannot go before all of it is filled and proven: run `app-secrets migrate` for {}",
        due.join(", ")
    )))
}

fn columns(catalogue: &Catalogue) -> Vec<String> {
    let columns = catalogue.synced().filter_map(|name| name.legacy_column.as_deref());
    columns.map(|column| format!("{}.{column}", catalogue.owner_table)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supabase_project_is_named_by_its_reference() {
        assert_eq!(project("db.abcdefgh.supabase.co", "postgres"), Some("abcdefgh"));
        assert_eq!(project("aws-0-eu-west-1.pooler.supabase.com", "postgres.abcdefgh"), Some("abcdefgh"));
        assert_eq!(project("aws-0-eu-west-1.pooler.supabase.com", "postgres"), None);
        assert_eq!(project("127.0.0.1", "postgres.abcdefgh"), None);
    }

    fn plan(weight: &str) -> DropPlan {
        let confirmation = Confirmation {
            database: "app".into(),
            place: "h:1".into(),
            word: "app".into(),
            is_project: false,
        };
        let dependent = Dependent {
            weight: weight.into(),
            kind: "function".into(),
            object: "public.f()".into(),
            legacy_column: Some("a_key".into()),
        };
        DropPlan { confirmation, columns: vec!["public.t.a_key".into()], dependents: vec![dependent] }
    }

    #[test]
    fn what_others_use_too_wants_consent_by_name() {
        let text = plan("shared").check(&[]).unwrap_err().to_string();
        assert!(text.contains("function public.f() (of a_key)"), "{text}");
        assert!(text.contains("--also-drop='public.f()'"), "{text}");
        assert!(plan("shared").check(&["public.f()".into()]).is_ok());
        assert!(plan("own").check(&[]).is_ok());
        assert!(plan("blocks").check(&["*".into()]).is_err());
    }

    #[test]
    fn a_confirmation_names_the_place() {
        let confirmation = plan("own").confirmation;
        assert!(confirmation.check("app").is_ok());
        let text = confirmation.check("yes").unwrap_err().to_string();
        assert!(text.contains("database app on h:1") && text.contains("the database's name, app"), "{text}");
    }
}
