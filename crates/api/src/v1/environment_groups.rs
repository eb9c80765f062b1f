//! Environment groups: the environments of one name in all models of a team, and who may change them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::pagination::PaginationResponse;

/// The environments of one name in all models of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentGroup {
    /// The environments' name.
    pub name: String,
    /// The team.
    pub team_id: String,
    /// The team's name.
    pub team_name: String,
    /// Who may change them.
    pub manage_access: EnvironmentGroupManageAccess,
}

/// Who may change the environments of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentGroupManageAccess {
    /// Whether only the users below may. Everybody may read and call.
    pub is_restricted: bool,
    /// Those users, administrators included; empty when everybody may.
    #[serde(default)]
    pub users: Option<Vec<EnvironmentGroupUser>>,
}

/// A user who may change the environments of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentGroupUser {
    /// The user.
    pub user_id: String,
    /// Their address.
    #[serde(default)]
    pub email: Option<String>,
    /// Their name.
    #[serde(default)]
    pub name: Option<String>,
}

/// A list of environment groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentGroups {
    /// The groups, by name.
    pub items: Vec<EnvironmentGroup>,
    /// How to go on.
    pub pagination: PaginationResponse,
}

/// A change of an environment group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateEnvironmentGroupRequest {
    /// Who may change the environments; absent leaves it as it is.
    pub manage_access: Option<UpdateEnvironmentGroupManageAccess>,
}

/// Who may change the environments of a group from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironmentGroupManageAccess {
    /// Whether only administrators and the users below may.
    pub is_restricted: bool,
    /// Those users, in place of the ones before; absent leaves them as they are.
    #[serde(default)]
    pub user_ids: Option<Vec<String>>,
}
