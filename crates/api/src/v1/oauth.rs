//! Tokens, as OAuth 2.0 (RFC 6749) asks for them and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request for a token, as a form or as JSON. Client id and secret may stand in `Authorization: Basic` instead.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials`.
    pub grant_type: String,
    /// The public part of what a service account identifies itself with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("grant_type", &self.grant_type).finish_non_exhaustive()
    }
}

/// A token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenResponse {
    /// To be sent as `Authorization: Bearer …`, like a key.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// How long it is good for, in seconds.
    pub expires_in: u64,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// Why there is no token (RFC 6749, section 5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenError {
    /// What went wrong, in one of the words that the standard has for it.
    pub error: String,
    /// The same for people, with the remedy.
    pub error_description: String,
}
