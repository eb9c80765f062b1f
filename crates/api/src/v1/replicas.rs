//! The replicas of a deployment that there are now. Greenroom's own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReplicaState {
    /// Its model's process is being started, or it waits for room.
    Starting,
    /// Its model loads.
    Loading,
    /// It answers requests.
    Ready,
    /// It runs, and says that it is not healthy.
    Unhealthy,
    /// It finishes what it has accepted, and ends.
    Stopping,
}

/// One running copy of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// Unique identifier.
    pub id: String,
    /// Where it stands.
    pub state: ReplicaState,
    /// When it was ordered, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// What keeps it from being started, in a sentence; null when nothing does.
    pub waits_for: Option<String>,
    /// The instance type that it was ordered with.
    pub instance_type: String,
    /// Whether it tries a patch of a development deployment: it answers nothing until that has worked.
    pub tries_patch: bool,
    /// The location it was sent to, by its slug; null until there is a place for it.
    pub location: Option<String>,
}

/// The replicas that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replicas {
    /// Oldest first.
    pub replicas: Vec<Replica>,
}
