//! Asks the pre-flight of 002: whether this database can be served as it is.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::Answer;

/// The path under which 002 asks. Read-only: nothing of it can change anything.
const BEGIN: &str = "
    begin read only;
    set local search_path = pg_catalog, pg_temp;
    set local row_security = off";
const SET_CATALOGUE: &str = "select pg_catalog.set_config('app_secrets.catalogue', $1, $2)";
const WANTED: &str = "select pg_catalog.current_setting('app_secrets.wanted')";
/// Puts one more secret on the list, or another description of one that is on it.
const ADD_WANTED: &str = "
    select pg_catalog.set_config('app_secrets.wanted', (w || jsonb_build_object('secrets', coalesce((
        select jsonb_agg(e.secret order by e.ord)
        from jsonb_array_elements(w -> 'secrets') with ordinality as e(secret, ord)
        where e.secret -> 'name' is distinct from $1::jsonb -> 'name'), '[]') || $1::jsonb))::text, true)
    from (select pg_catalog.current_setting('app_secrets.wanted')::jsonb as w) wanted";
const SET_TIMEOUT: &str = "select pg_catalog.set_config('statement_timeout', $1, true)";

/// What is wrong, or worth knowing, about the shape of a database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Obstacle {
    /// `refuse`: 002 refuses; `warn`: it is served, and something changes; `note`.
    pub severity: String,
    /// Stable, for programs: `owner_missing`.
    pub code: String,
    /// What it is about.
    pub object: String,
    /// How it is.
    pub found: String,
    /// How it has to be.
    pub needed: String,
    /// The statement that mends it, where there is one.
    pub fix: Option<String>,
}

impl Obstacle {
    /// Whether nothing is changed while this is so.
    pub fn is_refusal(&self) -> bool {
        self.severity == "refuse"
    }

    /// `public.x: a view; needed: an ordinary table`
    pub fn sentence(&self) -> String {
        if self.code == "owner_missing" {
            return format!("there is no table {}; needed: {}", self.object, self.needed);
        }
        format!("{}: {}; needed: {}", self.object, self.found, self.needed)
    }
}

/// What was found, and what for.
#[derive(Debug, Clone)]
pub(crate) struct Preflight {
    /// The worst first.
    pub(crate) obstacles: Vec<Obstacle>,
    /// The catalogue that is wanted, as JSON.
    pub(crate) wanted: String,
}

/// What the rest of the session's files take as the wanted catalogue, as JSON; empty for none.
pub(crate) async fn set_catalogue(connection: &mut PgConnection, catalogue: &str) -> Answer<()> {
    connection.execute(sqlx::query(SET_CATALOGUE).bind(catalogue).bind(false)).await?;
    Ok(())
}

/// What the pre-flight is asked about.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Question<'a> {
    /// The catalogue to take where the database has none, as JSON.
    pub(crate) catalogue: Option<&'a str>,
    /// A secret that is wanted too, as the catalogue describes one.
    pub(crate) addition: Option<&'a str>,
    /// Bounds each statement, in milliseconds; 0 does not.
    pub(crate) limit_ms: u32,
}

/// Runs 002's block that finds what is wanted, then its query, and undoes both.
pub(crate) async fn ask(
    connection: &mut PgConnection,
    wanted: &'static str,
    query: &'static str,
    question: Question<'_>,
) -> Answer<Preflight> {
    connection.execute(sqlx::raw_sql(BEGIN)).await?;
    let outcome = look(connection, wanted, query, question).await;
    connection.execute(sqlx::raw_sql("rollback")).await?;
    outcome
}

async fn look(
    connection: &mut PgConnection,
    wanted: &'static str,
    query: &'static str,
    question: Question<'_>,
) -> Answer<Preflight> {
    connection.execute(sqlx::query(SET_TIMEOUT).bind(question.limit_ms.to_string())).await?;
    if let Some(catalogue) = question.catalogue {
        connection.execute(sqlx::query(SET_CATALOGUE).bind(catalogue).bind(true)).await?;
    }
    connection.execute(sqlx::raw_sql(wanted)).await?;
    if let Some(addition) = question.addition {
        connection.execute(sqlx::query(ADD_WANTED).bind(addition)).await?;
    }
    let wanted = connection.fetch_one(WANTED).await?.try_get(0)?;
    // By the simple protocol: the query is long, and planned for this once.
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(query.to_owned()))).await?;
    Ok(Preflight { obstacles: rows.iter().map(obstacle).collect::<Answer<_>>()?, wanted })
}

fn obstacle(row: &PgRow) -> Answer<Obstacle> {
    Ok(Obstacle {
        severity: row.try_get(0)?,
        code: row.try_get(1)?,
        object: row.try_get(2)?,
        found: row.try_get(3)?,
        needed: row.try_get(4)?,
        fix: row.try_get(5)?,
    })
}
