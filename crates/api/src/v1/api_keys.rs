//! API keys. The key itself is shown once, when it is made.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum APIKeyCategory {
    /// Whatever its user may.
    Personal,
    /// Deploy, manage and call models.
    WorkspaceManageAll,
    /// Read metrics.
    WorkspaceExportMetrics,
    /// Call models.
    WorkspaceInvoke,
    /// Manage keys.
    WorkspaceManageApiKeys,
}

/// A key without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct APIKeyInfo {
    /// The public part: what stands before the dot.
    pub prefix: String,
    /// A name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// What it may do.
    #[serde(rename = "type")]
    pub category: APIKeyCategory,
    /// The models it may call; null means all.
    #[serde(default)]
    pub model_ids: Option<Vec<String>>,
    /// The environments in which it may call them; null means everywhere.
    #[serde(default)]
    pub environment_names: Option<Vec<String>>,
    /// How often it may call models; null means as often as it likes.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub requests_per_minute: Option<NonZeroU32>,
    /// When it ends, RFC 3339: it was given to somebody who has signed in. Null means never.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// The team it belongs to, unless it is a person's.
    #[serde(default)]
    pub team_name: Option<String>,
    /// When it was made, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last used, RFC 3339, where that is known.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// The person it belongs to, unless it is a team's.
    #[serde(default)]
    pub owner: Option<APIKeyOwner>,
}

/// The person a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct APIKeyOwner {
    /// Their identifier.
    pub user_id: String,
    /// Their address.
    #[serde(default)]
    pub email: Option<String>,
    /// Their name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct APIKeys {
    /// The keys, oldest first.
    pub keys: Vec<APIKeyInfo>,
}

/// A request to make a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateAPIKeyRequest {
    /// A name for people: lower-case letters, digits and `-`.
    #[serde(default)]
    pub name: Option<String>,
    /// What it may do.
    #[serde(rename = "type")]
    pub category: APIKeyCategory,
    /// The models it may call; only for keys that call models or read metrics.
    #[serde(default)]
    pub model_ids: Option<Vec<String>>,
    /// The environments in which it may call them, existing or not; only for keys that call models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment_names: Option<Vec<String>>,
    /// How often it may call models; only for keys that call models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub requests_per_minute: Option<NonZeroU32>,
    /// The team it belongs to; the default team if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_id: Option<String>,
}

/// A new key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct APIKey {
    /// The key, shown only now.
    pub api_key: String,
}

impl fmt::Debug for APIKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("APIKey").finish_non_exhaustive()
    }
}

/// What remains of a deleted key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct APIKeyTombstone {
    /// Its public part.
    pub prefix: String,
}
