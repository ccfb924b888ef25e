//! The options of `connect`, and the environment of the JavaScript thread.

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, ValueType};

use super::arguments::{invalid, object};
use super::js::{self, Text};
use crate::config::{CacheOptions, Config, Options, Pooler};
use crate::error::Result;

const KNOWN: [&str; 10] = [
    "url",
    "listenUrl",
    "ca",
    "allowInsecure",
    "maxConnections",
    "timeoutMs",
    "pooler",
    "cache",
    "applicationName",
    "actor",
];

/// Checks the options. What they leave out comes from the environment.
pub(super) fn config(env: &Env, argument: &Unknown) -> Result<Config> {
    let options = match object(argument, "options", &KNOWN)? {
        None => Options::default(),
        Some(object) => options(object)?,
    };
    Config::new(options, |name| variable(env, name))
}

fn options(object: &Unknown) -> Result<Options> {
    Ok(Options {
        url: text(object, "url")?.map(Into::into),
        ca: text(object, "ca")?,
        allow_insecure: boolean(object, "allowInsecure")?.unwrap_or_default(),
        max_connections: whole(object, "maxConnections")?,
        timeout_ms: whole(object, "timeoutMs")?,
        pooler: match text(object, "pooler")?.as_deref() {
            None | Some("auto") => Pooler::Auto,
            Some("transaction") => Pooler::Transaction,
            Some("none") => Pooler::None,
            Some(_) => return Err(invalid("pooler must be 'auto', 'transaction' or 'none'")),
        },
        listen_url: text(object, "listenUrl")?.map(Into::into),
        cache: cache(&js::property(object, "cache")?)?,
        application_name: text(object, "applicationName")?,
        actor: text(object, "actor")?,
    })
}

/// `false`, `true`, or how much and for how long.
fn cache(argument: &Unknown) -> Result<Option<CacheOptions>> {
    if let Some(is_on) = js::boolean(argument) {
        return Ok(is_on.then(CacheOptions::default));
    }
    let known = ["ttlMs", "negativeTtlMs", "maxEntries", "maxStaleMs"];
    if !matches!(js::kind(argument), ValueType::Object | ValueType::Undefined | ValueType::Null) {
        return Err(invalid("cache must be true, false or an object, such as { ttlMs: 60000 }"));
    }
    let Some(options) = object(argument, "cache", &known)? else { return Ok(None) };
    Ok(Some(CacheOptions {
        ttl_ms: whole(options, "ttlMs")?,
        negative_ttl_ms: whole(options, "negativeTtlMs")?,
        max_entries: whole(options, "maxEntries")?,
        max_stale_ms: whole(options, "maxStaleMs")?,
    }))
}

/// `process.env`, not the process's own environment: a worker thread may have been given another one.
pub(super) fn variable(env: &Env, name: &str) -> Option<String> {
    let global = env.get_global().ok()?.to_unknown();
    let process = js::property(&global, "process").ok()?;
    let variables = js::property(&process, "env").ok()?;
    match js::text(&js::property(&variables, name).ok()?, 1 << 20) {
        Text::Plain(value) => Some(value.to_string()),
        _ => None,
    }
}

fn optional<T>(
    object: &Unknown,
    name: &str,
    what: &str,
    read: impl Fn(&Unknown) -> Option<T>,
) -> Result<Option<T>> {
    let property = js::property(object, name)?;
    if js::is_absent(&property) {
        return Ok(None);
    }
    read(&property).map(Some).ok_or_else(|| invalid(&format!("{name} must be {what}")))
}

pub(super) fn boolean(object: &Unknown, name: &str) -> Result<Option<bool>> {
    optional(object, name, "true or false", js::boolean)
}

pub(super) fn text(object: &Unknown, name: &str) -> Result<Option<String>> {
    optional(object, name, "a string", |property| match js::text(property, 1 << 20) {
        Text::Plain(text) => Some(text.to_string()),
        _ => None,
    })
}

pub(super) fn whole(object: &Unknown, name: &str) -> Result<Option<u32>> {
    optional(object, name, "a whole number", |property| {
        let number = js::number(property).filter(|number| number.fract() == 0.0)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded right here")]
        (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
    })
}
