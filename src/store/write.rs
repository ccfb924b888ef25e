//! Writing secrets: all of one call, or none.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::statements::in_transaction;
use super::{Context, Fault, Statement, decode, sql};
use crate::name::SecretName;
use crate::secret::{Values, Versions};

/// Values of one business to write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) business: Uuid,
    /// `None` clears.
    pub(crate) values: Values,
    /// The versions that must still hold.
    pub(crate) expected: Versions,
    /// JSON, as `set_business_secrets` takes it in `p_options`. Holds dates and intervals, never a value.
    pub(crate) options: Option<String>,
}

impl Statement for Write {
    type Answer = Versions;
    const WRITES: bool = true;

    async fn send(&self, connection: &mut PgConnection, context: Context<'_>) -> Result<Versions, Fault> {
        let values = values_json(&self.values);
        let expected = (!self.expected.is_empty()).then(|| expected_json(&self.expected));
        let query = sqlx::query(sql::WRITE)
            .bind(self.business)
            .bind(values.as_str())
            .bind(expected)
            .bind(self.options.as_deref())
            .bind(context.actor)
            .bind(context.lock_timeout());
        let row = in_transaction(connection, context, query, self.business).await?;
        decode::versions(&row, &self.values)
    }
}

/// `{"name": "value"}`, in a buffer that is wiped and that never grows: growing leaves copies behind.
fn values_json(values: &[(SecretName, Option<SecretString>)]) -> Zeroizing<String> {
    // The longest escape is `\u0000`, of six bytes a byte.
    let bound =
        |value: &Option<SecretString>| value.as_ref().map_or(4, |value| value.expose_secret().len() * 6 + 2);
    let capacity =
        values.iter().map(|(name, value)| name.as_str().len() + 4 + bound(value)).sum::<usize>() + 2;
    let mut json = Zeroizing::new(String::with_capacity(capacity));
    for (at, (name, value)) in values.iter().enumerate() {
        json.push(if at == 0 { '{' } else { ',' });
        push_json_string(&mut json, name.as_str());
        json.push(':');
        match value {
            Some(value) => push_json_string(&mut json, value.expose_secret()),
            None => json.push_str("null"),
        }
    }
    json.push('}');
    json
}

fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{0}'..='\u{1f}' => {
                json.push_str("\\u00");
                json.push(if c < '\u{10}' { '0' } else { '1' });
                json.push(char::from_digit(c as u32 & 0xf, 16).unwrap_or('0'));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

fn expected_json(expected: &[(SecretName, i64)]) -> String {
    let pairs: Vec<String> = expected.iter().map(|(name, version)| format!("\"{name}\":{version}")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    #[test]
    fn any_value_becomes_valid_json_without_growing_the_buffer() {
        let nasty: String = (1..=0x7f_u8).map(char::from).chain("é\u{2028}🦀\"\\".chars()).collect();
        let values = vec![
            (name("grok_api_key"), Some(SecretString::from(nasty.clone()))),
            (name("gemini_api_key"), Some(SecretString::from("\u{1}".repeat(1000)))),
            (name("claude_api_key"), None),
        ];
        let json = values_json(&values);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["grok_api_key"], nasty);
        assert_eq!(parsed["gemini_api_key"], "\u{1}".repeat(1000));
        assert!(parsed["claude_api_key"].is_null());
    }

    #[test]
    fn expected_versions_are_an_object() {
        assert_eq!(expected_json(&[(name("grok_api_key"), 3)]), r#"{"grok_api_key":3}"#);
    }

    #[test]
    fn debug_of_a_write_shows_no_value() {
        let values = vec![(name("grok_api_key"), Some("sk_live_4711".into()))];
        let write = Write { business: Uuid::nil(), values, expected: Vec::new(), options: None };
        assert!(!format!("{write:?}").contains("4711"));
    }
}
