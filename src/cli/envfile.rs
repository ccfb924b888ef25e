//! Reads .env files, and knows by which variable each secret commonly goes.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::catalogue::SecretName;
use crate::error::{Error, Result};
use crate::value;

/// Names that providers and their SDKs use besides the catalogue's own in upper case.
const ALIASES: [(&str, SecretName); 11] = [
    ("GOOGLE_GEMINI_API_KEY", SecretName::GeminiApiKey),
    ("XAI_API_KEY", SecretName::GrokApiKey),
    ("ANTHROPIC_API_KEY", SecretName::ClaudeApiKey),
    ("YT_API_KEY", SecretName::YoutubeApiKey),
    ("KLING_ACCESS_KEY_ID", SecretName::KlingAccessKey),
    ("KLING_ACCESS_KEY_SECRET", SecretName::KlingSecretKey),
    ("SMS_API_KEY", SecretName::GlobalSmsApiKey),
    ("WHATSAPP_TOKEN", SecretName::WhatsappApiKey),
    ("WHATSAPP_ACCESS_TOKEN", SecretName::WhatsappApiKey),
    ("GOOGLE_OAUTH_ACCESS_TOKEN", SecretName::GoogleAccessToken),
    ("GOOGLE_OAUTH_REFRESH_TOKEN", SecretName::GoogleRefreshToken),
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
    pub(crate) variable: String,
    pub(crate) name: SecretName,
    pub(crate) value: SecretString,
}

impl Entry {
    /// The last four characters, under the same rule as everywhere.
    pub(crate) fn masked(&self) -> String {
        let value = self.value.expose_secret();
        let characters = value.chars().count();
        if characters < 12 || !self.name.entry().sealed {
            return "set".to_owned();
        }
        let last4: String = value.chars().skip(characters - 4).collect();
        format!("…{last4}")
    }
}

/// The secret that a variable stands for.
fn secret_of(variable: &str) -> Option<SecretName> {
    let upper = variable.to_ascii_uppercase();
    let own = SecretName::ALL.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(variable));
    own.or_else(|| ALIASES.iter().find(|(alias, _)| *alias == upper).map(|(_, name)| *name))
}

/// Reads the file. No error repeats anything of it but line numbers and names of variables.
pub(crate) fn read(text: &str) -> Result<Plan> {
    let mut plan = Plan::default();
    for Line { number, variable, value } in lines(text)? {
        let Some(name) = secret_of(variable) else {
            plan.ignored.push(variable.to_owned());
            continue;
        };
        if let Some(entry) = plan.entries.iter().find(|entry| entry.name == name) {
            return Err(malformed(
                number,
                format!("{variable} and {} stand for the same secret", entry.variable),
            ));
        }
        let value = value::normalise(value.expose_secret()).map_err(|error| malformed(number, error))?;
        match value {
            Some(value) => plan.entries.push(Entry { variable: variable.to_owned(), name, value }),
            None => plan.blank.push(variable.to_owned()),
        }
    }
    plan.entries.sort_by_key(|entry| entry.name);
    if plan.entries.is_empty() {
        return Err(Error::InvalidArgument(
            "the file sets no secret: see `app-secrets list` for their names".into(),
        ));
    }
    Ok(plan)
}

struct Line<'a> {
    number: usize,
    variable: &'a str,
    value: SecretString,
}

/// `NAME=value`, with `export`, quotes, escapes in double quotes, and values of several lines in quotes. Nothing is
/// expanded: a `$` in a key is a `$`.
fn lines(text: &str) -> Result<Vec<Line<'_>>> {
    let mut found = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut number = 1;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            (rest, number) = (after, number + 1);
            continue;
        }
        let Some((variable, _)) = line.split_once('=') else {
            return Err(malformed(number, "it is not NAME=value"));
        };
        let name = variable.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(malformed(number, "what stands before = is not the name of a variable"));
        }
        let raw = rest[variable.len() + 1..].trim_start_matches([' ', '\t']);
        let (value, after) = value_of(raw).ok_or_else(|| malformed(number, "its quotes are not closed"))?;
        found.push(Line { number, variable: name, value });
        number += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(found)
}

/// The value at the beginning of the text, and what comes after its line.
fn value_of(text: &str) -> Option<(SecretString, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let Some(quote) = quote else {
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        let value = line.split_once(" #").map_or(line, |(value, _)| value);
        return Some((value.trim().into(), after));
    };
    let body = &text[1..];
    let mut value = zeroize::Zeroizing::new(String::with_capacity(body.len().min(value::MAX_BYTES)));
    let mut characters = body.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => {
                let after = body[at + 1..].split_once('\n').map_or("", |(_, after)| after);
                return Some((value.as_str().into(), after));
            }
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                other @ ('"' | '\\' | '$') => value.push(other),
                other => value.extend(['\\', other]),
            },
            _ => value.push(c),
        }
    }
    None
}

fn malformed(number: usize, why: impl fmt::Display) -> Error {
    Error::InvalidArgument(format!("line {number} of the file: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> String {
        let plan = read(text).unwrap();
        assert_eq!(plan.entries.len(), 1);
        plan.entries[0].value.expose_secret().to_owned()
    }

    #[test]
    fn variables_are_known_by_the_catalogues_and_by_the_providers_names() {
        let plan = read("XAI_API_KEY=a\ngemini_api_key=b\nexport ANTHROPIC_API_KEY=c\nPORT=3000\n").unwrap();
        let names: Vec<&str> = plan.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["gemini_api_key", "grok_api_key", "claude_api_key"]);
        assert_eq!(plan.ignored, ["PORT"]);
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (text, value) in [
            ("GROK_API_KEY=sk$live${X}", "sk$live${X}"),
            ("GROK_API_KEY = sk-live  # comment", "sk-live"),
            ("GROK_API_KEY=sk#live", "sk#live"),
            ("GROK_API_KEY='a # \"b\"' # c", "a # \"b\""),
            ("GROK_API_KEY=\"a\\nb\\\"\\$\"", "a\nb\"$"),
            ("\u{feff}# head\r\nGROK_API_KEY=sk\r\n", "sk"),
            ("GROK_API_KEY=\"two\nlines\"\nPORT=1", "two\nlines"),
        ] {
            assert_eq!(read_one(text), value, "{text}");
        }
    }

    #[test]
    fn no_error_repeats_a_value() {
        for text in [
            "sk_live_4711",
            "GROK_API_KEY=\"sk_live_4711",
            "sk live 4711 = x",
            "GROK_API_KEY=sk_live_4711\nXAI_API_KEY=sk_live_4711",
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
}
