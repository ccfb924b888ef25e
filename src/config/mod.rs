//! Turns options and the environment into a checked [`Config`]. Opens nothing but the file of `ca`.

mod cache;
mod listen;
mod tls;
mod url;

use std::time::Duration;

use secrecy::SecretString;

pub use self::cache::CacheOptions;
pub(crate) use self::cache::CachePolicy;
pub(crate) use self::tls::{Tls, TlsMode};
pub(crate) use self::url::Endpoint;

use self::listen::Direct;
use crate::error::{Error, Result};

/// What the caller chooses. Whatever is `None` has a default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `postgres://user:password@host:port/database`; else `APP_SECRETS_URL`, else `DATABASE_URL`.
    pub url: Option<SecretString>,
    /// A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file.
    pub ca: Option<String>,
    /// Allows a connection to a remote host that is not encrypted and verified.
    pub allow_insecure: bool,
    /// The most connections to open, 1 to 1000. Default 8.
    pub max_connections: Option<u32>,
    /// How long a call may take, in milliseconds, 1 to 3,600,000. Default 5000.
    pub timeout_ms: Option<u32>,
    /// Whether a transaction pooler stands in between.
    pub pooler: Pooler,
    /// A direct connection to hear of changes through, where `url` leads through a transaction pooler.
    pub listen_url: Option<SecretString>,
    /// Whether a client with a cache listens for changes. `false` leaves the cache to its times to live.
    pub listen: Option<bool>,
    /// How much of what was read is kept; `None` keeps nothing.
    pub cache: Option<CacheOptions>,
    /// The name that the server's views and logs show, at most 63 bytes. Default `app-secrets`.
    pub application_name: Option<String>,
    /// Whom the audit names besides the login, at most 128 bytes.
    pub actor: Option<String>,
}

/// Whether statements of one connection may land on different servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooler {
    /// Found out: port 6543, or a prepared statement that the server does not know.
    #[default]
    Auto,
    /// `PgBouncer` or Supavisor in transaction mode.
    Transaction,
    /// A direct connection or a session pooler.
    None,
}

/// Where and how to connect. Checked: connecting can fail, but not for a contradiction in here.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: Tls,
    pub(crate) max_connections: usize,
    pub(crate) timeout: Duration,
    pub(crate) pooler: Pooler,
    direct: Option<Direct>,
    pub(crate) listens: bool,
    pub(crate) cache: Option<CachePolicy>,
    pub(crate) application_name: String,
    pub(crate) actor: String,
}

/// The variables that may hold the connection string, in order.
pub const URL_VARIABLES: [&str; 2] = ["APP_SECRETS_URL", "DATABASE_URL"];

impl Config {
    /// Checks the options. `env` looks up environment variables.
    pub fn new(options: Options, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let from_env =
            || URL_VARIABLES.into_iter().find_map(|name| env(name).filter(|url| !url.trim().is_empty()));
        let url = options.url.or_else(|| from_env().map(SecretString::from)).ok_or_else(|| {
            Error::Config("no connection string: pass `url`, or set APP_SECRETS_URL (or DATABASE_URL)".into())
        })?;
        let url = url::parse(&url)?;
        let pooler = match options.pooler {
            Pooler::Auto if url.names_pooler || url.endpoint.port == SUPAVISOR_TRANSACTION_PORT => {
                Pooler::Transaction
            }
            given => given,
        };
        let tls = tls::policy(&url, options.ca.as_deref(), options.allow_insecure)?;
        let direct = |url| Direct::new(&url, options.ca.as_deref(), options.allow_insecure);
        let direct = options.listen_url.map(direct).transpose()?;
        let application_name =
            options.application_name.or(url.application_name).unwrap_or_else(|| "app-secrets".into());

        Ok(Self {
            endpoint: url.endpoint,
            tls,
            max_connections: in_range("maxConnections", options.max_connections.unwrap_or(8), 1000)? as usize,
            timeout: Duration::from_millis(
                in_range("timeoutMs", options.timeout_ms.unwrap_or(5000), 3_600_000)?.into(),
            ),
            pooler,
            direct,
            listens: options.listen.unwrap_or(true),
            cache: options.cache.map(cache::policy).transpose()?,
            application_name: label("applicationName", application_name, 63)?,
            actor: label("actor", options.actor.unwrap_or_default(), 128)?,
        })
    }
}

/// Supabase's transaction pooler: <https://supabase.com/docs/guides/database/connecting-to-postgres>
const SUPAVISOR_TRANSACTION_PORT: u16 = 6543;

fn in_range(name: &str, value: u32, most: u32) -> Result<u32> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Error::Config(format!("{name} must be from 1 to {most}, not {value}")))
}

fn label(name: &str, value: String, most: usize) -> Result<String> {
    if value.len() > most || value.chars().any(char::is_control) {
        return Err(Error::Config(format!(
            "{name} must be at most {most} bytes, without control characters"
        )));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn with(url: &str) -> Options {
        Options { url: Some(url.to_owned().into()), ..Options::default() }
    }

    fn config(options: Options) -> Result<Config> {
        Config::new(options, |_| None)
    }

    #[test]
    fn the_environment_is_asked_in_order_and_blank_counts_as_unset() {
        let env = |name: &str| match name {
            "APP_SECRETS_URL" => Some("  ".to_owned()),
            "DATABASE_URL" => Some("postgres://reader:pw@localhost/second".to_owned()),
            _ => None,
        };
        assert_eq!(Config::new(Options::default(), env).unwrap().endpoint.database, "second");
        assert_eq!(
            Config::new(with("postgres://a:b@localhost/first"), env).unwrap().endpoint.database,
            "first"
        );
    }

    #[test]
    fn a_missing_url_says_what_to_set() {
        let error = config(Options::default()).unwrap_err();
        assert_eq!(error.code(), Code::Config);
        assert!(error.to_string().contains("APP_SECRETS_URL"));
    }

    #[test]
    fn debug_shows_no_password() {
        let config = config(with("postgres://reader:hunter2@localhost/app")).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn bounds_are_checked() {
        let url = "postgres://reader:pw@localhost/app";
        for options in [
            Options { max_connections: Some(0), ..with(url) },
            Options { max_connections: Some(1001), ..with(url) },
            Options { timeout_ms: Some(0), ..with(url) },
            Options { application_name: Some("x".repeat(64)), ..with(url) },
            Options { actor: Some("a\0b".into()), ..with(url) },
        ] {
            assert_eq!(config(options).unwrap_err().code(), Code::Config);
        }
    }

    #[test]
    fn a_transaction_pooler_is_known_by_its_port_or_its_parameter() {
        let pooler = |url: &str| config(with(url)).unwrap().pooler;
        assert_eq!(pooler("postgres://a:b@localhost:6543/app"), Pooler::Transaction);
        assert_eq!(pooler("postgres://a:b@localhost:6432/app?pgbouncer=true"), Pooler::Transaction);
        assert_eq!(pooler("postgres://a:b@localhost/app"), Pooler::Auto);
        let told = Options { pooler: Pooler::None, ..with("postgres://a:b@localhost:6543/app") };
        assert_eq!(config(told).unwrap().pooler, Pooler::None);
    }
}
