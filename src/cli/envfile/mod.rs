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

impl Plan {
    /// What looks as if it only stood for a key.
    pub(crate) fn doubtful(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_doubtful)
    }
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
    for Line { number, variable, value, parts } in lines::lines(&text)? {
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
        if let Some(why) = parts {
            return Err(malformed(number, why));
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

/// How values begin that other programs resolve before they are used: dotenvx, 1Password, Vault, SOPS, Ansible, Berglas, vals, cloud
/// managers. In lower case.
const REFERENCES: [&str; 20] = [
    "encrypted:",
    "enc[",
    "enc(",
    "$ansible_vault;",
    "!vault",
    "vault:",
    "bao:",
    "secret:",
    "secretref:",
    "secret_ref:",
    "valuefrom:",
    "ref+",
    "vals:",
    "ssm:",
    "arn:aws",
    "env:",
    "file:",
    "$env:",
    "process.env.",
    "/run/secrets/",
];

/// What stands around the name of what is meant.
const BRACKETS: [(&str, &str); 11] = [
    ("${", "}"),
    ("$(", ")"),
    ("{{", "}}"),
    ("{%", "%}"),
    ("#{", "}"),
    ("<", ">"),
    ("%", "%"),
    ("__", "__"),
    ("@@", "@@"),
    ("`", "`"),
    ("@Microsoft.KeyVault(", ")"),
];

/// Words that templates address their reader with, between other words or letters.
const TEMPLATE_WORDS: [&str; 8] =
    ["your", "replace", "insert", "placeholder", "changeme", "replaceme", "redacted", "fixme"];

/// Words of which no key consists, together with those above.
const OTHER_WORDS: [&str; 34] = [
    "a",
    "access",
    "add",
    "api",
    "apikey",
    "change",
    "dummy",
    "enter",
    "example",
    "fake",
    "here",
    "key",
    "me",
    "my",
    "n/a",
    "nil",
    "none",
    "null",
    "paste",
    "put",
    "sample",
    "secret",
    "sk",
    "some",
    "tbd",
    "test",
    "the",
    "this",
    "todo",
    "token",
    "undefined",
    "value",
    "with",
    "xxx",
];

fn is_doubtful(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_lowercase();
    !value.is_empty()
        && (is_reference(value, &lower) || is_bracketed(value) || is_cut(&lower) || is_template(&lower))
}

fn is_reference(value: &str, lower: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_variable = value.trim_start_matches('$').chars().all(is_word) && value.starts_with('$');
    is_variable
        || is_address(lower)
        || (lower.starts_with("projects/") && lower.contains("/secrets/"))
        || REFERENCES.iter().any(|start| lower.starts_with(start))
}

/// `op://vault/item`: an address of something. A webhook's and a connection string with its login are secrets themselves.
fn is_address(lower: &str) -> bool {
    let Some((scheme, rest)) = lower.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphanumeric())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme && scheme != "https" && !rest.split('/').next().is_some_and(|place| place.contains('@'))
}

fn is_bracketed(value: &str) -> bool {
    let is_within = |open: &str, close: &str| {
        value.len() > open.len() + close.len() && value.starts_with(open) && value.ends_with(close)
    };
    // Not of JSON, which a service account's key is.
    BRACKETS.iter().any(|(open, close)| is_within(open, close))
        || (is_within("[", "]") && !value.contains('"'))
}

/// Shown in part, as consoles and manuals show keys.
fn is_cut(lower: &str) -> bool {
    let is_filler = |c: char| matches!(c, 'x' | '*' | '.' | '…' | '•' | '●' | '-' | '_' | '?' | '#');
    lower.chars().all(is_filler)
        || ["...", "…", "***", "•", "●", "xxxxxx"].iter().any(|end| lower.ends_with(end))
        || ["...", "…", "***", "•", "●"].iter().any(|start| lower.starts_with(start))
}

/// `sk-your-key-here`, `REPLACE_WITH_YOUR_KEY`, `my-api-key`, `null`.
fn is_template(lower: &str) -> bool {
    let mut words = lower.split(['-', '_', ' ', '.', ':']).filter(|word| !word.is_empty()).peekable();
    let is_any = words.clone().any(|word| TEMPLATE_WORDS.contains(&word));
    is_any || (words.peek().is_some() && words.all(|word| OTHER_WORDS.contains(&word)))
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
    fn what_readers_part_on_is_refused_where_it_is_a_secret() {
        let refused = read("PORT=1\nGROK_API_KEY=\"a\\tb\"").unwrap_err().to_string();
        assert!(refused.starts_with("line 2 of the file: "), "{refused}");
        for secret in ["#abc", "abc\\"] {
            assert!(read(&format!("GROK_API_KEY={secret}\nPORT=1")).is_err(), "{secret}");
        }
        let plan = read("GREETING=\"a\\tb\"\nCOLOUR=#fff\nFOLDER=C:\\dir\\\nGROK_API_KEY=abc").unwrap();
        assert_eq!(plan.ignored, ["GREETING", "COLOUR", "FOLDER"]);
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
            "ENC[AES256_GCM,data:abc=,iv:def=,tag:ghi=,type:str]",
            "ENC(abcdef)",
            "$ANSIBLE_VAULT;1.1;AES256",
            "projects/123/secrets/xai/versions/latest",
            "arn:aws-us-gov:ssm:us:1:parameter/x",
            "doppler://x/y",
            "aws-ssm:///prod/x",
            "1password://x",
            "file:///run/secrets/x",
            "$xai_key",
            "$$XAI",
            "__XAI_KEY__",
            "{% x %}",
            "`pass show xai`",
            "sk-ant-...",
            "xai-…",
            "…4711",
            "sk-ant-***",
            "sk-your-key-here",
            "sk-xxxxxxxxxxxxxxxx",
            "REPLACE_WITH_YOUR_KEY",
            "insert-your-key-here",
            "my-api-key",
            "REDACTED",
            "••••••••",
            "null",
            "placeholder",
            "changeme",
            "Change-Me",
            "TODO",
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
            "https://hooks.slack.com/services/T000/B000/abcdef",
            "postgres://app:pw@db.example.com/app",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
            "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
            "EAAyourGZB",
            "2031-01-01T00:00:00Z",
        ] {
            assert!(!is_doubtful(value), "{value}");
        }
    }
}
