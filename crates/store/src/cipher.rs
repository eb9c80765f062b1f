//! Secrets at rest: sealed with ChaCha20-Poly1305 under a key derived from the server's secret, bound to their team and name.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, AeadCore, OsRng, Payload},
};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

const NONCE_BYTES: usize = 12;

/// The server's secret: 32 random bytes, from which keys for single purposes are derived. Never printed.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// Wraps the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key for one purpose. `context` names it, globally unique and never changed.
    pub fn derive(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Seals and opens values.
pub(crate) struct Cipher(ChaCha20Poly1305);

impl Cipher {
    pub fn new(key: &SecretKey) -> Self {
        Self(ChaCha20Poly1305::new(&key.derive("greenroom 2026-11 secrets at rest").into()))
    }

    /// The value as hexadecimal text that only opens for the same `owner`.
    pub fn seal(&self, value: &SecretString, owner: &[u8]) -> String {
        let nonce = ChaCha20Poly1305::generate_nonce(&mut OsRng);
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: owner };
        let sealed = self.0.encrypt(&nonce, payload).expect("a value in memory is far below the cipher's limit");
        hex::encode([nonce.as_slice(), &sealed].concat())
    }

    pub fn open(&self, sealed: &str, owner: &[u8]) -> Result<SecretString, Error> {
        let damaged = |why: &'static str| Error::damaged("secret", why);
        let bytes = hex::decode(sealed).map_err(|error| Error::damaged("secret", error))?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(damaged("it is too short"))?;
        let opened = self.0.decrypt(nonce.into(), Payload { msg: sealed, aad: owner });
        let opened = opened
            .map_err(|_| damaged("it was not sealed with this server's secret; restore the server-secret file"))?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| damaged("it is not text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_for_its_owner_only() {
        let cipher = Cipher::new(&SecretKey::new([7; 32]));
        let sealed = cipher.seal(&"hunter2".into(), b"team/name");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(cipher.open(&sealed, b"team/name").unwrap().expose_secret(), "hunter2");
        assert!(cipher.open(&sealed, b"team/other").is_err());
        assert!(Cipher::new(&SecretKey::new([8; 32])).open(&sealed, b"team/name").is_err());
    }
}
