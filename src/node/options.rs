//! The options of `open`, which lib/connect.js has checked and completed from the environment.

use napi::ValueType;
use napi::bindgen_prelude::Unknown;

use super::js::{self, unexpected};
use crate::config::{CacheOptions, Config, Options, Pooler};
use crate::error::Result;

pub(super) fn config(object: &Unknown) -> Result<Config> {
    let options = Options {
        url: text(object, "url")?.map(Into::into),
        ca: text(object, "ca")?,
        allow_insecure: boolean(object, "allowInsecure")?.unwrap_or_default(),
        max_connections: whole(object, "maxConnections")?,
        timeout_ms: whole(object, "timeoutMs")?,
        pooler: match text(object, "pooler")?.as_deref() {
            None | Some("auto") => Pooler::Auto,
            Some("transaction") => Pooler::Transaction,
            Some("none") => Pooler::None,
            Some(_) => return Err(unexpected("pooler")),
        },
        listen_url: text(object, "listenUrl")?.map(Into::into),
        listen: boolean(object, "listen")?,
        cache: cache(&js::property(object, "cache")?)?,
        application_name: text(object, "applicationName")?,
        actor: text(object, "actor")?,
    };
    Config::new(options, |_| None)
}

/// `false`, `true`, or how much and for how long.
fn cache(argument: &Unknown) -> Result<Option<CacheOptions>> {
    if let Some(is_on) = js::boolean(argument) {
        return Ok(is_on.then(CacheOptions::default));
    }
    if js::kind(argument) != ValueType::Object {
        return Ok(None);
    }
    Ok(Some(CacheOptions {
        ttl_ms: whole(argument, "ttlMs")?,
        negative_ttl_ms: whole(argument, "negativeTtlMs")?,
        max_entries: whole(argument, "maxEntries")?,
        max_stale_ms: whole(argument, "maxStaleMs")?,
    }))
}

fn optional<T>(object: &Unknown, name: &str, read: impl Fn(&Unknown) -> Option<T>) -> Result<Option<T>> {
    let property = js::property(object, name)?;
    if js::is_absent(&property) {
        return Ok(None);
    }
    read(&property).map(Some).ok_or_else(|| unexpected(name))
}

pub(super) fn boolean(object: &Unknown, name: &str) -> Result<Option<bool>> {
    optional(object, name, js::boolean)
}

pub(super) fn text(object: &Unknown, name: &str) -> Result<Option<String>> {
    optional(object, name, js::plain)
}

pub(super) fn whole(object: &Unknown, name: &str) -> Result<Option<u32>> {
    optional(object, name, |property| js::whole(property).and_then(|number| u32::try_from(number).ok()))
}
