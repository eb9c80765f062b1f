//! Secrets of a team. Their values go in and never come out.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Unique identifier; stays when the value changes.
    pub id: String,
    /// When it was first set, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Unique within the team, whatever stands between its letters and digits.
    pub name: String,
    /// The team it belongs to.
    pub team_name: String,
}

/// A list of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// The secrets, by name.
    pub secrets: Vec<Secret>,
}

/// A request to set a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpsertSecretRequest {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for UpsertSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpsertSecretRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What remains of a deleted secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretTombstone {
    /// Its name.
    pub name: String,
}
