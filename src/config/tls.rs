//! Decides how a connection is encrypted and verified. Remote hosts are always verified, unless the caller
//! says in so many words that he wants them not to be.

use crate::error::{Error, Result};

use super::url::{Parsed, SslMode};

/// How the connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) mode: TlsMode,
    /// PEM, trusted besides the public authorities.
    pub(crate) ca: Option<Vec<u8>>,
    /// It goes in clear, or to whomever, because the host's name says that it is this machine: whatever the name
    /// resolves to has to be loopback, or a line in a hosts file would have the password.
    pub(crate) loopback_only: bool,
}

/// What is demanded of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Clear text.
    Off,
    /// Encrypted where the server can.
    Prefer,
    /// Encrypted, by whomever.
    Require,
    /// Encrypted, by somebody whom a trusted authority knows.
    VerifyCa,
    /// Encrypted, by the very host.
    VerifyFull,
}

pub(super) fn policy(url: &Parsed, ca: Option<&str>, allow_insecure: bool) -> Result<Tls> {
    let asked = url.ssl_mode;
    let mode = if url.endpoint.is_socket() {
        TlsMode::Off
    } else if url.endpoint.is_local() {
        asked.map_or(TlsMode::Off, TlsMode::from)
    } else if allow_insecure {
        asked.map_or(TlsMode::Prefer, TlsMode::from)
    } else if asked == Some(SslMode::Disable) {
        return Err(Error::UnsafeConnection(
            "sslmode=disable would send secrets in clear text over the network: remove it from the connection \
             string, or pass allowInsecure where the network itself is trusted"
                .into(),
        ));
    } else {
        // What is weaker in the connection string is lifted, not refused: most managed databases hand out
        // `sslmode=require`, which encrypts without knowing to whom.
        TlsMode::VerifyFull
    };
    let loopback_only = url.endpoint.is_local_by_name() && !allow_insecure && mode != TlsMode::VerifyFull;
    let ca = ca.or(url.ssl_root_cert.as_deref()).map(certificates).transpose()?;
    Ok(Tls { mode, ca, loopback_only })
}

impl From<SslMode> for TlsMode {
    fn from(mode: SslMode) -> Self {
        match mode {
            SslMode::Disable => Self::Off,
            SslMode::Allow | SslMode::Prefer => Self::Prefer,
            SslMode::Require => Self::Require,
            SslMode::VerifyCa => Self::VerifyCa,
            SslMode::VerifyFull => Self::VerifyFull,
        }
    }
}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn certificates(ca: &str) -> Result<Vec<u8>> {
    if ca.contains(PEM_BEGIN) {
        return Ok(ca.as_bytes().to_vec());
    }
    if ca.contains("-----BEGIN") {
        return Err(Error::Config(
            "ca holds no certificate: pass the authority's certificate, not a key".into(),
        ));
    }
    let pem = std::fs::read(ca).map_err(|error| {
        Error::Config(format!(
            "ca is neither PEM text nor a readable file ({}): check the path",
            error.kind()
        ))
    })?;
    if pem.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN.as_bytes()) {
        return Ok(pem);
    }
    Err(Error::Config(
        "the file of ca holds no PEM certificate: convert it with `openssl x509 -inform der`".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::url::parse;
    use super::*;
    use crate::error::Code;

    fn mode(url: &str, allow_insecure: bool) -> Result<TlsMode> {
        policy(&parse(&url.to_owned().into()).unwrap(), None, allow_insecure).map(|tls| tls.mode)
    }

    #[test]
    fn a_remote_host_is_fully_verified_whatever_weaker_mode_is_asked_for() {
        for asked in ["", "?sslmode=allow", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"] {
            assert_eq!(
                mode(&format!("postgres://a:b@db.example.com/app{asked}"), false).unwrap(),
                TlsMode::VerifyFull
            );
        }
    }

    #[test]
    fn clear_text_to_a_remote_host_is_refused_unless_it_is_allowed_in_so_many_words() {
        let url = "postgres://a:b@10.0.0.1/app?sslmode=disable";
        assert_eq!(mode(url, false).unwrap_err().code(), Code::UnsafeConnection);
        assert_eq!(mode(url, true).unwrap(), TlsMode::Off);
    }

    #[test]
    fn this_machine_needs_no_encryption_but_may_ask_for_it() {
        assert_eq!(mode("postgres://a:b@localhost/app", false).unwrap(), TlsMode::Off);
        assert_eq!(mode("postgres://a:b@[::1]/app?sslmode=verify-full", false).unwrap(), TlsMode::VerifyFull);
        assert_eq!(mode("postgres:///app?host=/run/postgresql&user=a", false).unwrap(), TlsMode::Off);
    }

    #[test]
    fn a_name_is_trusted_only_as_far_as_it_resolves_to_loopback() {
        let tls = |url: &str, allow_insecure| {
            policy(&parse(&url.to_owned().into()).unwrap(), None, allow_insecure).unwrap().loopback_only
        };
        assert!(tls("postgres://a:b@localhost/app", false));
        assert!(tls("postgres://a:b@LOCALHOST/app?sslmode=verify-ca", false));
        assert!(!tls("postgres://a:b@localhost/app?sslmode=verify-full", false));
        assert!(!tls("postgres://a:b@localhost/app", true));
        assert!(!tls("postgres://a:b@127.0.0.1/app", false));
        assert!(!tls("postgres:///app?host=/run/postgresql&user=a", false));
    }

    #[test]
    fn ca_takes_pem_text_or_a_path_and_nothing_else() {
        assert!(certificates("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----").is_ok());
        for ca in ["/nowhere/ca.pem", "-----BEGIN PRIVATE KEY-----\nhunter2", env!("CARGO_MANIFEST_PATH")] {
            let error = certificates(ca).unwrap_err();
            assert_eq!(error.code(), Code::Config);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
