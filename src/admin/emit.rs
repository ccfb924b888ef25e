//! The migrations as the Supabase CLI wants them: files named by digits in one folder, each sent as one batch.

use std::fmt::Write;

use serde_json::{Value, json};

use super::files::{FILES, File};
use crate::timestamp::Timestamp;

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Its name: `<digits>_app_secrets_….sql`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// What says in a file which names it makes known, and which it takes out of use.
const ADDS: &str = "-- app-secrets adds: ";
const RETIRES: &str = "-- app-secrets retires: ";

/// What is missing in a folder: the expanding files, the contracting one where it is asked for, and names that the folder's
/// files do not know. `there` is what the folder has, as `(name, text)`; `catalogue` is as `app-secrets.json` has it;
/// `contract` holds what may go with the plaintext columns, by name.
pub fn missing(
    there: &[(String, String)],
    catalogue: Option<&Value>,
    contract: Option<&[String]>,
    now: Timestamp,
) -> Vec<Emitted> {
    let mut digits = Digits::new(there, now);
    let mut emitted = Vec::new();
    let is_there = |file: &File| there.iter().any(|(name, _)| name.ends_with(&suffix(file)));
    let (mut added, mut retired) = (named(there, ADDS), named(there, RETIRES));
    for file in FILES.iter().filter(|file| !file.is_contracting()) {
        if is_there(file) {
            continue;
        }
        let is_first = file.version == FILES[0].version;
        if is_first && let Some(catalogue) = catalogue {
            added.extend(names(catalogue).iter().map(|secret| word(secret, "name")));
        }
        emitted.push(Emitted {
            name: digits.next(&suffix(file)),
            text: text(file, catalogue.filter(|_| is_first), None),
        });
    }
    if let Some(catalogue) = catalogue {
        let listed: Vec<String> = names(catalogue).iter().map(|secret| word(secret, "name")).collect();
        // The default catalogue stands in 002 itself, unless the folder's 002 was made with another.
        let has_own = emitted
            .iter()
            .map(|file| (&file.name, &file.text))
            .chain(there.iter().map(|(name, text)| (name, text)))
            .any(|(name, text)| {
                name.ends_with(&suffix(&FILES[0])) && text.lines().any(|line| line.starts_with(ADDS))
            });
        let known = |name: &String| {
            let last = |list: &[String]| list.iter().filter(|one| *one == name).count();
            last(&added) > last(&retired)
                || (last(&added) == 0
                    && last(&retired) == 0
                    && FILES[0].sql.contains(&format!("'{name}', '"))
                    && !has_own)
        };
        let new: Vec<&Value> =
            names(catalogue).iter().filter(|secret| !known(&word(secret, "name"))).collect();
        if !new.is_empty() {
            emitted.push(Emitted { name: digits.next("_app_secrets_names.sql"), text: additions(&new) });
        }
        let gone: Vec<String> = {
            let mut gone: Vec<String> =
                added.iter().filter(|name| known(name) && !listed.contains(name)).cloned().collect();
            gone.sort_unstable();
            gone.dedup();
            gone
        };
        if !gone.is_empty() {
            let mut sql = format!("{RETIRES}{}\n", gone.join(", "));
            for name in &gone {
                // Writing to a String cannot fail.
                let _ = writeln!(sql, "select app_secrets.retire_secret({}, true);", literal(name));
            }
            emitted.push(Emitted { name: digits.next("_app_secrets_names.sql"), text: sql });
            retired.extend(gone);
        }
    }
    for file in FILES.iter().filter(|file| file.is_contracting() && !is_there(file)) {
        let Some(also_drop) = contract else { continue };
        let also_drop = if also_drop.is_empty() { None } else { Some(json!(also_drop)) };
        emitted
            .push(Emitted { name: digits.next(&suffix(file)), text: text(file, None, also_drop.as_ref()) });
    }
    emitted
}

fn suffix(file: &File) -> String {
    format!("_app_secrets_{:03}_{}.sql", file.version, file.name)
}

/// The file with what our runner would have told the session first: its checksum, for 002 the catalogue, and for 005 what may
/// go with the columns.
fn text(file: &File, catalogue: Option<&Value>, also_drop: Option<&Value>) -> String {
    let mut sql = format!(
        "-- Made by `app-secrets emit`. Leave it as it is: `app-secrets status` knows it by its checksum.\n\
         select set_config('app_secrets.migration_checksum', '{}', false);\n",
        file.checksum()
    );
    if let Some(catalogue) = catalogue {
        let listed: Vec<String> = names(catalogue).iter().map(|secret| word(secret, "name")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(sql, "{ADDS}{}", listed.join(", "));
        let _ = writeln!(
            sql,
            "select set_config('app_secrets.catalogue', {}, false);",
            literal(&catalogue.to_string())
        );
    }
    if let Some(names) = also_drop {
        // Writing to a String cannot fail.
        let _ = writeln!(
            sql,
            "select set_config('app_secrets.drop_also', {}, false);",
            literal(&names.to_string())
        );
    }
    sql.push('\n');
    sql.push_str(file.sql);
    sql
}

fn additions(secrets: &[&Value]) -> String {
    let listed: Vec<String> = secrets.iter().map(|secret| word(secret, "name")).collect();
    let mut sql = format!("{ADDS}{}\n", listed.join(", "));
    for secret in secrets {
        // Where a branch lacks it, as it does once the app has dropped it by itself, the secret is one without.
        let column = secret["legacy_column"].as_str().map_or_else(
            || "null".to_owned(),
            |column| {
                format!(
                    "(select a.attname from pg_catalog.pg_attribute a, app_secrets.settings s \
                     where a.attrelid = s.owner_table::regclass and a.attname = {} and not a.attisdropped)",
                    literal(column)
                )
            },
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            sql,
            "select app_secrets.add_secret({}, {}, {column}, {}, {});",
            literal(&word(secret, "name")),
            literal(&word(secret, "label")),
            secret["sealed"] != false,
            literal(secret["type"].as_str().unwrap_or("text")),
        );
    }
    sql
}

fn names(catalogue: &Value) -> &[Value] {
    catalogue["secrets"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word(secret: &Value, field: &str) -> String {
    secret[field].as_str().unwrap_or_default().to_owned()
}

/// The names in lines that begin so, of all files.
fn named(files: &[(String, String)], mark: &str) -> Vec<String> {
    let lines = files.iter().flat_map(|(_, text)| text.lines()).filter_map(|line| line.strip_prefix(mark));
    lines.flat_map(|line| line.split(", ")).map(|name| name.trim().to_owned()).collect()
}

/// With `standard_conforming_strings` and without.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!(" E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Digits that come after all that are there: the CLI refuses a file that is older than the last one applied.
struct Digits(u64);

impl Digits {
    fn new(there: &[(String, String)], now: Timestamp) -> Self {
        let digits = |name: &str| name.split('_').next().and_then(|digits| digits.parse::<u64>().ok());
        let last = there.iter().filter_map(|(name, _)| digits(name)).max().unwrap_or(0);
        let clock: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        Self(clock.parse().unwrap_or(0).max(last + 1))
    }

    fn next(&mut self, suffix: &str) -> String {
        let name = format!("{:014}{suffix}", self.0);
        self.0 += 1;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(names: &[&str]) -> Value {
        let secrets: Vec<Value> = names
            .iter()
            .map(|name| json!({ "name": name, "label": "It's", "sealed": true, "type": "text", "legacy_column": null }))
            .collect();
        json!({ "owner_table": "public.organizations", "owner_key": "id", "access": null, "secrets": secrets })
    }

    #[test]
    fn what_is_missing_is_written_and_nothing_twice() {
        let now = Timestamp(1_800_000_000_000);
        let whole = catalogue(&["a_key", "b_key"]);
        let first = missing(&[], Some(&whole), None, now);
        assert_eq!(first.len(), 3);
        assert!(first[0].name.ends_with("_app_secrets_002_expand_business_secrets.sql"), "{}", first[0].name);
        assert!(
            first[0].text.contains("'app_secrets.catalogue'")
                && !first[1].text.contains("'app_secrets.catalogue', '")
        );
        let mut there: Vec<(String, String)> = first.into_iter().map(|one| (one.name, one.text)).collect();
        assert!(missing(&there, Some(&whole), None, now).is_empty());

        let more = missing(&there, Some(&catalogue(&["a_key", "b_key", "c_key"])), None, now);
        assert_eq!(more.len(), 1);
        assert!(
            more[0].text.contains("add_secret('c_key', 'It''s', null, true, 'text')"),
            "{}",
            more[0].text
        );
        assert!(more[0].name > there[2].0);
        there.extend(more.into_iter().map(|one| (one.name, one.text)));

        let less = missing(&there, Some(&catalogue(&["a_key", "b_key"])), None, now);
        assert_eq!(less.len(), 1);
        assert!(less[0].text.contains("retire_secret('c_key', true)"), "{}", less[0].text);
        there.extend(less.into_iter().map(|one| (one.name, one.text)));
        assert!(missing(&there, Some(&catalogue(&["a_key", "b_key"])), None, now).is_empty());

        let contract =
            missing(&there, Some(&catalogue(&["a_key", "b_key"])), Some(&["my_index".into()]), now);
        assert_eq!(contract.len(), 1);
        assert!(contract[0].name.ends_with("_app_secrets_005_drop_columns.sql"));
        assert!(contract[0].text.contains(r#"'app_secrets.drop_also', '["my_index"]'"#));
    }

    #[test]
    fn the_default_names_stay_known_when_one_is_added() {
        let now = Timestamp(1_800_000_000_000);
        let mut there: Vec<(String, String)> =
            missing(&[], None, None, now).into_iter().map(|one| (one.name, one.text)).collect();
        let whole = catalogue(&["gemini_api_key", "stripe_secret_key"]);
        let more = missing(&there, Some(&whole), None, now);
        assert_eq!(more.len(), 1);
        assert!(!more[0].text.contains("gemini_api_key"), "{}", more[0].text);
        there.extend(more.into_iter().map(|one| (one.name, one.text)));
        assert!(missing(&there, Some(&whole), None, now).is_empty());
    }
}
