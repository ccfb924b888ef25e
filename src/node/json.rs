//! What comes back, as JSON that lib/native.js parses. Holds no value of a secret.

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::outbox;
use crate::error::Result;
use crate::secret::versions_by_name;
use crate::watch::Event;

/// What serialises itself.
pub(super) fn answer(value: impl Serialize) -> Result<Answer> {
    serde_json::to_string(&value).map(Answer::Text).map_err(|_| outbox::internal())
}

pub(super) fn event(event: &Event) -> Value {
    match event {
        Event::Resync => json!({ "kind": "resync" }),
        Event::Changed { business, versions: changed } => json!({
            "kind": "changed",
            "businessId": business,
            "names": changed.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "versions": versions_by_name(changed),
        }),
    }
}
