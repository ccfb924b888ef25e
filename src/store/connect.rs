//! From a checked configuration to the driver's options, and from those to a connection.

use std::net::SocketAddr;

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use tokio::net::{TcpStream, lookup_host};

use crate::config::{Config, TlsMode};

/// Not to be printed: the driver's options show the password.
pub(crate) fn connect_options(config: &Config) -> PgConnectOptions {
    let endpoint = &config.endpoint;
    let mode = match config.tls.mode {
        TlsMode::Off => PgSslMode::Disable,
        TlsMode::Prefer => PgSslMode::Prefer,
        TlsMode::Require => PgSslMode::Require,
        TlsMode::VerifyCa => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    };
    let options = PgConnectOptions::new_without_pgpass()
        .host(&endpoint.host)
        .port(endpoint.port)
        .username(&endpoint.user)
        .database(&endpoint.database)
        .application_name(&config.application_name)
        .ssl_mode(mode)
        // PgBouncer before 1.20 refuses to start a session with this parameter, and no function here returns floats.
        .extra_float_digits(None)
        // The driver would log statements, those with literals too.
        .disable_statement_logging()
        // An empty one rather than none: the driver would fall back to PGPASSWORD, which is somebody else's.
        .password(endpoint.password.as_ref().map_or("", |password| password.expose_secret()));
    match &config.tls.ca {
        Some(ca) => options.ssl_root_cert_from_pem(ca.clone()),
        None => options,
    }
}

/// The host's name stands for this machine and leads to another one.
#[derive(Debug, thiserror::Error)]
#[error("the host's name resolves to an address that is not this machine's")]
pub(crate) struct NotLoopback;

/// Opens a connection. With `loopback_only` the host's name has to lead nowhere but to this machine.
pub(crate) async fn open(
    options: &PgConnectOptions,
    loopback_only: bool,
) -> Result<PgConnection, sqlx::Error> {
    if loopback_only { pinned(options.clone()).await?.connect().await } else { options.connect().await }
}

/// Resolves the host's name, refuses whatever is not loopback, and connects to a checked address instead of asking the
/// resolver once more.
pub(crate) async fn pinned(options: PgConnectOptions) -> Result<PgConnectOptions, sqlx::Error> {
    let addresses: Vec<SocketAddr> = lookup_host((options.get_host(), options.get_port())).await?.collect();
    check(&addresses)?;
    let address = match addresses.as_slice() {
        [only] => *only,
        // One of them may have no server: the first that answers it is.
        several => TcpStream::connect(several).await?.peer_addr()?,
    };
    Ok(options.host(&address.ip().to_string()))
}

fn check(addresses: &[SocketAddr]) -> Result<(), sqlx::Error> {
    if !addresses.is_empty() && addresses.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(Box::new(NotLoopback)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_elsewhere_is_enough_to_refuse_a_name() {
        let is_trusted = |addresses: &[&str]| {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            check(&addresses).is_ok()
        };
        assert!(is_trusted(&["127.0.0.1:5432", "[::1]:5432", "[::ffff:127.0.0.1]:5432"]));
        assert!(!is_trusted(&[]));
        assert!(!is_trusted(&["127.0.0.1:5432", "192.0.2.1:5432"]));
        assert!(!is_trusted(&["[::ffff:192.0.2.1]:5432"]));
        assert!(!is_trusted(&["0.0.0.0:5432"]));
    }

    #[tokio::test]
    async fn a_checked_address_takes_the_name_s_place() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = PgConnectOptions::new_without_pgpass().host("localhost").port(port);
        let host = pinned(options).await.unwrap().get_host().to_owned();
        assert!(host.parse::<std::net::IpAddr>().unwrap().is_loopback(), "{host}");
    }
}
