//! Identifiers, each with the shape the public contract gives it (behaviour 1.1).
//! Making one needs entropy, which the caller brings: this room has no random source.

use std::{borrow::Borrow, fmt, str::FromStr};

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

/// Draws `length` characters of `alphabet` from `entropy`, by repeated division.
fn spell(mut entropy: u128, alphabet: &[u8], length: usize) -> String {
    let base = alphabet.len() as u128;
    (0..length)
        .map(|_| {
            let character = alphabet[(entropy % base) as usize];
            entropy /= base;
            character as char
        })
        .collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length:literal, $alphabet:expr, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Makes an id from random bits; equal bits give equal ids.
            pub fn from_entropy(entropy: u128) -> Self {
                Self(spell(entropy, $alphabet, $length).into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits = text.len() == $length && text.bytes().all(|byte| $alphabet.contains(&byte));
                fits.then(|| Self(text.into())).ok_or(InvalidId { kind: $kind, expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = ModelId::from_entropy(0x1234_5678_9abc_def0);
        assert_eq!(id.to_string().parse::<ModelId>(), Ok(id));
    }

    #[test]
    fn a_text_of_another_shape_is_refused() {
        for text in ["", "short", "UPPERCAS", "has-dash", "toolong99"] {
            assert!(text.parse::<ModelId>().is_err(), "{text}");
        }
    }
}
