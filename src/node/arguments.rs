//! Arguments, checked before anything is sent. No error repeats one: swapped arguments would put a value there.

use napi::ValueType;
use napi::bindgen_prelude::Unknown;
use secrecy::SecretString;
use uuid::Uuid;

use super::js::{self, Text};
use crate::name::{NameSet, SecretName};
use crate::client::Values;
use crate::consumers::{GoogleTokensUpdate, KlingCredentials, Provider};
use crate::error::{Error, Result};
use crate::timestamp::Timestamp;
use crate::value;
use crate::watch::Filter;

/// More than any name or id has; what is longer is none.
const SHORT: usize = 100;

pub(super) fn business_id(argument: &Unknown) -> Result<Uuid> {
    // The quick way. Whatever is wrong is left for the long one to say.
    if let Some(id) = js::short(argument, |text| value::business_id(text).ok()) {
        return Ok(id);
    }
    match js::text(argument, SHORT) {
        Text::Plain(text) => value::business_id(&text),
        _ => Err(value::not_a_business_id()),
    }
}

pub(super) fn secret_name(argument: &Unknown) -> Result<SecretName> {
    if let Some(name) = js::short(argument, |text| text.parse().ok()) {
        return Ok(name);
    }
    match js::text(argument, SHORT) {
        Text::NotAString => Err(invalid("name must be a string, such as 'gemini_api_key'")),
        Text::Plain(text) => text.parse(),
        Text::TooLong | Text::NotUnicode => "".parse(),
    }
}

pub(super) fn secret_names(argument: &Unknown) -> Result<NameSet> {
    if !js::is_array(argument) {
        return Err(invalid("names must be an array of names, such as ['gemini_api_key']"));
    }
    js::elements(argument, 1000)?.iter().map(secret_name).collect()
}

pub(super) fn provider(argument: &Unknown) -> Result<Provider> {
    match js::text(argument, SHORT) {
        Text::Plain(text) => text.parse(),
        _ => "".parse(),
    }
}

/// A string, or null to clear.
pub(super) fn secret_value(argument: &Unknown) -> Result<Option<SecretString>> {
    let refuse = |why: &str| Err(Error::InvalidValue { why: format!("the value {why}") });
    if js::kind(argument) == ValueType::Null {
        return Ok(None);
    }
    match js::text(argument, value::MAX_UNTRIMMED) {
        Text::NotAString => refuse("must be a string, or null to clear it"),
        Text::TooLong => refuse(
            "is longer than 1,048,576 characters, white space included; a key has at most 65,536 bytes of UTF-8",
        ),
        Text::NotUnicode => refuse("is not Unicode: it holds half a surrogate pair"),
        Text::Plain(text) => value::normalise(&text),
    }
}

/// An object of names and values.
pub(super) fn values(argument: &Unknown) -> Result<Values> {
    let names = named(argument, "values must be an object, such as { grok_api_key: 'xai-…' }")?;
    names.into_iter().map(|name| Ok((name, secret_value(&js::property(argument, name.as_str())?)?))).collect()
}

fn named(argument: &Unknown, refusal: &str) -> Result<Vec<SecretName>> {
    if js::kind(argument) != ValueType::Object || js::is_array(argument) {
        return Err(invalid(refusal));
    }
    js::keys(argument)?.iter().map(|key| key.parse()).collect()
}

/// `{ expectedVersion }`
pub(super) fn expected_version(argument: &Unknown) -> Result<Option<i64>> {
    let Some(options) = object(argument, "options", &["expectedVersion"])? else { return Ok(None) };
    let expected = js::property(options, "expectedVersion")?;
    if js::is_absent(&expected) { Ok(None) } else { version(&expected).map(Some) }
}

/// `{ expectedVersions: { name: version } }`
pub(super) fn expected_versions(argument: &Unknown) -> Result<Vec<(SecretName, i64)>> {
    let Some(options) = object(argument, "options", &["expectedVersions"])? else { return Ok(Vec::new()) };
    let expected = js::property(options, "expectedVersions")?;
    if js::is_absent(&expected) {
        return Ok(Vec::new());
    }
    let names = named(&expected, "expectedVersions must be an object, such as { grok_api_key: 3 }")?;
    names.into_iter().map(|name| Ok((name, version(&js::property(&expected, name.as_str())?)?))).collect()
}

fn version(argument: &Unknown) -> Result<i64> {
    const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
    match js::number(argument) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 2^53")]
        Some(version) if version.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER).contains(&version) => {
            Ok(version as i64)
        }
        _ => Err(invalid("an expected version must be a whole number from 0, which stands for never set")),
    }
}

/// `{ accessKey, secretKey }`, or null to clear both.
pub(super) fn kling_credentials(argument: &Unknown) -> Result<Option<KlingCredentials>> {
    if js::kind(argument) == ValueType::Null {
        return Ok(None);
    }
    let shape = "credentials must be { accessKey, secretKey }, or null to clear both";
    let keys = object(argument, "credentials", &["accessKey", "secretKey"])?.ok_or_else(|| invalid(shape))?;
    let key = |name| {
        let key = secret_value(&js::property(keys, name)?)?;
        key.ok_or_else(|| Error::InvalidValue { why: format!("{name} is missing or blank: {shape}") })
    };
    Ok(Some(KlingCredentials { access_key: key("accessKey")?, secret_key: key("secretKey")? }))
}

/// `{ accessToken?, refreshToken?, expiresAt?, driveFolderId? }`; what is undefined stays as it is.
pub(super) fn google_tokens(argument: &Unknown) -> Result<GoogleTokensUpdate> {
    let known = ["accessToken", "refreshToken", "expiresAt", "driveFolderId"];
    let tokens = object(argument, "tokens", &known)?.ok_or_else(|| {
        invalid("tokens must be an object, such as { accessToken, refreshToken, expiresAt }")
    })?;
    let given = |name| {
        let property = js::property(tokens, name)?;
        Ok::<_, Error>((js::kind(&property) != ValueType::Undefined).then_some(property))
    };
    let text = |name| given(name)?.map(|property| secret_value(&property)).transpose();
    Ok(GoogleTokensUpdate {
        access_token: text("accessToken")?,
        refresh_token: text("refreshToken")?,
        expires_at: given("expiresAt")?.map(|property| date(&property)).transpose()?,
        drive_folder_id: text("driveFolderId")?,
    })
}

fn date(argument: &Unknown) -> Result<Option<Timestamp>> {
    if js::kind(argument) == ValueType::Null {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a Date holds whole milliseconds, less than 2^53")]
    let ms = js::date(argument).filter(|ms| ms.is_finite()).map(|ms| ms as i64);
    match ms {
        Some(ms) if Timestamp::RANGE.contains(&ms) => Ok(Some(Timestamp(ms))),
        _ => Err(Error::InvalidValue { why: "expiresAt must be a valid Date, or null to clear it".into() }),
    }
}

/// `{ businessId?, names? }`
pub(super) fn filter(argument: &Unknown) -> Result<Filter> {
    let Some(filter) = object(argument, "filter", &["businessId", "names"])? else {
        return Ok(Filter::default());
    };
    let given = |name| {
        let property = js::property(filter, name)?;
        Ok::<_, Error>((!js::is_absent(&property)).then_some(property))
    };
    let business = given("businessId")?.map(|id| business_id(&id)).transpose()?;
    let names = given("names")?.map(|names| secret_names(&names)).transpose()?;
    // None of the names would be all of them, which nobody means by it.
    if names.is_some_and(NameSet::is_empty) {
        return Err(invalid("names is empty: leave it out to hear of every secret"));
    }
    Ok(Filter { business, names: names.unwrap_or_default() })
}

/// An object with no other properties than those known, or nothing.
pub(super) fn object<'a, 'env>(
    argument: &'a Unknown<'env>,
    what: &str,
    known: &[&str],
) -> Result<Option<&'a Unknown<'env>>> {
    match js::kind(argument) {
        ValueType::Undefined | ValueType::Null => return Ok(None),
        ValueType::Object if !js::is_array(argument) => {}
        _ => return Err(invalid(&format!("{what} must be an object"))),
    }
    // A misspelt option would be ignored in silence.
    if js::keys(argument)?.iter().any(|key| !known.contains(&key.as_str())) {
        return Err(invalid(&format!("{what} has an unknown property; known are {}", known.join(", "))));
    }
    Ok(Some(argument))
}

pub(super) fn invalid(why: &str) -> Error {
    Error::InvalidArgument(why.to_owned())
}
