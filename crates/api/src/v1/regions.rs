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

/// A location of this server: what is there, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LocationInfo {
    /// The place.
    #[serde(flatten)]
    pub region: Region,
    /// The code of its country (two letters of ISO 3166-1); null where nobody has said.
    pub country: Option<String>,
    /// The code of its continent; null where nobody has said.
    pub continent: Option<String>,
    /// Where it is on the globe; null where nobody has said.
    pub coordinates: Option<Coordinates>,
    /// The hardware in it.
    pub flavors: Vec<LocationFlavor>,
    /// Whether it answers. One that does not gets no replicas, and those in it are replaced where others may take their place.
    pub is_healthy: bool,
    /// Why it is not healthy, in a sentence; null when it is.
    pub unhealthy_reason: Option<String>,
    /// Since when it is not healthy, RFC 3339; null when it is.
    #[schema(format = DateTime)]
    pub unhealthy_since: Option<String>,
}

/// A point on the globe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coordinates {
    /// Degrees north of the equator.
    pub latitude: f64,
    /// Degrees east of Greenwich.
    pub longitude: f64,
}

/// Hardware in a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LocationFlavor {
    /// `cpu` or `gpu`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub name: String,
    /// How many there are: processors, or GPUs.
    pub count: u32,
    /// Memory, in MiB: a GPU's own, or all that those processors share; null where nobody has said.
    pub memory_mib: Option<u64>,
}

/// A list of places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Regions {
    /// The places.
    pub regions: Vec<LocationInfo>,
}
