//! `names`, `types` and `init`: which secrets there are, and what code and migrations are told of them.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::Locks;
use super::exit::Exit;
use super::show::{count, plural, table};
use super::{Context, files};
use crate::admin::{Added, CatalogueEntry, InitOptions, NewSecret, declarations, known_names, label_of};
use crate::error::{Error, Result};

#[derive(Debug, Subcommand)]
pub(crate) enum Names {
    /// List the secrets that the database knows
    List,

    /// Make a secret known: its column, triggers, view and functions, under short locks
    ///
    /// Safe to repeat: a new label or a newly found plaintext column is taken over. A plaintext column is kept equal from
    /// then on, and the next `migrate` fills and proves it.
    Add(Add),

    /// Take a secret out of use; its column stays, empty
    Retire(Retire),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// 1 to 48 lower-case letters, digits and underscores, beginning with a letter
    name: String,

    /// Whose key it is, for people; else made of the name
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,

    /// The plaintext column of the owner table that it moves out of
    #[arg(long, value_name = "COLUMN")]
    legacy_column: Option<String>,

    /// Metadata, which stays readable in the table
    #[arg(long)]
    not_sealed: bool,

    /// A point in time instead of text; with --not-sealed only
    #[arg(long, requires = "not_sealed")]
    time: bool,

    #[command(flatten)]
    locks: Locks,
}

#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// As in `names list`
    name: String,

    /// Retire it even though it is set: its values are deleted
    #[arg(long)]
    even_if_set: bool,

    #[command(flatten)]
    locks: Locks,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// The file to write, such as src/secrets.d.ts; without it the text goes to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write nothing, and end with 2 where the file differs: for pipelines
    #[arg(long, requires = "out")]
    check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "app-secrets.json")]
    out: PathBuf,

    /// The table whose rows own secrets; else the likeliest one
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,

    /// The column of that table that holds the owner's auth.uid()
    #[arg(long, value_name = "COLUMN", conflicts_with = "access_function")]
    access_column: Option<String>,

    /// A function that gives the ids that a signed-in user may access
    #[arg(long, value_name = "FUNCTION")]
    access_function: Option<String>,

    /// Secrets that have no plaintext column, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,

    /// Overwrite the file
    #[arg(long)]
    force: bool,
}

impl Context<'_> {
    pub(super) async fn names(&mut self, command: Names) -> Result<Exit> {
        match command {
            Names::List => {
                let (entries, width) = (self.admin()?.names().await?, self.width());
                self.show(
                    || listed(&entries, width),
                    || json!({ "names": entries.iter().map(one).collect::<Vec<_>>() }),
                );
            }
            Names::Add(arguments) => self.add_name(arguments).await?,
            Names::Retire(arguments) => {
                let lock_wait = Duration::from_secs(arguments.locks.lock_wait);
                self.admin()?.retire_name(&arguments.name, arguments.even_if_set, lock_wait).await?;
                let name = &arguments.name;
                self.show(
                    || {
                        let done = format!(
                            "{name} is out of use: nothing reads or writes it any more, and its column stays, empty."
                        );
                        [vec![done], elsewhere()].concat().join("\n")
                    },
                    || json!({ "name": name, "retired": true }),
                );
            }
        }
        Ok(Exit::Ok)
    }

    async fn add_name(&mut self, arguments: Add) -> Result<()> {
        let secret = NewSecret {
            label: arguments.label.unwrap_or_else(|| label_of(&arguments.name)),
            name: arguments.name,
            legacy_column: arguments.legacy_column,
            sealed: !arguments.not_sealed,
            is_time: arguments.time,
        };
        let added = self.admin()?.add_name(&secret, Duration::from_secs(arguments.locks.lock_wait)).await?;
        let name = &secret.name;
        let text = || {
            let mut lines = vec![match added {
                Added::New => format!("{name} is known from now on."),
                Added::Changed => format!("{name} was known; what is new of it is taken over."),
                Added::Same => format!("{name} is known just so already. Nothing was changed."),
            }];
            if added != Added::Same {
                if secret.legacy_column.is_some() {
                    lines.push(
                        "Next: app-secrets migrate, which fills it from its plaintext column and proves it"
                            .into(),
                    );
                }
                lines.extend(elsewhere());
            }
            lines.join("\n")
        };
        let word = match added {
            Added::New => "new",
            Added::Changed => "changed",
            Added::Same => "same",
        };
        self.show(text, || json!({ "name": name, "outcome": word }));
        Ok(())
    }

    pub(super) async fn types(&mut self, arguments: Types) -> Result<Exit> {
        let names = known_names(&self.service()?).await?;
        let text = declarations(&names);
        let Some(path) = arguments.out else {
            if self.is_json {
                self.show(String::new, || json!({ "names": names, "text": text }));
            } else {
                // Code, whose lines are not to be fitted to a terminal.
                self.terminal.write(text.as_bytes());
            }
            return Ok(Exit::Ok);
        };
        let is_same = std::fs::read(&path).is_ok_and(|found| found == text.as_bytes());
        let file = path.display().to_string();
        if arguments.check {
            self.show(
                || {
                    if is_same {
                        format!("{file} is up to date.")
                    } else {
                        format!("{file} differs: run `app-secrets types --out {file}`.")
                    }
                },
                || json!({ "file": file, "upToDate": is_same }),
            );
            return Ok(if is_same { Exit::Ok } else { Exit::Pending });
        }
        files::replace(&path, &text)?;
        let number = i64::try_from(names.len()).unwrap_or(i64::MAX);
        self.show(
            || format!("{file}: {}.", plural(number, "name", "names")),
            || json!({ "file": file, "names": names }),
        );
        Ok(Exit::Ok)
    }

    pub(super) async fn init(&mut self, arguments: Init) -> Result<Exit> {
        // Before the database is asked: what is there already stays.
        if !arguments.force && arguments.out.exists() {
            return Err(refuse_to_overwrite(&arguments.out));
        }
        let options = InitOptions {
            table: arguments.table,
            access_column: arguments.access_column,
            access_function: arguments.access_function,
            names: arguments.names,
        };
        let proposal = self.admin()?.propose(&options).await?;
        let text = files::pretty(&proposal.catalogue);
        if arguments.force {
            files::replace(&arguments.out, &text)?;
        } else {
            files::create(&arguments.out, &text).map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => refuse_to_overwrite(&arguments.out),
                _ => files::unwritable(&arguments.out, &error),
            })?;
        }
        let (file, width) = (arguments.out.display().to_string(), self.width());
        self.show(
            || proposed(&file, &proposal.catalogue, &proposal.notes, width),
            || {
                json!({
                    "file": file, "catalogue": proposal.catalogue, "notes": proposal.notes,
                    "recorded": proposal.is_recorded,
                })
            },
        );
        Ok(Exit::Ok)
    }
}

/// What else has to hear of a name: a project of the Supabase CLI, whose branches and resets know only its folder's files, and
/// TypeScript.
fn elsewhere() -> Vec<String> {
    let folder = Path::new("supabase").join("migrations");
    let emit = format!("app-secrets emit --dir {}", folder.display());
    vec![
        if folder.is_dir() {
            format!(
                "Next: {emit}, which writes the file that tells the Supabase CLI's branches and resets of it"
            )
        } else {
            format!("For the Supabase CLI: {emit}")
        },
        "For TypeScript: app-secrets types --out FILE".into(),
    ]
}

fn refuse_to_overwrite(path: &Path) -> Error {
    Error::Refused(format!("{} is there already; nothing was written. --force overwrites it", path.display()))
}

fn listed(entries: &[CatalogueEntry], width: Option<usize>) -> String {
    let rows = entries.iter().map(|entry| {
        vec![
            entry.name.clone(),
            entry.label.clone(),
            match (entry.is_retired, entry.sealed) {
                (true, _) => "retired".into(),
                (_, true) => "sealed".into(),
                (_, false) => entry.kind.clone(),
            },
            place(entry),
            if entry.is_retired { String::new() } else { count(entry.set) },
        ]
    });
    table(&["secret", "for", "kind", "plaintext", "set"], &[4], rows, width)
}

/// Where plaintext stands, or stood.
fn place(entry: &CatalogueEntry) -> String {
    match (entry.legacy_state.as_str(), &entry.legacy_column, entry.in_place.as_str()) {
        ("dropped", ..) => "dropped".into(),
        ("synced", Some(column), _) => format!("{column}, to be filled"),
        ("filled", Some(column), _) => format!("{column}, kept equal"),
        (_, _, "pending" | "sealing") => "in place, to be sealed".into(),
        _ => "-".into(),
    }
}

fn one(entry: &CatalogueEntry) -> Value {
    json!({
        "name": entry.name,
        "label": entry.label,
        "sealed": entry.sealed,
        "type": entry.kind,
        "legacyColumn": entry.legacy_column,
        "legacyState": entry.legacy_state,
        "inPlace": entry.in_place,
        "retired": entry.is_retired,
        "set": entry.set,
    })
}

fn proposed(file: &str, catalogue: &Value, notes: &[String], width: Option<usize>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let access = match &catalogue["access"] {
        Value::Null => "nobody signed in".to_owned(),
        access => access.get("column").or_else(|| access.get("function")).map_or_else(String::new, text),
    };
    let secrets = catalogue["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = secrets.iter().map(|secret| {
        vec![
            text(&secret["name"]),
            text(&secret["label"]),
            if secret["sealed"] == true { "sealed".into() } else { text(&secret["type"]) },
            text(&secret["legacy_column"]),
        ]
    });
    let mut parts = vec![
        format!("Owner table   {}, key {}", text(&catalogue["owner_table"]), text(&catalogue["owner_key"])),
        format!("Access        {access}"),
        String::new(),
        table(&["secret", "for", "kind", "plaintext column"], &[], rows, width),
    ];
    if !notes.is_empty() {
        parts.push(String::new());
        parts.extend(notes.iter().cloned());
    }
    parts.push(format!(
        "\nWrote {file}. Nothing was changed in the database. Read the file, mend what is wrong, and keep it with the code.\n\
         Next: app-secrets migrate --dry-run"
    ));
    parts.join("\n")
}
