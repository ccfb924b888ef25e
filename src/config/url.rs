//! Reads a connection string. No error repeats any part of it.

use std::net::{IpAddr, Ipv6Addr};

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

    /// The host is an IPv6 address, which stands in brackets where a port follows.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.host.parse::<Ipv6Addr>().is_ok()
    }

    /// The connection never leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        let is_loopback = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.is_socket() || is_loopback || self.is_local_by_name()
    }

    /// Its name says so, which is for the resolver to confirm.
    pub(super) fn is_local_by_name(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
    }

    /// For people: the host, Supabase's reference of the project where the connection names one, and the database.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line says where it works"))]
    pub(crate) fn title(&self) -> String {
        let project = self.project().map_or_else(String::new, |project| format!(", project {project}"));
        format!("{}{project}, database {}", self.place(), self.database)
    }

    /// Supabase's hosts carry the project's reference, and with its poolers the login does.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line says where it works"))]
    pub(crate) fn project(&self) -> Option<&str> {
        let direct = self.host.strip_prefix("db.").and_then(|host| host.strip_suffix(".supabase.co"));
        let pooled = || {
            let is_pooler = self.host.ends_with(".pooler.supabase.com");
            self.user.split_once('.').map(|(_, project)| project).filter(|_| is_pooler)
        };
        direct.or_else(pooled).filter(|project| !project.is_empty())
    }

    /// For messages: says where, and nothing of who or with what password.
    pub(crate) fn place(&self) -> String {
        match (self.is_socket(), self.is_ipv6()) {
            (true, _) => self.host.clone(),
            (_, true) => format!("[{}]:{}", self.host, self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
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

/// Reads what libpq would read, and refuses what it and other clients read differently.
pub(super) fn parse(text: &SecretString) -> Result<Parsed> {
    let text = text.expose_secret().trim();
    let rest = without_scheme(text)?;
    if rest.contains(|c: char| c.is_control() || c == ' ') {
        return Err(malformed("it has a space or a line break in it: percent-encode those (a space is %20)"));
    }
    if rest.contains('#') {
        return Err(special("#", "%23"));
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (authority, database) = place.split_once('/').unwrap_or((place, ""));
    if database.contains('@') || query.is_some_and(|query| query_hides_a_host(authority, query)) {
        return Err(special("/ or ?", "%2F or %3F"));
    }
    if database.contains('/') {
        return Err(special("/", "%2F"));
    }
    let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if credentials.contains('@') {
        return Err(special("@", "%40"));
    }
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    let password = password.map(decoded).transpose()?;
    if password.as_deref().is_some_and(is_placeholder) {
        return Err(malformed("the password is still the template's: put your own in its place"));
    }
    let (host, port) = address_of(address)?;
    let mut parsed = Parsed {
        endpoint: Endpoint {
            host: decoded(host)?,
            port: port_of(port)?.unwrap_or(DEFAULT_PORT),
            user: decoded(user)?,
            password: password.map(SecretString::from),
            database: decoded(database)?,
        },
        ssl_mode: None,
        ssl_root_cert: None,
        application_name: None,
        names_pooler: false,
    };
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| malformed("it has a parameter without a value"))?;
        // As libpq: only %XX is decoded, and a + is a plus.
        let (name, value) = (decoded(name)?, decoded(value)?);
        if !value.is_empty() {
            parsed.apply(&name, value)?;
        }
    }
    parsed.complete()
}

const DEFAULT_PORT: u16 = 5432;

fn without_scheme(text: &str) -> Result<&str> {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("postgres") || scheme.eq_ignore_ascii_case("postgresql") {
        return Ok(rest);
    }
    let bare = text.trim_start_matches(['"', '\'', '`', '“', '‘']);
    let is_ours = |text: &str| text.starts_with("postgres://") || text.starts_with("postgresql://");
    Err(malformed(if text.starts_with('\u{feff}') {
        "it must begin with postgres:// or postgresql://, and there is a byte order mark before it: save the file that it comes \
         from as UTF-8 without one"
    } else if bare.len() < text.len() {
        "it must begin with postgres:// or postgresql://, and there is a quote before it: some readers of .env files, \
         such as docker's, keep quotes"
    } else if text
        .split_once('=')
        .is_some_and(|(_, value)| is_ours(value.trim_start_matches(['"', '\'', ' '])))
    {
        "it must begin with postgres:// or postgresql://, and a variable's name stands before it: leave NAME= out"
    } else if text
        .split_once(": ")
        .is_some_and(|(_, value)| is_ours(value.trim_start_matches(['"', '\'', ' '])))
    {
        "it must begin with postgres:// or postgresql://, and a name stands before it, as in YAML: leave NAME: out"
    } else if ["host=", "dbname=", "user="].iter().any(|keyword| text.contains(keyword)) && rest.is_empty() {
        "it must begin with postgres:// or postgresql://: write libpq's keywords as such a URL"
    } else {
        "it must begin with postgres:// or postgresql://"
    }))
}

/// Whether what looks like parameters is the rest of a password, with the host behind it.
fn query_hides_a_host(authority: &str, query: &str) -> bool {
    let may_have_one = ["user", "password", "application_name", "dbname"];
    let hides = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        pair.contains('@') && !may_have_one.contains(&name)
    };
    !authority.contains('@') && query.split('&').any(hides)
}

/// Host and port, without the brackets of an IPv6 address: neither TLS nor the resolver knows those.
fn address_of(address: &str) -> Result<(&str, &str)> {
    if address.contains(',') {
        return Err(several_hosts());
    }
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| malformed("its IPv6 address has no closing bracket"))?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(malformed("there is something between the host and the port")),
        };
    }
    match address.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err(malformed("an IPv6 address goes in brackets, and a : of the password is written as %3A"))
        }
        Some((host, port)) => Ok((host, port)),
        None => Ok((address, "")),
    }
}

fn port_of(text: &str) -> Result<Option<u16>> {
    if text.is_empty() {
        return Ok(None);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = is_number.then(|| text.parse().ok()).flatten().filter(|port| *port > 0);
    port.map(Some).ok_or_else(|| {
        malformed("its port is none; where that is the password's end, percent-encode its special characters")
    })
}

/// `[YOUR-PASSWORD]` of Supabase's dashboard, and its like.
fn is_placeholder(password: &str) -> bool {
    let inner = password
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .or_else(|| password.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')));
    inner.is_some_and(|inner| inner.to_ascii_lowercase().contains("password"))
}

fn special(what: &str, escapes: &str) -> Error {
    malformed(&format!(
        "percent-encode the special characters of the password: {what} is written as {escapes}"
    ))
}

impl Parsed {
    fn apply(&mut self, name: &str, value: String) -> Result<()> {
        let endpoint = &mut self.endpoint;
        match name {
            "sslmode" => self.ssl_mode = Some(ssl_mode(&value)?),
            // JDBC's, which libpq takes too.
            "ssl" if value == "true" && self.ssl_mode.is_none() => self.ssl_mode = Some(SslMode::Require),
            "sslrootcert" if value != "system" => self.ssl_root_cert = Some(value),
            "application_name" => self.application_name = Some(value),
            "pgbouncer" => self.names_pooler = value == "true",
            "host" => endpoint.host = value,
            "port" => endpoint.port = port_of(&value)?.unwrap_or(DEFAULT_PORT),
            "user" => endpoint.user = value,
            "password" => endpoint.password = Some(value.into()),
            "dbname" => endpoint.database = value,
            // These change what is connected to, or who is: quietly ignoring them would not be safe.
            "options" | "hostaddr" | "service" | "servicefile" | "passfile" | "sslcert" | "sslkey"
            | "sslpassword" | "sslcrl" | "sslcrldir" | "requiressl" => {
                return Err(malformed(
                    "it has a parameter that is not supported: options, hostaddr, service, passfile, sslcert, sslkey, sslcrl",
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
            return Err(several_hosts());
        }
        if endpoint.user.is_empty() {
            return Err(malformed("it names no user"));
        }
        if endpoint.database.is_empty() {
            // As libpq does.
            endpoint.database.clone_from(&endpoint.user);
        }
        Ok(self)
    }
}

fn several_hosts() -> Error {
    malformed("it names several hosts: name the primary, or a pooler in front of them")
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
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let breaks = |at: &usize| bytes[*at] == b'%' && !(is_hex(at + 1) && is_hex(at + 2));
    if (0..bytes.len()).any(|at| breaks(&at)) {
        return Err(special("a %", "%25"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| malformed("its percent-escapes are not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(malformed("it contains a NUL character"));
    }
    Ok(decoded.into_owned())
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
            "postgres://reader:hunter2%@h/app",
            "postgres://reader:hunter2 @h/app",
            "\"postgres://reader:hunter2@h/app\"",
            "DATABASE_URL=postgres://reader:hunter2@h/app",
            "host=h user=reader password=hunter2",
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

    #[test]
    fn only_percent_escapes_are_decoded_as_libpq_does() {
        let endpoint = |url: &str| parsed(url).unwrap().endpoint;
        let password = |url: &str| endpoint(url).password.unwrap().expose_secret().to_owned();
        assert_eq!(password("postgres://a:a+b@h/app"), "a+b");
        assert_eq!(password("postgres://h/app?user=a&password=a+b"), "a+b");
        assert_eq!(password("postgres://h/app?user=a&password=a%2Bb%26c"), "a+b&c");
        assert_eq!(password("postgres://a:b:c@h/app"), "b:c");
        assert_eq!(password("postgres://a:Grüße€12@h/app"), "Grüße€12");
        assert_eq!(password("postgres://h/app?user=a&password=p@ss"), "p@ss");
        let name = parsed("postgres://a:b@h/app?application_name=maya+service").unwrap().application_name;
        assert_eq!(name.as_deref(), Some("maya+service"));
        assert_eq!(endpoint("postgres://a:b@h/app?port=6000").port, 6000);
        assert_eq!(endpoint("postgres://a:b@h:/app?host=&dbname=").database, "app");
        assert_eq!(endpoint("postgres://a:b@[2001:db8::1]:6000/app").host, "2001:db8::1");
        assert_eq!(endpoint("POSTGRESQL://a:b@h").database, "a");
        assert_eq!(endpoint("postgres://a:b@h/a%2Fb").database, "a/b");
    }

    #[test]
    fn what_cannot_be_read_in_one_way_says_what_to_encode() {
        for (url, words) in [
            ("postgres://b:pa#ss@h/app", "# is written as %23"),
            ("postgres://b:pa@ss@h/app", "@ is written as %40"),
            ("postgres://b:pa/ss@h/app", "percent-encode the special characters"),
            ("postgres://b:pa?ss@h/app", "percent-encode the special characters"),
            ("postgres://b:1?s=s@h/app", "percent-encode the special characters"),
            ("postgres://b:pa?s=s@h/app", "percent-encode the special characters"),
            ("postgres://b:pa%ss@h/app", "a % is written as %25"),
            ("postgres://b:pa ss@h/app", "a space is %20"),
            ("postgres://b:p\nass@h/app", "a line break"),
            ("postgres://b:p%00ass@h/app", "a NUL"),
            ("postgres://a:b@h:0/app", "its port is none"),
            ("postgres://a:b@h:5432x/app", "its port is none"),
            ("postgres://a:b@::1/app", "brackets"),
            ("postgres://a:b@h:1,h2:2/app", "several hosts"),
            ("postgres://a:b@h,h2/app", "several hosts"),
            ("postgres://a:b@[::1]:1,[::2]:2/app", "several hosts"),
            ("\u{feff}postgres://a:b@h/app", "a byte order mark before it"),
            ("DATABASE_URL: postgres://a:b@h/app", "leave NAME: out"),
            ("DATABASE_URL: \"postgres://a:b@h/app\"", "leave NAME: out"),
            ("\"postgres://a:b@h/app\"", "a quote before it"),
            ("DATABASE_URL=postgres://a:b@h/app", "leave NAME= out"),
            ("export DATABASE_URL='postgres://a:b@h/app'", "leave NAME= out"),
            ("host=h port=5432 user=a password=b dbname=app", "libpq's keywords"),
            ("jdbc:postgresql://h/app?user=a&password=b", "must begin with"),
            ("postgresql+asyncpg://a:b@h/app", "must begin with"),
            (
                "postgresql://postgres:[YOUR-PASSWORD]@db.abc.supabase.co:5432/postgres",
                "still the template's",
            ),
        ] {
            let error = parsed(url).unwrap_err();
            assert_eq!(error.code(), Code::Config, "{url}");
            assert!(error.to_string().contains(words), "{url}: {error}");
        }
    }

    #[test]
    fn supabases_reference_of_the_project_is_named() {
        let title = |url: &str| parsed(url).unwrap().endpoint.title();
        assert_eq!(
            title("postgres://postgres:b@db.abcdef.supabase.co/postgres"),
            "db.abcdef.supabase.co:5432, project abcdef, database postgres"
        );
        assert_eq!(
            title("postgres://maya.abcdef:b@aws-0-eu-west-1.pooler.supabase.com:6543/postgres"),
            "aws-0-eu-west-1.pooler.supabase.com:6543, project abcdef, database postgres"
        );
        assert_eq!(title("postgres://a.b:c@localhost/app"), "localhost:5432, database app");
        assert_eq!(title("postgres://a:b@[::1]:5433/app"), "[::1]:5433, database app");
    }
}
