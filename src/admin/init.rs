//! Looks at a database and proposes what `app-secrets.json` is to say of it. Changes nothing.

use serde_json::{Value, json};

use super::Admin;
use super::files::FILES;
use super::names::{is_name, is_reserved};
use crate::error::{Error, Result};
use crate::queries::ledger;
use crate::queries::shape::{self, Column, Table};

/// What is known beforehand; the rest is looked for.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// The owner table, as `schema.table` or `table`.
    pub table: Option<String>,
    /// The column that holds the owner's `auth.uid()`.
    pub access_column: Option<String>,
    /// A function of the app's that gives the ids that a signed-in user may access.
    pub access_function: Option<String>,
    /// Secrets without a plaintext column.
    pub names: Vec<String>,
}

/// What is proposed.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The content of `app-secrets.json`.
    pub catalogue: Value,
    /// What a person should look at, in whole sentences.
    pub notes: Vec<String>,
    /// It was read from an installation that is there, and not proposed.
    pub is_recorded: bool,
}

/// Names of tables that usually own secrets, the likeliest first.
const OWNERS: [&str; 14] = [
    "businesses",
    "organizations",
    "organisations",
    "tenants",
    "workspaces",
    "companies",
    "accounts",
    "teams",
    "stores",
    "shops",
    "projects",
    "customers",
    "clients",
    "sites",
];

/// Columns that usually hold the owner's `auth.uid()`, the likeliest first.
const USERS: [&str; 8] =
    ["owner_id", "user_id", "owner", "owner_user_id", "account_id", "profile_id", "created_by", "admin_id"];

impl Admin {
    /// Proposes the content of `app-secrets.json`; where the database has a catalogue already, gives that one.
    pub async fn propose(&self, options: &InitOptions) -> Result<Proposal> {
        let mut connection = self.look().await?;
        if !ledger::applied(&mut connection).await?.is_empty()
            && let Some(text) = shape::recorded(&mut connection).await?
        {
            let catalogue = serde_json::from_str(&text)
                .map_err(|_| Error::NotMigrated { found: "a catalogue that is no JSON".into() })?;
            let notes = vec!["The database has a catalogue already: this is what it says.".into()];
            return Ok(Proposal { catalogue, notes, is_recorded: true });
        }

        let mut notes = Vec::new();
        let tables = shape::tables(&mut connection).await?;
        let mut candidates = Vec::new();
        for table in tables {
            let columns = shape::columns(&mut connection, &table.name).await?;
            let secrets = columns.iter().filter(|column| is_secret(column)).count();
            let score = secrets * 2 + usize::from(rank(&OWNERS, &table.relation).is_some()) * 3;
            candidates.push((score, table, columns));
        }
        let (table, columns) = choose(candidates, options.table.as_deref())?;
        let access = self.access_for(&mut connection, options, &columns, &mut notes).await?;

        let mut secrets = Vec::new();
        for column in columns.iter().filter(|column| is_secret(column) && column.name != table.key) {
            let Some(name) = secret_name(&column.name) else {
                notes.push(format!(
                    "The column {} looks like a secret and has a name that no secret can have: add it by hand.",
                    column.name
                ));
                continue;
            };
            secrets.push(entry(&name, true, "text", Some(&column.name)));
        }
        // What stands beside them already is sealed in place.
        for column in shape::columns(&mut connection, "public.business_secrets").await? {
            let taken = |secret: &Value| secret["name"] == column.name.as_str();
            if is_reserved(&column.name) || !is_name(&column.name) || secrets.iter().any(taken) {
                continue;
            }
            if is_text(&column) {
                secrets.push(entry(&column.name, is_secret(&column), "text", None));
            } else if column.kind == "timestamptz" {
                secrets.push(entry(&column.name, false, "timestamptz", None));
            }
        }
        for name in &options.names {
            if !is_name(name) || is_reserved(name) {
                return Err(Error::InvalidArgument(
                    "a secret's name is 1 to 48 lower-case letters, digits and underscores, beginning with a letter".into(),
                ));
            }
            if !secrets.iter().any(|secret| secret["name"] == name.as_str()) {
                secrets.push(entry(name, true, "text", None));
            }
        }
        if secrets.is_empty() {
            return Err(Error::Refused(format!(
                "{} has no column that looks like a secret; nothing was written. Name the secrets that there are to be: \
                 app-secrets init --names openai_api_key,smtp_password",
                table.name
            )));
        }
        if secrets.len() > 200 {
            return Err(Error::Refused("there may be 200 secrets at most; nothing was written".into()));
        }
        let catalogue = json!({
            "owner_table": table.name, "owner_key": table.key, "access": access, "secrets": secrets,
        });
        Ok(Proposal { catalogue, notes, is_recorded: false })
    }

    /// The catalogue that the database has, as `app-secrets.json` has it; `None` where it is not migrated.
    pub async fn recorded_catalogue(&self) -> Result<Option<Value>> {
        let mut connection = self.look().await?;
        if ledger::applied(&mut connection).await?.is_empty() {
            return Ok(None);
        }
        let Some(text) = shape::recorded(&mut connection).await? else { return Ok(None) };
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|_| Error::NotMigrated { found: "a catalogue that is no JSON".into() })
    }

    async fn access_for(
        &self,
        connection: &mut sqlx::postgres::PgConnection,
        options: &InitOptions,
        columns: &[Column],
        notes: &mut Vec<String>,
    ) -> Result<Value> {
        if let Some(function) = &options.access_function {
            return Ok(json!({ "function": function }));
        }
        if let Some(wanted) = &options.access_column {
            if columns.iter().any(|column| column.name == *wanted && column.kind == "uuid") {
                return Ok(json!({ "column": wanted }));
            }
            return Err(Error::InvalidArgument(
                "the owner table has no column of type uuid of that name; nothing was written".into(),
            ));
        }
        let mut users: Vec<&Column> = columns
            .iter()
            .filter(|column| {
                column.kind == "uuid" && (column.is_user || rank(&USERS, &column.name).is_some())
            })
            .collect();
        users.sort_by_key(|column| (rank(&USERS, &column.name).unwrap_or(USERS.len()), !column.is_user));
        let functions = shape::access_functions(connection).await?;
        if let Some(column) = users.first() {
            if let Some(function) = functions.first() {
                notes.push(format!(
                    "Signed-in users reach the rows whose {} is theirs. There is {function} too: if that says who may access, \
                     put it there instead, as {{\"function\": \"{function}\"}}.",
                    column.name
                ));
            }
            return Ok(json!({ "column": column.name }));
        }
        if let Some(function) = functions.first() {
            notes.push(format!(
                "No column says whose a row is, so {function} does: check that it gives the right ids."
            ));
            return Ok(json!({ "function": function }));
        }
        notes.push(
            "Neither a column nor a function says who may access a row: signed-in users will read nothing, and services \
             everything that their logins may. Set \"access\" to change that."
                .into(),
        );
        Ok(Value::Null)
    }
}

fn choose(
    mut candidates: Vec<(usize, Table, Vec<Column>)>,
    wanted: Option<&str>,
) -> Result<(Table, Vec<Column>)> {
    if let Some(wanted) = wanted {
        let plain = wanted.replace('"', "");
        let found = candidates.into_iter().find(|(_, table, _)| {
            table.name == wanted
                || format!("{}.{}", table.schema, table.relation) == plain
                || (table.schema == "public" && table.relation == plain)
        });
        return found.map(|(_, table, columns)| (table, columns)).ok_or_else(|| {
            Error::Refused(
                "there is no ordinary table of that name with a primary key of type uuid; nothing was written".into(),
            )
        });
    }
    candidates.sort_by_key(|(score, table, _)| {
        (std::cmp::Reverse(*score), rank(&OWNERS, &table.relation).unwrap_or(OWNERS.len()))
    });
    let best = candidates.first().map_or(0, |(score, ..)| *score);
    let rivals: Vec<&str> = candidates
        .iter()
        .filter(|(score, table, _)| {
            *score == best && rank(&OWNERS, &table.relation) == rank(&OWNERS, &candidates[0].1.relation)
        })
        .map(|(_, table, _)| table.name.as_str())
        .collect();
    if best == 0 || rivals.len() > 1 {
        let names: Vec<&str> = candidates.iter().take(10).map(|(_, table, _)| table.name.as_str()).collect();
        return Err(Error::Refused(match names.as_slice() {
            [] => "there is no ordinary table with a primary key of type uuid, whose rows could own secrets; nothing was \
                   written"
                .into(),
            names => format!(
                "it is not clear which table's rows own the secrets; nothing was written. Say it with --table: {}",
                names.join(", ")
            ),
        }));
    }
    let (_, table, columns) = candidates.swap_remove(0);
    Ok((table, columns))
}

fn rank(list: &[&str], name: &str) -> Option<usize> {
    list.iter().position(|one| *one == name)
}

fn is_text(column: &Column) -> bool {
    matches!(column.kind.as_str(), "text" | "varchar" | "citext")
}

/// Text under a name as keys, tokens and passwords have it; not the identifiers, hashes and dates that go with them.
fn is_secret(column: &Column) -> bool {
    if !is_text(column) {
        return false;
    }
    let name = snake(&column.name);
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    let ends = |list: &[&str]| words.last().is_some_and(|word| list.contains(word));
    if has(&[
        "public",
        "publishable",
        "primary",
        "foreign",
        "idempotency",
        "cache",
        "sort",
        "partition",
        "hash",
        "hashed",
        "digest",
        "hint",
        "reset",
    ]) || ends(&[
        "id", "name", "type", "at", "expiry", "expires", "count", "url", "status", "label", "prefix",
        "scope", "version", "email",
    ]) {
        return false;
    }
    has(&[
        "secret",
        "secrets",
        "token",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "credential",
        "credentials",
        "apikey",
        "dsn",
    ]) || ends(&["key", "keys", "pat", "pin"])
}

/// `stripeApiKey` and `STRIPE-API-KEY` become `stripe_api_key`.
fn snake(text: &str) -> String {
    let mut name = String::new();
    let mut before = None;
    for c in text.chars() {
        let starts = c.is_ascii_uppercase()
            && before.is_some_and(|b: char| b.is_ascii_lowercase() || b.is_ascii_digit());
        if (starts || !c.is_ascii_alphanumeric()) && !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        }
        before = Some(c);
    }
    name.trim_end_matches('_').to_owned()
}

fn secret_name(column: &str) -> Option<String> {
    let name = snake(column);
    (is_name(&name) && !is_reserved(&name)).then_some(name)
}

fn entry(name: &str, sealed: bool, kind: &str, legacy_column: Option<&str>) -> Value {
    json!({ "name": name, "label": label(name), "sealed": sealed, "type": kind, "legacy_column": legacy_column })
}

/// What a name means, for people: as the default catalogue has it, else the name in words.
pub fn label(name: &str) -> String {
    if let Some(label) = default_label(name) {
        return label.to_owned();
    }
    let words: Vec<String> = name
        .split('_')
        .filter(|word| !word.is_empty())
        .enumerate()
        .map(|(at, word)| match word {
            "api" | "sms" | "smtp" | "jwt" | "aws" | "url" | "dsn" | "ftp" | "ssh" | "id" => {
                word.to_ascii_uppercase()
            }
            "oauth" => "OAuth".into(),
            "openai" => "OpenAI".into(),
            _ if at == 0 => word[..1].to_ascii_uppercase() + &word[1..],
            _ => word.into(),
        })
        .collect();
    words.join(" ")
}

/// From the one list that there is, in 002: `(1, 'gemini_api_key', 'Google Gemini', …`.
fn default_label(name: &str) -> Option<&'static str> {
    let sql = FILES[0].sql;
    let start = sql.find("-- app-secrets: default catalogue")?;
    let end = sql.find("-- app-secrets: end of default catalogue")?;
    let quoted = format!("'{name}', '");
    let line = sql
        .get(start..end)?
        .lines()
        .find(|line| line.trim_start().starts_with('(') && line.contains(&quoted))?;
    let mut parts = line.split('\'');
    (parts.nth(1)? == name).then_some(())?;
    parts.nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_like_a_secret(name: &str) -> bool {
        is_secret(&Column { name: name.into(), kind: "text".into(), is_user: false })
    }

    #[test]
    fn columns_that_hold_secrets_are_known_by_their_names() {
        for name in [
            "stripe_secret_key",
            "gemini_api_key",
            "slackBotToken",
            "smtp_password",
            "webhook_secret",
            "apiKey",
            "SENDGRID_KEY",
        ] {
            assert!(looks_like_a_secret(name), "{name}");
        }
        for name in [
            "name",
            "public_key",
            "stripe_publishable_key",
            "key_id",
            "token_expiry",
            "password_hash",
            "idempotency_key",
            "api_key_created_at",
            "monkey_business",
            "secret_name",
            "cache_key",
        ] {
            assert!(!looks_like_a_secret(name), "{name}");
        }
        assert!(!is_secret(&Column { name: "api_key".into(), kind: "uuid".into(), is_user: false }));
    }

    #[test]
    fn names_and_labels_are_made_from_columns() {
        assert_eq!(secret_name("stripeApiKey").as_deref(), Some("stripe_api_key"));
        assert_eq!(secret_name("SENDGRID-KEY").as_deref(), Some("sendgrid_key"));
        assert_eq!(secret_name("2fa_secret"), None);
        assert_eq!(label("stripe_api_key"), "Stripe API key");
        assert_eq!(label("gemini_api_key"), "Google Gemini");
        assert_eq!(label("google_drive_folder_id"), "Google Drive folder");
    }
}
