//! What is told to those who listen, as it happens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The data of an event `changed`: what to look at again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Kinds of things of which at least one has changed. Empty in the first event, which says that the server listens.
    pub topics: Vec<Topic>,
}

/// A kind of thing that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Models and deployments.
    Deployments,
    /// Environments.
    Environments,
    /// Promotions.
    Promotions,
    /// Replicas.
    Replicas,
    /// API keys.
    Keys,
    /// Secrets.
    Secrets,
    /// What was counted and measured.
    Measures,
    /// The audit log.
    Audit,
    /// The health of locations.
    Locations,
}
