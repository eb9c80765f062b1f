//! People.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::pagination::PaginationResponse;

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserInfo {
    /// Unique identifier.
    pub user_id: String,
    /// Address.
    #[serde(default)]
    pub email: Option<String>,
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// The installation's name.
    #[serde(default)]
    pub workspace_name: Option<String>,
}

/// A page of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsersResponse {
    /// The people.
    pub items: Vec<UserInfo>,
    /// How to go on.
    pub pagination: PaginationResponse,
}
