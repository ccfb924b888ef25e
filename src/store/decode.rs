//! Rows, arrays and JSON of the contract, as Rust. What does not fit means a database of another version.

use secrecy::SecretString;
use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::{Row, ValueRef};

use super::Fault;
use crate::name::SecretName;
use crate::secret::{Due, Lease, Listed, Reading, Values, Versions};
use crate::timestamp::Timestamp;

/// One answer of a batch.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) status: ElementStatus,
    pub(crate) reading: Reading,
}

/// What became of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementStatus {
    /// Set, or not set: the reading says which.
    Read,
    Undecryptable,
    UnknownSecret,
    BusinessNotFound,
    PermissionDenied,
}

/// One row of arrays: values, versions or null, statuses.
pub(super) fn columns(row: &PgRow, expected: usize) -> Result<Vec<Element>, Fault> {
    let shape = || Fault::other_version("get_business_secrets_columns answers in another shape");
    let (values, versions, statuses) = (row.try_get_raw(0)?, row.try_get_raw(1)?, row.try_get_raw(2)?);
    let mut values = Items::of(&values, expected).ok_or_else(shape)?;
    let mut versions =
        if versions.is_null() { None } else { Some(Items::of(&versions, expected).ok_or_else(shape)?) };
    let mut statuses = Items::of(&statuses, expected).ok_or_else(shape)?;
    let mut elements = Vec::with_capacity(expected);
    for _ in 0..expected {
        let value = values.next().ok_or_else(shape)?;
        let version = match &mut versions {
            None => 0,
            Some(versions) => {
                let bytes = versions.next().flatten().ok_or_else(shape)?;
                i64::from_be_bytes(bytes.try_into().map_err(|_| shape())?)
            }
        };
        let status = match (statuses.next().flatten().ok_or_else(shape)?, value.is_some()) {
            ([0, 0], true) | ([0, 1], false) => ElementStatus::Read,
            ([0, 2], false) => ElementStatus::Undecryptable,
            ([0, 3], false) => ElementStatus::UnknownSecret,
            ([0, 4], false) => ElementStatus::BusinessNotFound,
            ([0, 5], false) => ElementStatus::PermissionDenied,
            _ => return Err(shape()),
        };
        let value = value.map(|bytes| str::from_utf8(bytes).map(SecretString::from)).transpose();
        elements.push(Element { status, reading: Reading { value: value.map_err(|_| shape())?, version } });
    }
    Ok(elements)
}

/// The items of an array of one dimension, as the binary protocol has it.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    fn of(value: &PgValueRef<'a>, expected: usize) -> Option<Self> {
        Self::new(value.as_bytes().ok()?, expected)
    }

    /// The header: dimensions, whether there are nulls, the type, the length and the lower bound, of four bytes each.
    fn new(bytes: &'a [u8], expected: usize) -> Option<Self> {
        let (header, items) = bytes.split_at_checked(20)?;
        let number =
            |at: usize| header.get(at..at + 4).and_then(|word| word.try_into().ok()).map(i32::from_be_bytes);
        (number(0)? == 1 && usize::try_from(number(12)?) == Ok(expected)).then_some(Self(items))
    }

    /// The next item; null is `Some(None)`, and the end, or what is no array, is `None`.
    #[expect(clippy::option_option, reason = "an item, which may be null")]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return Some(None);
        };
        let (item, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(item))
    }
}

/// One row for each element.
pub(super) fn rows(rows: &[PgRow], expected: usize) -> Result<Vec<Element>, Fault> {
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
        ("ok", true) | ("not_set", false) => ElementStatus::Read,
        ("undecryptable", false) => ElementStatus::Undecryptable,
        ("unknown_secret", false) => ElementStatus::UnknownSecret,
        ("business_not_found", false) => ElementStatus::BusinessNotFound,
        ("permission_denied", false) => ElementStatus::PermissionDenied,
        _ => {
            return Err(Fault::other_version("get_business_secrets_batch answers an unknown status"));
        }
    };
    Ok(Element { status, reading: Reading { value: value.map(SecretString::from), version } })
}

fn name(row: &PgRow, column: usize) -> Result<SecretName, Fault> {
    let name: &str = row.try_get(column)?;
    name.parse().map_err(|_| Fault::other_version("a function answers a name that is none"))
}

fn time(row: &PgRow, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

pub(super) fn listed(rows: &[PgRow]) -> Result<Vec<Listed>, Fault> {
    let one = |row| {
        Ok(Listed {
            name: name(row, 0)?,
            label: row.try_get(1)?,
            sealed: row.try_get(2)?,
            is_set: row.try_get(3)?,
            last4: row.try_get(4)?,
            version: row.try_get(5)?,
            updated_at: time(row, 6)?,
            last_read_at: time(row, 7)?,
            last_checked_at: time(row, 8)?,
            check_result: row.try_get(9)?,
            expires_at: time(row, 10)?,
            rotate_every: row.try_get(11)?,
            can_undo: row.try_get(12)?,
        })
    };
    rows.iter().map(one).collect()
}

pub(super) fn lease(row: &PgRow) -> Result<Lease, Fault> {
    Ok(Lease { token: row.try_get(0)?, version: row.try_get(1)?, expires_at: time(row, 2)? })
}

pub(super) fn due(rows: &[PgRow]) -> Result<Vec<Due>, Fault> {
    let one = |row: &PgRow| {
        let due_at = Timestamp(row.try_get(2)?);
        Ok(Due { business: row.try_get(0)?, name: name(row, 1)?, due_at, reason: row.try_get(3)? })
    };
    rows.iter().map(one).collect()
}

/// The versions of what was written, in the order in which it was given.
pub(super) fn versions(row: &PgRow, written: &Values) -> Result<Versions, Fault> {
    versions_of(row.try_get(0)?, written)
}

fn versions_of(json: &str, written: &Values) -> Result<Versions, Fault> {
    let shape = || Fault::other_version("set_business_secrets answers something else than versions");
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|_| shape())?;
    let version = |name: &SecretName| object.get(name.as_str())?.as_i64();
    written.iter().map(|(name, _)| Ok((*name, version(name).ok_or_else(shape)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn written(names: &[&str]) -> Values {
        names.iter().map(|name| (name.parse().unwrap(), None)).collect()
    }

    #[test]
    fn versions_are_read_by_name_in_the_order_of_the_write() {
        let written = written(&["grok_api_key", "claude_api_key"]);
        let versions = versions_of(r#"{"claude_api_key": 1, "grok_api_key": 3}"#, &written).unwrap();
        assert_eq!(versions, [(written[0].0, 3), (written[1].0, 1)]);
    }

    #[test]
    fn another_shape_means_another_version_of_the_database() {
        for json in ["3", "{\"new_name\": 1}", "{\"grok_api_key\": \"1\"}"] {
            let error = versions_of(json, &written(&["grok_api_key"])).unwrap_err().error;
            assert_eq!(error.code(), Code::NotMigrated);
        }
    }

    #[test]
    fn an_array_is_read_item_by_item_and_what_is_none_is_refused() {
        let mut array: Vec<u8> = [1_i32, 1, 25, 2, 1].iter().flat_map(|word| word.to_be_bytes()).collect();
        array.extend((-1_i32).to_be_bytes());
        array.extend(2_i32.to_be_bytes());
        array.extend(b"sk");
        let mut items = Items::new(&array, 2).unwrap();
        assert_eq!(items.next(), Some(None));
        assert_eq!(items.next(), Some(Some(&b"sk"[..])));
        assert_eq!(items.next(), None);
        assert!(Items::new(&array, 3).is_none());
        assert!(Items::new(&array[..19], 2).is_none());
        let mut cut = Items::new(&array[..array.len() - 1], 2).unwrap();
        assert_eq!((cut.next(), cut.next()), (Some(None), None));
    }
}
