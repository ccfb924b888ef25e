//! The commands of the service login. Values come from stdin, a file or a prompt without echo, and go out with
//! `get --reveal` only.

use std::io::Read;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{Import, Set};
use super::commands::unreadable;
use super::exit::Exit;
use super::show::{json, plural, secrets};
use super::terms::{self, Terms};
use super::{Context, envfile};
use crate::admin::label_of;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::name::SecretName;
use crate::secret::versions_by_name;
use crate::{store, value};

/// What is read of stdin or a file: more than any value or .env file of ours can have.
const MOST: u64 = 4 * 1024 * 1024;

impl Context<'_> {
    pub(super) fn client(&self) -> Result<Client> {
        Ok(Client::new(self.service()?))
    }

    pub(super) async fn list(&mut self, business: &str) -> Result<Exit> {
        let listed = self.client()?.list(value::business_id(business)?).await?;
        let width = self.width();
        self.show(|| secrets::listed(&listed, width), || json::listed(&listed));
        Ok(Exit::Ok)
    }

    pub(super) async fn get(&mut self, business: &str, name: &str, reveal: bool) -> Result<Exit> {
        let business = value::business_id(business)?;
        if reveal && self.is_json {
            return Err(Error::Refused("--json never holds a value: leave it out with --reveal".into()));
        }
        let client = self.client()?;
        let name = client.secret_name(name).await?;
        if !reveal {
            let listed = client.list(business).await?;
            let Some(secret) = listed.iter().find(|secret| secret.name == name) else {
                return Err(store::permission_denied_for_secret());
            };
            self.show(|| secrets::masked(secret), || json::got(secret));
            return Ok(Exit::Ok);
        }
        let Some(value) = client.get(business, name).await? else {
            return Err(Error::InvalidArgument(format!("{name} is not set for this business")));
        };
        let value = value.expose_secret();
        if self.terminal.shows_out {
            self.terminal.reveal(value);
        } else {
            // Nothing but the value where it goes into another program.
            self.terminal.write(value.as_bytes());
        }
        Ok(Exit::Ok)
    }

    pub(super) async fn set(&mut self, arguments: Set) -> Result<Exit> {
        if !arguments.value.is_empty() {
            return Err(Error::Refused(
                "nothing was changed: a value on the command line is in the process list and the shell's history. \
                 Rotate it, and pipe the new one to this command"
                    .into(),
            ));
        }
        let business = value::business_id(&arguments.business)?;
        let name = self.client()?.secret_name(&arguments.name).await?;
        let text = match &arguments.file {
            Some(path) => {
                let file = std::fs::File::open(path).map_err(|error| unreadable("the file", &error))?;
                read_text(file)?
            }
            None => self.read_value(name)?,
        };
        let value = value::normalise(&text)?;
        if value.is_none() {
            return Err(Error::InvalidValue { why: "the value is blank: `unset` clears a secret".into() });
        }
        let options = terms::options(name, &arguments.terms, false)?;
        self.write(business, name, value, arguments.expected_version, options).await
    }

    pub(super) async fn unset(
        &mut self,
        business: &str,
        name: &str,
        expected: Option<i64>,
        purge: bool,
    ) -> Result<Exit> {
        let business = value::business_id(business)?;
        let name = self.client()?.secret_name(name).await?;
        let options = terms::options(name, &Terms::default(), purge)?;
        self.write(business, name, None, expected, options).await
    }

    async fn write(
        &mut self,
        business: uuid::Uuid,
        name: SecretName,
        value: Option<SecretString>,
        expected: Option<i64>,
        options: Option<String>,
    ) -> Result<Exit> {
        let done = if value.is_some() { "set" } else { "cleared" };
        let expected = expected.map(|version| (name, version)).into_iter().collect();
        let versions = self.client()?.write(business, vec![(name, value)], expected, options).await?;
        let version = versions.first().map_or(0, |(_, version)| *version);
        self.show(
            || format!("{name} is {done}, at version {version}."),
            || json!({ "name": name.as_str(), "versions": { name.as_str(): version } }),
        );
        Ok(Exit::Ok)
    }

    pub(super) fn read_value(&mut self, name: SecretName) -> Result<Zeroizing<String>> {
        match &mut self.terminal.person {
            Some(person) => {
                let asked = person.secret(&format!("{} ({name}), not shown: ", label_of(name.as_str())));
                asked.map_err(|error| unreadable("the value", &error))
            }
            None => read_text(&mut self.terminal.input),
        }
    }

    pub(super) async fn import(&mut self, arguments: Import) -> Result<Exit> {
        let (business, file) = match (&arguments.business, &arguments.second) {
            (Some(business), _) => (business, &arguments.first),
            (None, Some(file)) => (&arguments.first, file),
            (None, None) => return Err(Error::InvalidArgument("there is no file: pass - for stdin".into())),
        };
        let business = value::business_id(business)?;
        let is_stdin = file == "-";
        let text = if is_stdin {
            read_text(&mut self.terminal.input)?
        } else {
            let file = std::fs::File::open(file).map_err(|error| unreadable("the file", &error))?;
            read_text(file)?
        };
        let client = self.client()?;
        let current = client.list(business).await?;
        let plan = envfile::read(&text, &current)?;
        drop(text);
        if !self.is_json {
            let width = self.width();
            self.terminal.say(secrets::plan(&plan, &current, width));
        }
        let nobody_is_asked = arguments.yes || is_stdin || self.terminal.person.is_none();
        if arguments.dry_run {
            let doubtful: Vec<&str> = plan.doubtful().map(|entry| entry.name.as_str()).collect();
            // As the import itself would end.
            let is_refused = nobody_is_asked && !arguments.as_is && !doubtful.is_empty();
            let names: Vec<&str> = plan.entries.iter().map(|entry| entry.name.as_str()).collect();
            self.show(
                || {
                    let why = "Refused as it is: put the keys in place of what only stands for them, or pass --as-is. ";
                    format!("{}Nothing was changed.", if is_refused { why } else { "" })
                },
                || {
                    json!({
                        "dryRun": true, "names": names, "doubtful": doubtful, "ignored": plan.ignored, "blank": plan.blank,
                        "refused": is_refused,
                    })
                },
            );
            return Ok(if is_refused { Exit::Refused } else { Exit::Ok });
        }
        if !arguments.as_is {
            self.settle_doubts(&plan, nobody_is_asked)?;
        }
        if !arguments.yes {
            self.agree(is_stdin)?;
        }
        // What was shown as the state before must still be it.
        let version =
            |name| current.iter().find(|secret| secret.name == name).map_or(0, |secret| secret.version);
        let expected = plan.entries.iter().map(|entry| (entry.name, version(entry.name))).collect();
        let values = plan.entries.into_iter().map(|entry| (entry.name, Some(entry.value))).collect();
        let versions = client.set_many(business, values, expected).await?;
        let object = || {
            json!({
                "versions": versions_by_name(&versions), "ignored": plan.ignored, "blank": plan.blank,
            })
        };
        self.show(
            || {
                let number = i64::try_from(versions.len()).unwrap_or(i64::MAX);
                format!("Set {}, in one transaction.", plural(number, "secret", "secrets"))
            },
            object,
        );
        Ok(Exit::Ok)
    }

    /// Asks about each value that looks as if it only stood for a key.
    pub(super) fn settle_doubts(&mut self, plan: &envfile::Plan, nobody_is_asked: bool) -> Result<()> {
        for entry in plan.doubtful() {
            let variable = &entry.variable;
            let what = "looks like a reference or a placeholder, not like a key";
            let agrees = match &mut self.terminal.person {
                Some(person) if !nobody_is_asked => {
                    let question = format!("{variable} {what}. Set it as it stands? [y/N] ");
                    let answer =
                        person.answer(&question).map_err(|error| unreadable("the answer", &error))?;
                    matches!(answer.as_str(), "y" | "Y" | "yes")
                }
                _ => false,
            };
            if !agrees {
                return Err(Error::Refused(format!(
                    "nothing was changed: line {} of the file: {variable} {what}; put the key there, or pass --as-is",
                    entry.line
                )));
            }
        }
        Ok(())
    }

    pub(super) fn agree(&mut self, stdin_is_taken: bool) -> Result<()> {
        let refused = |why: &str| Err(Error::Refused(format!("nothing was changed: {why}")));
        match &mut self.terminal.person {
            Some(person) if !stdin_is_taken => {
                let answer =
                    person.answer("Set these? [y/N] ").map_err(|error| unreadable("the answer", &error))?;
                if matches!(answer.as_str(), "y" | "Y" | "yes") {
                    Ok(())
                } else {
                    refused("the answer was no")
                }
            }
            _ => refused("nobody is there to ask; pass --yes"),
        }
    }
}

/// All of it, in memory that is wiped; what a value needs at most is there from the start, as growing leaves copies.
fn read_text(mut source: impl Read) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(128 * 1024));
    let read = source.by_ref().take(MOST + 1).read_to_end(&mut bytes);
    let length = read.map_err(|error| unreadable("the value", &error))?;
    if u64::try_from(length).is_ok_and(|length| length > MOST) {
        // Cut off, it would be another value.
        return Err(Error::InvalidValue {
            why: "there are more than 4 MiB of it: a key is far shorter".into(),
        });
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::InvalidValue { why: "the value is not UTF-8: a key is text".into() })?;
    Ok(Zeroizing::new(text.to_owned()))
}
