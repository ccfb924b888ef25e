//! Where the listener connects to.

use secrecy::SecretString;

use super::{Config, Endpoint, Pooler, SUPAVISOR_TRANSACTION_PORT, Tls, tls, url};
use crate::error::{Error, Result};

/// A direct connection, besides the one that goes through a pooler.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    endpoint: Endpoint,
    tls: Tls,
}

impl Direct {
    pub(super) fn new(text: &SecretString, ca: Option<&str>, allow_insecure: bool) -> Result<Self> {
        let url = url::parse(text).map_err(of_listen_url)?;
        if url.names_pooler || url.endpoint.port == SUPAVISOR_TRANSACTION_PORT {
            return Err(Error::Config(
                "listenUrl leads to a transaction pooler, through which no notification comes: pass the database's \
                 direct connection, or that of a session pooler"
                    .into(),
            ));
        }
        let tls = tls::policy(&url, ca, allow_insecure).map_err(of_listen_url)?;
        Ok(Self { endpoint: url.endpoint, tls })
    }
}

fn of_listen_url(error: Error) -> Error {
    match error {
        Error::Config(why) => Error::Config(format!("listenUrl: {why}")),
        Error::UnsafeConnection(why) => Error::UnsafeConnection(format!("listenUrl: {why}")),
        other => other,
    }
}

impl Config {
    /// How to connect for LISTEN; `None` where only a transaction pooler is known.
    pub(crate) fn for_listening(&self) -> Option<Self> {
        let mut config = self.clone();
        // So that operators can tell it from the connections that work.
        config.application_name.push_str(" listener");
        match &self.direct {
            Some(direct) => {
                config.endpoint = direct.endpoint.clone();
                config.tls = direct.tls.clone();
            }
            None if self.pooler == Pooler::Transaction => return None,
            None => {}
        }
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;
    use crate::error::Code;

    fn config(url: &str, listen_url: Option<&str>) -> Result<Config> {
        let [url, listen_url] = [Some(url), listen_url].map(|url| url.map(|url| url.to_owned().into()));
        Config::new(Options { url, listen_url, ..Options::default() }, |_| None)
    }

    #[test]
    fn it_listens_directly_where_the_url_leads_through_a_transaction_pooler() {
        let pooled = "postgres://a:b@localhost:6543/app";
        assert!(config(pooled, None).unwrap().for_listening().is_none());
        let direct =
            config(pooled, Some("postgres://a:b@localhost:5432/app")).unwrap().for_listening().unwrap();
        assert_eq!(direct.endpoint.port, 5432);
        let plain = config("postgres://a:b@localhost/app", None).unwrap().for_listening().unwrap();
        assert_eq!(plain.application_name, "app-secrets listener");
    }

    #[test]
    fn a_listen_url_is_checked_like_any_other_and_named_in_the_message() {
        let pooled = "postgres://a:b@localhost:6543/app";
        for (listen_url, code) in [
            ("postgres://a:hunter2@localhost:6543/app", Code::Config),
            ("postgres://a:hunter2@localhost:6432/app?pgbouncer=true", Code::Config),
            ("mysql://a:hunter2@localhost/app", Code::Config),
            ("postgres://a:hunter2@db.example.com/app?sslmode=disable", Code::UnsafeConnection),
        ] {
            let error = config(pooled, Some(listen_url)).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(
                error.to_string().contains("listenUrl") && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
    }
}
