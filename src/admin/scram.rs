//! Passwords that the server never sees: it gets what it stores of one (RFC 5803), so that no statement and no log holds it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// PostgreSQL's own default.
const ITERATIONS: u32 = 4096;

/// Bytes of entropy from the system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut())
        .map_err(|_| Error::Refused("the system gives no random bytes; nothing was changed".into()))?;
    Ok(bytes)
}

/// 256 bits as 43 letters, digits, `-` and `_`: nothing that a connection string would have to escape.
pub(crate) fn password() -> Result<SecretString> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?.as_ref()).into())
}

/// What PostgreSQL stores of an ASCII password.
pub(crate) fn verifier(password: &str) -> Result<String> {
    with_salt(password, random::<16>()?.as_ref())
}

fn with_salt(password: &str, salt: &[u8]) -> Result<String> {
    let mut salted = Zeroizing::new([0_u8; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, ITERATIONS, salted.as_mut());
    let stored = Sha256::digest(keyed(&salted, b"Client Key")?);
    let server = keyed(&salted, b"Server Key")?;
    Ok(format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored),
        STANDARD.encode(server)
    ))
}

fn keyed(key: &[u8; 32], label: &[u8]) -> Result<[u8; 32]> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .map_err(|_| Error::Refused("this build cannot make a password's verifier".into()))?;
    mac.update(label);
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    /// RFC 7677, section 3: its client and server agree on these for the password `pencil`.
    #[test]
    fn a_verifier_is_that_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = with_salt("pencil", &salt).unwrap();
        assert_eq!(
            verifier,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn passwords_differ_and_need_no_escaping() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_eq!(one.expose_secret().len(), 43);
        assert!(one.expose_secret().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
    }
}
