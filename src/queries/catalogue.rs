//! What the database's own catalogue says: which secrets there are, where their plaintext stands, and whose they are.

use sqlx::Executor;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::Answer;

const IS_THERE: &str = "
    select pg_catalog.to_regclass('app_secrets.catalogue') is not null
        and pg_catalog.to_regclass('app_secrets.settings') is not null";

const NAMES: &str = "
    select /* app-secrets */ c.name, c.label, c.sealed, c.type, c.legacy_column::text, c.legacy_state, c.in_place,
        c.retired_at is not null
    from app_secrets.catalogue c
    order by c.position";

const OWNER: &str = "
    select /* app-secrets */ s.owner_table, s.owner_key::text,
        (select r.relname::text from pg_catalog.pg_class r where r.oid = pg_catalog.to_regclass(s.owner_table))
    from app_secrets.settings s";

const COLUMNS: &str = "
    select /* app-secrets */ a.attname::text
    from pg_catalog.pg_attribute a
    where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped";

/// One secret, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretState {
    /// The column in `business_secrets`, and the name in every interface.
    pub name: String,
    /// For people.
    pub label: String,
    /// Encrypted by Vault. What is not sealed is metadata.
    pub sealed: bool,
    /// `text` or `timestamptz`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The plaintext column of the owner table.
    pub legacy_column: Option<String>,
    /// `none`, `synced`, `filled` or `dropped`.
    pub legacy_state: String,
    /// `none`, `pending`, `sealing` or `sealed`: plaintext that stood in `business_secrets` already.
    pub in_place: String,
    /// Not in use any more.
    pub is_retired: bool,
}

impl SecretState {
    /// The triggers keep a plaintext column and the sealed cell equal.
    pub fn is_synced(&self) -> bool {
        matches!(self.legacy_state.as_str(), "synced" | "filled")
    }

    /// 003 has something to do for it.
    pub fn is_due(&self) -> bool {
        !self.is_retired
            && (self.legacy_state == "synced" || matches!(self.in_place.as_str(), "pending" | "sealing"))
    }

    /// The cell holds references, or will as soon as 003 is through.
    pub fn has_references(&self) -> bool {
        self.sealed && !self.is_retired
    }
}

/// The catalogue and the table whose rows own the secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    /// Every name, the retired ones too, in their order.
    pub(crate) names: Vec<SecretState>,
    /// Qualified and quoted where it has to be, as the database prints it.
    pub(crate) owner_table: String,
    pub(crate) owner_key: String,
    /// Its name alone; `None` where there is no such table.
    pub(crate) owner_name: Option<String>,
}

impl Catalogue {
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &SecretState> {
        self.names.iter().filter(|name| !name.is_retired)
    }

    pub(crate) fn sealed(&self) -> impl Iterator<Item = &SecretState> {
        self.names.iter().filter(|name| name.has_references())
    }

    pub(crate) fn synced(&self) -> impl Iterator<Item = &SecretState> {
        self.names.iter().filter(|name| name.is_synced())
    }

    /// `business_secrets` as `(name, reference)` of each sealed cell, for a `values` list; `s` is the row.
    pub(crate) fn cells(&self) -> Option<String> {
        let cells: Vec<String> = self
            .sealed()
            .map(|name| format!("({}, s.{}::text)", literal(&name.name), identifier(&name.name)))
            .collect();
        (!cells.is_empty()).then(|| cells.join(", "))
    }

    /// The owner's key, quoted.
    pub(crate) fn key(&self) -> String {
        identifier(&self.owner_key)
    }
}

/// `None` where 002 was never applied.
pub(crate) async fn read(connection: &mut PgConnection) -> Answer<Option<Catalogue>> {
    if !connection.fetch_one(IS_THERE).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let Some(owner) = connection.fetch_optional(OWNER).await? else {
        return Ok(None);
    };
    let rows = connection.fetch_all(NAMES).await?;
    Ok(Some(Catalogue {
        names: rows.iter().map(name).collect::<Answer<_>>()?,
        owner_table: owner.try_get(0)?,
        owner_key: owner.try_get(1)?,
        owner_name: owner.try_get(2)?,
    }))
}

fn name(row: &PgRow) -> Answer<SecretState> {
    Ok(SecretState {
        name: row.try_get(0)?,
        label: row.try_get(1)?,
        sealed: row.try_get(2)?,
        kind: row.try_get(3)?,
        legacy_column: row.try_get(4)?,
        legacy_state: row.try_get(5)?,
        in_place: row.try_get(6)?,
        is_retired: row.try_get(7)?,
    })
}

/// The owner table that is wanted; it may not be there.
pub(crate) fn owner_of_wanted(wanted: &str) -> String {
    owner(&serde_json::from_str(wanted).unwrap_or_default())
}

fn owner(wanted: &serde_json::Value) -> String {
    let name = wanted.get("owner_table").and_then(serde_json::Value::as_str).unwrap_or("public.businesses");
    if name.contains('.') { name.to_owned() } else { format!("public.{name}") }
}

/// What is wanted, as the pre-flight gives it, with the plaintext columns that are there. Only after a pre-flight that refuses
/// nothing: the owner table's name is taken as it stands.
pub(crate) async fn of_wanted(connection: &mut PgConnection, wanted: &str) -> Answer<Catalogue> {
    let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap_or_default();
    let text = |value: &serde_json::Value, field: &str| {
        value.get(field).and_then(serde_json::Value::as_str).map(ToOwned::to_owned)
    };
    let owner_table = owner(&wanted);
    let columns = columns(connection, &owner_table).await?;
    let cells = self::columns(connection, "public.business_secrets").await?;
    let secrets = wanted.get("secrets").and_then(serde_json::Value::as_array);
    let names = secrets.into_iter().flatten().map(|secret| {
        let legacy_column = text(secret, "legacy_column").filter(|column| columns.contains(column));
        let name = text(secret, "name").unwrap_or_default();
        SecretState {
            in_place: if cells.contains(&name) { "pending" } else { "none" }.into(),
            name,
            label: text(secret, "label").unwrap_or_default(),
            sealed: secret.get("sealed") != Some(&false.into()),
            kind: text(secret, "type").unwrap_or_else(|| "text".into()),
            legacy_state: if legacy_column.is_some() { "synced" } else { "none" }.into(),
            legacy_column,
            is_retired: false,
        }
    });
    Ok(Catalogue {
        names: names.collect(),
        owner_key: text(&wanted, "owner_key").unwrap_or_else(|| "id".into()),
        owner_name: (!columns.is_empty()).then(|| owner_table.clone()),
        owner_table,
    })
}

/// None where there is no such table.
async fn columns(connection: &mut PgConnection, table: &str) -> Answer<Vec<String>> {
    let rows = connection.fetch_all(sqlx::query(COLUMNS).bind(table)).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Quoted for SQL, whatever it is.
pub(crate) fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A text in SQL, with `standard_conforming_strings`, which the session's settings do not change.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(legacy_state: &str, in_place: &str, is_retired: bool) -> SecretState {
        SecretState {
            name: "x".into(),
            label: "X".into(),
            sealed: true,
            kind: "text".into(),
            legacy_column: None,
            legacy_state: legacy_state.into(),
            in_place: in_place.into(),
            is_retired,
        }
    }

    #[test]
    fn the_state_of_a_name_says_what_is_due() {
        assert!(name("synced", "none", false).is_due());
        assert!(name("none", "pending", false).is_due());
        assert!(name("none", "sealing", false).is_due());
        assert!(!name("filled", "sealed", false).is_due());
        assert!(!name("dropped", "none", false).is_due());
        assert!(!name("none", "pending", true).is_due());
    }

    #[test]
    fn names_are_quoted_for_sql() {
        assert_eq!(identifier("Api \"Key\""), "\"Api \"\"Key\"\"\"");
        assert_eq!(literal("it's"), "'it''s'");
    }
}
