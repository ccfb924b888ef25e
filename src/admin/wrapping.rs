//! The one-time key of a rekey: a file of the operator's, and what is wrapped under it.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::scram::random;
use crate::error::{Error, Result};

const MARK: &str = "app-secrets-rekey-1";
const NONCE: usize = 24;
const HEAD: &str = "\
# The key of one change of Vault's root key. Whoever has this file and the table app_secrets.rekey_wraps can read every secret.
# Delete it once `app-secrets rekey finish` or `app-secrets rekey abort` has said that it is done.
";

/// A key that is used for one rekey and then destroyed. Wiped where it is dropped.
pub(crate) struct WrappingKey {
    pub(crate) id: Uuid,
    cipher: XChaCha20Poly1305,
}

impl WrappingKey {
    /// Reads the file; where there is none, makes one that only its owner can read.
    pub(crate) fn read_or_make(path: &Path) -> Result<Self> {
        match read(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(unusable(&format!("cannot be read: {}", error.kind()))),
        }
    }

    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = read(path).map_err(|error| unusable(&format!("cannot be read: {}", error.kind())))?;
        Self::parse(&text)
    }

    fn make(path: &Path) -> Result<Self> {
        let key = random::<32>()?;
        let id = Uuid::from_bytes(*random::<16>()?);
        let encoded = Zeroizing::new(STANDARD.encode(key.as_ref()));
        let text = Zeroizing::new(format!("{HEAD}{MARK} {id} {}\n", encoded.as_str()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            // Before anything is wrapped under it.
            file.sync_all()
        });
        written.map_err(|error| unusable(&format!("cannot be written: {}", error.kind())))?;
        Self::new(id, key.as_ref())
    }

    fn parse(text: &str) -> Result<Self> {
        let line = text.lines().find(|line| line.starts_with(MARK)).unwrap_or_default();
        let mut words = line.split_ascii_whitespace().skip(1);
        let id = words.next().and_then(|word| Uuid::parse_str(word).ok());
        let key = words.next().and_then(|word| STANDARD.decode(word).ok()).map(Zeroizing::new);
        match (id, key) {
            (Some(id), Some(key)) => Self::new(id, &key),
            _ => Err(unusable("is not a key of `app-secrets rekey begin`")),
        }
    }

    fn new(id: Uuid, key: &[u8]) -> Result<Self> {
        let cipher = XChaCha20Poly1305::new_from_slice(key)
            .map_err(|_| unusable("is not a key of `app-secrets rekey begin`"))?;
        Ok(Self { id, cipher })
    }

    /// Wraps a value of a cell. The nonce, which is random, goes before the ciphertext.
    pub(crate) fn wrap(&self, vault_id: Uuid, cell: &str, value: &str) -> Result<Vec<u8>> {
        let nonce = random::<NONCE>()?;
        let bound = self.bound(vault_id, cell);
        let payload = Payload { msg: value.as_bytes(), aad: &bound };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| Error::Refused("a value cannot be wrapped; nothing was changed".into()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The value of a wrap; fails where it is of another key or another cell, or was changed.
    pub(crate) fn unwrap(&self, vault_id: Uuid, cell: &str, wrap: &[u8]) -> Result<Zeroizing<String>> {
        let wrong = || {
            Error::Refused(
                "the file is not the one that this change of the root key was begun with; nothing was changed".into(),
            )
        };
        let (nonce, sealed) = wrap.split_at_checked(NONCE).ok_or_else(wrong)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| wrong())?;
        let bound = self.bound(vault_id, cell);
        let payload = Payload { msg: sealed, aad: &bound };
        let value = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| wrong())?;
        match String::from_utf8(value) {
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(error) => {
                drop(Zeroizing::new(error.into_bytes()));
                Err(wrong())
            }
        }
    }

    /// What tells this key from others, for the database.
    pub(crate) fn proof(&self) -> Result<Vec<u8>> {
        self.wrap(self.id, "proof", MARK)
    }

    /// Refuses to go on with another key than the one that the proof was made with.
    pub(crate) fn require_proof(&self, id: Uuid, proof: &[u8]) -> Result<()> {
        if id == self.id {
            return self.unwrap(self.id, "proof", proof).map(drop);
        }
        Err(Error::Refused(
            "the file is not the one that this change of the root key was begun with; nothing was changed"
                .into(),
        ))
    }

    /// A wrap opens as this cell of this rekey only.
    fn bound(&self, vault_id: Uuid, cell: &str) -> Vec<u8> {
        format!("{MARK}/{}/{vault_id}/{cell}", self.id).into_bytes()
    }
}

fn read(path: &Path) -> std::io::Result<Zeroizing<String>> {
    // All of it is far shorter: no copies are left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    std::fs::File::open(path)?.take(4096).read_to_string(&mut text)?;
    Ok(text)
}

fn unusable(why: &str) -> Error {
    Error::Refused(format!("the key file {why}; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u128, byte: u8) -> WrappingKey {
        WrappingKey::new(Uuid::from_u128(id), &[byte; 32]).unwrap()
    }

    #[test]
    fn a_wrap_opens_with_its_key_as_its_cell_and_as_nothing_else() {
        let (one, cell) = (key(1, 1), Uuid::from_u128(7));
        let wrap = one.wrap(cell, "a/name/current", "värde").unwrap();
        assert_eq!(one.unwrap(cell, "a/name/current", &wrap).unwrap().as_str(), "värde");
        assert!(one.unwrap(cell, "b/name/current", &wrap).is_err());
        assert!(one.unwrap(Uuid::from_u128(8), "a/name/current", &wrap).is_err());
        assert!(key(2, 1).unwrap(cell, "a/name/current", &wrap).is_err());
        assert!(key(1, 2).unwrap(cell, "a/name/current", &wrap).is_err());
        assert!(one.unwrap(cell, "a/name/current", &wrap[..20]).is_err());
        let mut changed = wrap.clone();
        changed[30] ^= 1;
        assert!(one.unwrap(cell, "a/name/current", &changed).is_err());
        assert_ne!(wrap, one.wrap(cell, "a/name/current", "värde").unwrap(), "no nonce comes twice");
    }

    #[test]
    fn a_proof_tells_one_file_from_another() {
        let one = key(1, 1);
        let proof = one.proof().unwrap();
        one.require_proof(one.id, &proof).unwrap();
        assert!(key(1, 2).require_proof(one.id, &proof).is_err());
        assert!(key(2, 1).require_proof(one.id, &proof).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "hunter2",
            "app-secrets-rekey-1 x y",
            "app-secrets-rekey-1 6f1e6d0e-3f0e-4c57-8e0c-1d2a3b4c5d6e AAAA",
        ] {
            assert!(WrappingKey::parse(text).is_err(), "{text}");
        }
    }
}
