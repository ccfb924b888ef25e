//! Text of list, get and import. Masked, always.

use super::{moment, printable, table};
use crate::cli::envfile::Plan;
use crate::secret::Listed;

pub(in crate::cli) fn listed(secrets: &[Listed], width: Option<usize>) -> String {
    let rows = secrets.iter().map(|secret| {
        vec![
            secret.name.to_string(),
            masked(secret),
            if secret.version > 0 { secret.version.to_string() } else { String::new() },
            secret.updated_at.map_or_else(String::new, moment),
            secret.last_read_at.map_or_else(String::new, moment),
            printable(&secret.label),
        ]
    });
    table(&["secret", "value", "version", "changed", "last read", "for"], &[2], rows, width)
}

pub(in crate::cli) fn masked(secret: &Listed) -> String {
    match (secret.is_set, &secret.last4) {
        (false, _) => "-".to_owned(),
        (true, None) => "set".to_owned(),
        (true, Some(last4)) => format!("…{}", printable(last4)),
    }
}

pub(in crate::cli) fn plan(plan: &Plan, current: &[Listed], width: Option<usize>) -> String {
    let rows = plan.entries.iter().map(|entry| {
        let before =
            current.iter().find(|secret| secret.name == entry.name).map_or_else(|| "-".to_owned(), masked);
        vec![
            entry.variable.clone(),
            "→".to_owned(),
            entry.name.to_string(),
            before,
            "→".to_owned(),
            entry.masked(),
        ]
    });
    let mut text = vec![table(&["variable", "", "secret", "now", "", "then"], &[], rows, width)];
    let doubtful: Vec<&str> = plan.doubtful().map(|entry| entry.variable.as_str()).collect();
    if !doubtful.is_empty() {
        text.push(format!("Perhaps no keys, but references or placeholders: {}", doubtful.join(", ")));
    }
    if !plan.ignored.is_empty() {
        text.push(format!("Ignored, as no secret goes by that name: {}", plan.ignored.join(", ")));
    }
    if !plan.blank.is_empty() {
        text.push(format!("Left alone, as the file has no value: {}", plan.blank.join(", ")));
    }
    text.join("\n")
}
