//! Reads .env files, and knows by which variable each secret commonly goes.
//!
//! There are as many dialects as readers. A value is taken where the common ones agree on it, and refused with its line
//! where they do not: a key that was cut off or runs into the next line would be stored without a word.

mod lines;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};
use crate::name::SecretName;
use crate::secret::Listed;
use crate::value;

use self::lines::Line;

/// Variables of providers and their SDKs, and the secret that each is where the database knows one of that name. A secret's own
/// name in upper case always is one.
const ALIASES: [(&str, &str); 11] = [
    ("GOOGLE_GEMINI_API_KEY", "gemini_api_key"),
    ("XAI_API_KEY", "grok_api_key"),
    ("ANTHROPIC_API_KEY", "claude_api_key"),
    ("YT_API_KEY", "youtube_api_key"),
    ("KLING_ACCESS_KEY_ID", "kling_access_key"),
    ("KLING_ACCESS_KEY_SECRET", "kling_secret_key"),
    ("SMS_API_KEY", "global_sms_api_key"),
    ("WHATSAPP_TOKEN", "whatsapp_api_key"),
    ("WHATSAPP_ACCESS_TOKEN", "whatsapp_api_key"),
    ("GOOGLE_OAUTH_ACCESS_TOKEN", "google_access_token"),
    ("GOOGLE_OAUTH_REFRESH_TOKEN", "google_refresh_token"),
];

/// What an import would write.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) entries: Vec<Entry>,
    /// Variables that stand for no secret.
    pub(crate) ignored: Vec<String>,
    /// Variables without a value. A template's empty line is no wish to clear a secret.
    pub(crate) blank: Vec<String>,
}

/// One secret to write.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it stands in the file, from 1.
    pub(crate) line: usize,
    pub(crate) variable: String,
    pub(crate) name: SecretName,
    pub(crate) is_sealed: bool,
    pub(crate) value: SecretString,
    /// It looks like what stands for a key, and is none: a reference that another program resolves, or a template's
    /// placeholder.
    pub(crate) is_doubtful: bool,
}

impl Entry {
    /// The last four characters, under the same rule as everywhere.
    pub(crate) fn masked(&self) -> String {
        let value = self.value.expose_secret();
        let characters = value.chars().count();
        if characters < 12 || !self.is_sealed {
            return "set".to_owned();
        }
        let last4: String = value.chars().skip(characters - 4).collect();
        format!("…{last4}")
    }
}

/// The secret that a variable stands for, among those that there are.
fn secret_of<'a>(variable: &str, known: &'a [Listed]) -> Option<&'a Listed> {
    let own = known.iter().find(|secret| secret.name.as_str().eq_ignore_ascii_case(variable));
    own.or_else(|| {
        let (_, name) = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(variable))?;
        known.iter().find(|secret| secret.name.as_str() == *name)
    })
}

/// Reads the file; `known` are the secrets that the database lists, in its order. No error repeats anything of the file but line
/// numbers and names of variables.
pub(crate) fn read(text: &str, known: &[Listed]) -> Result<Plan> {
    let text = lines::normalised(text);
    let mut plan = Plan::default();
    for Line { number, variable, value } in lines::lines(&text)? {
        let Some(&Listed { name, sealed: is_sealed, .. }) = secret_of(variable, known) else {
            plan.ignored.push(variable.to_owned());
            continue;
        };
        if let Some(entry) = plan.entries.iter().find(|entry| entry.name == name) {
            return Err(malformed(
                number,
                format!("{variable} and {} stand for the same secret", entry.variable),
            ));
        }
        let is_doubtful = is_doubtful(value.expose_secret());
        let value = value::normalise(value.expose_secret()).map_err(|error| malformed(number, error))?;
        match value {
            Some(value) => {
                let variable = variable.to_owned();
                plan.entries.push(Entry { line: number, variable, name, is_sealed, value, is_doubtful });
            }
            None => plan.blank.push(variable.to_owned()),
        }
    }
    plan.entries.sort_by_key(|entry| known.iter().position(|secret| secret.name == entry.name));
    if plan.entries.is_empty() {
        return Err(Error::InvalidArgument(
            "the file sets no secret: see `app-secrets list` for their names".into(),
        ));
    }
    Ok(plan)
}

/// What other programs resolve before a value is used: dotenvx, 1Password, Vault, Berglas, vals, cloud managers.
const SCHEMES: [&str; 12] = [
    "encrypted:",
    "op://",
    "vault:",
    "vault://",
    "bao:",
    "secret:",
    "secret://",
    "ref+",
    "ref://",
    "sm://",
    "arn:aws:secretsmanager:",
    "arn:aws:ssm:",
];

/// Words of templates; no key consists of them.
const PLACEHOLDERS: [&str; 9] =
    ["changeme", "change-me", "change_me", "replaceme", "replace_me", "replace-me", "todo", "xxx", "..."];

fn is_doubtful(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    let is_within = |open: &str, close: &str| {
        value.len() > open.len() + close.len() && value.starts_with(open) && value.ends_with(close)
    };
    let is_variable = value.strip_prefix('$').is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    });
    let brackets =
        [("${", "}"), ("$(", ")"), ("{{", "}}"), ("<", ">"), ("%", "%"), ("@Microsoft.KeyVault(", ")")];
    // Not of JSON, which a service account's key is.
    let is_bracketed = is_within("[", "]") && !value.contains('"');
    let is_template = lower.starts_with("your") && lower.contains(['-', '_', ' ']);
    let is_filler = value.chars().all(|c| matches!(c, 'x' | 'X' | '*' | '.' | '…'));
    is_variable
        || is_bracketed
        || is_template
        || (is_filler && !value.is_empty())
        || brackets.iter().any(|(open, close)| is_within(open, close))
        || SCHEMES.iter().any(|scheme| lower.starts_with(scheme))
        || PLACEHOLDERS.contains(&lower.as_str())
}

fn malformed(number: usize, why: impl fmt::Display) -> Error {
    Error::InvalidArgument(format!("line {number} of the file: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan> {
        let known: Vec<Listed> = ["gemini_api_key", "grok_api_key", "claude_api_key", "stripe_key"]
            .map(|name| Listed {
                name: name.parse().unwrap(),
                label: name.into(),
                sealed: true,
                is_set: false,
                last4: None,
                version: 0,
                updated_at: None,
                last_read_at: None,
                last_checked_at: None,
                check_result: None,
                expires_at: None,
                rotate_every: None,
                can_undo: false,
            })
            .into();
        super::read(text, &known)
    }

    #[test]
    fn a_secret_of_any_name_is_known_and_an_alias_of_none_is_not() {
        let plan = read("STRIPE_KEY=a\nYT_API_KEY=b\n").unwrap();
        let names: Vec<&str> = plan.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["stripe_key"]);
        assert_eq!(plan.ignored, ["YT_API_KEY"]);
    }

    #[test]
    fn variables_are_known_by_the_catalogues_and_by_the_providers_names() {
        let plan = read("XAI_API_KEY=a\ngemini_api_key=b\nexport ANTHROPIC_API_KEY=c\nPORT=3000\n").unwrap();
        let names: Vec<&str> = plan.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["gemini_api_key", "grok_api_key", "claude_api_key"]);
        assert_eq!(plan.ignored, ["PORT"]);
    }

    #[test]
    fn no_error_repeats_a_value() {
        for text in [
            "sk_live_4711",
            "GROK_API_KEY=\"sk_live_4711",
            "sk live 4711 = x",
            "GROK_API_KEY=sk_live_4711\nXAI_API_KEY=sk_live_4711",
            "GROK_API_KEY=\"sk_live\"4711",
            "GROK_API_KEY=sk_live_4711 B=2",
            "PORT=4711",
            &format!("GROK_API_KEY={}4711", "x".repeat(70_000)),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(!error.contains("4711"), "{error}");
        }
        assert!(read("# one\n\nPORT=1\nsk").unwrap_err().to_string().contains("line 4"));
    }

    #[test]
    fn a_blank_value_changes_nothing_and_a_short_one_shows_nothing() {
        let plan = read("GROK_API_KEY=\nGEMINI_API_KEY=short\nCLAUDE_API_KEY=long-enough-4711\n").unwrap();
        let masked: Vec<String> = plan.entries.iter().map(Entry::masked).collect();
        assert_eq!(masked, ["set", "…4711"]);
        assert_eq!(plan.blank, ["GROK_API_KEY"]);
        assert!(!format!("{plan:?}").contains("4711"));
    }

    #[test]
    fn what_only_stands_for_a_key_is_doubtful() {
        for value in [
            "encrypted:BDqDBibm4wsYqMpCjTQ6BsDHmMadg9K3dAt+Z9HPMfLEIRVz50hmLXPXRuDBXaJi/LwWYEVUNiq0HISrslzQPaoyS8Lotg3gFWJTsNCdOWnqpjF2xNUX2RQiP05kAbEXM6MWVjDr",
            "op://prod/gemini/key",
            "${GEMINI}",
            "$GEMINI_KEY",
            "$(pass show gemini)",
            "{{ gemini }}",
            "<your key>",
            "<YOUR_API_KEY>",
            "your-api-key-here",
            "YOUR_KEY",
            "changeme",
            "xxxxxxxx",
            "[YOUR-KEY]",
            "%GEMINI%",
            "arn:aws:secretsmanager:eu-west-1:1:secret:x",
            "ref+vault://a/b",
            "****",
        ] {
            assert!(is_doubtful(value), "{value}");
        }
        for value in [
            "sk$live${X}",
            "AIzaSyA-1234567890",
            "xai-1234567890",
            "1//0g-refresh-token",
            "{\"type\":\"service_account\"}",
            "[\"a\"]",
            "sk-ant-api03-<x>",
            "$2b$10$N9qo8uLOickgx2ZMRZoMye",
        ] {
            assert!(!is_doubtful(value), "{value}");
        }
    }
}
