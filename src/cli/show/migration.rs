//! Text of status, verify, migrate, rollback, scrub and history.

use super::{bytes, count, duration, moment, plural, printable, table};
use crate::admin::{
    Change, DropPlan, FileState, FileStatus, Finding, FixedOrphans, Migrated, Next, Obstacle, PageSearch,
    Plan, RolledBack, ScrubPlan, Scrubbed, SecretState, Status, Verification,
};

/// What to type next.
pub(in crate::cli) fn next(next: Next) -> &'static str {
    match next {
        Next::Migrate => "app-secrets migrate",
        Next::Reapply => "app-secrets migrate --reapply",
        Next::Verify => "app-secrets verify",
        Next::DropLegacy => {
            "app-secrets migrate --drop-legacy, once no code reads the plaintext columns any more"
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

    for obstacle in status.obstacles.iter().flatten().filter(|obstacle| obstacle.is_refusal()) {
        text.push(format!("REFUSED                {}", printable(&obstacle.sentence())));
    }
    text.push(format!("businesses backfilled  {} of {}", count(status.done), count(status.businesses)));
    text.push(match &status.verified {
        Some(found) if found.is_proof => format!("last verify            proven, {}", moment(found.at)),
        Some(found) => format!(
            "last verify            NOT proven, {}: {}, {}",
            moment(found.at),
            plural(found.mismatched, "value differs", "values differ"),
            plural(
                found.dangling + found.undecryptable + found.unsealed,
                "cell is broken",
                "cells are broken"
            )
        ),
        None => "last verify            never".to_owned(),
    });
    text.push(match status.plaintext_columns.as_slice() {
        [] => "plaintext columns      none".to_owned(),
        columns => format!("plaintext columns      {}", columns.join(", ")),
    });
    let due: Vec<&str> =
        status.names.iter().filter(|name| name.is_due()).map(|name| name.name.as_str()).collect();
    if !due.is_empty() {
        text.push(format!("to be filled or sealed {}", due.join(", ")));
    }
    if status.names.iter().any(SecretState::has_references) {
        text.push(format!("secrets on record      {}", count(status.secrets)));
    }
    if !status.exposed.is_empty() {
        text.push(format!(
            "OPEN TO OTHERS         {}, as after a restore: {}",
            plural(i64::try_from(status.exposed.len()).unwrap_or(i64::MAX), "right", "rights"),
            printable(&some(&status.exposed))
        ));
    }
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
        FileState::Pending if file.is_contracting => "not yet",
        FileState::Pending => "pending",
        FileState::Applied => "applied",
        FileState::AppliedUnchecked => "applied (unchecked)",
        FileState::Edited => "EDITED",
    }
}

fn some(things: &[String]) -> String {
    const MOST: usize = 4;
    let more = if things.len() > MOST { format!(" and {} more", things.len() - MOST) } else { String::new() };
    format!("{}{more}", things[..things.len().min(MOST)].join(", "))
}

pub(in crate::cli) fn verification(
    found: &Verification,
    fixed: Option<FixedOrphans>,
    width: Option<usize>,
) -> String {
    let mut text = Vec::new();
    if let Some(FixedOrphans { put_back, removed }) = fixed {
        text.push(format!(
            "{} removed from Vault.",
            plural(removed, "row that nothing wanted was", "rows that nothing wanted were")
        ));
        if put_back > 0 {
            text.push(format!(
                "{} to their row in Vault again.",
                plural(put_back, "cell refers", "cells refer")
            ));
        }
        text.push(String::new());
    }
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
        None => text.push("There are no plaintext columns; what is in Vault was checked.".to_owned()),
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
    if found.strangers.count > 0 {
        text.push(self::finding(
            "Vault rows under names like ours that are not ours, left alone",
            &found.strangers,
        ));
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
        "Verified, but for Vault rows that nothing refers to: `app-secrets verify --fix-orphans` removes those that \
         nothing wants; with `--put-back`, cells that a restore has lost refer to theirs again."
            .to_owned()
    } else {
        "NOT verified. Write the right value of what differs through either side (an UPDATE of the plaintext column, or \
         set); bring back from a backup of Vault what does not open, or write it anew; then verify again."
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
    let mut text = Vec::new();
    if plan.files.is_empty() {
        text.push("Nothing to apply.".to_owned());
    } else {
        let rows = plan.files.iter().map(|file| vec![file.file_name(), file.title.to_owned()]);
        text.extend(["Would apply:".to_owned(), table(&[], &[], rows, width)]);
    }
    if !plan.due.is_empty() {
        text.push(format!("To be filled, sealed or proven: {}.", plan.due.join(", ")));
    }
    if plan.check().is_ok() && !plan.files.is_empty() {
        text.push(format!(
            "{} in plaintext, of {}.",
            plural(plan.plaintext_values, "value", "values"),
            plural(plan.businesses, "business", "businesses")
        ));
    }
    text.extend(obstacles(&plan.obstacles));
    text.join("\n")
}

fn obstacles(obstacles: &[Obstacle]) -> Vec<String> {
    let one = |obstacle: &Obstacle| {
        let kind = match obstacle.severity.as_str() {
            "refuse" => "REFUSED",
            "warn" => "warning",
            _ => "note",
        };
        let mut lines = format!("{kind}: {}", printable(&obstacle.sentence()));
        if let Some(fix) = &obstacle.fix {
            lines.extend(["\n  fix: ", &printable(fix), ";"]);
        }
        lines
    };
    obstacles.iter().map(one).collect()
}

pub(in crate::cli) fn drop_plan(plan: &DropPlan) -> String {
    if plan.columns.is_empty() {
        return "There are no plaintext columns to drop.".to_owned();
    }
    let mut text = vec![format!("Drops: {}", plan.columns.join(", "))];
    for (weight, what) in [
        ("blocks", "These use the columns, which cannot go before:"),
        (
            "shared",
            "These concern others too, and go with the columns or still name them (--also-drop=NAME consents):",
        ),
        ("own", "These go with the columns, and `app-secrets rollback` brings them back:"),
    ] {
        let mut of = plan.dependents.iter().filter(|it| it.weight == weight).peekable();
        if of.peek().is_some() {
            text.push(what.to_owned());
            text.extend(of.map(|it| format!("  {}", printable(&it.to_string()))));
        }
    }
    text.join("\n")
}

pub(in crate::cli) fn migrated(migrated: &Migrated) -> String {
    if let Some(version) = migrated.stopped_in {
        let place =
            if version == 0 { "while it waited for its turn".to_owned() } else { format!("in {version:03}") };
        return format!(
            "Stopped {place}: {} written by this run. Run the same command again: it goes on where it stopped.",
            plural(migrated.secrets, "secret was", "secrets were")
        );
    }
    if migrated.applied.is_empty() {
        return "Nothing to apply.".to_owned();
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
    let mut text = vec![format!(
        "The plaintext columns are back, and both sides are written: {} restored in {}.{lost}",
        plural(outcome.secrets, "value", "values"),
        duration(outcome.elapsed)
    )];
    let (back, missing): (Vec<_>, Vec<_>) = outcome.objects.iter().partition(|object| object.restored);
    if !back.is_empty() {
        text.push(format!(
            "Put back with them: {}.",
            plural(i64::try_from(back.len()).unwrap_or(0), "object", "objects")
        ));
    }
    if !missing.is_empty() {
        text.push("NOT put back; mend what is in the way, then run `app-secrets rollback` again:".to_owned());
        text.extend(missing.iter().map(|object| {
            format!(
                "  {} {}: {}",
                object.kind,
                object.object,
                printable(object.problem.as_deref().unwrap_or(""))
            )
        }));
    }
    text.join("\n")
}

pub(in crate::cli) fn scrub_plan(plan: &ScrubPlan, width: Option<usize>) -> String {
    let rows = plan.tables.iter().map(|(name, size)| vec![name.clone(), bytes(*size)]);
    let mut text = vec![
        "Will rewrite, one after the other, with VACUUM FULL:".to_owned(),
        table(&[], &[1], rows, width),
        format!(
            "Each is locked for READERS and writers meanwhile, all in all for about {}. Without that lock: pg_repack.",
            duration(plan.estimate)
        ),
    ];
    text.extend(copies(&plan.copies));
    if plan.is_done {
        text.push("Both tables were rewritten since they held plaintext: this is not needed.".to_owned());
    }
    text.join("\n")
}

pub(in crate::cli) fn scrubbed(outcome: &Scrubbed, width: Option<usize>) -> String {
    let rows = outcome.tables.iter().map(|table| {
        vec![
            table.table.clone(),
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
    text.extend(copies(&outcome.copies));
    text.push(String::new());
    text.push(
        "WAL, backups and replicas keep the plaintext. Rotate at their providers, then `app-secrets set`:"
            .to_owned(),
    );
    let rows = outcome.rotate.iter().map(|key| {
        vec![key.label.clone(), key.name.clone(), plural(key.businesses, "business", "businesses")]
    });
    text.push(table(&[], &[], rows, width));
    text.join("\n")
}

fn copies(copies: &[String]) -> Option<String> {
    let listed: Vec<String> = copies.iter().map(|copy| format!("\n  {}", printable(copy))).collect();
    (!copies.is_empty()).then(|| {
        format!(
            "Triggers write to these, which may hold copies of the plaintext; look into each:{}",
            listed.concat()
        )
    })
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
            change.undo_until.map_or_else(
                || change.action.clone(),
                |until| format!("{}, undo until {}", change.action, moment(until)),
            ),
            change.version.to_string(),
            change.origin.clone(),
            who.join(" / "),
        ]
    });
    table(&["when", "business", "secret", "action", "version", "through", "who"], &[4], rows, width)
}
