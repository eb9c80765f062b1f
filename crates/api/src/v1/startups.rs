//! How starts of replicas went, one by one and in numbers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{logs::SortOrder, pagination::PaginationResponse};

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StartupOutcome {
    /// The replica became ready.
    Success,
    /// It ended before it was ready.
    Failed,
    /// It was not ready in time.
    Stalled,
}

/// A part of a start, with the contract's names. Parts that no backend here has are not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StartupPhase {
    /// From the decision to start a replica to the order that reached it.
    Scheduling,
    /// From the order to a running model process.
    ContainerCreate,
    /// Importing the model's module.
    ContainerStart,
    /// Construction, `load` and the first question whether it is healthy.
    Readiness,
    /// Pulling an image: no start here has it.
    ImagePull,
    /// Downloading weights: they are there before a start begins.
    WeightDownload,
}

/// How a part of a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StartupPhaseStatus {
    /// It came to its end.
    Completed,
    /// The start ended in it.
    Failed,
}

/// A part of one start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupPhaseSummary {
    /// Which part.
    pub phase: StartupPhase,
    /// How it went.
    pub status: StartupPhaseStatus,
    /// Milliseconds from the beginning of the start to that of the part.
    pub offset_ms: u64,
    /// How long it took, in milliseconds; null when it did not finish.
    pub duration_ms: Option<u64>,
}

/// One start of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupAttempt {
    /// The model.
    pub model_id: String,
    /// The deployment.
    pub deployment_id: Option<String>,
    /// The deployment's name.
    pub deployment_name: String,
    /// The environment that was asked for; null when a deployment was.
    pub environment_name: Option<String>,
    /// The replica that started.
    pub replica_id: Option<String>,
    /// When it was ordered, in milliseconds since the Unix epoch.
    pub started_at_epoch_millis: u64,
    /// When it was ready, likewise; null if it never was.
    pub ready_at_epoch_millis: Option<u64>,
    /// How long the start took, in milliseconds.
    pub duration_ms: u64,
    /// How it went.
    pub outcome: StartupOutcome,
    /// Its parts, in their order.
    pub phase_summary: Vec<StartupPhaseSummary>,
}

/// A page of starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupAttempts {
    /// The starts.
    pub items: Vec<StartupAttempt>,
    /// How to go on.
    pub pagination: PaginationResponse,
    /// Starts that match, of the thousand newest in the window.
    pub total_count: usize,
}

/// How long something took, over many starts. Milliseconds; null when there were none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupPercentiles {
    /// How many there were.
    pub sample_count: usize,
    /// The mean.
    pub mean_ms: Option<u64>,
    /// Half took at most so long.
    pub p50_ms: Option<u64>,
    /// Nine of ten.
    pub p90_ms: Option<u64>,
    /// 95 of a hundred.
    pub p95_ms: Option<u64>,
    /// 99 of a hundred.
    pub p99_ms: Option<u64>,
}

/// How long one part took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupPhasePercentiles {
    /// Which part.
    pub phase: StartupPhase,
    /// Its durations.
    pub duration_ms: StartupPercentiles,
}

/// Starts in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartupSummary {
    /// The beginning of the window.
    pub start_epoch_millis: u64,
    /// Its end.
    pub end_epoch_millis: u64,
    /// Of the starts that became ready, the thousand newest.
    pub total_duration_ms: StartupPercentiles,
    /// Of each part that there was.
    pub phase_duration_ms: Vec<StartupPhasePercentiles>,
}

/// What a list of starts is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StartupSortBy {
    /// How it went.
    Outcome,
    /// When it was ordered.
    #[default]
    StartedAt,
    /// When it was ready; those that never were come first.
    ReadyAt,
    /// How long it took.
    Duration,
}

/// Which starts to list, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListStartupsQuery {
    /// Those ordered at this time or later, in milliseconds since the Unix epoch.
    pub start_epoch_millis: u64,
    /// Those ordered before this time or at it; it is after the start.
    pub end_epoch_millis: u64,
    /// Those that took at least so many milliseconds.
    #[serde(default)]
    pub min_duration_ms: Option<u64>,
    /// From the page before, with the same filters and order.
    #[serde(default)]
    pub cursor: Option<String>,
    /// The longest page wanted, 1 to 100; 50 when absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Those with one of these outcomes.
    #[serde(default)]
    #[param(style = Form, explode)]
    pub outcomes: Vec<StartupOutcome>,
    /// Those that spent more than 0 ms in this part.
    #[serde(default)]
    pub phase: Option<StartupPhase>,
    /// Those of this replica, or of deployments whose name contains this text in any case.
    #[serde(default)]
    pub search: Option<String>,
    /// What to sort by.
    #[serde(default)]
    pub sort_by: Option<StartupSortBy>,
    /// Which way.
    #[serde(default)]
    pub direction: Option<SortOrder>,
}

/// Which starts to sum up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StartupSummaryQuery {
    /// Those ordered at this time or later, in milliseconds since the Unix epoch.
    pub start_epoch_millis: u64,
    /// Those ordered before this time or at it; it is after the start.
    pub end_epoch_millis: u64,
    /// Those that took at least so many milliseconds.
    #[serde(default)]
    pub min_duration_ms: Option<u64>,
}
