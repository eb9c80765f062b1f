//! The text of an API key: `prefix.secret`. Only its SHA-256 is kept, so a lost key is gone.

use planner::Timestamp;
use rand::Rng;
use sha2::{Digest, Sha256};
use store::domain::{ApiKey, ApiKeyKind, KeyOwner};
use subtle::ConstantTimeEq;

use super::Error;

/// Keys are copied, not typed: characters that look alike do no harm.
const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PREFIX_LENGTH: usize = 8;
const SECRET_LENGTH: usize = 32;
/// A preset key shorter than this could be guessed.
const SHORTEST_SECRET: usize = 8;

/// A key whose plaintext is still known. Has no `Debug`: it must not reach a log.
pub struct KeyText {
    text: String,
    prefix_length: usize,
}

impl KeyText {
    /// A new key from the machine's random source.
    pub fn random() -> Self {
        let mut random = rand::rng();
        let mut draw = |length| -> String {
            (0..length).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())] as char).collect()
        };
        let (prefix, secret) = (draw(PREFIX_LENGTH), draw(SECRET_LENGTH));
        Self { text: format!("{prefix}.{secret}"), prefix_length: PREFIX_LENGTH }
    }

    /// A key that somebody chose beforehand.
    pub fn preset(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::Invalid(format!(
                "the preset API key is not of the form prefix.secret with letters, digits, hyphens and underscores \
                 and at least {SHORTEST_SECRET} characters after the dot"
            ))
        };
        let (prefix, secret) = text.split_once('.').ok_or_else(refuse)?;
        let is_word = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if prefix.is_empty() || secret.len() < SHORTEST_SECRET || !is_word(prefix) || !is_word(secret) {
            return Err(refuse());
        }
        Ok(Self { text: text.to_owned(), prefix_length: prefix.len() })
    }

    /// The public handle.
    pub fn prefix(&self) -> &str {
        &self.text[..self.prefix_length]
    }

    /// What is stored in place of the key.
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.text)
    }

    /// The key as it is stored.
    pub fn stored(&self, kind: ApiKeyKind, owner: KeyOwner, now: Timestamp) -> ApiKey {
        ApiKey::new(self.prefix(), self.hash(), kind, owner, now)
    }

    /// The plaintext, to be shown once.
    pub fn into_plaintext(self) -> String {
        self.text
    }
}

/// The public handle of a presented key, if it looks like one.
pub fn prefix_of(presented: &str) -> Option<&str> {
    presented.split_once('.').map(|(prefix, _)| prefix)
}

/// Whether a presented key is the one with this hash, in constant time.
pub fn matches(presented: &str, stored: &[u8; 32]) -> bool {
    hash(presented).ct_eq(stored).into()
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_matches_its_own_hash_only() {
        let key = KeyText::random();
        let (prefix, hash) = (key.prefix().to_owned(), key.hash());
        let text = key.into_plaintext();
        assert_eq!(prefix_of(&text), Some(prefix.as_str()));
        assert!(matches(&text, &hash));
        assert!(!matches(&KeyText::random().into_plaintext(), &hash));
        assert!(!matches(&text[..text.len() - 1], &hash));
    }

    #[test]
    fn a_preset_key_needs_the_right_shape() {
        assert!(KeyText::preset("admin.0123456789abcdef").is_ok());
        for text in ["", "admin", "admin.", ".secret-secret", "admin.short", "a b.0123456789", "a.0123456789.b"] {
            assert!(KeyText::preset(text).is_err(), "{text:?}");
        }
    }
}
