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

/// Puts a file in another's place, whole or not at all. The file that a link leads to is the one that is replaced, and its mode stays.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let there = std::fs::canonicalize(path).ok();
    let place = there.as_deref().unwrap_or(path);
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside: PathBuf = place.with_file_name(name);
    let outcome = create(&beside, text).and_then(|()| {
        if let Some(there) = &there {
            std::fs::set_permissions(&beside, std::fs::metadata(there)?.permissions())?;
        }
        std::fs::rename(&beside, place)
    });
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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_the_file_keeps_its_mode() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = std::env::temp_dir().join(format!("app-secrets-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("types.d.ts"), folder.join("link.d.ts"));
        std::fs::write(&file, "before").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        symlink("types.d.ts", &link).unwrap();
        replace(&link, "after").unwrap();
        let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        let (text, mode) =
            (std::fs::read_to_string(&file).unwrap(), std::fs::metadata(&file).unwrap().permissions().mode());
        let is_link = std::fs::symlink_metadata(&link).unwrap().is_symlink();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((text.as_str(), mode & 0o777, is_link, left.len()), ("after", 0o640, true, 2));
    }

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
