//! Rows and JSON of the contract, as Rust. What does not fit means a database of another version.

use secrecy::SecretString;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Fault, Listed, Reading, Versions};
use crate::catalogue::SecretName;
use crate::timestamp::Timestamp;

/// One answer of a batch.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) status: Status,
    pub(crate) reading: Reading,
}

/// What became of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Set, or not set: the reading says which.
    Read,
    Undecryptable,
    UnknownSecret,
    BusinessNotFound,
}

pub(super) fn elements(rows: &[PgRow], expected: usize) -> Result<Vec<Element>, Fault> {
    if rows.len() != expected {
        return Err(Fault::other_version("get_business_secrets_batch answers another number of rows"));
    }
    rows.iter().enumerate().map(|(at, row)| element(at, row)).collect()
}

fn element(at: usize, row: &PgRow) -> Result<Element, Fault> {
    // A misplaced answer would hand one business another's secret: check rather than trust.
    let ord: i32 = row.try_get(0)?;
    if usize::try_from(ord) != Ok(at + 1) {
        return Err(Fault::other_version("get_business_secrets_batch answers out of order"));
    }
    let value: Option<String> = row.try_get(1)?;
    let version = row.try_get(2)?;
    let status = match (row.try_get(3)?, value.is_some()) {
        ("ok", true) | ("not_set", false) => Status::Read,
        ("undecryptable", false) => Status::Undecryptable,
        ("unknown_secret", false) => Status::UnknownSecret,
        ("business_not_found", false) => Status::BusinessNotFound,
        _ => {
            return Err(Fault::other_version("get_business_secrets_batch answers an unknown status"));
        }
    };
    Ok(Element { status, reading: Reading { value: value.map(SecretString::from), version } })
}

pub(super) fn listed(rows: &[PgRow]) -> Result<Vec<Listed>, Fault> {
    // A newer database may know more names than this client: those are left out.
    let rows = rows.iter().filter_map(|row| match row.try_get::<&str, _>(0) {
        Ok(name) => name.parse().ok().map(|name| list_entry(name, row)),
        Err(error) => Some(Err(error.into())),
    });
    rows.collect()
}

fn list_entry(name: SecretName, row: &PgRow) -> Result<Listed, Fault> {
    Ok(Listed {
        name,
        is_set: row.try_get(1)?,
        last4: row.try_get(2)?,
        version: row.try_get(3)?,
        updated_at: row.try_get::<Option<i64>, _>(4)?.map(Timestamp),
    })
}

pub(super) fn versions(json: &str) -> Result<Versions, Fault> {
    let shape = || Fault::other_version("set_business_secrets answers something else than versions");
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|_| shape())?;
    let versions = object
        .into_iter()
        .map(|(name, version)| Ok((name.parse().map_err(|_| shape())?, version.as_i64().ok_or_else(shape)?)));
    let mut versions: Versions = versions.collect::<Result<_, Fault>>()?;
    // JSON objects have no order; people expect the catalogue's.
    versions.sort_unstable();
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn versions_are_read_by_name() {
        let versions = versions(r#"{"grok_api_key": 3, "claude_api_key": 1}"#).unwrap();
        assert_eq!(versions.len(), 2);
        assert!(versions.contains(&(SecretName::GrokApiKey, 3)));
    }

    #[test]
    fn another_shape_means_another_version_of_the_database() {
        for json in ["3", "{\"new_name\": 1}", "{\"grok_api_key\": \"1\"}"] {
            assert_eq!(versions(json).unwrap_err().error.code(), Code::NotMigrated);
        }
    }
}
