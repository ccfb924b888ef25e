//! Text of status, verify, migrate, rollback, scrub and history.

use super::{bytes, count, duration, moment, plural, printable, table};
use crate::admin::{
    CONTRACT, Change, FileState, FileStatus, Finding, Migrated, Next, PageSearch, Plan, RolledBack,
    ScrubPlan, Scrubbed, Status, Verification,
};

/// What to type next.
pub(in crate::cli) fn next(next: Next) -> &'static str {
    match next {
        Next::Migrate => "app-secrets migrate",
        Next::Reapply => "app-secrets migrate --reapply",
        Next::Verify => "app-secrets verify",
        Next::DropLegacy => {
            "app-secrets migrate --drop-legacy, once no code reads the plaintext columns of businesses any more"
        }
        Next::Rollback => "app-secrets rollback, to finish the one that was begun",
        Next::Scrub => "app-secrets scrub, which takes the dropped plaintext out of the tables' pages",
        Next::Nothing => "nothing: the migration is complete",
    }
}

pub(in crate::cli) fn status(title: &str, status: &Status, width: Option<usize>) -> String {
    let files = status.files.iter().map(|file| {
        let by = match (file.applied_at, &file.applied_by) {
            (Some(at), Some(by)) => format!("{} by {by}", moment(at)),
            _ => String::new(),
        };
        vec![file.file.clone(), state(file).to_owned(), by]
    });
    let mut text = vec![printable(title), String::new(), table(&[], &[], files, width), String::new()];

    text.push(format!("businesses backfilled  {} of {}", count(status.done), count(status.businesses)));
    text.push(match status.mismatched {
        Some(0) => "mismatches             0".to_owned(),
        Some(number) => format!("mismatches             {}: app-secrets verify says where", count(number)),
        None => "mismatches             nothing to compare".to_owned(),
    });
    let columns: Vec<&str> = status.plaintext_columns.iter().map(|name| name.as_str()).collect();
    text.push(match columns.as_slice() {
        [] => "plaintext columns      none".to_owned(),
        columns => format!("plaintext columns      {}", columns.join(", ")),
    });
    match &status.statements {
        None => text.push(
            "statements             unknown: pg_stat_statements is not there, or not for this login"
                .to_owned(),
        ),
        Some(statements) if statements.is_empty() => {
            text.push("statements             none that names a plaintext column".to_owned());
        }
        Some(statements) => {
            text.push("statements that name a plaintext column, since the statistics were reset:".to_owned());
            let rows = statements.iter().map(|statement| {
                vec![String::new(), count(statement.calls), statement.user.clone(), statement.text.clone()]
            });
            text.push(table(&["", "calls", "login", "statement"], &[1], rows, width));
        }
    }
    text.push(String::new());
    text.push(format!("Next: {}", next(status.next)));
    text.join("\n")
}

fn state(file: &FileStatus) -> &'static str {
    match file.state {
        // Nobody is late with it: when to drop is a decision.
        FileState::Pending if file.version == CONTRACT => "not yet",
        FileState::Pending => "pending",
        FileState::Applied => "applied",
        FileState::AppliedUnchecked => "applied (unchecked)",
        FileState::Edited => "EDITED",
    }
}

pub(in crate::cli) fn verification(found: &Verification, width: Option<usize>) -> String {
    let mut text = Vec::new();
    match &found.columns {
        Some(columns) => {
            let rows = columns.iter().map(|column| {
                vec![
                    column.name.clone(),
                    count(column.legacy_values),
                    count(column.sealed_values),
                    count(column.mismatched),
                ]
            });
            text.push(table(&["column", "plaintext", "in Vault", "differ"], &[1, 2, 3], rows, width));
            for column in columns.iter().filter(|column| column.mismatched > 0) {
                let ids: Vec<String> = column.business_ids.iter().map(ToString::to_string).collect();
                text.push(format!("{} differs in {}", column.name, sampled(column.mismatched, &ids)));
            }
        }
        None => text.push("The plaintext columns are gone; what is in Vault was checked.".to_owned()),
    }
    text.push(String::new());
    for (what, finding) in [
        ("references without a Vault row", &found.dangling),
        ("values that do not decrypt", &found.undecryptable),
        ("cells that are not sealed", &found.unsealed),
        ("Vault rows that nothing refers to", &found.orphans),
    ] {
        text.push(self::finding(what, finding));
    }
    text.push(match found.idle_triggers.as_slice() {
        [] => "triggers missing or disabled: 0".to_owned(),
        idle => format!("triggers missing or disabled: {}", idle.join(", ")),
    });
    let writes = &found.legacy_writes;
    text.push(match writes.last_at {
        Some(at) => format!(
            "plaintext written since the backfill, and carried over: {}, last {} by {}",
            count(writes.count),
            moment(at),
            printable(&writes.writers.join(", "))
        ),
        None => "plaintext written since the backfill: 0".to_owned(),
    });
    text.push(String::new());
    text.push(if found.is_sound() {
        "Verified: every value is in Vault, and opens.".to_owned()
    } else if found.is_proof() {
        "Verified, but for the orphans: they hold old values; delete them from vault.secrets by id.".to_owned()
    } else {
        "NOT verified. Write the right value of what differs through either side (UPDATE businesses, or set); write a \
         new value where one does not decrypt; then verify again."
            .to_owned()
    });
    text.join("\n")
}

fn finding(what: &str, finding: &Finding) -> String {
    if finding.count == 0 {
        return format!("{what}: 0");
    }
    format!("{what}: {}", sampled(finding.count, &finding.samples))
}

fn sampled(number: i64, samples: &[String]) -> String {
    let more = if usize::try_from(number).is_ok_and(|number| number > samples.len()) { ", …" } else { "" };
    format!("{} ({}{more})", count(number), printable(&samples.join(", ")))
}

pub(in crate::cli) fn plan(plan: &Plan, width: Option<usize>) -> String {
    if plan.files.is_empty() {
        return "Nothing to apply.".to_owned();
    }
    let rows = plan.files.iter().map(|file| vec![file.file_name(), file.title.to_owned()]);
    let mut text = vec!["Would apply:".to_owned(), table(&[], &[], rows, width)];
    text.push(format!(
        "{} in plaintext, of {}.",
        plural(plan.plaintext_values, "value", "values"),
        plural(plan.businesses, "business", "businesses")
    ));
    text.extend(plan.warnings.iter().map(|warning| format!("warning: {}", printable(warning))));
    text.join("\n")
}

pub(in crate::cli) fn migrated(migrated: &Migrated, to: i32) -> String {
    if let Some(version) = migrated.stopped_in {
        let place =
            if version == 0 { "while it waited for its turn".to_owned() } else { format!("in {version:03}") };
        return format!(
            "Stopped {place}: {} written by this run. Run the same command again: it goes on where it stopped.",
            plural(migrated.secrets, "secret was", "secrets were")
        );
    }
    if migrated.applied.is_empty() {
        return format!("Nothing to apply: the database is at {to:03} or beyond.");
    }
    let files: Vec<String> = migrated.applied.iter().map(|version| format!("{version:03}")).collect();
    let sealed = match migrated.businesses {
        0 => String::new(),
        businesses => format!(
            "; the backfill sealed {} of {}, and the triggers what was written meanwhile",
            plural(migrated.secrets, "secret", "secrets"),
            plural(businesses, "business", "businesses")
        ),
    };
    format!("Applied {} in {}{sealed}.", files.join(", "), duration(migrated.elapsed))
}

pub(in crate::cli) fn rolled_back(outcome: &RolledBack) -> String {
    if outcome.was_not_needed {
        return "The plaintext columns were not dropped: they are there, and both sides are written. Nothing to do.".to_owned();
    }
    if outcome.is_stopped {
        return format!(
            "Stopped after {}. Both sides are written again; run `app-secrets rollback` to restore the rest.",
            plural(outcome.secrets, "value", "values")
        );
    }
    let lost = match outcome.lost {
        0 => String::new(),
        lost => {
            format!(" {}: app-secrets verify says where.", plural(lost, "value differs", "values differ"))
        }
    };
    format!(
        "The plaintext columns are back, and both sides are written: {} restored in {}.{lost}",
        plural(outcome.secrets, "value", "values"),
        duration(outcome.elapsed)
    )
}

pub(in crate::cli) fn scrub_plan(plan: &ScrubPlan, width: Option<usize>) -> String {
    let rows = plan.tables.iter().map(|(name, size)| vec![(*name).to_owned(), bytes(*size)]);
    let mut text = vec![
        "Will rewrite, one after the other, with VACUUM FULL:".to_owned(),
        table(&[], &[1], rows, width),
        format!(
            "Each is locked for READERS and writers meanwhile, all in all for about {}. Without that lock: pg_repack.",
            duration(plan.estimate)
        ),
    ];
    if plan.is_done {
        text.push("Both tables were rewritten since they held plaintext: this is not needed.".to_owned());
    }
    text.join("\n")
}

pub(in crate::cli) fn scrubbed(outcome: &Scrubbed, width: Option<usize>) -> String {
    let rows = outcome.tables.iter().map(|table| {
        vec![
            table.table.to_owned(),
            bytes(table.before),
            "→".to_owned(),
            bytes(table.after),
            duration(table.elapsed),
        ]
    });
    let mut text = vec![table(&[], &[1, 3, 4], rows, width)];
    if outcome.is_stopped {
        text.push(
            "Stopped: the table that was being rewritten is as before. Run `app-secrets scrub` again."
                .to_owned(),
        );
        return text.join("\n");
    }
    text.push(searched(outcome.search.as_ref()));
    text.push(String::new());
    text.push(
        "WAL, backups and replicas keep the plaintext. Rotate at their providers, then `app-secrets set`:"
            .to_owned(),
    );
    let rows = outcome.rotate.iter().map(|key| {
        let entry = key.name.entry();
        vec![entry.label.to_owned(), entry.name.to_owned(), plural(key.businesses, "business", "businesses")]
    });
    text.push(table(&[], &[], rows, width));
    text.join("\n")
}

fn searched(search: Option<&PageSearch>) -> String {
    match search {
        None => "The pages could not be looked at: this login may not read files of the server (pg_read_binary_file). \
                 VACUUM FULL wrote new ones, and the old are deleted."
            .to_owned(),
        Some(PageSearch { bytes: size, values, found: 0 }) => format!(
            "Proof: {} of pages read, {} looked for, none found in clear.",
            bytes(*size),
            plural(*values, "sealed value", "sealed values")
        ),
        Some(PageSearch { values, found, .. }) => format!(
            "STILL THERE: of {} looked for, {} in the pages in clear. Is there another column that holds them?",
            plural(*values, "sealed value", "sealed values"),
            plural(*found, "stands", "stand")
        ),
    }
}

pub(in crate::cli) fn history(changes: &[Change], width: Option<usize>) -> String {
    if changes.is_empty() {
        return "No changes.".to_owned();
    }
    let rows = changes.iter().map(|change| {
        let who =
            change.jwt_sub.iter().chain([&change.login]).chain(&change.application).chain(&change.actor);
        let who: Vec<&str> = who.map(String::as_str).filter(|part| !part.is_empty()).collect();
        vec![
            moment(change.at),
            change.business.to_string(),
            change.name.clone(),
            change.action.clone(),
            change.version.to_string(),
            change.origin.clone(),
            who.join(" / "),
        ]
    });
    table(&["when", "business", "secret", "action", "version", "through", "who"], &[4], rows, width)
}
