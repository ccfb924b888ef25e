//! `undo`, `list --due`, and how long a value is meant to last.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::show::{moment, table};
use super::{Context, times};
use crate::error::Result;
use crate::name::SecretName;
use crate::secret::Due;
use crate::value;

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// businesses.id
    business: String,

    /// As in `list`
    name: String,

    /// Refuse unless the secret is still at this version
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    expected_version: Option<i64>,
}

/// How long a value is meant to last. Nothing stops being served because of it.
#[derive(Debug, Args, Default)]
pub(crate) struct Terms {
    /// When the value ends at its provider: 2026-01-31, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires_at: Option<String>,

    /// How often it is to be replaced: 90d, 12h or 2w
    #[arg(long, value_name = "TIME")]
    pub(crate) rotate_every: Option<String>,
}

impl Context<'_> {
    pub(super) async fn undo(&mut self, arguments: Undo) -> Result<Exit> {
        let business = value::business_id(&arguments.business)?;
        let client = self.client()?;
        let name = client.secret_name(&arguments.name).await?;
        let version = client.undo(business, name, arguments.expected_version).await?;
        self.show(
            || {
                format!(
                    "{name} has the value before again, at version {version}. Another `undo` takes this back."
                )
            },
            || json!({ "name": name.as_str(), "versions": { name.as_str(): version } }),
        );
        Ok(Exit::Ok)
    }

    pub(super) async fn due(&mut self, within: &str) -> Result<Exit> {
        let due = self.client()?.due(times::length(within)?).await?;
        let width = self.width();
        self.show(|| shown(&due, width), || json!({ "due": due.iter().map(one).collect::<Vec<_>>() }));
        Ok(Exit::Ok)
    }
}

/// What the database function takes; `None` where nothing is asked for.
pub(super) fn options(name: SecretName, terms: &Terms, purge: bool) -> Result<Option<String>> {
    let mut options = Map::new();
    if let Some(text) = &terms.expires_at {
        options.insert("expires_at".into(), times::point(text)?.to_string().into());
    }
    if let Some(text) = &terms.rotate_every {
        options.insert("rotate_every".into(), times::interval(text)?.into());
    }
    if purge {
        options.insert("purge".into(), Value::Bool(true));
    }
    Ok((!options.is_empty()).then(|| json!({ name.as_str(): options }).to_string()))
}

fn shown(due: &[Due], width: Option<usize>) -> String {
    if due.is_empty() {
        return "Nothing is due.".into();
    }
    let rows = due.iter().map(|one| {
        let what = if one.reason == "expires" { "expires" } else { "to be replaced" };
        vec![moment(one.due_at), one.business.to_string(), one.name.to_string(), what.to_owned()]
    });
    table(&["due", "business", "secret", "what"], &[], rows, width)
}

fn one(due: &Due) -> Value {
    json!({
        "businessId": due.business.to_string(),
        "name": due.name.as_str(),
        "dueAt": due.due_at.to_string(),
        "reason": due.reason,
    })
}
