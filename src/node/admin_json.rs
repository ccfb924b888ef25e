//! What the migration role's calls come to, as JSON that lib/native.js parses.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{Blocker, Event, Migrated, Status};
use crate::doctor::Report;

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
    json!({
        "database": status.database,
        "files": status.files,
        "businesses": status.businesses,
        "done": status.done,
        "mismatches": status.mismatched(),
        "plaintextColumns": status.plaintext_columns,
        "rollingBack": status.is_rolling_back,
        "pending": status.is_pending(),
    })
}

pub(super) fn report(report: &Report) -> Value {
    json!({ "healthy": report.is_healthy(), "checks": report.checks })
}
