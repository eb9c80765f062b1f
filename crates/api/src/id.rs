//! Identifiers, each with the shape the public contract gives it (behaviour 1.1).
//! Making one needs entropy, which the caller brings: this room has no random source.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: expected {expected}")]
pub struct InvalidId {
    kind: &'static str,
    expected: &'static str,
}

const LOWER: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const MIXED: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Draws characters of `alphabet` from `entropy`, by repeated division.
fn spell<const LENGTH: usize>(mut entropy: u128, alphabet: &[u8]) -> [u8; LENGTH] {
    let base = alphabet.len() as u128;
    std::array::from_fn(|_| {
        let character = alphabet[(entropy % base) as usize];
        entropy /= base;
        character
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length:literal, $alphabet:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Makes an id from random bits; equal bits give equal ids.
            pub fn from_entropy(entropy: u128) -> Self {
                Self(spell(entropy, $alphabet))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("its alphabet is ASCII")
            }
        }

        // As its text, which stands for it as a key.
        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let bytes: Option<[u8; $length]> = text.as_bytes().try_into().ok();
                let fitting = bytes.filter(|bytes| bytes.iter().all(|byte| $alphabet.contains(byte)));
                fitting.map(Self).ok_or(InvalidId { kind: $kind, expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A model. It is part of a host name, so it is safe in DNS.
    ModelId, "model", 8, LOWER, "8 lower-case letters or digits"
);
id!(
    /// A deployment of a model.
    DeploymentId, "deployment", 7, LOWER, "7 lower-case letters or digits"
);
id!(
    /// One running copy of a deployment.
    ReplicaId, "replica", 5, LOWER, "5 lower-case letters or digits"
);
id!(
    /// A secret; stays the same when its value changes.
    SecretId, "secret", 7, MIXED, "7 letters or digits"
);
id!(
    /// A team.
    TeamId, "team", 10, LOWER, "10 lower-case letters or digits"
);
id!(
    /// A person.
    UserId, "user", 10, LOWER, "10 lower-case letters or digits"
);
id!(
    /// A gateway, from its beginning to its end.
    GatewayId, "gateway", 12, LOWER, "12 lower-case letters or digits"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = ModelId::from_entropy(0x1234_5678_9abc_def0);
        assert_eq!(id.to_string().parse::<ModelId>(), Ok(id));
    }

    #[test]
    fn its_text_stands_for_it_as_a_key() {
        let id = ModelId::from_entropy(7);
        let known = std::collections::HashSet::from([id.clone()]);
        assert!(known.contains(id.as_str()) && !known.contains("00000000"));
    }

    #[test]
    fn a_text_of_another_shape_is_refused() {
        for text in ["", "short", "UPPERCAS", "has-dash", "toolong99"] {
            assert!(text.parse::<ModelId>().is_err(), "{text}");
        }
    }
}
