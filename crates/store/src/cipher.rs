//! Secrets at rest: sealed with ChaCha20-Poly1305 under a key derived from the server's secret, bound to their team and name.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, AeadCore, OsRng, Payload},
};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

const NONCE_BYTES: usize = 12;

/// The server's secret: 32 random bytes, from which keys for single purposes are derived; and those that it had before, so that what
/// was made with them goes on being understood. Never printed.
#[derive(Clone)]
pub struct SecretKey {
    newest: [u8; 32],
    previous: Vec<[u8; 32]>,
}

impl SecretKey {
    /// Wraps the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self { newest: bytes, previous: Vec::new() }
    }

    /// The same, which was one of these before.
    #[must_use]
    pub fn after(mut self, previous: impl IntoIterator<Item = [u8; 32]>) -> Self {
        for bytes in previous {
            if bytes != self.newest && !self.previous.contains(&bytes) {
                self.previous.push(bytes);
            }
        }
        self
    }

    /// How many secrets there were before.
    pub fn previous_count(&self) -> usize {
        self.previous.len()
    }

    /// A key for one purpose. `context` names it, globally unique and never changed.
    pub fn derive(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.newest)
    }

    /// The same of each secret that there was before, in the order in which they were given.
    pub fn derive_previous(&self, context: &'static str) -> impl Iterator<Item = [u8; 32]> {
        self.previous.iter().map(|bytes| blake3::derive_key(context, bytes))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// What keys are derived for.
const AT_REST: &str = "greenroom 2026-11 secrets at rest";
/// What the names of those keys are derived for.
const NAME_OF_KEY: &str = "greenroom 2026-11 names of keys of secrets at rest";
const NAME_BYTES: usize = 8;

/// Seals values with the newest key, and opens those of any.
pub(crate) struct Cipher {
    newest: Key,
    previous: Vec<Key>,
}

/// A key, and a name by which rows say that they are sealed with it.
struct Key {
    name: String,
    cipher: ChaCha20Poly1305,
}

impl Key {
    fn new(bytes: [u8; 32]) -> Self {
        let name = hex::encode(&blake3::derive_key(NAME_OF_KEY, &bytes)[..NAME_BYTES]);
        Self { name, cipher: ChaCha20Poly1305::new(&bytes.into()) }
    }
}

impl Cipher {
    pub fn new(key: &SecretKey) -> Self {
        let previous = key.derive_previous(AT_REST).map(Key::new).collect();
        Self { newest: Key::new(key.derive(AT_REST)), previous }
    }

    /// The name of the key that values are sealed with now.
    pub fn key_name(&self) -> &str {
        &self.newest.name
    }

    /// The value as hexadecimal text that only opens for the same `owner`.
    pub fn seal(&self, value: &SecretString, owner: &[u8]) -> String {
        let nonce = ChaCha20Poly1305::generate_nonce(&mut OsRng);
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: owner };
        let sealed = self.newest.cipher.encrypt(&nonce, payload);
        let sealed = sealed.expect("a value in memory is far below the cipher's limit");
        hex::encode([nonce.as_slice(), &sealed].concat())
    }

    /// The value. `key_name` says which key it was sealed with; none, that it was sealed before keys had names: then all are tried.
    pub fn open(&self, sealed: &str, key_name: Option<&str>, owner: &[u8]) -> Result<SecretString, Error> {
        let damaged = |why: &'static str| Error::damaged("secret", why);
        let bytes = hex::decode(sealed).map_err(|error| Error::damaged("secret", error))?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(damaged("it is too short"))?;
        let keys = std::iter::once(&self.newest).chain(&self.previous);
        let mut keys = keys.filter(|key| key_name.is_none_or(|name| name == key.name));
        let opened = keys.find_map(|key| key.cipher.decrypt(nonce.into(), Payload { msg: sealed, aad: owner }).ok());
        let opened = opened.ok_or(damaged(
            "it was sealed with another server secret than this server's and those given as its previous ones",
        ))?;
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
        let name = Some(cipher.key_name());
        assert_eq!(cipher.open(&sealed, name, b"team/name").unwrap().expose_secret(), "hunter2");
        assert!(cipher.open(&sealed, name, b"team/other").is_err());
        assert!(Cipher::new(&SecretKey::new([8; 32])).open(&sealed, None, b"team/name").is_err());
    }

    #[test]
    fn a_value_opens_with_any_key_there_was_and_is_sealed_with_the_newest() {
        let old = Cipher::new(&SecretKey::new([7; 32]));
        let sealed = old.seal(&"hunter2".into(), b"o");
        let new = Cipher::new(&SecretKey::new([9; 32]).after([[8; 32], [7; 32], [9; 32]]));
        for name in [None, Some(old.key_name())] {
            assert_eq!(new.open(&sealed, name, b"o").unwrap().expose_secret(), "hunter2");
        }
        let sealed = new.seal(&"hunter3".into(), b"o");
        assert!(old.open(&sealed, None, b"o").is_err());
        assert!(Cipher::new(&SecretKey::new([9; 32])).open(&sealed, Some(new.key_name()), b"o").is_ok());
    }
}
