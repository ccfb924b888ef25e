//! The pre-flight: the very blocks that 002 runs first, taken out of its text, so that they stand in one place.

use sqlx::postgres::PgConnection;

use super::{Admin, FILES};
use crate::error::{Error, Result};
use crate::queries::Answer;
use crate::queries::preflight::{self, Obstacle, Preflight, Question};

/// The text between two lines of a file.
fn between(start: &str, end: &str) -> &'static str {
    let sql: &'static str = FILES[0].sql;
    let text = sql.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map(|(text, _)| text);
    text.unwrap_or_default()
}

/// The statement that finds out what is wanted: the recorded catalogue, else the setting, else the default.
fn wanted() -> &'static str {
    let sql: &'static str = FILES[0].sql;
    let start = sql.find("do $wanted$").unwrap_or_default();
    let end = sql.find("end $wanted$;").map_or(start, |end| end + "end $wanted$;".len());
    &sql[start..end]
}

fn query() -> &'static str {
    between("-- app-secrets: pre-flight\n", "-- app-secrets: end of pre-flight")
}

/// Looks at the shape of the database, and changes nothing.
pub(crate) async fn look(connection: &mut PgConnection, question: Question<'_>) -> Answer<Preflight> {
    preflight::ask(connection, wanted(), query(), question).await
}

/// Refuses one more secret where 002 would refuse a catalogue that has it. What stood in the way before is not its fault.
pub(crate) async fn check_addition(connection: &mut PgConnection, addition: &str) -> Result<()> {
    let before = look(connection, Question::default()).await?;
    let question = Question { addition: Some(addition), ..Question::default() };
    let mut obstacles = look(connection, question).await?.obstacles;
    obstacles.retain(|obstacle| obstacle.code == "schema_owner" || !before.obstacles.contains(obstacle));
    refuse(&obstacles)
}

/// Refuses where 002 would, with every reason and its remedy.
pub(crate) fn refuse(obstacles: &[Obstacle]) -> Result<()> {
    let refusals: Vec<String> = obstacles
        .iter()
        .filter(|obstacle| obstacle.is_refusal())
        .map(|obstacle| {
            let fix = obstacle.fix.as_ref().map_or_else(String::new, |fix| format!("\n      {fix};"));
            format!("\n  {}{fix}", obstacle.sentence())
        })
        .collect();
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "this database cannot be served as it is; nothing was changed:{}",
        refusals.concat()
    )))
}

impl Admin {
    /// What stands in the way of a migration, and what it would change of the app's: the worst first.
    /// `limit_ms` bounds the look, which reads the owner table once; 0 does not.
    pub(crate) async fn preflight(&self, connection: &mut PgConnection, limit_ms: u32) -> Answer<Preflight> {
        look(connection, Question { catalogue: self.catalogue.as_deref(), addition: None, limit_ms }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_blocks_are_found_in_002() {
        assert!(wanted().contains("app_secrets.wanted") && wanted().ends_with("end $wanted$;"));
        assert!(query().trim_start().starts_with("with recursive"));
        assert!(query().contains("'owner_missing'") && !query().contains("end loop"));
    }

    #[test]
    fn a_refusal_names_object_finding_need_and_remedy() {
        let obstacle = |severity: &str, fix: Option<&str>| Obstacle {
            severity: severity.into(),
            code: "x".into(),
            object: "public.x".into(),
            found: "a view".into(),
            needed: "an ordinary table".into(),
            fix: fix.map(Into::into),
        };
        assert!(refuse(&[obstacle("warn", None)]).is_ok());
        let text = refuse(&[obstacle("refuse", Some("drop view public.x"))]).unwrap_err().to_string();
        assert!(
            text.contains("public.x: a view; needed: an ordinary table\n      drop view public.x;"),
            "{text}"
        );
    }
}
