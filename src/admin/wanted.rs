//! `app-secrets.json`: which secrets are wanted. What its properties hold is judged by the pre-flight of 002; that they are called
//! as 002 calls them, here: a property that nobody reads would leave a column in plaintext without a word.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What says which secrets are wanted, where no other file is named.
const FILE: &str = "app-secrets.json";

const CATALOGUE: [&str; 4] = ["owner_table", "owner_key", "access", "secrets"];
const ACCESS: [&str; 2] = ["column", "function"];
const SECRET: [&str; 5] = ["name", "label", "sealed", "type", "legacy_column"];

/// Reads which secrets are wanted, as JSON: the file that is named, else `app-secrets.json` of the working directory where there is
/// one. Refuses with [`Error::Config`] what cannot be read, is no JSON object, or has a property that none of ours is called.
pub fn wanted_catalogue(path: Option<&Path>) -> Result<Option<String>> {
    let file = path.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let file = file.display();
            return Err(Error::Config(format!("the catalogue ({file}) cannot be read: {}", error.kind())));
        }
    };
    check(&text).map(Some).map_err(|why| Error::Config(format!("{} {why}", file.display())))
}

/// The text as PostgreSQL takes it, or what is wrong with it.
fn check(text: &str) -> std::result::Result<String, String> {
    // Editors on Windows put it there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut catalogue: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        format!(
            "is no JSON object (line {}, column {}): `app-secrets init` writes one",
            error.line(),
            error.column()
        )
    })?;
    // Editors read it.
    catalogue.remove("$schema");
    require_known(&catalogue, "", &CATALOGUE)?;
    if let Some(Value::Object(access)) = catalogue.get("access") {
        require_known(access, "access.", &ACCESS)?;
    }
    let secrets = catalogue.get("secrets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (at, secret) in secrets.iter().enumerate() {
        if let Value::Object(secret) = secret {
            // Counted from 1, as the pre-flight does.
            require_known(secret, &format!("secrets[{}].", at + 1), &SECRET)?;
        }
    }
    Ok(text.to_owned())
}

fn require_known(object: &Map<String, Value>, path: &str, known: &[&str]) -> std::result::Result<(), String> {
    let Some(unknown) = object.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let folded = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(40).collect()
    };
    let distance = |name: &&&str| strsim::levenshtein(&folded(unknown), &folded(name));
    let near = known.iter().min_by_key(distance).filter(|name| distance(name) <= 3);
    let hint = near
        .map_or_else(|| format!("there are {}", known.join(", ")), |name| format!("did you mean {name}?"));
    Err(format!("has an unknown property, {path}{unknown}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_nobody_reads_is_refused_by_its_path_with_the_near_one() {
        for (text, words) in [
            (r#"{"ownerTable": "t"}"#, "ownerTable: did you mean owner_table?"),
            (r#"{"acces": null}"#, "acces: did you mean access?"),
            (
                r#"{"nothing_like_it": 1}"#,
                "nothing_like_it: there are owner_table, owner_key, access, secrets",
            ),
            (r#"{"access": {"colum": "a"}}"#, "access.colum: did you mean column?"),
            (
                r#"{"secrets": [{"name": "a"}, {"name": "b", "legacyColumn": "b"}]}"#,
                "secrets[2].legacyColumn: did you mean legacy_column?",
            ),
        ] {
            let why = check(text).unwrap_err();
            assert!(why.ends_with(words), "{why}");
        }
    }

    #[test]
    fn what_init_writes_is_taken_and_so_is_a_byte_order_mark() {
        let text = r#"{"owner_table": "t", "owner_key": "id", "access": {"column": "a"},
            "secrets": [{"name": "a", "label": "A", "sealed": true, "type": "text", "legacy_column": null}]}"#;
        assert_eq!(check(text).as_deref(), Ok(text));
        assert_eq!(check(&format!("\u{feff}{text}")).as_deref(), Ok(text));
        assert!(check("[]").unwrap_err().starts_with("is no JSON object"));
        // These are for the pre-flight to judge.
        assert!(check(r#"{"access": 1, "secrets": [1]}"#).is_ok());
    }

    #[test]
    fn the_file_that_was_named_is_the_one_that_is_named_again() {
        let nowhere = wanted_catalogue(Some(Path::new("no/such.json"))).unwrap_err().to_string();
        assert!(nowhere.contains("(no/such.json) cannot be read"), "{nowhere}");
        let wrong = wanted_catalogue(Some(Path::new("Cargo.toml"))).unwrap_err().to_string();
        assert!(wrong.contains("Cargo.toml is no JSON object"), "{wrong}");
    }
}
