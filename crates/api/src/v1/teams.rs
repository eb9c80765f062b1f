//! Teams: models and secrets belong to one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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

/// A list of teams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Teams {
    /// The teams, the default one first.
    pub teams: Vec<Team>,
}
