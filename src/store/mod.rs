//! The database contract: the only SQL of the client, and what its answers mean.
//! Knows nothing of pools, deadlines or retries.

mod connect;
mod decode;
mod errors;
mod listen;
mod sql;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;
use zeroize::Zeroizing;

pub(crate) use self::connect::connect_options;
pub(crate) use self::decode::{Element, Status};
pub(crate) use self::errors::{ConnectFault, Fault};
pub(crate) use self::listen::{Deaf, Listening};

use crate::catalogue::SecretName;
use crate::timestamp::Timestamp;

/// A secret as it was at the time of the read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// `None` only where it is not set.
    pub value: Option<SecretString>,
    /// Counts the changes; 0 where it was never set.
    pub version: i64,
}

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which one.
    pub name: SecretName,
    /// Whether it has a value.
    pub is_set: bool,
    /// The last four characters, of sealed values of twelve characters or more.
    pub last4: Option<String>,
    /// Counts the changes; 0 where it was never set.
    pub version: i64,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
}

/// The version of each secret that was written.
pub type Versions = Vec<(SecretName, i64)>;

/// Values to write, all or nothing.
#[derive(Debug, Clone)]
pub(crate) struct WriteRequest {
    pub(crate) business: Uuid,
    /// `None` clears.
    pub(crate) values: Vec<(SecretName, Option<SecretString>)>,
    /// The versions that must still hold.
    pub(crate) expected: Vec<(SecretName, i64)>,
}

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Prepared once a connection, then one round trip each.
    Prepared,
    /// Nothing outlives a transaction: the next statement may reach another server.
    Transactional,
}

/// Reads name i of business i, all in one snapshot. The answers come in the order of the request.
pub(crate) async fn read(
    connection: &mut PgConnection,
    protocol: Protocol,
    businesses: &[Uuid],
    names: &[&'static str],
) -> Result<Vec<Element>, Fault> {
    let rows = match protocol {
        Protocol::Prepared => {
            connection.fetch_all(sqlx::query(sql::READ).bind(businesses).bind(names)).await?
        }
        Protocol::Transactional => {
            let sql = sql::read_literal(businesses, names);
            connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?
        }
    };
    decode::elements(&rows, businesses.len())
}

/// Writes. `lock_timeout_ms` bounds the wait for locks.
pub(crate) async fn write(
    connection: &mut PgConnection,
    protocol: Protocol,
    request: &WriteRequest,
    actor: &str,
    lock_timeout_ms: u64,
) -> Result<Versions, Fault> {
    let values = values_json(&request.values);
    let expected = (!request.expected.is_empty()).then(|| expected_json(&request.expected));
    let statement = sqlx::query_scalar::<_, String>(sql::WRITE)
        .bind(request.business)
        .bind(values.as_str())
        .bind(expected)
        .bind(actor)
        .bind(lock_timeout_ms.to_string());

    let versions = match protocol {
        Protocol::Prepared => {
            statement.fetch_one(connection).await.map_err(|error| Fault::of_write(error, request.business))?
        }
        Protocol::Transactional => {
            // Values travel as parameters here too: the server logs the text of a statement that fails. A statement
            // takes two messages, which only a transaction keeps on one server.
            connection.execute(sql::BEGIN).await.map_err(Fault::before_write)?;
            let versions = statement.persistent(false).fetch_one(&mut *connection).await;
            let versions = versions.map_err(|error| Fault::of_uncommitted(error, request.business))?;
            connection
                .execute(sql::COMMIT)
                .await
                .map_err(|error| Fault::of_write(error, request.business))?;
            versions
        }
    };
    decode::versions(&versions)
}

/// Lists what may be shown of each secret, in the order of the catalogue.
pub(crate) async fn list(
    connection: &mut PgConnection,
    protocol: Protocol,
    business: Uuid,
) -> Result<Vec<Listed>, Fault> {
    let rows = match protocol {
        Protocol::Prepared => connection.fetch_all(sqlx::query(sql::LIST).bind(business)).await,
        Protocol::Transactional => {
            connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql::list_literal(business)))).await
        }
    };
    decode::listed(&rows.map_err(|error| Fault::of_read(error, business))?)
}

/// Asks for a sign of life.
pub(crate) async fn ping(connection: &mut PgConnection) -> Result<(), Fault> {
    connection.execute(sql::PING).await?;
    Ok(())
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

    #[test]
    fn any_value_becomes_valid_json_without_growing_the_buffer() {
        let nasty: String = (1..=0x7f_u8).map(char::from).chain("é\u{2028}🦀\"\\".chars()).collect();
        let values = vec![
            (SecretName::GrokApiKey, Some(SecretString::from(nasty.clone()))),
            (SecretName::GeminiApiKey, Some(SecretString::from("\u{1}".repeat(1000)))),
            (SecretName::ClaudeApiKey, None),
        ];
        let json = values_json(&values);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["grok_api_key"], nasty);
        assert_eq!(parsed["gemini_api_key"], "\u{1}".repeat(1000));
        assert!(parsed["claude_api_key"].is_null());
    }

    #[test]
    fn expected_versions_are_an_object() {
        assert_eq!(expected_json(&[(SecretName::GrokApiKey, 3)]), r#"{"grok_api_key":3}"#);
    }

    #[test]
    fn debug_of_a_write_shows_no_value() {
        let values = vec![(SecretName::GrokApiKey, Some("sk_live_4711".into()))];
        let request = WriteRequest { business: Uuid::nil(), values, expected: Vec::new() };
        assert!(!format!("{request:?}").contains("4711"));
    }
}
