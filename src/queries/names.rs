//! Which secrets there are, and the two functions that change that.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use super::Answer;

const ENTRIES: &str = "
    select c.name, c.label, c.sealed, c.type, c.legacy_column::text, c.legacy_state, c.in_place,
        c.retired_at is not null,
        (select pg_catalog.count(*) from app_secrets.secret_versions v where v.name = c.name and v.is_set)
    from app_secrets.catalogue c
    order by c.retired_at is not null, c.position";

/// What a service login may ask, too.
const SHOWN: &str = "
    select n.name, n.label, n.sealed from public.business_secret_names n";
const IS_SHOWN: &str = "select pg_catalog.to_regclass('public.business_secret_names') is not null";

const ADD: &str = "select app_secrets.add_secret($1, $2, $3::name, $4, $5, $6)";
const COMPLETE: &str = "select app_secrets.make_all()";
const RETIRE: &str = "select app_secrets.retire_secret($1, $2)";

/// One secret of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The column in `business_secrets` and the name in code.
    pub name: String,
    /// Whose key it is, for people.
    pub label: String,
    /// Encrypted by Vault. What is not sealed is metadata.
    pub sealed: bool,
    /// `text` or `timestamptz`.
    pub kind: String,
    /// The plaintext column that it moves out of.
    pub legacy_column: Option<String>,
    /// `none`, `synced`, `filled` or `dropped`.
    pub legacy_state: String,
    /// `none`, `pending`, `sealing` or `sealed`: plaintext that stood in `business_secrets` already.
    pub in_place: String,
    /// It is out of use: its column stays, empty.
    pub is_retired: bool,
    /// For how many businesses it is set.
    pub set: i64,
}

/// The catalogue in its order, those out of use at the end.
pub(crate) async fn entries(connection: &mut PgConnection) -> Answer<Vec<CatalogueEntry>> {
    connection.fetch_all(ENTRIES).await?.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Answer<CatalogueEntry> {
    Ok(CatalogueEntry {
        name: row.try_get(0)?,
        label: row.try_get(1)?,
        sealed: row.try_get(2)?,
        kind: row.try_get(3)?,
        legacy_column: row.try_get(4)?,
        legacy_state: row.try_get(5)?,
        in_place: row.try_get(6)?,
        is_retired: row.try_get(7)?,
        set: row.try_get(8)?,
    })
}

/// The names in use, as any login of ours may see them; `None` where 004 is not applied.
pub(crate) async fn shown(connection: &mut PgConnection) -> Answer<Option<Vec<String>>> {
    if !connection.fetch_one(IS_SHOWN).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let rows = connection.fetch_all(SHOWN).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect::<Answer<_>>().map(Some)
}

/// Makes a secret known, or takes over a new label or legacy column; without `owner` the triggers of the owner table are left
/// to [`complete`].
pub(crate) async fn add(
    connection: &mut PgConnection,
    name: &str,
    label: &str,
    legacy_column: Option<&str>,
    sealed: bool,
    kind: &str,
    owner: bool,
) -> Answer<()> {
    let query =
        sqlx::query(ADD).bind(name).bind(label).bind(legacy_column).bind(sealed).bind(kind).bind(owner);
    connection.execute(query).await?;
    Ok(())
}

/// Makes what the catalogue asks for and is not there.
pub(crate) async fn complete(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(COMPLETE).await?;
    Ok(())
}

/// Takes a name out of use; with `even_if_set` its values are deleted.
pub(crate) async fn retire(connection: &mut PgConnection, name: &str, even_if_set: bool) -> Answer<()> {
    connection.execute(sqlx::query(RETIRE).bind(name).bind(even_if_set)).await?;
    Ok(())
}
