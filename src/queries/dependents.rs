//! What goes with the plaintext columns when they are dropped, or still names them.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::Answer;

const DEPENDENTS: &str = "
    select /* app-secrets */ d.weight, d.kind, d.object, d.legacy_column::text
    from app_secrets.legacy_dependents() d
    order by pg_catalog.array_position(array['blocks', 'shared', 'own'], d.weight), d.kind, d.object";

const SET_CONSENT: &str = "select pg_catalog.set_config('app_secrets.drop_also', $1, false)";

/// Something that hangs on a plaintext column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependent {
    /// `own`: of these columns alone, and `rollback` makes it again; `shared`: of others too, so that its loss wants
    /// consent by name; `blocks`: the columns cannot go while it is there.
    pub weight: String,
    /// `index`, `constraint`, `function` and so on.
    pub kind: String,
    /// Its name.
    pub object: String,
    /// The column.
    pub legacy_column: Option<String>,
}

impl std::fmt::Display for Dependent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.object)?;
        match &self.legacy_column {
            Some(column) if !self.object.ends_with(column.as_str()) => write!(f, " (of {column})"),
            _ => Ok(()),
        }
    }
}

/// The worst first.
pub(crate) async fn read(connection: &mut PgConnection) -> Answer<Vec<Dependent>> {
    let rows = connection.fetch_all(DEPENDENTS).await?;
    let dependent = |row: &PgRow| {
        Ok(Dependent {
            weight: row.try_get(0)?,
            kind: row.try_get(1)?,
            object: row.try_get(2)?,
            legacy_column: row.try_get(3)?,
        })
    };
    rows.iter().map(dependent).collect()
}

/// Consents to the loss of these, for what 005 asks in this session.
pub(crate) async fn set_consent(connection: &mut PgConnection, names: &[String]) -> Answer<()> {
    let names = serde_json::Value::from(names).to_string();
    connection.execute(sqlx::query(SET_CONSENT).bind(names)).await?;
    Ok(())
}
