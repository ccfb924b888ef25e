//! Runs a command with a business's secrets in its environment.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;
#[cfg(unix)]
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::Context;
use super::args::Run;
use super::exit::Exit;
use crate::admin::ADMIN_URL_VARIABLE;
use crate::error::{Error, Result};
use crate::name::{NameSet, SecretName};
use crate::value;

impl Context<'_> {
    pub(super) async fn run_command(&mut self, arguments: Run) -> Result<Exit> {
        if self.is_json {
            return Err(Error::Refused("--json never holds a value: leave it out with run".into()));
        }
        let business = arguments.business.or(arguments.business_option).unwrap_or_default();
        let business = value::business_id(&business)?;
        let variables = Variables::new(&arguments.map)?;
        let client = self.client()?;
        let all = client.list(business).await?;
        if variables.0.keys().any(|name| all.iter().all(|listed| listed.name != *name)) {
            return Err(Error::InvalidArgument(
                "--map names a secret that there is not, or not for this login".into(),
            ));
        }
        variables.require_one_each(all.iter().map(|listed| listed.name))?;
        let set: NameSet = all.iter().filter(|listed| listed.is_set).map(|listed| listed.name).collect();
        // In one snapshot: of a pair that is replaced meanwhile, both or neither.
        let values = if set.is_empty() { Vec::new() } else { client.get_many(business, set).await? };
        let given: BTreeMap<String, SecretString> =
            values.into_iter().filter_map(|(name, value)| Some((variables.of(name), value?))).collect();
        client.close().await;
        let names: Vec<&str> = given.keys().map(String::as_str).collect();
        self.terminal.note(if names.is_empty() {
            "warning: no secret of this business is set; the command gets none".to_owned()
        } else {
            format!(
                "warning: the command, all that it starts and whoever may look at its process can read {}",
                names.join(", ")
            )
        });
        let Some((program, rest)) = arguments.command.split_first() else {
            return Err(Error::InvalidArgument("there is no command behind --".into()));
        };
        let mut command = Command::new(program);
        // Who works with a business's secrets is not to work as the migration role.
        command.args(rest).env_remove(ADMIN_URL_VARIABLE);
        for (variable, value) in &given {
            command.env(variable, value.expose_secret());
        }
        drop(given);
        let error = replace_process(&mut command);
        self.fail(&Error::Config(format!("the command cannot be started: {error}")));
        // As shells and `env` have it.
        Ok(if error.kind() == ErrorKind::NotFound { Exit::CommandNotFound } else { Exit::CommandNotRun })
    }
}

/// The command takes this process's place: its signals, its terminal and its exit code are then its own, and no copy of
/// a value stays behind in here.
#[cfg(unix)]
fn replace_process(command: &mut Command) -> std::io::Error {
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;
    // Node.js marks its own three streams to be closed with it: copies of them take their place.
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for (stream, number) in [(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)] {
        let copy = match stream.try_clone_to_owned() {
            Ok(copy) => copy,
            Err(error) => return error,
        };
        match number {
            0 => command.stdin(copy),
            1 => command.stdout(copy),
            _ => command.stderr(copy),
        };
    }
    unignore(signal_hook::consts::SIGXFSZ);
    command.exec()
}

/// Node.js ignores some signals, and a command inherits that. One that is caught, by whatever, is the default again in it. SIGPIPE
/// the standard library sets as it was.
#[cfg(unix)]
fn unignore(signal: i32) {
    // Ignored is what it then is.
    let _ = signal_hook::flag::register(signal, Arc::default());
}

#[cfg(not(unix))]
fn replace_process(command: &mut Command) -> std::io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// Which variable each secret goes into.
struct Variables(BTreeMap<SecretName, String>);

impl Variables {
    fn new(map: &[String]) -> Result<Self> {
        let mut variables = BTreeMap::new();
        for one in map {
            let (name, variable) = one.split_once('=').ok_or_else(|| {
                Error::InvalidArgument("--map wants NAME=VARIABLE, such as stripe_key=STRIPE_API_KEY".into())
            })?;
            let name: SecretName = name.trim().parse()?;
            let variable = variable.trim();
            let is_name = !variable.is_empty()
                && !variable.starts_with(|c: char| c.is_ascii_digit())
                && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name {
                return Err(Error::InvalidArgument(
                    "--map: a variable's name has letters, digits and underscores, and begins with no digit"
                        .into(),
                ));
            }
            if variables.insert(name, variable.to_owned()).is_some() {
                return Err(Error::InvalidArgument(format!("--map names {name} twice")));
            }
        }
        Ok(Self(variables))
    }

    /// Refuses a variable that two of these secrets would go into.
    fn require_one_each(&self, names: impl Iterator<Item = SecretName>) -> Result<()> {
        let mut taken: Vec<String> = names.map(|name| self.of(name)).collect();
        taken.sort();
        match taken.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::InvalidArgument(format!("--map gives {} two secrets", pair[0]))),
            None => Ok(()),
        }
    }

    fn of(&self, name: SecretName) -> String {
        self.0.get(&name).cloned().unwrap_or_else(|| name.as_str().to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    fn variables(map: &[&str]) -> Result<Variables> {
        let variables = Variables::new(&map.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())?;
        variables.require_one_each(["gemini_api_key", "grok_api_key"].map(name).into_iter())?;
        Ok(variables)
    }

    #[test]
    fn a_secret_goes_by_its_name_in_upper_case_or_as_it_is_mapped() {
        let variables = variables(&["grok_api_key=XAI_API_KEY"]).unwrap();
        assert_eq!(variables.of(name("grok_api_key")), "XAI_API_KEY");
        assert_eq!(variables.of(name("gemini_api_key")), "GEMINI_API_KEY");
    }

    #[test]
    fn what_is_mapped_has_to_be_clear() {
        for map in [
            &["grok_api_key"][..],
            &["grok_api_key="],
            &["grok_api_key=1A"],
            &["grok_api_key=A-B"],
            &["grok_api_key=A", "grok_api_key=B"],
            &["grok_api_key=A", "gemini_api_key=A"],
            &["grok_api_key=GEMINI_API_KEY"],
        ] {
            assert_eq!(
                variables(map).err().map(|error| error.code()),
                Some(Code::InvalidArgument),
                "{map:?}"
            );
        }
    }
}
