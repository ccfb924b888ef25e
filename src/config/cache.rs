//! How much is cached, and for how long.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::in_range;
use crate::error::{Error, Result};

/// The options of the cache. Whatever is `None` has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheOptions {
    /// How long a value counts as fresh, in milliseconds, 1 to 86,400,000, give or take a tenth. Default 60,000.
    /// While the listener is up a change is seen sooner.
    pub ttl_ms: Option<u32>,
    /// The same for a secret that is not set, at most `ttl_ms`; 0 caches none. Default 5000.
    pub negative_ttl_ms: Option<u32>,
    /// The most secrets to keep, 1 to 1,000,000. Default 10,000.
    pub max_entries: Option<u32>,
    /// How much longer a value may be served while the database is out of reach, in milliseconds, at most
    /// 86,400,000. Default 0: never.
    pub max_stale_ms: Option<u32>,
}

/// The checked options of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachePolicy {
    pub(crate) ttl: Duration,
    /// Of what is not set: a key that was just entered is missed more than a rotated one.
    pub(crate) negative_ttl: Duration,
    /// How much longer an expired entry is kept for an outage.
    pub(crate) max_stale: Duration,
    pub(crate) max_entries: NonZeroUsize,
}

/// Longer than a day is not caching but keeping.
const DAY_MS: u32 = 86_400_000;

pub(super) fn policy(options: CacheOptions) -> Result<CachePolicy> {
    let ttl = in_range("cache.ttlMs", options.ttl_ms.unwrap_or(60_000), DAY_MS)?;
    let negative_ttl =
        at_most("cache.negativeTtlMs", options.negative_ttl_ms.unwrap_or(5000), DAY_MS)?.min(ttl);
    let max_stale = at_most("cache.maxStaleMs", options.max_stale_ms.unwrap_or(0), DAY_MS)?;
    let max_entries = in_range("cache.maxEntries", options.max_entries.unwrap_or(10_000), 1_000_000)?;
    let [ttl, negative_ttl, max_stale] =
        [ttl, negative_ttl, max_stale].map(|ms| Duration::from_millis(ms.into()));
    let max_entries = NonZeroUsize::new(max_entries as usize).unwrap_or(NonZeroUsize::MIN);
    Ok(CachePolicy { ttl, negative_ttl, max_stale, max_entries })
}

fn at_most(name: &str, value: u32, most: u32) -> Result<u32> {
    if value <= most {
        return Ok(value);
    }
    Err(Error::Config(format!("{name} must be at most {most}, not {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn defaults_are_those_that_the_documentation_names() {
        let policy = policy(CacheOptions::default()).unwrap();
        assert_eq!(policy.ttl, Duration::from_mins(1));
        assert_eq!(policy.negative_ttl, Duration::from_secs(5));
        assert_eq!(policy.max_stale, Duration::ZERO);
        assert_eq!(policy.max_entries.get(), 10_000);
    }

    #[test]
    fn what_is_not_set_never_lives_longer_than_a_value() {
        let policy = policy(CacheOptions { ttl_ms: Some(100), ..CacheOptions::default() }).unwrap();
        assert_eq!(policy.negative_ttl, Duration::from_millis(100));
    }

    #[test]
    fn bounds_are_checked_and_named() {
        let default = CacheOptions::default();
        for (options, name) in [
            (CacheOptions { ttl_ms: Some(0), ..default }, "ttlMs"),
            (CacheOptions { negative_ttl_ms: Some(DAY_MS + 1), ..default }, "negativeTtlMs"),
            (CacheOptions { max_entries: Some(0), ..default }, "maxEntries"),
            (CacheOptions { max_stale_ms: Some(DAY_MS + 1), ..default }, "maxStaleMs"),
        ] {
            let error = policy(options).unwrap_err();
            assert_eq!(error.code(), Code::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
