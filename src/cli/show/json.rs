//! JSON of every command. Its shape is a contract: `version` grows when a field changes its meaning or goes.

use serde_json::{Map, Value, json};

use crate::admin::{
    Change, DropPlan, FixedOrphans, Migrated, Next, Plan, RolledBack, ScrubPlan, Scrubbed, Status,
    Verification,
};
use crate::cli::escape;
use crate::doctor::{Level, Report};
use crate::error::Error;
use crate::secret::Listed;
use crate::timestamp::Timestamp;

const VERSION: i32 = 1;

/// `{"version": 1, "command": …, …}`
pub(in crate::cli) fn document(command: &str, content: Value) -> String {
    let mut document = match content {
        Value::Object(fields) => fields,
        other => Map::from_iter([("result".to_owned(), other)]),
    };
    // Last, so that no content takes their place.
    document.insert("version".into(), VERSION.into());
    document.insert("command".into(), command.into());
    escape::json(&Value::Object(document).to_string()).into_owned()
}

pub(in crate::cli) fn error(error: &Error) -> Value {
    json!({ "error": { "code": error.code().as_str(), "message": error.to_string() } })
}

fn at(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.to_string().into())
}

fn seconds(time: std::time::Duration) -> Value {
    json!((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

pub(in crate::cli) fn next(next: Next) -> Value {
    match next {
        Next::Migrate => "migrate",
        Next::Reapply => "migrate --reapply",
        Next::Verify => "verify",
        Next::DropLegacy => "migrate --drop-legacy",
        Next::Rollback => "rollback",
        Next::Scrub => "scrub",
        Next::Nothing => return Value::Null,
    }
    .into()
}

pub(in crate::cli) fn status(status: &Status) -> Value {
    json!({
        "database": status.database,
        "files": status.files,
        "names": status.names,
        "businesses": { "total": status.businesses, "done": status.done },
        "secrets": status.secrets,
        "mismatches": status.mismatched(),
        "verified": status.verified,
        "plaintextColumns": status.plaintext_columns,
        "rollingBack": status.is_rolling_back,
        "exposed": status.exposed,
        "legacyStatements": status.statements,
        "findings": status.obstacles,
        "pending": status.is_pending(),
        "next": next(status.next),
    })
}

pub(in crate::cli) fn verification(found: &Verification, fixed: Option<FixedOrphans>) -> Value {
    let mut content = found.to_json();
    content["removedOrphans"] = json!(fixed.map(|fixed| fixed.removed));
    content["putBack"] = json!(fixed.map(|fixed| fixed.put_back));
    content
}

pub(in crate::cli) fn plan(plan: &Plan) -> Value {
    let warnings: Vec<String> = plan
        .obstacles
        .iter()
        .filter(|obstacle| obstacle.severity == "warn")
        .map(crate::admin::Obstacle::sentence)
        .collect();
    json!({
        "dryRun": true,
        "files": plan.files.iter().map(|file| file.file_name()).collect::<Vec<_>>(),
        "due": plan.due,
        "businesses": plan.businesses,
        "plaintextValues": plan.plaintext_values,
        "warnings": warnings,
        "findings": plan.obstacles,
        "refused": plan.check().is_err(),
    })
}

pub(in crate::cli) fn drop_plan(plan: &DropPlan, found: &Verification) -> Value {
    let mut content = verification(found, None);
    content["dryRun"] = true.into();
    content["drops"] = plan.columns.clone().into();
    content["dependents"] = json!(plan.dependents);
    content
}

pub(in crate::cli) fn migrated(migrated: &Migrated) -> Value {
    json!({
        "applied": migrated.applied,
        "businesses": migrated.businesses,
        "secrets": migrated.secrets,
        "seconds": seconds(migrated.elapsed),
        "stoppedIn": migrated.stopped_in,
    })
}

pub(in crate::cli) fn rolled_back(outcome: &RolledBack) -> Value {
    json!({
        "needed": !outcome.was_not_needed,
        "secrets": outcome.secrets,
        "mismatched": outcome.lost,
        "objects": outcome.objects,
        "seconds": seconds(outcome.elapsed),
        "stopped": outcome.is_stopped,
    })
}

pub(in crate::cli) fn scrub_plan(plan: &ScrubPlan) -> Value {
    let tables = plan.tables.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes }));
    json!({
        "database": plan.confirmation.database,
        "copies": plan.copies,
        "tables": tables.collect::<Vec<_>>(),
        "estimatedSeconds": plan.estimate.as_secs(),
        "done": plan.is_done,
    })
}

pub(in crate::cli) fn scrubbed(outcome: &Scrubbed) -> Value {
    let tables = outcome.tables.iter().map(|table| {
        json!({
            "name": table.table,
            "bytesBefore": table.before,
            "bytesAfter": table.after,
            "seconds": seconds(table.elapsed),
        })
    });
    json!({
        "tables": tables.collect::<Vec<_>>(),
        "search": outcome.search,
        "copies": outcome.copies,
        "rotate": outcome.rotate,
        "stopped": outcome.is_stopped,
    })
}

pub(in crate::cli) fn listed(secrets: &[Listed]) -> Value {
    json!({ "secrets": secrets.iter().map(one).collect::<Vec<_>>() })
}

fn one(secret: &Listed) -> Value {
    json!({
        "name": secret.name.as_str(),
        "isSet": secret.is_set,
        "last4": secret.last4,
        "version": secret.version,
        "updatedAt": at(secret.updated_at),
        "lastReadAt": at(secret.last_read_at),
        "lastCheckedAt": at(secret.last_checked_at),
        "checkResult": secret.check_result,
        "expiresAt": at(secret.expires_at),
        "rotateEvery": secret.rotate_every,
        "canUndo": secret.can_undo,
    })
}

/// The one secret of a document: its version has a name of its own there, `version` is the document's.
pub(in crate::cli) fn got(secret: &Listed) -> Value {
    let mut document = one(secret);
    if let Some(version) = document.as_object_mut().and_then(|fields| fields.remove("version")) {
        document["secretVersion"] = version;
    }
    document
}

pub(in crate::cli) fn history(changes: &[Change]) -> Value {
    let changes = changes.iter().map(|change| {
        json!({
            "id": change.id,
            "at": change.at.to_string(),
            "businessId": change.business.to_string(),
            "name": change.name,
            "action": change.action,
            "version": change.version,
            "login": change.login,
            "jwtSub": change.jwt_sub,
            "applicationName": change.application,
            "actor": change.actor,
            "origin": change.origin,
            "undoUntil": at(change.undo_until),
        })
    });
    json!({ "changes": changes.collect::<Vec<_>>() })
}

pub(in crate::cli) fn report(report: &Report) -> Value {
    json!({
        "healthy": report.is_healthy(),
        "ok": report.count(Level::Ok),
        "warn": report.count(Level::Warn),
        "fail": report.count(Level::Fail),
        "checks": report.checks,
    })
}
