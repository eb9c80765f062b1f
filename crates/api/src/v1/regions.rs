//! Places that replicas can be restricted to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Region {
    /// Unique identifier.
    pub slug: String,
    /// A name for people.
    pub display_name: String,
}

/// A list of places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Regions {
    /// The places.
    pub regions: Vec<Region>,
}
