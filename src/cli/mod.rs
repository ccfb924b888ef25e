//! The command line: reads arguments, calls the core, shows what came back. Decides nothing that the core could.
//!
//! A value never comes from an argument and never goes into an error.

mod args;
mod commands;
mod echo;
mod emit;
mod envfile;
mod escape;
mod exit;
mod files;
mod help;
mod logins;
mod names;
mod progress;
mod refusal;
mod rekey;
mod run;
mod secrets;
mod show;
mod signals;
mod terminal;
mod terms;
#[cfg(test)]
mod tests;
mod times;
mod user;

use std::ffi::OsString;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use self::args::{Arguments, Command, Connection};
use self::exit::Exit;
use self::progress::Warnings;
use self::show::json;
use self::signals::Signals;
use self::terminal::Terminal;
use crate::admin::{ADMIN_URL_VARIABLE, Admin, wanted_catalogue};
use crate::config::{Config, Options, Pooler};
use crate::error::{Error, Result};

/// Runs a command line, program name first, on this process's streams. Gives the exit code. Arguments that are no UTF-8 are
/// taken from the process itself, where they are its last.
pub async fn run(arguments: Vec<String>) -> i32 {
    let arguments = as_given(arguments, std::env::args_os().collect());
    let mut terminal = Terminal::of_process();
    match Signals::listen() {
        Ok(signals) => run_on(arguments, &mut terminal, signals).await as i32,
        Err(error) => {
            terminal.note(format!("error: no thread can be started ({})", error.kind()));
            Exit::Failed as i32
        }
    }
}

/// The arguments as the process was given them. `lossy` are those of JavaScript, whose strings cannot hold what is no UTF-8, and
/// whose program name is another.
fn as_given(lossy: Vec<String>, given: Vec<OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = lossy.into_iter().map(OsString::from).collect();
    let count = arguments.len().saturating_sub(1);
    let skipped = given.len().saturating_sub(count);
    for (argument, given) in arguments.iter_mut().skip(1).zip(given.into_iter().skip(skipped)) {
        if given.to_string_lossy() == argument.to_string_lossy() {
            *argument = given;
        }
    }
    arguments
}

async fn run_on(arguments: Vec<OsString>, terminal: &mut Terminal, signals: Signals) -> Exit {
    let is_bare = arguments.len() <= 1;
    let wants_json =
        arguments.iter().skip(1).take_while(|argument| *argument != "--").any(|one| one == "--json");
    let exit = match Arguments::try_parse_from(arguments) {
        Err(error) => refusal::show(&error, wants_json, terminal),
        Ok(Arguments { command: None, .. }) if !is_bare => refusal::no_command(wants_json, terminal),
        Ok(Arguments { command, connection, json: is_json }) => {
            let name = command.as_ref().map_or("status", name_of);
            let mut context =
                Context { terminal, connection, is_json, signals, name, warnings: Warnings::default() };
            context.warn_of_password();
            match command {
                Some(command) => context.finish(command).await,
                None => context.overview().await,
            }
        }
    };
    match terminal.failure() {
        Some(error) => {
            let why =
                format!("the result cannot be written: {error}. What the command has changed stays changed");
            terminal.note(if wants_json {
                json::document("app-secrets", json::error(&Error::Config(why)))
            } else {
                format!("error: {why}")
            });
            Exit::Failed
        }
        None => exit,
    }
}

/// What every command needs.
pub(crate) struct Context<'a> {
    pub(crate) terminal: &'a mut Terminal,
    connection: Connection,
    pub(crate) is_json: bool,
    signals: Signals,
    name: &'static str,
    /// For JSON, whose document says them; others read them as they come.
    warnings: Warnings,
}

impl Context<'_> {
    async fn finish(&mut self, command: Command) -> Exit {
        match self.run(command).await {
            Ok(exit) => exit,
            Err(error) => {
                self.fail(&error);
                Exit::from(&error)
            }
        }
    }

    /// What a bare `app-secrets` shows: the status where there is a connection, and a short help where there is none.
    async fn overview(&mut self) -> Exit {
        if self.variable(ADMIN_URL_VARIABLE).is_none() {
            self.terminal.say(help::SHORT);
            return Exit::Ok;
        }
        match self.status().await {
            Ok(exit) => exit,
            Err(error) => {
                self.terminal.say(help::SHORT);
                self.terminal.note(format!("\nerror: {error}"));
                Exit::from(&error)
            }
        }
    }

    async fn run(&mut self, command: Command) -> Result<Exit> {
        match command {
            Command::Status => self.status().await,
            Command::Migrate(options) if options.drop_legacy => self.drop_legacy(options).await,
            Command::Migrate(options) => self.migrate(options).await,
            Command::Verify { fix_orphans, put_back, sessions } => {
                self.verify(fix_orphans, put_back, &sessions).await
            }
            Command::Scrub(options) => self.scrub(options).await,
            Command::Rollback(options) => self.rollback(options).await,
            Command::Doctor { full } => self.doctor(full).await,
            Command::History { business, name, limit } => self.history(business, name, limit).await,
            Command::List { business: Some(business), .. } => self.list(&business).await,
            Command::List { due, .. } => self.due(due.as_deref().unwrap_or("14d")).await,
            Command::Undo(options) => self.undo(options).await,
            Command::Get { business, name, reveal } => self.get(&business, &name, reveal).await,
            Command::Set(options) => self.set(options).await,
            Command::Unset { business, name, expected_version, purge } => {
                self.unset(&business, &name, expected_version, purge).await
            }
            Command::Import(options) => self.import(options).await,
            Command::Names { command } => self.names(command).await,
            Command::Types(options) => self.types(options).await,
            Command::Init(options) => self.init(options).await,
            Command::Login { command } => self.login(command).await,
            Command::Emit(options) => self.emit(options).await,
            Command::Rekey { command } => self.rekey(command).await,
            Command::Access(options) => self.access(options).await,
            Command::Run(options) => self.run_command(options).await,
            Command::Completions { shell } => {
                // Into memory first: the generator does not expect a writer to fail.
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "app-secrets", &mut script);
                self.terminal.write(&script);
                Ok(Exit::Ok)
            }
        }
    }

    /// The migration role.
    pub(crate) fn admin(&self) -> Result<Admin> {
        let url = self.connection.url.clone().or_else(|| self.variable(ADMIN_URL_VARIABLE));
        let url = url.ok_or_else(|| {
            Error::Config(format!(
                "no connection for the migration role: set {ADMIN_URL_VARIABLE} to a direct connection as the owner of \
                 the tables (`postgres` on Supabase)"
            ))
        })?;
        Ok(Admin::new(self.config(Some(url))?))
    }

    /// The migration role, and the catalogue that is wanted: the file that was named, else `app-secrets.json` where it is.
    /// It counts only until the database knows its own.
    pub(crate) fn admin_with_catalogue(&self) -> Result<Admin> {
        let catalogue = wanted_catalogue(self.connection.config.as_deref())?;
        Ok(self.admin()?.with_catalogue(catalogue))
    }

    /// The service login, where there is one.
    pub(crate) fn service(&self) -> Result<Config> {
        let has_own = crate::config::URL_VARIABLES.iter().any(|name| self.variable(name).is_some());
        let admin = || self.variable(ADMIN_URL_VARIABLE).filter(|_| !has_own);
        self.config(self.connection.url.clone().or_else(admin))
    }

    /// As [`service`](Self::service), without falling back to another login.
    pub(crate) fn service_only(&self) -> Result<Option<Config>> {
        match self.variable("APP_SECRETS_URL") {
            Some(url) => self.config(Some(url)).map(Some),
            None => Ok(None),
        }
    }

    fn config(&self, url: Option<String>) -> Result<Config> {
        let actor = self.connection.actor.clone().or_else(|| user::of_system(|name| self.variable(name)));
        let options = Options {
            url: url.map(Into::into),
            ca: self.connection.ca.clone(),
            allow_insecure: self.connection.allow_insecure,
            max_connections: Some(1),
            timeout_ms: self.connection.timeout_ms,
            pooler: Pooler::Auto,
            application_name: Some("app-secrets".into()),
            actor,
            ..Options::default()
        };
        Config::new(options, |name| self.variable(name))
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.terminal.env)(name).filter(|value| !value.trim().is_empty())
    }

    fn warn_of_password(&mut self) {
        if !self.connection.url.as_deref().is_some_and(has_password) {
            return;
        }
        let warning = format!(
            "everybody on this machine can read the password of --url in the process list; set {ADMIN_URL_VARIABLE} or \
             APP_SECRETS_URL instead"
        );
        if self.is_json {
            self.warnings.add(&warning);
        } else {
            self.terminal.note(format!("warning: {warning}"));
        }
    }

    /// Shows a result, in the form that was asked for.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String, content: impl FnOnce() -> Value) {
        if self.is_json {
            let document = self.document(content());
            self.terminal.write(format!("{document}\n").as_bytes());
        } else {
            self.terminal.say(text());
        }
    }

    /// With what there was to warn of, where there was something.
    fn document(&self, mut content: Value) -> String {
        let warnings = self.warnings.take();
        if let (false, Some(fields)) = (warnings.is_empty(), content.as_object_mut()) {
            let all = fields.entry("warnings").or_insert_with(|| Value::Array(Vec::new()));
            if let Some(all) = all.as_array_mut() {
                all.extend(warnings.into_iter().map(Value::from));
            }
        }
        json::document(self.name, content)
    }

    /// Says which database this is about to happen to, before it does.
    pub(crate) fn head(&mut self, config: &Config) {
        if !self.is_json {
            self.terminal.note(config.endpoint.title());
        }
    }

    /// The columns that the result may have.
    pub(crate) fn width(&self) -> Option<usize> {
        self.terminal.width()
    }

    fn fail(&mut self, error: &Error) {
        if self.is_json {
            let document = self.document(json::error(error));
            return self.terminal.note(document);
        }
        self.terminal.note(format!("error: {error}"));
        if error.is_transient() && matches!(self.name, "migrate" | "rollback" | "scrub") {
            self.terminal
                .note("What was committed stays: run the same command again, it goes on where it stopped.");
        }
    }
}

/// Whether a connection string that may be malformed holds one.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let credentials = rest.rsplit_once('@').map_or("", |(credentials, _)| credentials);
    credentials.contains(':') || rest.contains("password=")
}

const fn name_of(command: &Command) -> &'static str {
    match command {
        Command::Status => "status",
        Command::Migrate(_) => "migrate",
        Command::Verify { .. } => "verify",
        Command::Scrub(_) => "scrub",
        Command::Rollback(_) => "rollback",
        Command::Doctor { .. } => "doctor",
        Command::List { .. } => "list",
        Command::Get { .. } => "get",
        Command::Set(_) => "set",
        Command::Unset { .. } => "unset",
        Command::Undo(_) => "undo",
        Command::Import(_) => "import",
        Command::History { .. } => "history",
        Command::Names { .. } => "names",
        Command::Types(_) => "types",
        Command::Init(_) => "init",
        Command::Login { .. } => "login",
        Command::Access(_) => "access",
        Command::Run(_) => "run",
        Command::Emit(_) => "emit",
        Command::Rekey { .. } => "rekey",
        Command::Completions { .. } => "completions",
    }
}
