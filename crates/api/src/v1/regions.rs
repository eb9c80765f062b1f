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

/// A place, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegionWithHealth {
    /// The place.
    #[serde(flatten)]
    pub region: Region,
    /// Whether it answers. One that does not gets no replicas, and those in it are replaced where others may take their place.
    pub is_healthy: bool,
    /// Why it is not healthy, in a sentence; null when it is.
    pub unhealthy_reason: Option<String>,
    /// Since when it is not healthy, RFC 3339; null when it is.
    #[schema(format = DateTime)]
    pub unhealthy_since: Option<String>,
}

/// A list of places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Regions {
    /// The places.
    pub regions: Vec<RegionWithHealth>,
}
