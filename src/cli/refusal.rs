//! Shows help, and what is wrong with a command line. Repeats an argument only where it cannot be a value.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::Exit;
use super::show::json;
use super::terminal::Terminal;
use crate::error::Error;

const SHELLS: &str = ": bash, elvish, fish, powershell or zsh";

pub(super) fn show(error: &clap::Error, wants_json: bool, terminal: &mut Terminal) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Fitted already, by what prints it.
            terminal.write(format!("{}\n", error.render().to_string().trim_end()).as_bytes());
            Exit::Ok
        }
        kind if wants_json => document(&reason(error, kind), terminal),
        kind => {
            terminal.note(format!("error: {}", reason(error, kind)));
            if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
                terminal.note(format!("\n{usage}"));
            }
            terminal.note("\nFor more: app-secrets --help");
            Exit::Failed
        }
    }
}

/// A command line of options alone.
pub(super) fn no_command(wants_json: bool, terminal: &mut Terminal) -> Exit {
    let why = "there is no command";
    if wants_json {
        return document(why, terminal);
    }
    terminal.note(format!("error: {why}\n\nFor more: app-secrets --help"));
    Exit::Failed
}

/// As every other error under --json.
fn document(why: &str, terminal: &mut Terminal) -> Exit {
    let error = Error::InvalidArgument(format!("{why}; see app-secrets --help"));
    terminal.note(json::document("app-secrets", json::error(&error)));
    Exit::Failed
}

fn reason(error: &clap::Error, kind: ErrorKind) -> String {
    let argument = harmless(error, ContextKind::InvalidArg);
    let suggestion =
        match error.get(ContextKind::SuggestedArg).or_else(|| error.get(ContextKind::SuggestedSubcommand)) {
            Some(ContextValue::String(text)) => format!("; did you mean {text}?"),
            Some(ContextValue::Strings(texts)) if !texts.is_empty() => {
                format!("; did you mean {}?", texts.join(" or "))
            }
            _ => String::new(),
        };
    match kind {
        ErrorKind::MissingRequiredArgument => {
            let shells = if argument.as_deref() == Some("<SHELL>") { SHELLS } else { "" };
            format!("missing: {}{shells}", argument.unwrap_or_else(|| "an argument".into()))
        }
        ErrorKind::UnknownArgument => match argument {
            Some(argument) => format!("unknown argument {argument}{suggestion}"),
            None => "an argument too many; a value never goes on the command line: pipe it to `set`".into(),
        },
        ErrorKind::InvalidSubcommand => format!("no such command{suggestion}"),
        ErrorKind::ArgumentConflict => match argument {
            Some(argument) => format!("{argument} does not go with the other arguments"),
            None => "arguments that do not go together".into(),
        },
        _ => match argument {
            Some(argument) if argument == "<SHELL>" => format!("no such shell{SHELLS}"),
            Some(argument) => format!("{argument} has a value that it cannot have"),
            None => "the arguments are not understood".into(),
        },
    }
}

/// The argument, where it is one of ours or looks like a flag. Anything else may be a secret in the wrong place.
fn harmless(error: &clap::Error, kind: ContextKind) -> Option<String> {
    let text = match error.get(kind)? {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        _ => return None,
    };
    let text = text.split('=').next().unwrap_or_default().trim().to_owned();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let is_flag = text.strip_prefix("--").is_some_and(|flag| flag.len() <= 24 && flag.chars().all(is_name));
    let is_ours = text.starts_with("--") && text.contains(" <") || text.starts_with('<');
    (is_flag || is_ours).then_some(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Arguments;
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let all = ["app-secrets"].iter().chain(arguments);
        let error = Arguments::try_parse_from(all).unwrap_err();
        reason(&error, error.kind())
    }

    #[test]
    fn no_refusal_repeats_what_may_be_a_value() {
        for arguments in [
            &["set", "id", "grok_api_key", "--value=sk_live_4711"][..],
            &["set", "id", "grok_api_key", "--sk_live_4711"],
            &["set", "id", "grok_api_key", "-sk_live_4711"],
            &["get", "id", "grok_api_key", "sk_live_4711"],
            &["sk_live_4711"],
            &["migrate", "--batch", "sk_live_4711"],
            &["migrate", "--to=sk_live_4711"],
        ] {
            let text = refused(arguments);
            assert!(!text.contains("4711"), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        assert_eq!(refused(&["get", "id"]), "missing: <NAME>");
        assert_eq!(refused(&["status", "--jsn"]), "unknown argument --jsn; did you mean --json?");
        assert_eq!(refused(&["completions"]), "missing: <SHELL>: bash, elvish, fish, powershell or zsh");
        assert_eq!(refused(&["completions", "csh"]), "no such shell: bash, elvish, fish, powershell or zsh");
        assert_eq!(refused(&["statsu"]), "no such command; did you mean status?");
        assert_eq!(refused(&["migrate", "--batch", "x"]), "--batch <N> has a value that it cannot have");
        assert_eq!(refused(&["history", "--limit", "-1"]), "--limit <N> has a value that it cannot have");
        assert_eq!(refused(&["migrate", "--batch", "-5"]), "--batch <N> has a value that it cannot have");
        assert!(refused(&["migrate", "--yes-drop-plaintext", "app"]).starts_with("missing: --drop-legacy"));
        assert!(refused(&["migrate", "--drop-legacy", "--to", "3"]).contains("does not go with"));
    }
}
