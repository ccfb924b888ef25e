//! What a notification says. Anyone can send one, so it is believed only as far as "read again", and nothing of it is
//! kept that has no bound.

use serde_json::Value;
use uuid::Uuid;

use crate::name::SecretName;
use crate::secret::Versions;
use crate::value;

/// The server allows no more.
const MAX_BYTES: usize = 8000;

/// Versions beyond this one are not whole numbers in JavaScript, and no secret is written that often.
const MAX_VERSION: i64 = (1 << 53) - 1;

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Changed {
        business: Uuid,
        versions: Versions,
    },
    /// Every secret of that business may have changed.
    Business(Uuid),
    Everything,
}

impl Notice {
    /// `{"business_id": "…", "versions": {"grok_api_key": 3}}`, where `versions` is null for all of that business, or
    /// `{"business_id": null}`. `None` for anything else.
    pub(super) fn parse(payload: &str) -> Option<Self> {
        if payload.len() > MAX_BYTES {
            return None;
        }
        let Ok(Value::Object(object)) = serde_json::from_str(payload) else { return None };
        let business = match object.get("business_id")? {
            Value::Null => return Some(Self::Everything),
            Value::String(text) => value::business_id(text).ok()?,
            _ => return None,
        };
        let versions = match object.get("versions")? {
            Value::Null => return Some(Self::Business(business)),
            versions => versions.as_object()?,
        };
        let version =
            |version: &Value| version.as_i64().filter(|version| (0..=MAX_VERSION).contains(version));
        let mut changed = Versions::new();
        let mut has_unknown = false;
        for (name, at) in versions {
            let Ok(name) = SecretName::from_notification(name) else { continue };
            let version = version(at)?;
            match name {
                Some(name) => changed.push((name, version)),
                None => has_unknown = true,
            }
        }
        if has_unknown {
            // Forged ones have used up what there is for names: a real one must not be missed for that.
            return Some(Self::Business(business));
        }
        (!changed.is_empty()).then_some(Self::Changed { business, versions: changed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    #[test]
    fn a_change_of_a_name_for_which_forged_ones_left_no_room_is_one_of_all_of_the_business() {
        for at in 0..1000 {
            let _ = SecretName::from_notification(&format!("forged_{at}"));
        }
        let payload = |version: i64| {
            format!(r#"{{"business_id": "{ID}", "versions": {{"never_met_before": {version}}}}}"#)
        };
        assert_eq!(Notice::parse(&payload(4)), Some(Notice::Business(ID.parse().unwrap())));
        assert_eq!(Notice::parse(&payload(-1)), None);
    }

    #[test]
    fn a_change_names_its_business_and_versions() {
        // Met before other tests have used up what there is for notifications.
        let name: SecretName = "grok_api_key".parse().unwrap();
        let payload =
            format!(r#"{{"versions": {{"grok_api_key": 4, "Not a name": 1}}, "business_id": "{ID}"}}"#);
        let Some(Notice::Changed { business, versions }) = Notice::parse(&payload) else {
            panic!("not understood")
        };
        assert_eq!(business.to_string(), ID);
        assert_eq!(versions, [(name, 4)]);
    }

    #[test]
    fn a_null_business_is_everything() {
        assert_eq!(Notice::parse(r#"{"business_id": null}"#), Some(Notice::Everything));
    }

    #[test]
    fn null_versions_are_every_secret_of_the_business() {
        let payload = format!(r#"{{"business_id": "{ID}", "versions": null}}"#);
        assert_eq!(Notice::parse(&payload), Some(Notice::Business(ID.parse().unwrap())));
    }

    #[test]
    fn anything_else_is_not_understood() {
        let with = |versions: &str| format!(r#"{{"business_id": "{ID}", "versions": {versions}}}"#);
        let garbled = [
            String::new(),
            "null".into(),
            "[]".into(),
            "{}".into(),
            r#"{"business_id": 1}"#.into(),
            r#"{"business_id": "4711"}"#.into(),
            format!(r#"{{"business_id": "{ID}"}}"#),
            format!(r#"{{"business_id": "{{{ID}}}", "versions": {{"grok_api_key": 1}}}}"#),
            with("{}"),
            with("[1]"),
            with(r#"{"Not a name": 1}"#),
            with(r#"{"grok_api_key": -1}"#),
            with(r#"{"grok_api_key": 1.5}"#),
            with(r#"{"grok_api_key": 9007199254740992}"#),
            with(r#"{"grok_api_key": "4"}"#),
            with(&format!(r#"{{"grok_api_key": 1, "{}": 1}}"#, "x".repeat(MAX_BYTES))),
            "[".repeat(7999),
        ];
        for payload in garbled {
            assert_eq!(Notice::parse(&payload), None, "{payload}");
        }
    }
}
