//! How deployments scale, as the contract writes it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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

/// Which decisions to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AutoscalingDecisionsQuery {
    /// At most so many, 20 if absent, 200 at the most.
    pub limit: Option<u32>,
}

/// The newest changes of a deployment's number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AutoscalingDecisions {
    /// Newest first.
    pub autoscaling_decisions: Vec<AutoscalingDecision>,
}

/// A change of the number of replicas, and what it was worked out from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AutoscalingDecision {
    /// When, in ISO 8601 format.
    pub created_at: String,
    /// Replicas that there should have been before.
    pub previous_replica_count: u32,
    /// Replicas that there should be from then on.
    pub replica_count: u32,
    /// Why.
    pub reason: AutoscalingReason,
    /// The same in a sentence.
    pub explanation: String,
    /// Requests that were with replicas.
    pub in_flight: u32,
    /// Requests that were waiting.
    pub queued: u32,
    /// Both on average over the window.
    pub average_in_flight: f64,
    /// The time that was averaged over; shorter than the window when less was known.
    pub averaged_seconds: f64,
    /// Requests that one replica is meant to have: the concurrency target with its head-room.
    pub in_flight_per_replica: f64,
    /// Replicas that the load asked for, whatever the bounds.
    pub desired_replica_count: u32,
    /// The fewest there might be.
    pub min_replica: u32,
    /// The most there might be.
    pub max_replica: u32,
}

/// Why a deployment has so many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AutoscalingReason {
    /// The load asks for as many as there are.
    AtTarget,
    /// The load asks for more.
    LoadAboveTarget,
    /// Requests wait, so none is taken away.
    RequestsWait,
    /// The load asks for more than may be.
    AtMaximum,
    /// The load asks for fewer than must be.
    AtMinimum,
    /// The load asks for fewer, and has not done so for long enough.
    WaitingOutDelay,
    /// The load asks for fewer, and the last replica was added less than a window ago.
    JustRaised,
    /// The load asks for fewer, and the server has known it for less than a window.
    JustRestarted,
    /// The load stayed low for the whole delay.
    LoadStayedLow,
    /// Nothing came for the whole delay.
    NoTraffic,
}
