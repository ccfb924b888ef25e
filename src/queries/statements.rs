//! Statements of others that still name the plaintext columns, where `pg_stat_statements` keeps them.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::Answer;
use super::catalogue::Catalogue;

const SCHEMA: &str = "
    select pg_catalog.quote_ident(n.nspname)
    from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'pg_stat_statements'";

/// Only kinds of statements whose constants are kept as `$1`: a DO block or SET is kept as it was sent.
///
/// Our own are told apart by their marker, which stands behind the first keyword: a comment before a statement is not
/// kept. With `pg_stat_statements.track = all` the statements in functions are kept too, ours with their marker.
const STATEMENTS: &str = "
    select /* app-secrets */ coalesce(r.rolname::text, '?'), pg_catalog.sum(s.calls)::bigint,
        pg_catalog.left(pg_catalog.regexp_replace(s.query, '\\s+', ' ', 'g'), 160)
    from SCHEMA.pg_stat_statements s
    left join pg_catalog.pg_roles r on r.oid = s.userid
    where s.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and s.query ~* '^[\\s(]*(select|insert|update|delete|merge|with)\\M'
        and s.query ~* $1 and s.query ~* $2
        and s.query !~ '/[*] app-secrets [*]/'
    group by 1, 3
    order by 2 desc
    limit 10";

/// A statement that names a plaintext column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Statement {
    /// Whose it is.
    pub user: String,
    /// How often it ran since the statistics were reset.
    pub calls: i64,
    /// Its beginning, without constants.
    pub text: String,
}

/// `None` where the extension is not there, or not for us.
pub(crate) async fn legacy(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
) -> Answer<Option<Vec<Statement>>> {
    let Some(row) = connection.fetch_optional(SCHEMA).await? else {
        return Ok(None);
    };
    let columns: Vec<&str> = catalogue.in_use().filter_map(|name| name.legacy_column.as_deref()).collect();
    let (Some(owner), false) = (catalogue.owner_name.as_deref(), columns.is_empty()) else {
        return Ok(Some(Vec::new()));
    };
    let (owner, columns) = (word(&[owner]), word(&columns));
    let sql = STATEMENTS.replace("SCHEMA", row.try_get(0)?);
    // Installed, but not loaded by the server: asking fails, and that is no reason not to show the rest.
    let Ok(rows) = connection.fetch_all(sqlx::query(AssertSqlSafe(sql)).bind(owner).bind(columns)).await
    else {
        return Ok(None);
    };
    let statement = |row: &sqlx::postgres::PgRow| {
        Ok(Statement { user: row.try_get(0)?, calls: row.try_get(1)?, text: row.try_get(2)? })
    };
    rows.iter().map(statement).collect::<Answer<_>>().map(Some)
}

/// A regular expression for any of these words, whatever stands in them.
fn word(words: &[&str]) -> String {
    let escaped: Vec<String> = words
        .iter()
        .map(|word| {
            let escape =
                |c: char| if c.is_alphanumeric() || c == '_' { c.to_string() } else { format!("\\{c}") };
            word.chars().map(escape).collect()
        })
        .collect();
    format!("\\m({})\\M", escaped.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_no_patterns() {
        assert_eq!(word(&["a_key", "b.*"]), "\\m(a_key|b\\.\\*)\\M");
    }
}
