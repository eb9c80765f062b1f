//! Metrics of deployments and environments over time. Index-mapped: each metric is described once, and the place of its description
//! is the place of its values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deployments::DeploymentStatus;

/// How values are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelMetricMode {
    /// As it is now: the newest values of gauges, and what the last minute has added to counters and histograms.
    #[default]
    Current,
    /// One value for the whole window.
    Summary,
    /// Values at even steps across the window.
    Series,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelMetricKind {
    /// A value at a moment; over a step, its mean.
    Gauge,
    /// What has come within the step.
    Counter,
    /// A distribution: quantiles and the mean of what has come within the step.
    Histogram,
}

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModelMetricUnitHint {
    /// So many each second.
    PerSecond,
    /// Durations.
    Seconds,
    /// Sizes.
    Bytes,
    /// Sizes in MiB.
    Mebibytes,
    /// Things, counted.
    Count,
    /// A share, which may exceed 1: CPUs in use.
    Ratio,
}

/// One metric. Its place in the list is the place of its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelMetricDescriptor {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub unit_hint: ModelMetricUnitHint,
    /// How it behaves.
    pub kind: ModelMetricKind,
    /// Its series, each by its labels; one without labels where there is one only.
    pub label_sets: Vec<BTreeMap<String, String>>,
}

/// The values of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelMetricValueSet {
    /// When the step began, in milliseconds since the Unix epoch. It ends where the next one begins.
    pub start_epoch_millis: u64,
    /// For each metric, for each of its series; null where nothing is known.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Metrics over a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GetModelMetricsResponse {
    /// The beginning of the window, in milliseconds since the Unix epoch.
    pub start_epoch_millis: u64,
    /// Its end, likewise.
    pub end_epoch_millis: u64,
    /// How values are put together.
    pub mode: ModelMetricMode,
    /// The length of a step in a series; null in other modes.
    pub step_seconds: Option<u64>,
    /// The metrics.
    pub metric_descriptors: Vec<ModelMetricDescriptor>,
    /// Their values, one set for each step.
    pub metric_values: Vec<ModelMetricValueSet>,
}

/// Which metrics to read, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GetModelMetricsQuery {
    /// How values are put together; `CURRENT` when absent, which takes no window.
    #[serde(default)]
    pub mode: Option<ModelMetricMode>,
    /// The beginning of the window, in milliseconds since the Unix epoch; an hour before its end when absent.
    #[serde(default)]
    pub start_epoch_millis: Option<u64>,
    /// The end of the window, likewise; now when absent. At most 7 days after its beginning.
    #[serde(default)]
    pub end_epoch_millis: Option<u64>,
    /// Names of metrics; replicas, requests and response times when absent.
    #[serde(default)]
    #[param(style = Form, explode)]
    pub metrics: Vec<String>,
}

/// What a deployment has had to do in the last minute, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentActivity {
    /// The model.
    pub model_id: String,
    /// The model's name.
    pub model_name: String,
    /// The deployment.
    pub deployment_id: String,
    /// The deployment's name.
    pub deployment_name: String,
    /// The environment that it was in; null when it was in none.
    pub environment: Option<String>,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// Replicas that are ready.
    pub active_replicas: u32,
    /// Replicas that wait for room or load the model.
    pub starting_replicas: u32,
    /// Replicas that are wanted.
    pub desired_replicas: u32,
    /// Requests that a replica has.
    pub running_requests: u32,
    /// Requests that wait for one.
    pub waiting_requests: u32,
    /// Requests that were answered, a second.
    pub requests_per_second: f64,
    /// Those of them that were answered with a status of 500 or more, a second.
    pub failures_per_second: f64,
    /// Half of the requests took at most so long; null when there were none.
    pub response_time_p50_seconds: Option<f64>,
    /// 99 of a hundred took at most so long.
    pub response_time_p99_seconds: Option<f64>,
    /// Processors in use.
    pub cpus: f64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// When it was last recorded, in milliseconds since the Unix epoch; null when nothing was in the last minute.
    pub recorded_at_epoch_millis: Option<u64>,
    /// Deployments with replicas or requests, those with the most requests first, at most 200.
    pub deployments: Vec<DeploymentActivity>,
}
