//! The catalogue of secrets: what is in it, what is added and what is taken out of use.

use std::sync::Arc;
use std::time::Duration;

use super::Admin;
use super::event::Control;
use super::preflight;
use super::session::{Interrupted, StepOptions};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::near_misses;
use crate::queries::names::{self, CatalogueEntry};
use crate::queries::{ledger, session};

/// A secret that is to be known.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// 1 to 48 lower-case letters, digits and underscores, beginning with a letter.
    pub name: String,
    /// Whose key it is, for people.
    pub label: String,
    /// The plaintext column of the owner table that it moves out of.
    pub legacy_column: Option<String>,
    /// Encrypted by Vault. What is not sealed is metadata.
    pub sealed: bool,
    /// A point in time instead of text; not for what is sealed.
    pub is_time: bool,
}

/// What adding a secret came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is known from now on.
    New,
    /// It was known; label or legacy column are taken over.
    Changed,
    /// It was known just so.
    Same,
}

impl Admin {
    /// The catalogue in its order, names out of use at the end.
    pub async fn names(&self) -> Result<Vec<CatalogueEntry>> {
        let mut connection = self.look().await?;
        require_applied(&mut connection, 2).await?;
        Ok(names::entries(&mut connection).await?)
    }

    /// Makes a secret known to the database: column, triggers, view and functions. Safe to repeat.
    pub async fn add_name(&self, secret: &NewSecret, lock_wait: Duration) -> Result<Added> {
        secret.check()?;
        let before = self.names().await?;
        let known = before.iter().find(|entry| entry.name == secret.name && !entry.is_retired);
        let kind = if secret.is_time { "timestamptz" } else { "text" };
        let outcome = match known {
            None => Added::New,
            Some(known)
                if known.label == secret.label
                    && (secret.legacy_column.is_none() || known.legacy_column == secret.legacy_column)
                    && (known.sealed, known.kind.as_str()) == (secret.sealed, kind) =>
            {
                Added::Same
            }
            Some(_) => Added::Changed,
        };
        if outcome != Added::Same {
            let addition = serde_json::json!({
                "name": secret.name,
                "label": secret.label,
                "sealed": secret.sealed,
                "type": kind,
                "legacy_column": secret.legacy_column,
            });
            preflight::check_addition(&mut self.look().await?, &addition.to_string()).await?;
        }
        let secret = Arc::new(secret.clone());
        // A writer of either table goes on to the other, so whoever locks both can wait for a gap that never comes: with a
        // legacy column, business_secrets is changed in one transaction and the owner table in the next.
        let is_in_two_steps = secret.legacy_column.is_some();
        if outcome != Added::Same {
            self.change_names(lock_wait, move |connection| {
                let secret = Arc::clone(&secret);
                Box::pin(async move {
                    let legacy_column = secret.legacy_column.as_deref();
                    let NewSecret { name, label, sealed, .. } = &*secret;
                    names::add(connection, name, label, legacy_column, *sealed, kind, !is_in_two_steps).await
                })
            })
            .await?;
        }
        // Also where nothing was new: it may have been interrupted in between before.
        if is_in_two_steps {
            self.change_names(lock_wait, |connection| Box::pin(names::complete(connection))).await?;
        }
        Ok(outcome)
    }

    /// Takes a secret out of use. Refused while it is set for a business, unless told so: its values are deleted then.
    pub async fn retire_name(&self, name: &str, even_if_set: bool, lock_wait: Duration) -> Result<()> {
        let known: Vec<String> = self
            .names()
            .await?
            .into_iter()
            .filter(|entry| !entry.is_retired)
            .map(|entry| entry.name)
            .collect();
        require_known(&known, [name])?;
        let name = name.to_owned();
        self.change_names(lock_wait, move |connection| {
            let name = name.clone();
            Box::pin(async move { names::retire(connection, &name, even_if_set).await })
        })
        .await
    }

    async fn change_names(
        &self,
        lock_wait: Duration,
        step: impl for<'a> Fn(&'a mut sqlx::postgres::PgConnection) -> super::session::Work<'a, ()>,
    ) -> Result<()> {
        let control = Control::silent();
        let work = async {
            let mut session = self.begin(&control).await?;
            let step_options =
                StepOptions { what: "the change of the catalogue", lock_wait, is_cancelled_by_stop: false };
            session.run(&control, step_options, step).await
        };
        work.await.map_err(|interrupted| match interrupted {
            Interrupted::Failed(error) => error,
            // Nobody can stop what has a silent control.
            Interrupted::Stopped => Error::Refused("it was stopped; nothing was changed".into()),
        })
    }
}

/// The names that the database of any login of ours knows.
pub async fn known_names(config: &Config) -> Result<Vec<String>> {
    let mut connection = session::open(config, "app-secrets").await?;
    let names = names::shown(&mut connection).await?;
    names.ok_or_else(|| Error::NotMigrated { found: "there is no public.business_secret_names".into() })
}

/// Refuses to go on where a file is not applied.
pub(crate) async fn require_applied(
    connection: &mut sqlx::postgres::PgConnection,
    version: i32,
) -> Result<()> {
    let applied = ledger::applied(connection).await?;
    if applied.iter().any(|entry| entry.version == version) {
        return Ok(());
    }
    let found = applied
        .last()
        .map_or("nothing is applied".to_owned(), |last| format!("{:03} is the last", last.version));
    Err(Error::NotMigrated { found })
}

/// Refuses names that are not in the catalogue, with those that may have been meant. Never repeats them.
pub(crate) fn require_known<'a>(known: &[String], names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for name in names {
        if !known.iter().any(|one| one == name) {
            return Err(Error::UnknownSecret { hint: near_misses(name, known) });
        }
    }
    Ok(())
}

impl NewSecret {
    fn check(&self) -> Result<()> {
        let why = if !is_name(&self.name) {
            "a secret's name is 1 to 48 lower-case letters, digits and underscores, beginning with a letter"
        } else if is_reserved(&self.name) {
            "that name is reserved: give the secret another one"
        } else if self.label.trim().is_empty() || self.label.chars().any(char::is_control) {
            "a secret needs a label: whose key it is, in a few words"
        } else if self.is_time && self.sealed {
            "a point in time is metadata: add --not-sealed"
        } else if self.legacy_column.is_some() && !self.sealed {
            "a secret that moves out of a plaintext column is sealed: leave --not-sealed out"
        } else {
            return Ok(());
        };
        Err(Error::InvalidArgument(why.into()))
    }
}

/// The shape of a secret's name.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=48).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Columns of the table itself, and of every table.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, "business_id" | "updated_at" | "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_answered_with_the_likely_one_and_never_repeated() {
        let known = ["stripe_secret_key".to_owned(), "sendgrid_api_key".to_owned()];
        let hint = |text: &str| require_known(&known, [text]).unwrap_err().to_string();
        assert!(
            hint("stripeSecretKey").contains("did you mean stripe_secret_key?"),
            "{}",
            hint("stripeSecretKey")
        );
        let unknown = hint("sk_live_4711");
        assert!(!unknown.contains("4711") && unknown.contains("sendgrid_api_key"), "{unknown}");
        require_known(&known, ["sendgrid_api_key"]).unwrap();
    }

    #[test]
    fn a_name_has_the_shape_of_a_column() {
        for good in ["a", "stripe_secret_key", "k2", &"x".repeat(48)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Stripe", "2fa", "_key", "with space", "é", &"x".repeat(49)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
