//! What the migration role's calls come to, as JSON that lib/native.js parses. Times are milliseconds since 1970.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{Blocker, Event, Migrated, Status, Verification};
use crate::doctor::Report;
use crate::timestamp::Timestamp;

fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.0.into())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn words(blockers: &[Blocker]) -> Vec<String> {
    blockers.iter().map(ToString::to_string).collect()
}

pub(super) fn event(event: &Event) -> Value {
    match event {
        Event::Waiting { holders } => json!({ "kind": "waiting", "holders": words(holders) }),
        Event::Started { version, title } => json!({ "kind": "started", "version": version, "title": title }),
        Event::Retrying { what, blockers, pause } => json!({
            "kind": "retrying", "what": what, "blockers": words(blockers), "pauseMs": ms(*pause),
        }),
        Event::Batch(progress) => json!({
            "kind": "batch",
            "done": progress.done,
            "total": progress.total,
            "secrets": progress.secrets,
            "perSecond": progress.per_second,
            "leftMs": progress.left.map(ms),
        }),
        Event::Applied { version, elapsed } => {
            json!({ "kind": "applied", "version": version, "elapsedMs": ms(*elapsed) })
        }
        Event::Warning(message) => json!({ "kind": "warning", "message": message }),
    }
}

pub(super) fn migrated(outcome: &Migrated) -> Value {
    json!({
        "applied": outcome.applied,
        "businesses": outcome.businesses,
        "secrets": outcome.secrets,
        "elapsedMs": ms(outcome.elapsed),
    })
}

pub(super) fn status(status: &Status) -> Value {
    let file = |file: &crate::admin::FileStatus| {
        json!({
            "version": file.version,
            "file": file.file,
            "state": file.state.as_str(),
            "appliedAt": time(file.applied_at),
        })
    };
    json!({
        "database": status.database,
        "files": status.files.iter().map(file).collect::<Vec<_>>(),
        "businesses": status.businesses,
        "done": status.done,
        "mismatches": status.mismatched(),
        "plaintextColumns": status.plaintext_columns,
        "rollingBack": status.is_rolling_back,
        "pending": status.is_pending(),
    })
}

pub(super) fn verification(found: &Verification) -> Value {
    json!({
        "verified": found.is_sound(),
        "mismatched": found.mismatched(),
        "columns": found.columns,
        "dangling": found.dangling,
        "undecryptable": found.undecryptable,
        "unsealed": found.unsealed,
        "orphans": found.orphans,
        "idleTriggers": found.idle_triggers,
        "legacyWrites": {
            "count": found.legacy_writes.count,
            "lastAt": time(found.legacy_writes.last_at),
            "writers": found.legacy_writes.writers,
        },
    })
}

pub(super) fn report(report: &Report) -> Value {
    let check = |check: &crate::doctor::Check| {
        json!({
            "id": check.id,
            "level": check.level.as_str(),
            "found": check.found,
            "why": check.why,
            "fix": check.fix,
        })
    };
    json!({ "healthy": report.is_healthy(), "checks": report.checks.iter().map(check).collect::<Vec<_>>() })
}
