//! Tokens, as OAuth 2.0 (RFC 6749) asks for them and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request for a token, as a form or as JSON. Client id and secret may stand in `Authorization: Basic` instead.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials`, for service accounts; `authorization_code`, for who has signed in by the identity provider; or
    /// `urn:ietf:params:oauth:grant-type:device_code`, for a device that waits.
    pub grant_type: String,
    /// The public part of what a service account identifies itself with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its secret part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// What the identity provider's way back has brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What `code_challenge` was the hash of (RFC 7636).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_verifier: Option<String>,
    /// What the device was given (RFC 8628).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_code: Option<String>,
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

/// How people sign in here who bring no key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SignInOptions {
    /// What the identity provider is called; null where there is none.
    pub provider: Option<String>,
}

/// A device that may wait for a person (RFC 8628, section 3.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceAuthorization {
    /// What the device asks for its token with.
    pub device_code: String,
    /// What the person types.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: String,
    /// How long both codes are good for, in seconds.
    pub expires_in: u64,
    /// How long to wait between two questions, in seconds.
    pub interval: u64,
}

impl fmt::Debug for DeviceAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAuthorization").field("user_code", &self.user_code).finish_non_exhaustive()
    }
}

/// A person's answer to a device that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerDeviceRequest {
    /// What the device shows.
    pub user_code: String,
    /// Whether it may be signed in as the caller.
    pub allow: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnsweredDevice {
    /// Whether it will be signed in.
    pub allowed: bool,
}
