//! How deployments scale, as the contract writes it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a deployment scales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AutoscalingSettings {
    /// Never fewer replicas.
    pub min_replica: u32,
    /// Never more replicas.
    pub max_replica: u32,
    /// The load is averaged over this many seconds.
    pub autoscaling_window: Option<u32>,
    /// The load must stay low for this many seconds before each step down.
    pub scale_down_delay: Option<u32>,
    /// Requests in flight that one replica is meant to have.
    pub concurrency_target: u32,
    /// The part of the target to plan with, in percent.
    pub target_utilization_percentage: Option<u32>,
    /// Not offered; always null.
    #[serde(default)]
    pub target_in_flight_tokens: Option<u32>,
    /// The largest step down, in percent of what runs.
    #[serde(default)]
    pub max_scale_down_rate: Option<u32>,
}

/// A change of settings. Absent and null fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAutoscalingSettings {
    /// Never fewer replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replica: Option<u32>,
    /// Never more replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_replica: Option<u32>,
    /// Seconds to average the load over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 3600)]
    pub autoscaling_window: Option<u32>,
    /// Seconds that the load must stay low before each step down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 3600)]
    pub scale_down_delay: Option<u32>,
    /// Requests in flight that one replica is meant to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub concurrency_target: Option<u32>,
    /// The part of the target to plan with, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub target_utilization_percentage: Option<u32>,
    /// Not offered; refused when given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_in_flight_tokens: Option<u32>,
    /// The largest step down, in percent of what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 50)]
    pub max_scale_down_rate: Option<u32>,
}

/// What became of a change of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UpdateAutoscalingSettingsStatus {
    /// In force, or about to be.
    Accepted,
    /// Will be in force later.
    Queued,
    /// Nothing differs from what was in force.
    Unchanged,
}

/// The answer to a change of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpdateAutoscalingSettingsResponse {
    /// What became of it.
    pub status: UpdateAutoscalingSettingsStatus,
    /// The same in a sentence.
    pub message: String,
}
