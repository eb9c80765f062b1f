//! Sign-ins on their way.

use api::id::UserId;
use planner::Timestamp;
use serde::{Deserialize, Serialize};

/// A sign-in that has begun and is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// SHA-256 of the secret that it is known by.
    pub hash: [u8; 32],
    /// What a person types to find it, on another device; unique.
    pub user_code: Option<String>,
    /// How far it is.
    pub state: SignInState,
    /// When it is over.
    pub expires_at: Timestamp,
}

/// How far a sign-in is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInState {
    /// The person is with the provider.
    AtProvider {
        /// What the ID token has to say.
        nonce: String,
        /// What the provider's code has to be taken with.
        verifier: String,
        /// Where the provider sends the person back to.
        redirect: String,
        /// SHA-256, in URL-safe base64, of what the one who began it can show at its end (RFC 7636).
        challenge: String,
    },
    /// The person is known, and whoever began it may take a token.
    Known {
        /// Who it is.
        user_id: UserId,
        /// As before.
        challenge: String,
    },
    /// A device waits for a person to agree.
    OnDevice(Device),
}

/// What became of a device that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// Nothing yet.
    Waits,
    /// This person agreed.
    Allowed(UserId),
    /// Somebody said no.
    Denied,
}
