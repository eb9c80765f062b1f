//! Teams: models and secrets belong to one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::Role;

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Team {
    /// Unique identifier.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Whether it is the one that is meant where none is named.
    pub default: bool,
    /// When it was created, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// A name for a team, new or other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamName {
    /// Unique name.
    pub name: String,
}

/// What remains of a deleted team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamTombstone {
    /// Unique identifier.
    pub id: String,
    /// Whether it is gone.
    pub deleted: bool,
}

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamMember {
    /// Who.
    pub user_id: String,
    /// Address.
    pub email: String,
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// What they are in the team.
    pub role: Role,
    /// Whether it is a service account.
    #[serde(default)]
    pub is_service_account: bool,
}

/// Who is in a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamMembers {
    /// The members, those who joined the organization first first.
    pub members: Vec<TeamMember>,
}

/// What somebody shall be in a team.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetTeamMemberRequest {
    /// A member, if absent.
    #[serde(default)]
    pub role: Role,
}

/// A list of teams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Teams {
    /// The teams, the default one first.
    pub teams: Vec<Team>,
}
