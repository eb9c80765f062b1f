//! The installation as a whole.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrganizationInfo {
    /// Unique identifier.
    pub org_id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// When it was set up, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
}
