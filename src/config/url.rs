//! Reads a connection string. No error repeats any part of it.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// Where the database is, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<SecretString>,
    pub(crate) database: String,
}

impl Endpoint {
    /// The directory of a unix socket rather than a host.
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// The connection never leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        let is_loopback = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.is_socket() || is_loopback || self.host.eq_ignore_ascii_case("localhost")
    }

    /// For messages: says where, and nothing of who or with what password.
    pub(crate) fn place(&self) -> String {
        if self.is_socket() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// What the connection string says.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) endpoint: Endpoint,
    pub(super) ssl_mode: Option<SslMode>,
    pub(super) ssl_root_cert: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) names_pooler: bool,
}

/// libpq's `sslmode`, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

pub(super) fn parse(text: &SecretString) -> Result<Parsed> {
    let url = ::url::Url::parse(text.expose_secret().trim()).map_err(|_| malformed("it is not a URL"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(malformed("it must begin with postgres:// or postgresql://"));
    }
    // An unescaped `#`, `/` or `?` in the password would otherwise end up in the name of the database.
    let database = decoded(url.path().trim_start_matches('/'))?;
    if url.fragment().is_some() || database.contains(['/', '@']) {
        return Err(malformed("percent-encode the special characters of the password"));
    }
    let password = url.password().map(decoded).transpose()?.map(SecretString::from);
    let mut parsed = Parsed {
        endpoint: Endpoint {
            host: host(&url)?,
            port: url.port().unwrap_or(5432),
            user: decoded(url.username())?,
            password,
            database,
        },
        ssl_mode: None,
        ssl_root_cert: None,
        application_name: None,
        names_pooler: false,
    };
    for (name, value) in url.query_pairs() {
        parsed.apply(&name, value.into_owned())?;
    }
    parsed.complete()
}

impl Parsed {
    fn apply(&mut self, name: &str, value: String) -> Result<()> {
        let endpoint = &mut self.endpoint;
        match name {
            "sslmode" => self.ssl_mode = Some(ssl_mode(&value)?),
            "sslrootcert" if value != "system" => self.ssl_root_cert = Some(value),
            "application_name" => self.application_name = Some(value),
            "pgbouncer" => self.names_pooler = value == "true",
            "host" => endpoint.host = value,
            "port" => endpoint.port = value.parse().map_err(|_| malformed("`port` is not a port"))?,
            "user" => endpoint.user = value,
            "password" => endpoint.password = Some(value.into()),
            "dbname" => endpoint.database = value,
            // These change what is connected to, or who is: quietly ignoring them would not be safe.
            "options" | "hostaddr" | "service" | "sslcert" | "sslkey" | "sslcrl" | "requiressl" => {
                return Err(malformed(
                    "it has a parameter that is not supported: options, hostaddr, service, ssl*",
                ));
            }
            // Other clients' settings, such as Prisma's `connection_limit`: services share one DATABASE_URL.
            _ => {}
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Self> {
        let endpoint = &mut self.endpoint;
        if endpoint.host.is_empty() {
            return Err(malformed("it names no host"));
        }
        if endpoint.host.contains(',') {
            return Err(malformed("it names several hosts: name the primary, or a pooler in front of them"));
        }
        if endpoint.user.is_empty() {
            return Err(malformed("it names no user"));
        }
        if endpoint.database.is_empty() {
            // As libpq does.
            endpoint.database.clone_from(&endpoint.user);
        }
        let texts = [&endpoint.host, &endpoint.user, &endpoint.database];
        if texts.iter().any(|text| text.contains('\0')) {
            return Err(malformed("it contains a NUL character"));
        }
        Ok(self)
    }
}

fn host(url: &::url::Url) -> Result<String> {
    match url.host() {
        None => Ok(String::new()),
        Some(::url::Host::Ipv4(address)) => Ok(address.to_string()),
        // Without the brackets of the URL: neither TLS nor the resolver knows them.
        Some(::url::Host::Ipv6(address)) => Ok(address.to_string()),
        Some(::url::Host::Domain(name)) => decoded(name),
    }
}

fn ssl_mode(value: &str) -> Result<SslMode> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        // `no-verify` is node-postgres's word for an unverified connection.
        "require" | "no-verify" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(malformed(
                "`sslmode` is none of disable, allow, prefer, require, verify-ca, verify-full",
            ));
        }
    })
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| malformed("its escapes are not UTF-8"))
}

fn malformed(why: &str) -> Error {
    Error::Config(format!("the connection string is not usable: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn parsed(text: &str) -> Result<Parsed> {
        parse(&text.to_owned().into())
    }

    #[test]
    fn every_part_is_read_and_decoded() {
        let url =
            "postgresql://reader%40eu:p%40ss%2Fw%23rd@db.example.com:6432/app%20db?application_name=maya";
        let parsed = parsed(url).unwrap();
        assert_eq!(parsed.endpoint.host, "db.example.com");
        assert_eq!(parsed.endpoint.port, 6432);
        assert_eq!(parsed.endpoint.user, "reader@eu");
        assert_eq!(parsed.endpoint.password.unwrap().expose_secret(), "p@ss/w#rd");
        assert_eq!(parsed.endpoint.database, "app db");
        assert_eq!(parsed.application_name.as_deref(), Some("maya"));
    }

    #[test]
    fn unix_sockets_are_named_by_parameter_or_by_escaped_host() {
        for url in ["postgres:///app?host=/run/postgresql&user=a", "postgres://a@%2Frun%2Fpostgresql/app"] {
            let endpoint = parsed(url).unwrap().endpoint;
            assert_eq!(endpoint.host, "/run/postgresql");
            assert!(endpoint.is_local());
        }
    }

    #[test]
    fn loopback_is_local_and_nothing_that_resembles_it() {
        let local = |host: &str| parsed(&format!("postgres://a:b@{host}/app")).unwrap().endpoint.is_local();
        assert!(local("localhost") && local("127.1.2.3") && local("[::1]") && local("LOCALHOST"));
        assert!(
            !local("localhost.example.com")
                && !local("127.example.com")
                && !local("[::2]")
                && !local("10.0.0.1")
        );
    }

    #[test]
    fn no_error_repeats_any_part_of_the_connection_string() {
        for url in [
            "hunter2",
            "mysql://reader:hunter2@h/app",
            "postgres://reader:hunter2#x@h/app",
            "postgres://reader:12/hunter2@h/app",
            "postgres://reader:12?hunter2@h/app",
            "postgres://reader:hunter2?@h/app",
            "postgres://reader:hunter2@h:port/app",
            "postgres://:hunter2@h/app",
            "postgres://reader:hunter2@a,b/app",
            "postgres://reader:hunter2@h/app?sslmode=hunter2",
            "postgres://reader:hunter2%FF@h/app",
            "postgres:///app?user=reader&password=hunter2",
        ] {
            match parsed(url) {
                Ok(parsed) => assert!(!format!("{parsed:?}").contains("hunter2"), "{url}"),
                Err(error) => {
                    assert_eq!(error.code(), Code::Config);
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                }
            }
        }
    }

    #[test]
    fn parameters_that_would_change_who_or_where_are_refused_and_other_clients_settings_are_not() {
        assert!(parsed("postgres://a:b@h/app?connection_limit=5&schema=public").is_ok());
        assert_eq!(parsed("postgres://a:b@h/app?sslkey=x").unwrap_err().code(), Code::Config);
        assert_eq!(parsed("postgres://a:b@h/app?options=-c%20role%3Dx").unwrap_err().code(), Code::Config);
    }
}
