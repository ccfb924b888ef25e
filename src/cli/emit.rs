//! `emit`: the migrations as files for the Supabase CLI.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::{Value, json};

use super::exit::Exit;
use super::{Context, files};
use crate::admin::{ADMIN_URL_VARIABLE, missing, wanted_catalogue};
use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct Emit {
    /// The folder of the Supabase CLI's migrations
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Write 005, too, which drops the plaintext columns for good
    #[arg(long)]
    drop_legacy: bool,

    /// What may go with the columns although something else may need it, by name, as `migrate --drop-legacy` lists it
    #[arg(long, value_name = "NAME", requires = "drop_legacy")]
    also_drop: Vec<String>,
}

impl Context<'_> {
    pub(super) async fn emit(&mut self, arguments: Emit) -> Result<Exit> {
        let there = read(&arguments.dir)?;
        let catalogue = self.catalogue().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = Timestamp(i64::try_from(now).unwrap_or(i64::MAX));
        let contract = arguments.drop_legacy.then_some(arguments.also_drop.as_slice());
        let emitted = missing(&there, catalogue.as_ref(), contract, now);
        for file in &emitted {
            let path = arguments.dir.join(&file.name);
            files::create(&path, &file.text).map_err(|error| files::unwritable(&path, &error))?;
        }
        let names: Vec<&str> = emitted.iter().map(|file| file.name.as_str()).collect();
        let dir = arguments.dir.display();
        self.show(
            || {
                if names.is_empty() {
                    format!("{dir} has everything. Nothing was written.")
                } else {
                    format!(
                        "Wrote to {dir}:\n  {}\nNext: supabase db push, then app-secrets status",
                        names.join("\n  ")
                    )
                }
            },
            || json!({ "files": names }),
        );
        Ok(Exit::Ok)
    }

    /// What the database knows where it is migrated, else what app-secrets.json says; `None` is the default.
    async fn catalogue(&mut self) -> Result<Option<Value>> {
        if self.has_admin_url() {
            let proposal = self.admin()?.recorded_catalogue().await?;
            if proposal.is_some() {
                return Ok(proposal);
            }
        }
        let text = wanted_catalogue(self.connection.config.as_deref())?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn has_admin_url(&self) -> bool {
        (self.terminal.env)(ADMIN_URL_VARIABLE).is_some_and(|url| !url.trim().is_empty())
    }
}

/// The SQL files of a folder, as `(name, text)`.
fn read(dir: &Path) -> Result<Vec<(String, String)>> {
    let unreadable = |error: std::io::Error| {
        Error::Config(format!("{} cannot be read: {}; nothing was written", dir.display(), error.kind()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "sql") {
            // Others' files count by their digits alone.
            let text = if name.contains("_app_secrets_") {
                std::fs::read_to_string(entry.path()).map_err(unreadable)?
            } else {
                String::new()
            };
            found.push((name, text));
        }
    }
    found.sort_unstable();
    Ok(found)
}
