//! The lines of a .env file: `NAME=value`, with `export`, quotes, `\n` in double quotes, and values of several lines in quotes.
//! Nothing is expanded: a `$` in a key is a `$`.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::malformed;
use crate::error::Result;
use crate::value;

pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) variable: &'a str,
    pub(super) value: SecretString,
    /// Why it depends on the reader what the value is: dotenv, Node.js or python-dotenv. For what is no secret that may be so.
    pub(super) parts: Option<&'static str>,
}

/// Lines end with LF, CRLF, or CR alone.
pub(super) fn normalised(text: &str) -> Zeroizing<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut unix = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\r' {
            characters.next_if_eq(&'\n');
            unix.push('\n');
        } else {
            unix.push(c);
        }
    }
    unix
}

pub(super) fn lines(text: &str) -> Result<Vec<Line<'_>>> {
    let mut found = Vec::new();
    let mut rest = text;
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
        let name = without_export(variable);
        if !is_name(name) {
            return Err(malformed(number, "what stands before = is not the name of a variable"));
        }
        let value = &rest[variable.len() + 1..];
        let Value { text: value, after, parts } = value_of(value).map_err(|why| malformed(number, why))?;
        found.push(Line { number, variable: name, value, parts });
        number += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(found)
}

fn without_export(name: &str) -> &str {
    let name = name.trim();
    let exported = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    exported.map_or(name, str::trim)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value, what comes after its line, and why readers part on it, where they do.
struct Value<'a> {
    text: SecretString,
    after: &'a str,
    parts: Option<&'static str>,
}

type Found<'a> = Result<Value<'a>, &'static str>;

/// The value behind `=`.
fn value_of(text: &str) -> Found<'_> {
    let trimmed = text.trim_start_matches([' ', '\t']);
    match trimmed.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => quoted(&trimmed[1..], quote),
        Some('“' | '”' | '„' | '‘' | '’' | '«' | '»') => {
            Err("its quotes are typographic, which no reader takes for quotes: write \" or '")
        }
        _ => bare(text),
    }
}

fn bare(text: &str) -> Found<'_> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let is_space = |c: char| c == ' ' || c == '\t';
    let mut comment = None;
    let mut before = None;
    let mut parts = None;
    for (at, c) in line.char_indices() {
        if c == '#' {
            match before {
                Some(before) if is_space(before) => {
                    comment = Some(at);
                    break;
                }
                // To dotenv a comment, to python-dotenv the value.
                None => {
                    parts = Some("its value begins with #: put it in quotes, or a space before the comment");
                }
                // Part of the value, as a shell and python-dotenv have it.
                Some(_) => {}
            }
        }
        before = Some(c);
    }
    let value = line[..comment.unwrap_or(line.len())].trim_matches(is_space);
    if value.ends_with('\\') {
        parts = Some(
            "its value ends with a backslash, which some readers take to go on in the next line: put it in quotes",
        );
    }
    let mut words = value.split(is_space).skip(1);
    if words.any(|word| word.split_once('=').is_some_and(|(name, _)| is_name(name))) {
        return Err("there is a second NAME=value in it: put each on a line, or the value in quotes");
    }
    if value.starts_with(is_odd_space) || value.ends_with(is_odd_space) {
        parts =
            Some("there is a space before or behind its value that is no plain one, which some readers keep");
    }
    Ok(Value { text: value.into(), after, parts })
}

/// White space that is none of the plain ones, and what is as wide as nothing.
fn is_odd_space(c: char) -> bool {
    (c.is_whitespace() && !matches!(c, ' ' | '\t')) || matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

fn quoted(body: &str, quote: char) -> Found<'_> {
    let mut value = Zeroizing::new(String::with_capacity(body.len().min(value::MAX_BYTES)));
    let mut characters = body.char_indices().peekable();
    let mut parts = (quote == '`')
        .then_some("its quotes are backticks, which not every reader takes for quotes: write ' or \"");
    while let Some((at, c)) = characters.next() {
        match c {
            _ if c == quote => {
                if swallows_a_line(&body[..at]) {
                    return Err(
                        "its quote is closed only behind another NAME=value: is the closing quote missing?",
                    );
                }
                let (rest, after) = body[at + 1..].split_once('\n').unwrap_or((&body[at + 1..], ""));
                // Readers part over a comment without a space before it.
                let rest = rest.trim_matches([' ', '\t']);
                return if rest.is_empty()
                    || (rest.starts_with('#') && body[at + 1..].starts_with([' ', '\t']))
                {
                    Ok(Value { text: value.as_str().into(), after, parts })
                } else {
                    Err(
                        "there is text behind the closing quote: a quote within the value wants other quotes around it",
                    )
                };
            }
            '\\' if quote == '"' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                // What no reader knows stays as it stands.
                Some((_, other)) => {
                    if is_escape(other) {
                        parts = Some(
                            "there is a backslash in its double quotes that some readers take for an escape: put it in single quotes",
                        );
                    }
                    value.extend(['\\', other]);
                }
                None => break,
            },
            '\\' if quote == '\'' => {
                if matches!(characters.peek(), Some((_, '\\' | '\''))) {
                    parts = Some(
                        "there is a backslash in its single quotes that some readers take for an escape: leave the quotes out, or use `set`",
                    );
                }
                value.push(c);
            }
            _ => value.push(c),
        }
    }
    Err("its quotes are not closed")
}

/// What stands behind a backslash where a reader makes one character of both: python-dotenv or a shell.
const fn is_escape(c: char) -> bool {
    matches!(c, '\\' | '\'' | '"' | 'a' | 'b' | 'f' | 'r' | 't' | 'v' | '$' | '`')
}

/// Whether a quoted text of several lines holds one that sets a variable. The last line of a certificate ends with `=`
/// too, behind letters that make no name with an underscore.
fn swallows_a_line(text: &str) -> bool {
    text.split('\n').skip(1).any(|line| {
        line.split_once('=').is_some_and(|(name, rest)| {
            let name = without_export(name);
            is_name(name) && (name.contains('_') || !rest.trim().trim_end_matches('=').is_empty())
        })
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>> {
        let text = normalised(text);
        let lines = lines(&text)?;
        assert!(
            lines.iter().all(|line| line.parts.is_none()),
            "readers part on {text:?}",
            text = text.as_str()
        );
        Ok(lines
            .iter()
            .map(|line| (line.variable.to_owned(), line.value.expose_secret().to_owned()))
            .collect())
    }

    #[track_caller]
    fn reads(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read(text).unwrap(), expected, "{text:?}");
    }

    #[track_caller]
    fn parts(text: &str) {
        let text = normalised(text);
        assert!(lines(&text).unwrap().iter().any(|line| line.parts.is_some()), "{text:?}");
    }

    #[track_caller]
    fn refuses(text: &str, line: usize) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("line {line} of the file: ")), "{text:?}: {error}");
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        reads("A=sk$live${X}", &[("A", "sk$live${X}")]);
        reads("A = sk-live  # comment", &[("A", "sk-live")]);
        reads("A='a # \"b\"' # c", &[("A", "a # \"b\"")]);
        reads("A=\"a\\nb\\u0041\"", &[("A", "a\nb\\u0041")]);
        reads("\u{feff}# head\r\nA=sk\r\nexport\tB=x", &[("A", "sk"), ("B", "x")]);
        reads("A=\"two\nlines\"\nPORT=1", &[("A", "two\nlines"), ("PORT", "1")]);
        reads("A=it's", &[("A", "it's")]);
        reads("A={\"type\": \"x\", \"b\": 1}", &[("A", "{\"type\": \"x\", \"b\": 1}")]);
    }

    #[test]
    fn a_comment_needs_white_space_before_it_and_may_be_all_there_is() {
        for text in ["A=  # note", "A=\t# note", "A = # sk-ant-…", "A=", "A=\"\" # none yet", "A= "] {
            reads(text, &[("A", "")]);
        }
        reads("A=xai-1\t# live", &[("A", "xai-1")]);
        reads("A=sk#live\nB=sk#", &[("A", "sk#live"), ("B", "sk#")]);
        parts("A=#abc");
        refuses("A=\"abc\"#abc", 1);
    }

    #[test]
    fn what_readers_part_on_is_said() {
        for escape in ["\\t", "\\r", "\\\\", "\\\"", "\\$", "\\a", "\\'"] {
            parts(&format!("A=\"a{escape}b\""));
        }
        for value in
            ["'a\\\\b'", "'ab\\'", "`a\"b'c`", "\u{a0}\"abc\"", "\u{3000}'abc'", "abc\u{a0}", "\u{feff}abc"]
        {
            parts(&format!("A={value}"));
        }
        reads("A='a\\nb'", &[("A", "a\\nb")]);
        reads("A='{\"a\": \"b\\n\"}'", &[("A", "{\"a\": \"b\\n\"}")]);
    }

    #[test]
    fn lines_end_in_three_ways() {
        reads("A=1\rB=2\r\nC=3\nD=4", &[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]);
    }

    #[test]
    fn text_behind_a_closing_quote_is_refused() {
        for text in ["A=\"ab\"cd\"", "A='it's'", "A='it'\\''s'", "A=\"ab\"-1", "A=\"ab\" B=2", "A='a'\"b\""] {
            refuses(text, 1);
        }
    }

    #[test]
    fn a_quote_that_swallows_lines_is_refused_where_it_begins() {
        refuses("X=1\nA='abc\nB='def\n", 2);
        refuses("A=\"abc\nB_C=1\nD=\"\n", 1);
        refuses("A=\"abc\nB=1\nD=\"\n", 1);
        refuses("A=\"abc", 1);
        refuses("A=\"abc\\", 1);
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\nAbCd==\n-----END PRIVATE KEY-----\n";
        reads(&format!("A=\"{pem}\"\nB=1"), &[("A", pem), ("B", "1")]);
    }

    #[test]
    fn two_variables_on_a_line_and_lines_that_go_on_are_refused() {
        refuses("A=1 B=2", 1);
        refuses("A=1\tB_C=2", 1);
        parts("A=abc\\\nB=def");
        refuses("A=“abc”", 1);
        refuses("A=a b=", 1);
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for text in ["sk_live", "1A=x", "a-b=x", "=x", "KEY: x", "export A"] {
            refuses(text, 1);
        }
    }
}
