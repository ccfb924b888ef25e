//! `login` and `access`: who may use secrets, and who did.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::show::{count, moment, plural, table};
use super::{Context, files, times};
use crate::admin::{Access as Read, Login as Listed, Scope, Unusual};
use crate::error::{Error, Result};
use crate::value;

#[derive(Debug, Subcommand)]
pub(crate) enum Login {
    /// Make a login for a service, with a generated password and a scope of just what it needs
    ///
    /// Its connection string goes to a file that only you can read, or to stdout. The server gets a verifier of the
    /// password, never the password itself.
    Add(Add),

    /// List the logins with their scopes, and when they last read
    List,

    /// Lock a login out, end its sessions, and drop it with its scope
    Remove {
        /// As in `login list`
        login: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The login's name, one for each service: letters, digits, `_` and `-`
    login: String,

    /// The secrets that it may read, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    read: Vec<String>,

    /// The secrets that it may write, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    write: Vec<String>,

    /// It may read every secret, also those that are added later
    #[arg(long)]
    read_all: bool,

    /// It may write every secret, also those that are added later
    #[arg(long)]
    write_all: bool,

    /// A new file for the connection string, as APP_SECRETS_URL=…, readable by you alone
    #[arg(long, value_name = "FILE", required_unless_present = "print", conflicts_with = "print")]
    out: Option<PathBuf>,

    /// Print the connection string, and nothing else
    #[arg(long)]
    print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Access {
    /// The business
    #[arg(required_unless_present = "unusual")]
    business: Option<String>,

    /// Only this secret
    #[arg(long, conflicts_with = "unusual")]
    name: Option<String>,

    /// Only reads since then: 2026-01-31, 2026-01-31T12:00:00Z, or 7d ago
    #[arg(long, value_name = "WHEN", conflicts_with = "unusual")]
    since: Option<String>,

    /// Of all businesses: logins that read more than ten times as much today as they usually do
    #[arg(long, conflicts_with = "business")]
    unusual: bool,
}

impl Context<'_> {
    pub(super) async fn login(&mut self, command: Login) -> Result<Exit> {
        match command {
            Login::Add(arguments) => self.add_login(arguments).await?,
            Login::List => {
                let (logins, width) = (self.admin()?.logins().await?, self.width());
                self.show(
                    || listed(&logins, width),
                    || json!({ "logins": logins.iter().map(one).collect::<Vec<_>>() }),
                );
            }
            Login::Remove { login } => {
                let removed = self.admin()?.remove_login(&login).await?;
                let sessions = plural(removed.sessions, "session was", "sessions were");
                self.show(
                    || format!("{login} is removed, with its scope. {sessions} ended."),
                    || json!({ "login": login, "sessionsEnded": removed.sessions }),
                );
            }
        }
        Ok(Exit::Ok)
    }

    async fn add_login(&mut self, arguments: Add) -> Result<()> {
        if arguments.print && self.is_json {
            return Err(Error::Refused("--json never holds a password: use --out with it".into()));
        }
        let scope = Scope {
            reads: scope_of(arguments.read, arguments.read_all),
            writes: scope_of(arguments.write, arguments.write_all),
        };
        let admin = self.admin()?;
        let new = admin.prepare_login(&arguments.login, scope).await?;
        let Some(path) = arguments.out else {
            admin.add_login(&new).await?;
            let end = if self.terminal.shows_out { "\n" } else { "" };
            self.terminal.write(Zeroizing::new(format!("{}{end}", new.url.expose_secret())).as_bytes());
            return Ok(());
        };
        // The file first: a login whose password nobody has would be of no use.
        let text = Zeroizing::new(format!("APP_SECRETS_URL={}\n", new.url.expose_secret()));
        files::create_private(&path, &text).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Refused(format!(
                "{} is there already; nothing was changed. Name a new file",
                path.display()
            )),
            _ => files::unwritable(&path, &error),
        })?;
        if let Err(error) = admin.add_login(&new).await {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let (login, file) = (&new.login, path.display().to_string());
        self.show(
            || {
                format!(
                    "{login} may log in. Its connection string is in {file}, which only you can read: \
                     node --env-file={file} service.js"
                )
            },
            || json!({ "login": login, "file": file }),
        );
        Ok(())
    }

    pub(super) async fn access(&mut self, arguments: Access) -> Result<Exit> {
        let Some(business) = arguments.business else {
            let (found, width) = (self.admin()?.unusual_access().await?, self.width());
            self.show(
                || unusual(&found, width),
                || json!({ "unusual": found.iter().map(one_unusual).collect::<Vec<_>>() }),
            );
            return Ok(if found.is_empty() { Exit::Ok } else { Exit::Pending });
        };
        let business = value::business_id(&business)?;
        let since = arguments.since.as_deref().map(times::since).transpose()?;
        let reads = self.admin()?.access(business, arguments.name.as_deref(), since).await?;
        let width = self.width();
        self.show(
            || accessed(&reads, width),
            || json!({ "reads": reads.iter().map(one_read).collect::<Vec<_>>() }),
        );
        Ok(Exit::Ok)
    }
}

fn scope_of(names: Vec<String>, all: bool) -> Vec<String> {
    let mut names: Vec<String> =
        names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if all {
        names = vec!["*".into()];
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn listed(logins: &[Listed], width: Option<usize>) -> String {
    if logins.is_empty() {
        return "No login may use secrets yet. Next: app-secrets login add".into();
    }
    let names = |names: &[String]| match names {
        [] => "-".to_owned(),
        names if names.iter().any(|name| name == "*") => "all".to_owned(),
        names => names.join(", "),
    };
    let rows = logins.iter().map(|login| {
        vec![
            if login.exists { login.login.clone() } else { format!("{} (no such role)", login.login) },
            names(&login.reads),
            names(&login.writes),
            login.last_read_at.map_or_else(|| "-".to_owned(), moment),
            count(login.sessions),
        ]
    });
    table(&["login", "reads", "writes", "last read", "sessions"], &[4], rows, width)
}

fn one(login: &Listed) -> serde_json::Value {
    json!({
        "login": login.login,
        "exists": login.exists,
        "reads": login.reads,
        "writes": login.writes,
        "lastReadAt": login.last_read_at.map(|at| at.to_string()),
        "sessions": login.sessions,
    })
}

fn accessed(reads: &[Read], width: Option<usize>) -> String {
    if reads.is_empty() {
        return "No read is on record.".into();
    }
    let rows = reads.iter().map(|read| {
        vec![moment(read.last_read_at), read.login.clone(), read.name.clone(), count(read.minutes.into())]
    });
    table(&["last read", "login", "secret", "minutes of the day"], &[3], rows, width)
}

fn one_read(read: &Read) -> serde_json::Value {
    json!({
        "login": read.login,
        "name": read.name,
        "day": read.day,
        "lastReadAt": read.last_read_at.to_string(),
        "minutes": read.minutes,
    })
}

fn unusual(found: &[Unusual], width: Option<usize>) -> String {
    if found.is_empty() {
        return "No login reads more than ten times as much as it usually does.".into();
    }
    let rows =
        found.iter().map(|one| vec![one.login.clone(), count(one.minutes), format!("{:.0}", one.usual)]);
    table(&["login", "minutes today", "usual"], &[1, 2], rows, width)
}

fn one_unusual(found: &Unusual) -> serde_json::Value {
    json!({ "login": found.login, "minutesToday": found.minutes, "usualMinutes": found.usual })
}
