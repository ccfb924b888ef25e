//! Files that commands write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

pub(super) fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::Config(format!("{} cannot be written: {}", path.display(), error.kind()))
}

/// Makes a file that must not be there yet.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    write(&mut OpenOptions::new().write(true).create_new(true).open(path)?, text)
}

/// As [`create`], for its owner's eyes only (mode 0600; on Windows as the folder has it).
pub(super) fn create_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write(&mut options.open(path)?, text)
}

/// Puts a file in another's place, whole or not at all.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside: PathBuf = path.with_file_name(name);
    let outcome = create(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    outcome.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        unwritable(path, &error)
    })
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// JSON for people: one secret a line.
pub(super) fn pretty(catalogue: &Value) -> String {
    let secrets = catalogue["secrets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let field = |secret: &Value, name: &str| format!("\"{name}\": {}", secret[name]);
    let lines: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let fields = ["name", "label", "sealed", "type", "legacy_column"].map(|name| field(secret, name));
            format!("    {{ {} }}", fields.join(", "))
        })
        .collect();
    let access = match &catalogue["access"] {
        Value::Object(access) => {
            let fields: Vec<String> =
                access.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    };
    format!(
        "{{\n  \"owner_table\": {},\n  \"owner_key\": {},\n  \"access\": {access},\n  \"secrets\": [\n{}\n  ]\n}}\n",
        catalogue["owner_table"],
        catalogue["owner_key"],
        lines.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_for_people_is_the_same_json() {
        let catalogue = json!({
            "owner_table": "public.\"Odd table\"", "owner_key": "id", "access": { "column": "owner_id" },
            "secrets": [
                { "name": "a", "label": "A \"quoted\" one", "sealed": true, "type": "text", "legacy_column": "a" },
                { "name": "b", "label": "B", "sealed": false, "type": "timestamptz", "legacy_column": null },
            ],
        });
        assert_eq!(serde_json::from_str::<Value>(&pretty(&catalogue)).unwrap(), catalogue);
    }
}
