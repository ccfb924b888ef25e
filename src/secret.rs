//! What is said of secrets: plain data, which every other module may use. Serialises as `index.d.ts` declares it, with
//! times in milliseconds since 1970; what holds a value does not serialise.

use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Result;
use crate::name::SecretName;
use crate::timestamp::Timestamp;

/// A secret as it was at the time of the read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// `None` only where it is not set.
    pub value: Option<SecretString>,
    /// Grows with every change, not by one; 0 where it was never set. Known only to clients with a cache.
    pub version: i64,
}

/// Each secret that was asked for, or why it alone could not be read.
pub(crate) type Readings = Vec<(SecretName, Result<Reading>)>;

/// A value for each name; `None` clears.
pub type Values = Vec<(SecretName, Option<SecretString>)>;

/// The version of each secret that was written.
pub type Versions = Vec<(SecretName, i64)>;

/// `{ name: version }`, for the interfaces.
#[cfg(any(feature = "cli", feature = "node"))]
pub(crate) fn versions_by_name(versions: &Versions) -> serde_json::Map<String, serde_json::Value> {
    versions.iter().map(|(name, version)| (name.as_str().to_owned(), (*version).into())).collect()
}

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Which one.
    pub name: SecretName,
    /// Whose key it is, for people.
    pub label: String,
    /// Encrypted by Vault. What is not sealed is metadata.
    pub sealed: bool,
    /// Whether it has a value.
    pub is_set: bool,
    /// The last four characters, of sealed values of twelve characters or more.
    pub last4: Option<String>,
    /// Grows with every change; 0 where it was never set.
    pub version: i64,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
    /// When it was read last, to the minute.
    pub last_read_at: Option<Timestamp>,
    /// When its provider was asked last whether it works.
    pub last_checked_at: Option<Timestamp>,
    /// What came of that: `works`, `refused` or `not_checked`.
    pub check_result: Option<String>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// How often it is to be rotated, as PostgreSQL writes an interval.
    pub rotate_every: Option<String>,
    /// Whether the value before this one is kept.
    pub can_undo: bool,
}

/// The right to be the only one that renews a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// `None` where somebody else holds it.
    pub token: Option<Uuid>,
    /// The secret's version when the lease was taken.
    pub version: i64,
    /// When the lease ends, whoever holds it.
    pub expires_at: Option<Timestamp>,
}

/// A secret that is to be renewed soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Due {
    /// Whose.
    #[serde(rename = "businessId")]
    pub business: Uuid,
    /// Which one.
    pub name: SecretName,
    /// When.
    pub due_at: Timestamp,
    /// `expires` or `rotate`.
    pub reason: String,
}
