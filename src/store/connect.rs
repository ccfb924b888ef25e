//! From a checked configuration to the driver's options.

use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

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
