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
        let known = versions
            .iter()
            .filter_map(|(name, at)| Some((SecretName::from_notification(name)?, version(at))));
        let versions = known.map(|(name, version)| Some((name, version?))).collect::<Option<Versions>>()?;
        (!versions.is_empty()).then_some(Self::Changed { business, versions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    #[test]
    fn a_change_names_its_business_and_versions() {
        let payload =
            format!(r#"{{"versions": {{"grok_api_key": 4, "Not a name": 1}}, "business_id": "{ID}"}}"#);
        let Some(Notice::Changed { business, versions }) = Notice::parse(&payload) else {
            panic!("not understood")
        };
        assert_eq!(business.to_string(), ID);
        assert_eq!(versions, [("grok_api_key".parse().unwrap(), 4)]);
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
