//! People.

use std::fmt;

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
    /// What they are in the organization.
    #[serde(default)]
    pub role: Role,
    /// The teams that they are in. An administrator of the organization reaches all others too.
    #[serde(default)]
    pub teams: Vec<Membership>,
}

/// What somebody is, in the organization or in a team.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Deploys, manages and calls models.
    #[default]
    Member,
    /// Says who may do what, too.
    Admin,
}

/// A team that somebody is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Membership {
    /// The team.
    pub team_id: String,
    /// What they are in it.
    #[serde(default)]
    pub role: Role,
}

/// Query of the list of people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ListUsersQuery {
    /// From the answer before; absent for the first page.
    pub cursor: Option<String>,
    /// The longest page wanted.
    pub limit: Option<u32>,
    /// Only somebody with this address, whatever its case.
    pub email: Option<String>,
}

/// A request to let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateUserRequest {
    /// Address; unique.
    pub email: String,
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// What they are in the organization.
    #[serde(default)]
    pub role: Role,
    /// The teams that they are in; the default team, as a member, if absent.
    #[serde(default)]
    pub teams: Option<Vec<Membership>>,
    /// Whether to make a key for them to begin with. Without one they sign in by the identity provider.
    #[serde(default)]
    pub with_api_key: bool,
}

/// Somebody who was let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewUser {
    /// Who.
    pub user: UserInfo,
    /// Their key, shown only now.
    #[serde(default)]
    pub api_key: Option<String>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A change of somebody; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateUserRequest {
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// What they are in the organization.
    #[serde(default)]
    pub role: Option<Role>,
}

/// What remains of somebody who was let out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserTombstone {
    /// Who it was.
    pub user_id: String,
    /// Whether they are gone.
    pub deleted: bool,
}

/// A page of people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsersResponse {
    /// The people.
    pub items: Vec<UserInfo>,
    /// How to go on.
    pub pagination: PaginationResponse,
}
